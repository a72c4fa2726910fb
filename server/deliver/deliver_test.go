package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/deliver"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// TestEverySinkIsGivenEveryEventInOrder: those that were there before, those that come, and those of a new tenant.
func TestEverySinkIsGivenEveryEventInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme, platform := w.log("acme"), w.log("")
		w.append(acme, names(300)...)
		var a, b receiver
		d := w.start(w.config(deliver.Target{Name: "a", Sink: &a, All: true, Platform: true},
			deliver.Target{Name: "b", Sink: &b, All: true, Platform: true}))
		w.append(platform, names(2)...)
		w.append(acme, names(40)...)
		globex := w.log("globex")
		w.append(globex, names(3)...)
		for _, sink := range []string{"a", "b"} {
			w.stands(sink, acme, 340)
			w.stands(sink, platform, 2)
			w.stands(sink, globex, 3)
		}
		w.stop(d)
		for l, n := range map[deliver.Log]int64{acme: 340, platform: 2, globex: 3} {
			for _, r := range []*receiver{&a, &b} {
				if got := r.has(origin(l)); !slices.Equal(got, upTo(n)) {
					t.Errorf("of %q was given %v", l.Slug, got)
				}
			}
		}
		for _, s := range d.Status() {
			if s.Behind != 0 || s.Waiting != 0 || s.Delivered != 345 || s.Retries != 0 || s.Dead != 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}

// TestARestartGoesOnWhereTheSinkStands: nothing is given twice after an orderly end.
func TestARestartGoesOnWhereTheSinkStands(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		var all receiver
		for n := int64(1); n <= 4; n++ {
			d := w.start(w.config(deliver.Target{Name: "a", Sink: &all, All: true}))
			w.append(acme, names(10)...)
			w.stands("a", acme, 10*n)
			w.stop(d)
		}
		if got := all.has(origin(acme)); !slices.Equal(got, upTo(40)) {
			t.Errorf("given was %v", got)
		}
	})
}

// TestATargetIsGivenWhatItWants by tenant, by name and by the beginning of a name, and the rest is passed over.
func TestATargetIsGivenWhatItWants(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme, globex, platform := w.log("acme"), w.log("globex"), w.log("")
		var one, some, tenants receiver
		w.start(w.config(
			deliver.Target{Name: "one", Sink: &one, Tenants: []string{"acme"}},
			deliver.Target{Name: "some", Sink: &some, All: true, Platform: true,
				Events: []string{"admin.", "token.revoke", "cutoff"}},
			deliver.Target{Name: "tenants", Sink: &tenants, All: true}))
		kinds := []string{"token.exchange", "admin.client.create", "token.revoke", "cutoff.set", "token.revoked"}
		for _, l := range []deliver.Log{acme, globex, platform} {
			w.append(l, kinds...)
			w.stands("some", l, 5)
		}
		w.stands("one", acme, 5)
		w.stands("tenants", globex, 5)
		for r, want := range map[*receiver]string{
			&one:     "[0 1 2 3 4] [] []",
			&some:    "[1 2] [1 2] [1 2]",
			&tenants: "[0 1 2 3 4] [0 1 2 3 4] []",
		} {
			if got := fmt.Sprint(r.has(origin(acme)), r.has(origin(globex)), r.has(origin(platform))); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

// TestOnlyWhatACheckpointCoversIsGiven: the rest comes when it is covered.
func TestOnlyWhatACheckpointCoversIsGiven(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		var a receiver
		w.uncover[acme.Tenant] = 3
		w.append(acme, names(10)...)
		w.start(w.config(deliver.Target{Name: "a", Sink: &a, All: true}))
		w.stands("a", acme, 7)
		w.append(acme, names(1)...)
		w.stands("a", acme, 8)
		w.mu.Lock()
		w.uncover[acme.Tenant] = 0
		w.mu.Unlock()
		w.tell(acme)
		w.stands("a", acme, 11)
		if got := a.has(origin(acme)); !slices.Equal(got, upTo(11)) {
			t.Errorf("given was %v", got)
		}
	})
}

