package tree_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/storage"
)

func TestALogThatSeveralProcessesWriteVerifies(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		processes := []*process{w.start(), w.start(), w.start()}
		var group sync.WaitGroup
		for _, p := range processes {
			group.Go(func() {
				for range 8 {
					p.append(50)
				}
			})
		}
		group.Wait()
		size := processes[0].head().Size
		if want := int64(3*400 + 5); size != want { // each starts, and one of them began the log
			t.Errorf("the head covers %d entries, want %d", size, want)
		}
		processes[1].passes(size)
		for _, p := range processes {
			p.stop()
		}
		w.start().passes(size + 3) // and each says that it ends
	})
}

// A checkpoint and the proofs are good for who knows golang.org/x/mod/sumdb alone.
func TestProofsAreThoseOfThePublicFormats(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(600)
		older := p.head()
		p.append(700)
		newer := p.head()
		verifier, err := note.NewVerifier(p.vkeys()[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range []ledger.Head{older, newer} {
			n, err := note.Open(h.Note, note.VerifierList(verifier))
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("sts.example/t/acme/log\n%d\n%s\n", h.Size, tlog.Hash(h.Root)); n.Text != want {
				t.Errorf("the checkpoint says %q, want %q", n.Text, want)
			}
		}
		grown, err := p.trees.Consistency(t.Context(), w.origin, older.Size, newer.Size)
		if err == nil {
			err = tlog.CheckTree(grown, newer.Size, newer.Root, older.Size, older.Root)
		}
		if err != nil {
			t.Error(err)
		}
		for _, index := range []int64{0, 1, 255, 256, 511, 600, newer.Size - 1} {
			entries, err := w.store.Events(t.Context(), w.origin.Tenant, index, 1)
			if err != nil {
				t.Fatal(err)
			}
			proof, h, err := p.trees.Inclusion(t.Context(), w.origin, index)
			if err == nil {
				err = tlog.CheckRecord(proof, h.Size, h.Root, index, tlog.RecordHash(entries[0].Data))
			}
			if err != nil {
				t.Errorf("entry %d: %v", index, err)
			}
		}
	})
}

// heads is a store that keeps each head that was stored.
type heads struct {
	storage.Store
	mu  sync.Mutex
	all []ledger.Head
}

func (s *heads) Advance(ctx context.Context, t ledger.Tenant, step ledger.Step) error {
	err := s.Store.Advance(ctx, t, step)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, step.To)
	}
	return err
}

