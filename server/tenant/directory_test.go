package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

func newSources(w *servertest.World) *identity.Sources {
	s := identity.NewSources(identity.Config{Now: w.Clock.Now})
	w.T.Cleanup(s.Close)
	return s
}

// TestATenantThatIsAddedHereIsKnownAtOnce: the list of all tenants is not read again for one that this process added,
// and is read if somebody else added one meanwhile.
func TestATenantThatIsAddedHereIsKnownAtOnce(t *testing.T) {
	servertest.EachStore(t, func(t *testing.T, w *servertest.World) {
		w.Create(servertest.Acme())
		know := func(slugs ...string) (reads int) {
			t.Helper()
			w.Store.Mend()
			all, _, err := w.Directory.TenantsAt(t.Context())
			if got := slices.Sorted(maps.Keys(all)); err != nil || !slices.Equal(got, slugs) {
				t.Errorf("known are %q: %v", got, err)
			}
			for _, op := range w.Store.Calls() {
				if op == storagetest.Rows {
					reads++
				}
			}
			return reads
		}
		know("acme")
		e, at := w.Enroll("first", ledger.NewTenant())
		w.Directory.Enrolled("first", e, at)
		if reads := know("acme", "first"); reads != 0 {
			t.Errorf("the list was read %d times for a tenant of our own", reads)
		}
		w.Enroll("stranger", ledger.NewTenant())
		e, at = w.Enroll("second", ledger.NewTenant())
		w.Directory.Enrolled("second", e, at)
		if reads := know("acme", "first", "second", "stranger"); reads != 1 {
			t.Errorf("the list was read %d times after a stranger's", reads)
		}
	})
}

// TestTwoProcesses: what one changes, the other has as soon as it asks for it.
func TestTwoProcesses(t *testing.T) {
	servertest.EachStore(t, func(t *testing.T, w *servertest.World) {
		w.Create(servertest.Acme())
		other := w.Start().Directory
		ctx := t.Context()
		old, err := other.View(ctx, "acme")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := other.Fresh(ctx, "acme"); again != old || err != nil {
			t.Errorf("nothing changed, and the view did: %v", err)
		}
		w.Apply(servertest.Acme("refunds.delete]}", "refunds.delete], disabled: true}"), false)
		p := w.Cut("acme", "client", "ap-bot", true)
		if v, err := other.View(ctx, "acme"); v != old || err != nil {
			t.Errorf("View asked the store: %v", err)
		}
		if old.Covers(p) {
			t.Error("the old view says that it covers the change")
		}
		v, err := other.At(ctx, "acme", p)
		if err != nil || !v.Covers(p) || v.Revision != p.Revision || v.Cutoffs.Seq != p.Cutoffs {
			t.Fatalf("At gave %+v, want %+v: %v", v.Revision, p, err)
		}
		tool, _ := v.Tools.Named("payments")
		_, cut := v.Cutoffs.Disabled(ledger.Key{Kind: "client", ID: "ap-bot"})
		if !tool.Disabled || !cut {
			t.Errorf("the new view has the tool disabled %v and the client %v", tool.Disabled, cut)
		}
		if tool, _ := old.Tools.Named("payments"); tool.Disabled {
			t.Error("the old view changed")
		}
		w.Cut("acme", "client", "other-bot", false)
		after, err := other.Fresh(ctx, "acme")
		if err != nil || after.World != v.World || after.Cutoffs == v.Cutoffs {
			t.Errorf("a cutoff changed the configuration, or not the cutoffs: %v", err)
		}
		if _, still := after.Cutoffs.Disabled(ledger.Key{Kind: "client", ID: "ap-bot"}); !still {
			t.Error("an earlier cutoff was lost")
		}
		_, err = other.At(ctx, "acme", ledger.Position{Revision: p.Revision + 100})
		if fault.As(err).Kind != fault.Unavailable {
			t.Errorf("a position that the store does not have: %v", err)
		}
		w.Create(servertest.Globex())
		w.Clock.Advance(time.Second)
		if v, err := other.View(ctx, "globex"); err != nil || v.ID == old.ID || v.Issuer != servertest.BaseURL+"/t/globex" {
			t.Errorf("a tenant that another process created: %v", err)
		}
		if got := sorted(other.Loaded()); !slices.Equal(got, []string{"acme", "globex"}) {
			t.Errorf("loaded %q", got)
		}
	})
}

// counting counts the reads of the platform's tenants, and can hold them up.
type counting struct {
	tenant.Store
	reads atomic.Int64
	hold  chan struct{}
}