// TestALogInAnotherEpochIsGivenFromItsBeginning: its origin is another one, so that
// nothing is taken for what it is not.
func TestALogInAnotherEpochIsGivenFromItsBeginning(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		var a receiver
		w.append(acme, names(10)...)
		w.start(w.config(deliver.Target{Name: "a", Sink: &a, All: true}))
		w.stands("a", acme, 10)
		w.mu.Lock()
		w.epochs[acme.Tenant], w.uncover[acme.Tenant] = 2, 4 // the store lost four events
		w.mu.Unlock()
		w.tell(acme)
		w.stands("a", acme, 6)
		if got := a.has(origin(acme) + "/e2"); !slices.Equal(got, upTo(6)) {
			t.Errorf("given was %v", got)
		}
		if s, err := w.store.Sink(ctx, acme.Tenant, "a"); err != nil || s.Next != (ledger.Mark{Epoch: 2, Index: 6}) {
			t.Errorf("%+v %v", s, err)
		}
	})
}

// TestWhatWasPrunedIsMissedAloud by a sink that had begun; a new one begins where the log does.
func TestWhatWasPrunedIsMissedAloud(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		var a, late receiver
		var said said
		d := w.start(w.logged(&said, deliver.Target{Name: "a", Sink: &a, All: true}))
		w.append(acme, names(2)...)
		w.stands("a", acme, 2)
		w.stop(d)
		w.write(acme, names(8)...)
		w.first[acme.Tenant] = 5
		w.start(w.logged(&said, deliver.Target{Name: "a", Sink: &a, All: true},
			deliver.Target{Name: "late", Sink: &late, All: true}))
		w.stands("a", acme, 10)
		w.stands("late", acme, 10)
		if got := a.has(origin(acme)); !slices.Equal(got, []int64{0, 1, 5, 6, 7, 8, 9}) {
			t.Errorf("given was %v", got)
		}
		if got := late.has(origin(acme)); !slices.Equal(got, []int64{5, 6, 7, 8, 9}) {
			t.Errorf("a new sink was given %v", got)
		}
		if text := said.text(); !strings.Contains(text, "pruned before a sink had them") ||
			!strings.Contains(text, "from=2 count=3") || strings.Contains(text, "sink=late") {
			t.Errorf("the log says %s", text)
		}
	})
}

// said keeps what was logged.
type said struct {
	mu   sync.Mutex
	data []byte
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = append(s.data, p...)
	return len(p), nil
}

func (s *said) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.data)
}

func (w *world) logged(s *said, targets ...deliver.Target) deliver.Config {
	cfg := w.config(targets...)
	cfg.Logger = slog.New(slog.NewTextHandler(s, nil))
	return cfg
}

// TestAFailingSinkIsGivenTheSameAgain until it takes it, and what it took is not given again. It is said once.
func TestAFailingSinkIsGivenTheSameAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme, globex := w.log("acme"), w.log("globex")
		var said said
		var flaky receiver
		attempts := 0
		flaky.before = func(b deliver.Batch) (int, error) {
			if attempts++; b.Log == acme && attempts < 20 {
				return min(attempts%3, len(b.Events)), errors.New("out of order")
			}
			return len(b.Events), nil
		}
		d := w.start(w.logged(&said, deliver.Target{Name: "a", Sink: &flaky, All: true}))
		w.append(acme, names(30)...)
		w.append(globex, names(30)...)
		w.stands("a", acme, 30)
		w.stands("a", globex, 30)
		for _, l := range []deliver.Log{acme, globex} {
			if got := flaky.has(origin(l)); !slices.Equal(got, upTo(30)) {
				t.Errorf("of %s was given %v", l.Slug, got)
			}
		}
		if n := strings.Count(said.text(), "does not take events"); n != 1 || !strings.Contains(said.text(), "out of order") {
			t.Errorf("the log says %s", said.text())
		}
		if s := d.Status()[0]; s.Retries == 0 || s.Delivered != 60 {
			t.Errorf("%+v", s)
		}
		w.stop(d)
	})
}