func TestNoForkIsEverSigned(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		s := &heads{Store: w.store}
		var processes []*process
		for range 4 {
			processes = append(processes, w.startOn(s, w.anchors))
		}
		var group sync.WaitGroup
		for _, p := range processes {
			group.Go(func() {
				for range 150 {
					if err := p.try(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		processes[0].head()
		entries, err := w.store.Events(t.Context(), w.origin.Tenant, 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var edge auditor.Edge
		roots := map[int64]tlog.Hash{}
		for _, e := range entries {
			edge.Append(tlog.RecordHash(e.Data))
			roots[edge.Size()] = edge.Root()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		sizes := map[int64]bool{}
		for _, h := range s.all {
			if roots[h.Size] != tlog.Hash(h.Root) || sizes[h.Size] {
				t.Errorf("a head of %d entries is another one than that of the log, or was stored twice", h.Size)
			}
			sizes[h.Size] = true
		}
		conflicts := int64(0)
		for _, p := range processes {
			conflicts += p.trees.Stats().Conflicts
		}
		t.Logf("%d heads, %d lost races", len(s.all), conflicts)
		if len(s.all) < 2 {
			t.Error("there were too few heads for a race")
		}
	})
}

// stubborn is a store whose heads cannot be moved while it is told so.
type stubborn struct {
	storage.Store
	mu     sync.Mutex
	broken bool
}

func (s *stubborn) set(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

func (s *stubborn) Advance(ctx context.Context, t ledger.Tenant, step ledger.Step) error {
	s.mu.Lock()
	broken := s.broken
	s.mu.Unlock()
	if broken {
		return fmt.Errorf("made to fail: %w", fault.ErrUnavailable)
	}
	return s.Store.Advance(ctx, t, step)
}

func TestNothingIsIssuedWhenHeadsStayAway(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		s := &stubborn{Store: w.store, broken: true}
		p := w.startOn(s, w.anchors)
		p.append(10_000)
		err := p.try()
		if !errors.Is(err, fault.ErrUnavailable) {
			t.Fatalf("with 10,000 events without a head: %v", err)
		}
		_, err = p.log.Change(t.Context(), w.origin,
			ledger.Change{Cut: []ledger.Cut{{Key: ledger.Key{Kind: "run", ID: "r"}, Keep: time.Hour}}},
			audit.Event{Name: audit.CutoffSet, Body: audit.Body{Outcome: audit.Allowed}})
		if err != nil {
			t.Errorf("a revocation: %v", err)
		}
		s.set(false)
		p.head()
		if err := p.try(); err != nil {
			t.Errorf("when heads can be stored again: %v", err)
		}
	})
}

func TestAnEventIsCoveredWithoutBeingAskedFor(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(3)
		for p.trees.Seen(w.origin.Tenant) < 5 {
			time.Sleep(time.Millisecond) // nothing announces a head inside a process
		}
		if s := p.trees.Stats(); s.Uncovered != 0 || s.Oldest != 0 || s.Heads == 0 || s.Halted != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What a process that died left uncovered is covered by the next.
func TestWhatWasLeftUncoveredIsCoveredLater(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		s := &stubborn{Store: w.store, broken: true}
		p := w.startOn(s, w.anchors)
		p.append(300)
		p.kill()
		next := w.start()
		if err := next.try(); err != nil {
			t.Fatal(err)
		}
		next.passes(305)
	})
}

func TestWhatTheTreeDoesNotHave(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(600)
		ctx, id := t.Context(), w.origin.Tenant
		p.head()
		if err := w.store.Prune(ctx, id, 256); err != nil {
			t.Fatal(err)
		}
		p = w.start()
		pruned := audit.Event{Name: audit.AuditPrune, Body: audit.Body{Outcome: audit.Allowed,
			Range: audit.Range{Count: 256}}}
		if _, err := p.log.Append(ctx, w.origin, pruned); err != nil {
			t.Fatal(err)
		}
		size := p.head().Size
		is := func(what string, err error, kind fault.Kind) {
			t.Helper()
			if err == nil || fault.As(err).Kind != kind {
				t.Errorf("%s: got %v, want %v", what, err, kind)
			}
		}
		for what, call := range map[string]func() error{
			"a tile":   func() error { _, err := p.trees.Tile(ctx, id, 0, 0, 256); return err },
			"a bundle": func() error { _, err := p.trees.Entries(ctx, id, 0, 256); return err },
			"a proof":  func() error { _, _, err := p.trees.Inclusion(ctx, w.origin, 7); return err },
			"a step":   func() error { _, err := p.trees.Consistency(ctx, w.origin, 200, size); return err },
		} {
			is(what+" that was pruned", call(), fault.Gone)
		}
		for what, call := range map[string]func() error{
			"a tile":           func() error { _, err := p.trees.Tile(ctx, id, 0, 2, 256); return err },
			"a level":          func() error { _, err := p.trees.Tile(ctx, id, 8, 0, 1); return err },
			"a far tile":       func() error { _, err := p.trees.Tile(ctx, id, 7, 1<<60, 1); return err },
			"a high tile":      func() error { _, err := p.trees.Tile(ctx, id, 2, 0, 1); return err },
			"a bundle":         func() error { _, err := p.trees.Entries(ctx, id, 3, 1); return err },
			"a far bundle":     func() error { _, err := p.trees.Entries(ctx, id, 1<<62, 256); return err },
			"a proof":          func() error { _, _, err := p.trees.Inclusion(ctx, w.origin, size); return err },
			"a step":           func() error { _, err := p.trees.Consistency(ctx, w.origin, 300, size+1); return err },
			"a negative proof": func() error { _, _, err := p.trees.Inclusion(ctx, w.origin, -1); return err },
		} {
			is(what+" that is not there", call(), fault.NotFound)
		}
		_, err := p.trees.Consistency(ctx, w.origin, 0, size)
		is("a step from nothing", err, fault.InvalidRequest)
		p.append(10)
		p.passes(size + 10)
	})
}

// A process that was not told that a key was revoked goes on with what another signed by the next one.
func TestTheKeyOfCheckpointsIsReplaced(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p, other := w.start(), w.start()
		p.append(10)
		other.append(10)
		before := other.head()
		old := p.vkeys()
		rows, at, err := w.store.Rows(t.Context(), w.origin.Tenant)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := keys.OpenLog(w.master, w.origin.Tenant, rows)
		if err != nil {
			t.Fatal(err)
		}
		var put []ledger.Row
		for _, k := range ring.Keys() {
			if k.Use == keys.Checkpoints {
				put, err = ring.Revoke(k.ID, time.Now())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.log.Change(t.Context(), w.origin, ledger.Change{Expect: at.Revision, Put: put}, event(1))
		if err != nil {
			t.Fatal(err)
		}
		revoked, err := note.NewVerifier(old[0])
		if err != nil {
			t.Fatal(err)
		}
		other.append(1)
		if _, _, err := auditor.OpenCheckpoint(other.head().Note, revoked); err == nil {
			t.Error("the revoked key has signed a checkpoint")
		}
		other.passes(other.head().Size)
		both := append(other.vkeys(), old...)
		if r := w.verify(other.export(), both, before.Note); !r.Passed() {
			t.Errorf("with the key that was revoked for the old checkpoint: %+v", r.Findings)
		}
		if r := w.verify(other.export(), old); r.Passed() {
			t.Error("the log verifies by the revoked key")
		}
	})
}

func TestAnchorsAreKept(t *testing.T) {
	f := tree.Folder(t.TempDir() + "/made/later")
	if h, err := f.Load("t1"); err != nil || h.Epoch != 0 {
		t.Errorf("nothing was saved: %+v, %v", h, err)
	}
	want := ledger.Head{Epoch: 1, Size: 9, Root: [32]byte{1}, Note: []byte("n")}
	older := want
	older.Size--
	for _, h := range []ledger.Head{want, older} {
		if err := f.Save("t1", h); err != nil {
			t.Fatal(err)
		}
	}
	if h, err := f.Load("t1"); err != nil || !h.Same(want) {
		t.Errorf("got %+v, %v", h, err)
	}
	restarted := ledger.Head{Epoch: 2, Size: 3}
	if err := f.Save("t1", restarted); err != nil {
		t.Fatal(err)
	}
	if h, err := f.Load("t1"); err != nil || !h.Same(restarted) {
		t.Errorf("got %+v, %v", h, err)
	}
}