func (c *counting) Rows(ctx context.Context, t ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position, error) {
	if t == ledger.Platform {
		c.reads.Add(1)
		if c.hold != nil {
			<-c.hold
		}
	}
	return c.Store.Rows(ctx, t, kinds...)
}

func countingWorld(t *testing.T) (*servertest.World, *counting) {
	t.Helper()
	c := new(counting)
	w := servertest.New(t, servertest.Options{WrapTenant: func(s tenant.Store) tenant.Store {
		if c.Store != nil {
			return &counting{Store: s}
		}
		c.Store = s
		return c
	}})
	return w, c
}

func TestGuessingSlugsCostsTheStoreNothing(t *testing.T) {
	w, c := countingWorld(t)
	w.Create(servertest.Acme())
	before := c.reads.Load()
	began := time.Now()
	for i := range 1000 {
		if _, err := w.Directory.View(t.Context(), fmt.Sprintf("guess-%d", i)); fault.As(err).Kind != fault.NotFound {
			t.Fatal(err)
		}
	}
	if got, most := c.reads.Load()-before, 1+int64(time.Since(began)/(100*time.Millisecond)); got > most {
		t.Errorf("1000 guesses cost %d reads, at most %d", got, most)
	}
	before = c.reads.Load()
	w.Clock.Advance(time.Second)
	for _, slug := range []string{"", "..", "A", "a/b", "a\x00", strings.Repeat("a", 64), "a%2f"} {
		if _, err := w.Directory.View(t.Context(), slug); fault.As(err).Kind != fault.NotFound || c.reads.Load() != before {
			t.Errorf("%q cost a read, or was found: %v", slug, err)
		}
	}
}

// Everybody who asks for a tenant while a process starts finds it.
func TestNobodyIsTurnedAwayWhileTheDirectoryIsRead(t *testing.T) {
	w, c := countingWorld(t)
	w.Create(servertest.Acme())
	together(t, w, c, func(d *tenant.Directory) error {
		_, err := d.View(t.Context(), "acme")
		return err
	})
}

// Wrong tokens of the platform have to be looked up like right ones, but not each on its own.
func TestThoseWhoSignInTogetherShareARead(t *testing.T) {
	w, c := countingWorld(t)
	together(t, w, c, func(d *tenant.Directory) error {
		_, err := d.PlatformOperators(t.Context())
		return err
	})
}

// together has twenty ask a new process while its first read waits; no call may fail, and they share two reads.
func together(t *testing.T, w *servertest.World, c *counting, ask func(*tenant.Directory) error) {
	t.Helper()
	fresh := &counting{Store: c.Store, hold: make(chan struct{})}
	d := tenant.NewDirectory(tenant.Config{Store: fresh, Master: w.Master, Sources: newSources(w),
		BaseURL: servertest.BaseURL, Now: w.Clock.Now})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := ask(d); err != nil {
				t.Error(err)
			}
		})
	}
	for fresh.reads.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(5 * time.Millisecond) // the others come while the first waits
	close(fresh.hold)
	all.Wait()
	if got := fresh.reads.Load(); got > 2 {
		t.Errorf("read %d times", got)
	}
}