// TestARefusedEventBecomesADeadLetter and the next ones are given.
func TestARefusedEventBecomesADeadLetter(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		var picky receiver
		picky.before = func(b deliver.Batch) (int, error) {
			for i, e := range b.Events {
				if e.Index%4 == 2 {
					return i, &deliver.Refused{Code: "invalid_key"}
				}
			}
			return len(b.Events), nil
		}
		d := w.start(w.config(deliver.Target{Name: "a", Sink: &picky, All: true}))
		w.append(acme, names(9)...)
		w.stands("a", acme, 9)
		if got := picky.has(origin(acme)); !slices.Equal(got, []int64{0, 1, 3, 4, 5, 7, 8}) {
			t.Errorf("given was %v", got)
		}
		s, err := w.store.Sink(ctx, acme.Tenant, "a")
		if err != nil || s.Dead != 2 || len(s.Letters) != 2 || s.Letters[0].Index != 2 || s.Letters[1].Index != 6 ||
			s.Letters[0].Code != "invalid_key" || s.Letters[0].At.IsZero() {
			t.Errorf("%+v %v", s, err)
		}
		w.stop(d)
		if s := d.Status()[0]; s.Dead != 2 || s.Delivered != 7 || s.Retries != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestAReceiverIsLeftAloneAsLongAsItAsks by every process, and within bounds.
func TestAReceiverIsLeftAloneAsLongAsItAsks(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for asked, want := range map[time.Duration]time.Duration{
			2 * time.Minute: 2 * time.Minute, 24 * time.Hour: 5 * time.Minute, -time.Hour: time.Second,
		} {
			acme := w.log("acme")
			busy := receiver{before: func(deliver.Batch) (int, error) {
				return 0, &deliver.Later{After: asked, Err: errors.New("busy")}
			}}
			cfg := w.config(deliver.Target{Name: "a", Sink: &busy, All: true})
			first, second := w.start(cfg), w.start(cfg)
			w.append(acme, "token.exchange")
			var s ledger.Sink
			w.eventually(func() (err error) {
				if s, err = w.store.Sink(ctx, acme.Tenant, "a"); err == nil && (s.Owner != "" || s.Wait == 0) {
					err = errors.New("it is not left alone")
				}
				return err
			})
			if s.Wait > want || s.Wait < want*9/10-time.Second/2 {
				t.Errorf("asked for %v, it is left alone for %v", asked, s.Wait)
			}
			w.stop(first)
			w.stop(second)
		}
	})
}

// TestNewsDoNotWakeASinkThatRests: a busy log does not make a process ask the store for a turn all the time.
func TestNewsDoNotWakeASinkThatRests(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		var asked atomic.Int64
		busy := receiver{before: func(deliver.Batch) (int, error) {
			asked.Add(1)
			return 0, &deliver.Later{After: time.Minute, Err: errors.New("busy")}
		}}
		counted := storagetest.Failing(w.store)
		cfg := w.config(deliver.Target{Name: "a", Sink: &busy, All: true})
		cfg.Store = counted
		d := w.start(cfg)
		w.append(acme, "token.exchange")
		w.eventually(func() error {
			if d.Status()[0].Waiting == 0 {
				return errors.New("it does not rest")
			}
			return nil
		})
		counted.Mend() // counts from here on
		for range 100 {
			w.append(acme, "token.exchange")
		}
		w.stop(d)
		turns := 0
		for _, op := range counted.Calls() {
			if op == storagetest.TakeSink {
				turns++
			}
		}
		if turns > 0 || asked.Load() != 1 {
			t.Errorf("it took %d turns, and asked %d times", turns, asked.Load())
		}
	})
}

// TestTheStoreMayFailAtAnyStep: nothing is skipped, and what is given twice begins again before what was not given.
func TestTheStoreMayFailAtAnyStep(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for _, mode := range []storagetest.Mode{storagetest.NotApplied, storagetest.Applied} {
			for call := 1; call <= 12; call++ {
				acme := w.log(fmt.Sprintf("acme-%d-%d", mode, call))
				w.write(acme, names(3)...)
				faulty := storagetest.Failing(w.store)
				faulty.Break(call, 1, mode)
				var a receiver
				a.before = func(b deliver.Batch) (int, error) { return 1, nil } // so that there are several steps
				cfg := w.config(deliver.Target{Name: "a", Sink: &a, Tenants: []string{acme.Slug}})
				cfg.Store = faulty
				d := w.start(cfg)
				w.stands("a", acme, 3)
				w.stop(d)
				if err := gapless(a.has(origin(acme)), 3); err != nil {
					t.Errorf("call %d in mode %d: %v", call, mode, err)
				}
			}
		}
	})
}

