package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
)

func testIndexes(t *testing.T, s storage.Store) {
	const writers, batches = 16, 20
	first := newWriter(t, s)
	var mu sync.Mutex
	at := map[int64]string{}
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			w := first.other()
			for i := range batches {
				entries := []string{}
				for j := range 1 + i%3 {
					entries = append(entries, fmt.Sprintf("%s %d.%d", w.id, i, j))
				}
				p, err := w.try(ledger.Change{}, entries...)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for j, entry := range entries {
					at[p.Index+int64(j)] = entry
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	total := first.position().Index
	if want := int64(writers * (batches/3*6 + 1 + 2)); total != want || int64(len(at)) != want {
		t.Fatalf("%d entries with %d indexes, want %d", total, len(at), want)
	}
	for i, event := range first.events(0, int(total)+1) {
		equal(t, event, fmt.Sprintf("%d=%s", i, at[int64(i)]))
	}
}

func testReplay(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	w.append("a")
	batch := w.commit(ledger.Change{}, "b", "c", "d")
	equal(t, w.append("b", "c", "d").Index, int64(1))
	w.other().append("of another writer")
	before := w.position()
	for range 3 {
		p := must(s.Commit(context.Background(), w.tenant, batch))(t)
		equal(t, p.Index, int64(1))
		w.unchanged(before)
	}
	equal(t, w.append("e").Index, int64(5))
	if _, err := s.Commit(context.Background(), w.tenant, batch); err == nil {
		t.Fatal("a batch before the writer's last one was accepted again")
	}
}

func testSequence(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	w.append("a", "b")
	w.append("c", "d")
	before := w.position()
	for name, c := range map[string]ledger.Commit{
		"a gap":                                  {First: 6, Entries: texts("f")},
		"an overlap":                             {First: 4, Entries: texts("d", "e")},
		"a part of the last batch":               {First: 4, Entries: texts("d")},
		"more than the last batch":               {First: 2, Entries: texts("b", "c", "d")},
		"an old batch":                           {First: 1, Entries: texts("a", "b")},
		"the last batch with another content":    {First: 3, Entries: texts("c", "D")},
		"a new writer that does not start at 1":  {Writer: "new", First: 2, Entries: texts("x")},
		"a new writer with an old one's counter": {Writer: "new", First: 5, Entries: texts("x")},
	} {
		if c.Writer == "" {
			c.Writer = w.id
		}
		c.Change = ledger.Change{
			Expect: before.Revision,
			Put:    []ledger.Row{row("client", "x", "1")}, Cut: []ledger.Cut{{Key: ledger.Key{Kind: "client", ID: "x"}}},
		}
		if _, err := s.Commit(context.Background(), w.tenant, c); err == nil {
			t.Errorf("%s was accepted", name)
		} else {
			is(t, err, fault.ErrSequence)
		}
		w.unchanged(before)
		equal(t, w.rows(), []string{})
	}
	equal(t, w.append("e").Index, int64(4))

	alike := w.other()
	alike.append("x", "x")
	part := ledger.Commit{Writer: alike.id, First: 2, Entries: texts("x")}
	_, err := s.Commit(context.Background(), w.tenant, part)
	is(t, err, fault.ErrSequence) // the last batch is longer, and began elsewhere
}

func testMalformed(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	many := slices.Repeat(texts("x"), ledger.MaxEntries+1)
	for name, c := range map[string]ledger.Commit{
		"no writer":           {First: 1, Entries: texts("a")},
		"an overlong writer":  {Writer: strings.Repeat("w", 300), First: 1, Entries: texts("a")},
		"a counter of 0":      {Writer: w.id, Entries: texts("a")},
		"no entries":          {Writer: w.id, First: 1},
		"an empty entry":      {Writer: w.id, First: 1, Entries: texts("")},
		"an overlong entry":   {Writer: w.id, First: 1, Entries: [][]byte{make([]byte, 2<<20)}},
		"too many entries":    {Writer: w.id, First: 1, Entries: many},
		"an overlong id":      w.commit(idChange(strings.Repeat("x", 5000)), "a"),
		"a negative keep":     w.commit(cutOf("x", -1, false), "a"),
		"a row, no kind":      w.commit(ledger.Change{Put: []ledger.Row{{ID: "x"}}}, "a"),
		"a deletion, no kind": w.commit(ledger.Change{Delete: []ledger.Key{{ID: "x"}}}, "a"),
		"a cut, no kind":      w.commit(ledger.Change{Cut: []ledger.Cut{{}}}, "a"),
		"enabling, no kind":   w.commit(ledger.Change{Enable: []ledger.Key{{}}}, "a"),
	} {
		if _, err := s.Commit(context.Background(), w.tenant, c); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	w.unchanged(ledger.Position{})
	w.append(slices.Repeat([]string{"x"}, ledger.MaxEntries)...)
}

func testEvents(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	for i := range 25 {
		w.append(fmt.Sprint(i))
	}
	paged := []string{}
	for {
		page := w.events(int64(len(paged)), 7)
		paged = append(paged, page...)
		if len(page) < 7 {
			break
		}
	}
	equal(t, paged, w.events(0, 1000))
	equal(t, len(paged), 25)
	equal(t, paged[24], "24=24")
	equal(t, w.events(24, 7), []string{"24=24"})
	equal(t, w.events(25, 7), []string{})
	equal(t, w.events(-5, 1), []string{"0=0"})
	equal(t, w.events(0, 0), []string{})
	equal(t, w.events(0, -1), []string{})
	binary := append([]byte{0, 0xff, '\r', '\n'}, bytes.Repeat([]byte("x"), 60_000)...)
	w.append(string(binary))
	equal(t, must(s.Events(context.Background(), w.tenant, 25, 1))(t), []ledger.Entry{{Index: 25, Data: binary}})
}

func testPosition(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	target := ledger.Key{Kind: "client", ID: "x"}
	for _, step := range []struct {
		name   string
		change ledger.Change
		want   ledger.Position
	}{
		{"an append", ledger.Change{}, ledger.Position{Index: 0}},
		{"a row", ledger.Change{Put: []ledger.Row{row("a", "x", "1")}}, ledger.Position{Index: 1, Revision: 1}},
		{"a deletion", ledger.Change{Expect: 1, Delete: []ledger.Key{{Kind: "a", ID: "x"}}},
			ledger.Position{Index: 2, Revision: 2}},
		{"a cut at an outdated revision", ledger.Change{Cut: []ledger.Cut{{Key: target, Disable: true}}},
			ledger.Position{Index: 3, Revision: 2, Cutoffs: 1}},
		{"the same cut", ledger.Change{Cut: []ledger.Cut{{Key: target}}},
			ledger.Position{Index: 4, Revision: 2, Cutoffs: 2}},
		{"enabling", ledger.Change{Enable: []ledger.Key{target}}, ledger.Position{Index: 5, Revision: 2, Cutoffs: 3}},
		{"enabling what is enabled", ledger.Change{Enable: []ledger.Key{target, {Kind: "client", ID: "never cut"}}},
			ledger.Position{Index: 6, Revision: 2, Cutoffs: 3}},
	} {
		got := w.do(step.change)
		got.Time = step.want.Time
		if got != step.want {
			t.Fatalf("%s: got %+v, want %+v", step.name, got, step.want)
		}
		step.want.Index++
		w.unchanged(step.want)
	}
}

func texts(entries ...string) [][]byte {
	all := [][]byte{}
	for _, entry := range entries {
		all = append(all, []byte(entry))
	}
	return all
}

func idChange(id string) ledger.Change {
	return ledger.Change{Put: []ledger.Row{row("client", id, "1")}}
}
