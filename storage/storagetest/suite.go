// Package storagetest is what a backend has to do (Run), and real or broken stores for the tests of other packages.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
)

// Full reports whether the long forms of the tests were asked for (BURSAR_TEST=full).
func Full() bool { return os.Getenv("BURSAR_TEST") == "full" }

// Run tests that the stores which open returns keep the promises of package storage. They may share their data: every
// test has tenants of its own. open closes what it opens.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, storage.Store)
	}{
		{"entries get contiguous indexes from 0 on, whoever writes", testIndexes},
		{"a batch that is repeated is answered with its index and not written again", testReplay},
		{"a gap, an overlap or a changed batch is refused and writes nothing", testSequence},
		{"a commit without what it needs is refused", testMalformed},
		{"events are read in pages from any index", testEvents},
		{"rows are put, replaced, deleted and read by kind in order", testRows},
		{"rows change only at the expected revision, and a conflict writes nothing", testConflict},
		{"what was signed with keys that are others now is refused", testSigned},
		{"rows do not change if something was disabled that the change did not know of", testConflictWithDisabling},
		{"of 64 writers of one row none loses an update", testNoLostUpdate},
		{"rows belong to the position they are read with", testSnapshot},
		{"a repeated change is not made twice", testReplayedChange},
		{"every change moves the position", testPosition},
		{"time never goes back", testTime},
		{"cutoffs are numbered, and read after a number", testCutoffSequence},
		{"a cutoff moves forward only", testCutoffForward},
		{"disabling lasts until it is lifted, and lifting leaves the time", testEnable},
		{"a cutoff that is over is not read any more, unless it disables", testCutoffExpiry},
		{"who follows cutoffs learns that an old one was enabled", testEnableOld},
		{"of 200 claims of one key exactly one is fresh", testClaims},
		{"what is taken from a budget adds up, whoever takes it, and by tenant", testSpend},
		{"of many budgets each is answered in its place", testSpendMany},
		{"what was taken grows back, and no further", testGrowsBack},
		{"a budget that could leave its place is refused, and nothing is taken with it", testSpendNames},
		{"a commit claims all it names, or writes nothing and tells what is taken", testCommitClaims},
		{"of 100 commits that claim one key exactly one is made", testRacingCommits},
		{"a repeated commit has its claims already", testReplayedClaims},
		{"a tree advances only from the head that it had, and never past the log", testAdvance},
		{"of 32 who advance one tree, each head has one successor", testRacingHeads},
		{"tiles are kept as they were stored last", testTiles},
		{"what is pruned is gone, and nothing else", testPrune},
		{"what was read of a tenant makes the same one elsewhere", testLoad},
		{"a tenant that is loaded takes the place of what was there, whole or not at all", testLoadOver},
		{"what no tenant can be is not loaded", testLoadMalformed},
		{"one copies to a sink at a time, until it is left or time is over", testSinkTurns},
		{"a sink can be left alone for a while", testSinkPause},
		{"a sink moves from where it is, or not at all", testSinkMoves},
		{"the newest dead letters of a sink are kept", testSinkLetters},
		{"many who copy to one sink are in nobody's way, and skip nothing", testSinkRace},
		{"a sink that could leave its place is refused, and so is a step that goes nowhere", testSinkNames},
		{"tenants never see anything of each other", testTenants},
		{"an unknown tenant is empty", testUnknown},
		{"a tenant or kind that could leave its place is refused", testNames},
		{"a call whose context is over does not work", testContext},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// writer appends to one tenant's log as one process would.
type writer struct {
	t      *testing.T
	store  storage.Store
	tenant ledger.Tenant
	id     string
	next   int64
}

func newWriter(t *testing.T, s storage.Store) *writer {
	return &writer{t: t, store: s, tenant: ledger.NewTenant(), id: ledger.NewID(time.Now()), next: 1}
}

// other is another writer of the same tenant.
func (w *writer) other() *writer {
	o := *w
	o.id, o.next = ledger.NewID(time.Now()), 1
	return &o
}

// commit returns the writer's next commit.
func (w *writer) commit(change ledger.Change, entries ...string) ledger.Commit {
	c := ledger.Commit{Writer: w.id, First: w.next, Change: change}
	for _, entry := range entries {
		c.Entries = append(c.Entries, []byte(entry))
	}
	return c
}

// try commits a change with one entry. Only a commit that was made uses up the counter.
func (w *writer) try(change ledger.Change, entries ...string) (ledger.Position, error) {
	if len(entries) == 0 {
		entries = []string{fmt.Sprintf("%s/%d", w.id, w.next)}
	}
	p, err := w.store.Commit(context.Background(), w.tenant, w.commit(change, entries...))
	if err == nil {
		w.next += int64(len(entries))
	}
	return p, err
}

func (w *writer) do(change ledger.Change, entries ...string) ledger.Position {
	w.t.Helper()
	p, err := w.try(change, entries...)
	if err != nil {
		w.t.Fatalf("commit: %v", err)
	}
	return p
}

func (w *writer) append(entries ...string) ledger.Position {
	w.t.Helper()
	return w.do(ledger.Change{}, entries...)
}

// put replaces one row whatever the revision.
func (w *writer) put(kind, id, value string) ledger.Position {
	w.t.Helper()
	return w.do(ledger.Change{
		Expect: w.position().Revision, Put: []ledger.Row{{Kind: kind, ID: id, Value: []byte(value)}},
	})
}

func (w *writer) position() ledger.Position {
	w.t.Helper()
	return must(w.store.Position(context.Background(), w.tenant))(w.t)
}

func (w *writer) rows(kinds ...string) []string {
	w.t.Helper()
	rows, _, err := w.store.Rows(context.Background(), w.tenant, kinds...)
	if err != nil {
		w.t.Fatal(err)
	}
	texts := []string{}
	for _, row := range rows {
		texts = append(texts, fmt.Sprintf("%s/%s=%s", row.Kind, row.ID, row.Value))
	}
	return texts
}

func (w *writer) events(from int64, limit int) []string {
	w.t.Helper()
	entries := must(w.store.Events(context.Background(), w.tenant, from, limit))(w.t)
	texts := []string{}
	for _, e := range entries {
		texts = append(texts, fmt.Sprintf("%d=%s", e.Index, e.Data))
	}
	return texts
}

func (w *writer) cutoffs(after int64) ([]ledger.Cutoff, ledger.Position) {
	w.t.Helper()
	cutoffs, p, err := w.store.Cutoffs(context.Background(), w.tenant, after)
	if err != nil {
		w.t.Fatal(err)
	}
	return cutoffs, p
}

// unchanged fails unless the tenant stands where it stood.
func (w *writer) unchanged(before ledger.Position) {
	w.t.Helper()
	after := w.position()
	before.Time, after.Time = time.Time{}, time.Time{}
	equal(w.t, after, before)
}

// until reads the tenant until the store's time is after when.
func (w *writer) until(when time.Time) {
	w.t.Helper()
	for !w.position().Time.After(when) {
	}
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func equal[T any](t *testing.T, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func row(kind, id, value string) ledger.Row {
	return ledger.Row{Kind: kind, ID: id, Value: []byte(value)}
}

func testTime(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	last := time.Time{}
	for range 50 {
		for _, step := range []time.Time{w.append().Time, w.position().Time} {
			if step.Before(last) {
				t.Fatalf("%v came after %v", step, last)
			}
			last = step
		}
	}
}

func testTenants(t *testing.T, s storage.Store) {
	base := ledger.NewTenant()
	ids := []ledger.Tenant{base, base + ":row", base + ":row:client", base + "/row", base + ":", base[:len(base)-1]}
	writers := map[ledger.Tenant]*writer{}
	for i, id := range ids {
		w := newWriter(t, s)
		w.tenant, w.id = id, "same-writer"
		writers[id] = w
		w.do(ledger.Change{
			Put: []ledger.Row{row("client", "x", string(id)), row("row", "client", string(id))},
			Cut: slices.Repeat([]ledger.Cut{{Key: ledger.Key{Kind: "client", ID: "x"}, Keep: time.Hour}}, i+1),
		}, string(id))
	}
	for i, id := range ids {
		w := writers[id]
		equal(t, w.events(0, 10), []string{"0=" + string(id)})
		equal(t, w.rows(), []string{"client/x=" + string(id), "row/client=" + string(id)})
		cutoffs, p := w.cutoffs(0)
		if len(cutoffs) != 1 || p.Cutoffs != int64(i+1) || p.Revision != 1 || p.Index != 1 {
			t.Fatalf("tenant %s: %+v %+v", id, cutoffs, p)
		}
		if !must(s.Claim(context.Background(), id, "shared", time.Now().Add(time.Hour)))(t) {
			t.Fatalf("tenant %s: another one's claim is in its way", id)
		}
	}
}

func testUnknown(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	p := w.position()
	if p.Time.IsZero() {
		t.Fatal("the position has no time")
	}
	p.Time = time.Time{}
	equal(t, p, ledger.Position{})
	equal(t, w.rows(), []string{})
	equal(t, w.rows("client"), []string{})
	equal(t, w.events(0, 10), []string{})
	cutoffs, _ := w.cutoffs(0)
	equal(t, len(cutoffs), 0)
}

func testNames(t *testing.T, s storage.Store) {
	ctx := context.Background()
	for _, tenant := range []ledger.Tenant{"", "{a}", "a}:row:client{", ledger.Tenant(make([]byte, 1000))} {
		w := newWriter(t, s)
		w.tenant = tenant
		_, committed := w.try(ledger.Change{})
		_, position := s.Position(ctx, tenant)
		_, _, rows := s.Rows(ctx, tenant)
		_, _, cutoffs := s.Cutoffs(ctx, tenant, 0)
		_, events := s.Events(ctx, tenant, 0, 1)
		_, claim := s.Claim(ctx, tenant, "k", time.Now())
		for i, err := range []error{committed, position, rows, cutoffs, events, claim} {
			if err == nil {
				t.Errorf("call %d accepts tenant %q", i, tenant)
			}
		}
	}
	for _, kind := range []string{"", "a/b", "a:b", "A", "{a}", "a\x00"} {
		w := newWriter(t, s)
		if _, err := w.try(ledger.Change{Put: []ledger.Row{row(kind, "x", "1")}}); err == nil {
			t.Errorf("kind %q can be put", kind)
		}
		if _, _, err := s.Rows(ctx, w.tenant, kind); err == nil {
			t.Errorf("kind %q can be read", kind)
		}
	}
}

func testContext(t *testing.T, s storage.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w := newWriter(t, s)
	_, committed := s.Commit(ctx, w.tenant, w.commit(ledger.Change{}, "e"))
	_, position := s.Position(ctx, w.tenant)
	_, _, rows := s.Rows(ctx, w.tenant)
	_, _, cutoffs := s.Cutoffs(ctx, w.tenant, 0)
	_, events := s.Events(ctx, w.tenant, 0, 1)
	_, claim := s.Claim(ctx, w.tenant, "k", time.Now())
	for _, err := range []error{committed, position, rows, cutoffs, events, claim} {
		is(t, err, fault.ErrUnavailable)
	}
	equal(t, w.append("another").Index, int64(0))
}