func TestWhatCannotBeReadAllowsNothing(t *testing.T) {
	w := newAcme(t)
	v, err := w.Directory.Fresh(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	good, _ := v.Row(tenant.KindTool, "payments")
	for name, value := range map[string]string{"not JSON": "{",
		"a mistake":    `{"name":"payments","resource":"x","actions":["a"]}`,
		"another type": `{"name":7}`} {
		w.Commit("acme", ledger.Change{Expect: v.Revision,
			Put: []ledger.Row{{Kind: tenant.KindTool, ID: "payments", Value: []byte(value)}}})
		if _, err := w.Directory.Fresh(t.Context(), "acme"); fault.As(err).Kind != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := w.Start().Directory.View(t.Context(), "acme"); fault.As(err).Kind != fault.Unavailable {
			t.Errorf("%s, in a new process: %v", name, err)
		}
		p, err := w.Store.Position(t.Context(), w.ID("acme"))
		if err != nil {
			t.Fatal(err)
		}
		w.Commit("acme", ledger.Change{Expect: p.Revision,
			Put: []ledger.Row{{Kind: tenant.KindTool, ID: "payments", Value: good}}})
		if _, err = w.Directory.View(t.Context(), "acme"); err != nil {
			t.Errorf("mended, and not looked at again: %v", err)
		}
		if v, err = w.Directory.Fresh(t.Context(), "acme"); err != nil {
			t.Fatalf("mended, and still %v", err)
		}
	}
	other, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	d := tenant.NewDirectory(tenant.Config{Store: w.Store, Master: other, Sources: newSources(w),
		BaseURL: servertest.BaseURL})
	if _, err := d.View(t.Context(), "acme"); fault.As(err).Kind != fault.Unavailable {
		t.Errorf("with another master key: %v", err)
	}
}

func TestAStoreThatIsDownIsUnavailable(t *testing.T) {
	w := newAcme(t)
	cold := w.Start().Directory
	if _, err := w.Directory.View(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	for _, op := range []storagetest.Op{storagetest.Position, storagetest.Rows, storagetest.Cutoffs} {
		w.Store.Set(op, storagetest.NotApplied)
	}
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Fresh":          func() error { _, err := w.Directory.Fresh(ctx, "acme"); return err },
		"At":             func() error { _, err := w.Directory.At(ctx, "acme", ledger.Position{Cutoffs: 99}); return err },
		"cold View":      func() error { _, err := cold.View(ctx, "acme"); return err },
		"an unknown one": func() error { _, err := cold.View(ctx, "nobody"); return err },
		"Tenants":        func() error { _, err := cold.Tenants(ctx); return err },
		"the operators":  func() error { _, err := cold.PlatformOperators(ctx); return err },
	} {
		if err := call(); fault.As(err).Kind != fault.Unavailable || !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Directory.View(ctx, "acme"); err != nil {
		t.Errorf("what is known is not: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := w.Directory.Fresh(gone, "acme"); err == nil {
		t.Error("a caller that left got an answer")
	}
}

// simulated is a store of one tenant whose answers take their time, and whose clock is not ours.
type simulated struct {
	rows    []ledger.Row
	latency func() time.Duration
	clock   func() time.Time
	panics  atomic.Bool

	mu       sync.Mutex
	revision int64
	reads    int
}

func (s *simulated) commit() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	return s.revision
}

// at answers as of a moment between the call and its return.
func (s *simulated) at(ctx context.Context) (ledger.Position, error) {
	if s.panics.Load() {
		panic("secret")
	}
	if err := wait(ctx, s.latency()); err != nil {
		return ledger.Position{}, err
	}
	s.mu.Lock()
	s.reads++
	p := ledger.Position{Revision: s.revision, Cutoffs: s.revision, Time: s.clock().Truncate(time.Millisecond)}
	s.mu.Unlock()
	return p, wait(ctx, s.latency())
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", fault.ErrUnavailable, ctx.Err())
	}
}

func (s *simulated) Position(ctx context.Context, _ ledger.Tenant) (ledger.Position, error) {
	return s.at(ctx)
}

func (s *simulated) Cutoffs(ctx context.Context, _ ledger.Tenant, _ int64) ([]ledger.Cutoff, ledger.Position, error) {
	p, err := s.at(ctx)
	return nil, p, err
}

func (s *simulated) Rows(ctx context.Context, t ledger.Tenant, _ ...string) ([]ledger.Row, ledger.Position, error) {
	p, err := s.at(ctx)
	if t == ledger.Platform {
		return []ledger.Row{{Kind: tenant.KindTenant, ID: "acme",
			Value: []byte(`{"id":"` + string(simulatedID) + `"}`)}}, p, err
	}
	return s.rows, p, err
}

const simulatedID = ledger.Tenant("sim")

// simulate returns a directory over a simulated store, inside a bubble of its own time.
func simulate(t *testing.T, latency func() time.Duration, clock func() time.Time) (*simulated, *tenant.Directory) {
	t.Helper()
	master, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	s := &simulated{latency: latency, clock: clock, revision: 1}
	if s.rows, err = keys.Create(master, simulatedID, time.Now(), keys.ES256); err != nil {
		t.Fatal(err)
	}
	sources := identity.NewSources(identity.Config{})
	t.Cleanup(sources.Close)
	return s, tenant.NewDirectory(tenant.Config{Store: s, Master: master, Sources: sources, BaseURL: servertest.BaseURL})
}

func upTo(d time.Duration) func() time.Duration { return func() time.Duration { return rand.N(d) } }

// TestNoAnswerIsOlderThanItsQuestion lets readers and writers run against each other for a minute of simulated time.
func TestNoAnswerIsOlderThanItsQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := simulate(t, upTo(10*time.Millisecond), time.Now)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		calls := 0
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				for ctx.Err() == nil {
					time.Sleep(rand.N(30 * time.Millisecond))
					s.mu.Lock()
					least := s.revision
					s.mu.Unlock()
					v, err := d.Fresh(t.Context(), "acme")
					switch {
					case err != nil:
						t.Errorf("not read: %v", err)
					case v.Revision < least || v.Cutoffs.Seq < least:
						t.Errorf("asked at %d, answered %+v", least, v.Revision)
					}
					mu.Lock()
					calls++
					mu.Unlock()
				}
			})
		}
		for range 3 {
			all.Go(func() {
				for ctx.Err() == nil {
					time.Sleep(rand.N(50 * time.Millisecond))
					p := ledger.Position{Revision: s.commit()}
					if v, err := d.At(t.Context(), "acme", p); err != nil || !v.Covers(p) {
						t.Errorf("committed %+v, answered %+v: %v", p, v, err)
					}
				}
			})
		}
		all.Wait()
		if s.reads > 2*calls {
			t.Errorf("%d calls cost %d reads: nothing was shared", calls, s.reads)
		}
	})
}