// gapless reports whether what was given has every event below n, and each after those before it.
func gapless(given []int64, n int64) error {
	next := int64(0)
	for _, index := range given {
		if index > next {
			return fmt.Errorf("event %d was skipped: %v", next, given)
		}
		next = max(next, index+1)
	}
	if next != n {
		return fmt.Errorf("only %d of %d were given: %v", next, n, given)
	}
	return nil
}

// TestSeveralProcessesShareASink: they take turns, skip nothing, keep the order, and take over from one
// that is cut off.
func TestSeveralProcessesShareASink(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		logs := []deliver.Log{w.log("acme"), w.log("globex"), w.log("")}
		var shared receiver
		target := deliver.Target{Name: "shared", Sink: &shared, All: true, Platform: true}
		w.start(w.config(target))
		w.start(w.config(target))
		cut := storagetest.Failing(w.store)
		cfg := w.config(target)
		cfg.Store, cfg.Lease = cut, 300*time.Millisecond
		w.start(cfg)
		for round := range 30 {
			for _, l := range logs {
				w.append(l, names(1+round%5)...)
			}
			if round == 15 { // from here on it holds what it holds, and cannot say so
				for _, op := range []storagetest.Op{storagetest.TakeSink, storagetest.MoveSink, storagetest.Sink} {
					cut.Set(op, storagetest.NotApplied)
				}
			}
		}
		for _, l := range logs {
			n := w.writers[l.Tenant]
			w.stands("shared", l, n)
			if err := gapless(shared.has(origin(l)), n); err != nil {
				t.Errorf("%q: %v", l.Slug, err)
			}
		}
	})
}

// TestADeadSinkDelaysNobody: neither who records, nor the other sinks, nor the end.
func TestADeadSinkDelaysNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		hangs := hanging{entered: make(chan struct{}, 100)}
		var a receiver
		d := w.start(w.config(deliver.Target{Name: "dead", Sink: hangs, All: true},
			deliver.Target{Name: "a", Sink: &a, All: true}))
		w.append(acme, "token.exchange")
		<-hangs.entered
		w.append(acme, names(200)...)
		w.stands("a", acme, 201)
		w.mu.Lock()
		w.running = nil // it is closed here
		w.mu.Unlock()
		if s := d.Status()[0]; s.Behind != 201 || s.Delivered != 0 {
			t.Errorf("%+v", s)
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		if err := d.Close(over); err != nil {
			t.Error(err)
		}
	})
}

// hanging is a sink that answers nothing until it is given up.
type hanging struct{ entered chan struct{} }

func (h hanging) Give(ctx context.Context, _ deliver.Batch) (int, error) {
	h.entered <- struct{}{}
	<-ctx.Done()
	return 0, ctx.Err()
}

func (hanging) Close() error { return nil }

// TestASourceThatLacksWhatIsCoveredIsTriedAgain and nothing is skipped.
func TestASourceThatLacksWhatIsCoveredIsTriedAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		w.append(acme, names(5)...)
		var a receiver
		var said said
		cfg := w.logged(&said, deliver.Target{Name: "a", Sink: &a, All: true})
		holes := &holed{Source: w, hole: 2}
		cfg.Source = holes
		w.start(cfg)
		w.eventually(func() error {
			if !strings.Contains(said.text(), "event 2 is covered by a checkpoint and is not there") {
				return errors.New("nobody says that there is a hole")
			}
			return nil
		})
		w.stands("a", acme, 2)
		holes.mu.Lock()
		holes.hole = -1
		holes.mu.Unlock()
		w.stands("a", acme, 5)
		if got := a.has(origin(acme)); !slices.Equal(got, upTo(5)) {
			t.Errorf("given was %v", got)
		}
	})
}

// holed is a source without one of its events.
type holed struct {
	deliver.Source
	mu   sync.Mutex
	hole int64
}

func (h *holed) Read(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]deliver.Record, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	records, err := h.Source.Read(ctx, t, from, limit)
	return slices.DeleteFunc(records, func(r deliver.Record) bool { return r.Index == h.hole }), err
}