// A store that hangs holds nobody up for longer than the bound, however many wait, and serves again when it answers.
func TestAStoreThatHangsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		s, d := simulate(t, func() time.Duration {
			if slow.Load() {
				return time.Hour
			}
			return time.Millisecond
		}, time.Now)
		if _, err := d.View(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		slow.Store(true)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				time.Sleep(rand.N(time.Second))
				began := time.Now()
				_, err := d.Fresh(t.Context(), "acme")
				if took := time.Since(began); fault.As(err).Kind != fault.Unavailable || took > 1500*time.Millisecond {
					t.Errorf("waited %v for %v", took, err)
				}
			})
		}
		all.Wait()
		slow.Store(false)
		time.Sleep(5 * time.Second)
		least := s.commit()
		if v, err := d.Fresh(t.Context(), "acme"); err != nil || v.Revision < least {
			t.Errorf("the store answers again, and the directory %v", err)
		}
	})
}

// One who leaves takes nobody else's answer away.
func TestACallerThatLeavesTakesNobodysAnswerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, d := simulate(t, func() time.Duration { return 50 * time.Millisecond }, time.Now)
		if _, err := d.View(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := d.Fresh(ctx, "acme"); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who left got %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if _, err := d.Fresh(t.Context(), "acme"); err != nil {
				t.Errorf("the one who stayed got %v", err)
			}
		})
		cancel()
		all.Wait()
	})
}

func TestAPanicInASharedReadIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := simulate(t, upTo(time.Millisecond), time.Now)
		if _, err := d.View(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		s.panics.Store(true)
		_, err := d.Fresh(t.Context(), "acme")
		if fault.As(err).Kind != fault.Unavailable || strings.Contains(err.Error(), "secret") ||
			strings.Contains(fault.As(err).Public, "goroutine") {
			t.Errorf("answered %v", err)
		}
		s.panics.Store(false)
		if _, err := d.Fresh(t.Context(), "acme"); err != nil {
			t.Errorf("and never again: %v", err)
		}
	})
}

// TestTheDirectorysTimeIsNeverAheadOfTheStores, whatever the offset of the clocks and however slow the answers are; and
// it is hardly behind.
func TestTheDirectorysTimeIsNeverAheadOfTheStores(t *testing.T) {
	for range 30 {
		synctest.Test(t, func(t *testing.T) {
			offset := rand.N(4*time.Hour) - 2*time.Hour
			store := func() time.Time { return time.Now().Add(offset) }
			latency := 1 + rand.N(100*time.Millisecond)
			_, d := simulate(t, upTo(latency), store)
			fastest := time.Hour
			for i := range 200 {
				began := time.Now()
				if _, err := d.Fresh(t.Context(), "acme"); err != nil {
					t.Fatal(err)
				}
				if i > 0 { // the first is several reads
					fastest = min(fastest, time.Since(began))
				}
				time.Sleep(rand.N(200 * time.Millisecond)) // all within a minute
				ahead := d.Now().Sub(store())
				if behind := -ahead; ahead > 0 || behind > fastest+time.Millisecond {
					t.Fatalf("at an offset of %v, with answers in %v, it is ahead by %v", offset, fastest, ahead)
				}
			}
			offset -= time.Hour // the store's clock is set back
			p := ledger.Position{Time: store()}
			d.Correct(p)
			if ahead := d.Now().Sub(store()); ahead > 0 {
				t.Fatalf("corrected, it is ahead by %v", ahead)
			}
		})
	}
}
