package limit_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// TestNoMoreThanTheRateIsAllowed holds what one to three processes allow, within any time whatever, against the bound
// that the package promises.
func TestNoMoreThanTheRateIsAllowed(t *testing.T) {
	c := newClock()
	store := embedded(t, c)
	const interval = 100 * time.Millisecond
	rapid.Check(t, func(r *rapid.T) {
		rate := limit.Rate{Count: rapid.IntRange(1, 30).Draw(r, "count"),
			Per: time.Duration(rapid.IntRange(200, 3000).Draw(r, "milliseconds")) * time.Millisecond}
		processes := rapid.IntRange(1, 3).Draw(r, "processes")
		var limiters []*limit.Limiter
		var due []time.Time // when each tells the others
		for range processes {
			l := limit.New(limit.Config{Rules: all(rate), Store: store, Interval: time.Hour, Now: c.Now})
			defer l.Close()
			limiters = append(limiters, l)
			due = append(due, c.Now().Add(time.Duration(rapid.IntRange(1, 100).Draw(r, "phase"))*time.Millisecond))
		}
		tenant := newTenant()
		var times []time.Time
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			for range rapid.IntRange(0, 400).Draw(r, "pause") {
				c.pass(time.Millisecond)
				for i, at := range due {
					if !c.Now().Before(at) {
						limiters[i].Round(context.Background())
						due[i] = at.Add(interval)
					}
				}
			}
			l := limiters[rapid.IntRange(0, processes-1).Draw(r, "process")]
			for range rapid.IntRange(1, 40).Draw(r, "requests") {
				if l.Client(tenant, "ap-bot") == nil {
					times = append(times, c.Now())
				}
			}
		}
		for i := range times {
			for j := i; j < len(times); j++ {
				n, per := float64(rate.Count), float64(rate.Per)
				within := float64(times[j].Sub(times[i]))
				most := n + n*within/per + float64(processes-1)*n*(1+float64(interval)/per)
				if got := float64(j - i + 1); got > most+1e-6 {
					r.Fatalf("%d processes allowed %v within %v at %v; at most %v", processes, got, time.Duration(within), rate, most)
				}
			}
		}
	})
}

func TestWhoWaitsAsLongAsIsSaidIsAllowed(t *testing.T) {
	c := newClock()
	l, tenant := alone(t, c, limit.Rate{Count: 3, Per: time.Minute}), newTenant()
	for range 3 {
		allowed(t, l.Client(tenant, "ap-bot"))
	}
	for range 5 {
		wait := refused(t, l.Client(tenant, "ap-bot"), limit.ReasonClient)
		c.pass(wait - time.Nanosecond)
		refused(t, l.Client(tenant, "ap-bot"), limit.ReasonClient)
		c.pass(time.Nanosecond)
		allowed(t, l.Client(tenant, "ap-bot"))
	}
	c.pass(time.Hour)
	for range 3 {
		allowed(t, l.Client(tenant, "ap-bot"))
	}
	refused(t, l.Client(tenant, "ap-bot"), limit.ReasonClient)
}

func TestEveryoneHasABudgetOfTheirOwn(t *testing.T) {
	l, tenant, other := alone(t, newClock(), limit.Rate{Count: 1, Per: time.Hour}), newTenant(), newTenant()
	for _, call := range []func() error{
		func() error { return l.Client(tenant, "ap-bot") },
		func() error { return l.Client(tenant, "ap-bot2") },
		func() error { return l.Client(other, "ap-bot") },
		func() error { return l.Request(tenant, address(1)) },
		func() error { return l.Request(tenant, address(2)) },
		func() error { return l.Request(other, address(1)) },
		func() error { return l.Request(tenant, netip.Addr{}) },
		func() error { return l.Request(tenant, netip.MustParseAddr("2001:db8:0:1::1")) },
		func() error { return l.Request(tenant, netip.MustParseAddr("2001:db8:0:2::1")) },
	} {
		allowed(t, call())
		if call() == nil {
			t.Error("twice")
		}
	}
}

// TestAHostHasOneBudgetWhereverItRoams: an IPv6 host can use any address of its /64.
func TestAHostHasOneBudgetWhereverItRoams(t *testing.T) {
	for _, row := range [][2]string{
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"}, {"192.0.2.1", "::ffff:192.0.2.1"}, {"fe80::1%eth0", "fe80::1"},
	} {
		l, tenant := alone(t, newClock(), limit.Rate{Count: 1, Per: time.Hour}), newTenant()
		allowed(t, l.Request(tenant, netip.MustParseAddr(row[0])))
		refused(t, l.Request(tenant, netip.MustParseAddr(row[1])), limit.ReasonAddress)
	}
}

// TestOneAddressCannotUseUpATenant: what it is refused does not count for the tenant.
func TestOneAddressCannotUseUpATenant(t *testing.T) {
	l := open(t, limit.Config{Now: newClock().Now, Rules: limit.Rules{
		Address: limit.Rate{Count: 5, Per: time.Hour}, Tenant: limit.Rate{Count: 8, Per: time.Hour}}})
	tenant := newTenant()
	for i := range 100 {
		if err := l.Request(tenant, address(1)); i < 5 != (err == nil) {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	for range 3 {
		allowed(t, l.Request(tenant, address(2)))
	}
	refused(t, l.Request(tenant, address(2)), limit.ReasonTenant)
	allowed(t, l.Request(newTenant(), address(2)))
	if s := l.Stats(); s.Address != 95 || s.Tenant != 1 || s.Client != 0 || s.Secret != 0 {
		t.Errorf("counted %+v", s)
	}
}

func TestATenantCanHaveRulesOfItsOwn(t *testing.T) {
	one := limit.Rate{Count: 1, Per: time.Hour}
	l := open(t, limit.Config{Now: newClock().Now, Rules: limit.Rules{Client: one, Address: one},
		Tenants: map[string]limit.Rules{"big": {Client: limit.Rate{Off: true}}}})
	big := limit.Tenant{ID: ledger.NewTenant(), Slug: "big"}
	for range 100_000 {
		allowed(t, l.Client(big, "ap-bot"))
	}
	allowed(t, l.Request(big, address(1)))
	refused(t, l.Request(big, address(1)), limit.ReasonAddress) // the server's rule, which the tenant did not change
	small := newTenant()
	allowed(t, l.Client(small, "ap-bot"))
	refused(t, l.Client(small, "ap-bot"), limit.ReasonClient)
}

// TestDefaultsAreLimits: what nobody configured is limited, but generously.
func TestDefaultsAreLimits(t *testing.T) {
	l, tenant := open(t, limit.Config{Now: newClock().Now}), newTenant()
	for range limit.Defaults().Client.Count {
		allowed(t, l.Client(tenant, "ap-bot"))
	}
	refused(t, l.Client(tenant, "ap-bot"), limit.ReasonClient)
	for range 10 {
		allowed(t, guess(l.Guard(tenant, address(1)), "x", fmt.Sprint(time.Now().UnixNano())))
	}
}

// TestProcessesOnOneRedisAreOne: three limiters, each with what the others have taken.
func TestProcessesOnOneRedisAreOne(t *testing.T) {
	eachStore(t, func(t *testing.T, store limit.Store) {
		var three []*limit.Limiter
		for range 3 {
			three = append(three, open(t, limit.Config{Store: store, Interval: time.Hour,
				Rules: all(limit.Rate{Count: 30, Per: time.Hour})}))
		}
		tenant, other, count := newTenant(), newTenant(), 0
		for i := range 300 {
			l := three[i%3]
			if l.Client(tenant, "ap-bot") == nil {
				count++
			}
			l.Round(t.Context())
		}
		// Each may allow one that it has not heard enough to refuse.
		if count < 30 || count > 32 {
			t.Errorf("%d of 300 were allowed, at 30 an hour", count)
		}
		for _, l := range three {
			refused(t, l.Client(tenant, "ap-bot"), limit.ReasonClient)
			allowed(t, l.Client(other, "ap-bot"))
			allowed(t, l.Client(tenant, "another"))
		}
		g := func(i int) limit.Guard { return three[i].Guard(tenant, address(1)) }
		count = 0
		for i := range 300 {
			if guess(g(i%3), "payments-api", fmt.Sprint("secret ", i)) == nil {
				count++
			}
			three[i%3].Round(t.Context())
		}
		if count < 30 || count > 32 {
			t.Errorf("%d of 300 wrong secrets were compared, at 30 an hour", count)
		}
	})
}

// TestWithoutItsStoreAProcessKeepsToItsOwnCount, and shares again once the store is back.
func TestWithoutItsStoreAProcessKeepsToItsOwnCount(t *testing.T) {
	c := newClock()
	store := storagetest.Failing(asStore(embedded(t, c)))
	cfg := limit.Config{Store: store, Interval: time.Hour, Rules: all(limit.Rate{Count: 10, Per: time.Hour}), Now: c.Now}
	a, b, tenant := open(t, cfg), open(t, cfg), newTenant()
	store.Set(storagetest.Spend, storagetest.NotApplied)
	for range 10 {
		allowed(t, a.Client(tenant, "ap-bot"))
		a.Round(t.Context())
	}
	refused(t, a.Client(tenant, "ap-bot"), limit.ReasonClient)
	if got := a.Stats().Unshared; got != 10 {
		t.Errorf("%d rounds failed", got)
	}
	store.Set(storagetest.Spend, storagetest.Works)
	for range 4 {
		allowed(t, b.Client(tenant, "ap-bot"))
	}
	b.Round(t.Context())
	c.pass(time.Hour)
	allowed(t, a.Client(tenant, "ap-bot"))
	a.Round(t.Context())
	allowed(t, b.Client(tenant, "ap-bot"))
	b.Round(t.Context())
	for range 8 {
		allowed(t, b.Client(tenant, "ap-bot"))
	}
	refused(t, b.Client(tenant, "ap-bot"), limit.ReasonClient)
}

// meddler is a store that lets a test act while it is asked.
type meddler struct {
	limit.Store
	meanwhile func()
}

func (m *meddler) Spend(ctx context.Context, all []limit.Spent) ([]time.Duration, error) {
	left, err := m.Store.Spend(ctx, all)
	m.meanwhile()
	return left, err
}

// TestWhatIsTakenWhileOthersAreAskedCountsBesideTheirs: 5 and 3 of one process, 4 of another, of 10.
func TestWhatIsTakenWhileOthersAreAskedCountsBesideTheirs(t *testing.T) {
	c := newClock()
	cfg := limit.Config{Store: embedded(t, c), Interval: time.Hour, Rules: all(limit.Rate{Count: 10, Per: time.Hour}),
		Now: c.Now}
	other, tenant := open(t, cfg), newTenant()
	var l *limit.Limiter
	take := func(l *limit.Limiter, n int) {
		for range n {
			allowed(t, l.Client(tenant, "ap-bot"))
		}
	}
	cfg.Store = &meddler{cfg.Store, func() { take(l, 3) }}
	l = open(t, cfg)
	take(other, 4)
	other.Round(t.Context())
	take(l, 5)
	l.Round(t.Context())
	refused(t, l.Client(tenant, "ap-bot"), limit.ReasonClient)
}

// TestProcessesTellEachOtherByThemselves waits for nothing but that.
func TestProcessesTellEachOtherByThemselves(t *testing.T) {
	store := asStore(embedded(t, newClock()))
	cfg := limit.Config{Store: store, Interval: time.Millisecond, Rules: all(limit.Rate{Count: 1000, Per: time.Hour})}
	a, b, tenant := open(t, cfg), open(t, cfg), newTenant()
	for range 998 {
		allowed(t, a.Client(tenant, "ap-bot"))
	}
	for i := 0; b.Client(tenant, "ap-bot") == nil; i++ {
		if i > 500 {
			t.Fatal("b never hears of a")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRates(t *testing.T) {
	for text, want := range map[string]limit.Rate{
		"200/s": {Count: 200, Per: time.Second}, "10/m": {Count: 10, Per: time.Minute},
		"1000000/h": {Count: 1_000_000, Per: time.Hour}, "off": {Off: true},
	} {
		var r limit.Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want || r.String() != text {
			t.Errorf("%s: got %+v, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "200", "200/", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "1e3/s", "200/d", "200/S",
		"200 /s", "200/s ", "1000001/s", "99999999999999999999/s", "OFF", "no"} {
		r := limit.Rate{Count: 7}
		if err := r.UnmarshalText([]byte(text)); err == nil || r != (limit.Rate{Count: 7}) {
			t.Errorf("%q is read as %+v", text, r)
		}
	}
}

func TestARefusalIsOfItsKind(t *testing.T) {
	l := alone(t, newClock(), limit.Rate{Count: 1, Per: time.Minute})
	tenant := newTenant()
	allowed(t, l.Client(tenant, "ap-bot"))
	err := l.Client(tenant, "ap-bot")
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.TooMany || f.RetryAfter != time.Minute {
		t.Errorf("got %+v", f)
	}
}

// Whoever is kept from running between its look at the clock and the count is not refused for it.
func TestAStallIsNotHeldAgainstARequest(t *testing.T) {
	c, stalled := newClock(), false // the next look at the clock is followed by ten seconds in which another one asks
	tenant, from := limit.Tenant{ID: "acme", Slug: "acme"}, netip.MustParseAddr("192.0.2.1")
	var l *limit.Limiter
	l = open(t, limit.Config{Rules: all(limit.Rate{Count: 100, Per: time.Second}), Now: func() time.Time {
		now := c.Now()
		if stalled {
			stalled = false
			c.pass(10 * time.Second)
			if err := l.Request(tenant, from); err != nil {
				t.Errorf("the other one: %v", err)
			}
		}
		return now
	}})
	stalled = true
	if err := l.Request(tenant, from); err != nil {
		t.Errorf("refused: %v", err)
	}
}

func TestAPartHasTheRateThatIsGiven(t *testing.T) {
	l := limit.New(limit.Config{})
	t.Cleanup(l.Close)
	acme, globex := limit.Tenant{ID: "a", Slug: "acme"}, limit.Tenant{ID: "g", Slug: "globex"}
	two := limit.Rate{Count: 2, Per: time.Hour}
	for _, row := range []struct {
		tenant limit.Tenant
		name   string
		rate   limit.Rate
		want   bool
	}{
		{acme, "crm", two, true}, {acme, "crm", two, true}, {acme, "crm", two, false},
		{acme, "crm\x00ap-bot", two, true}, {globex, "crm", two, true},
		{acme, "crm", limit.Rate{}, true}, {acme, "crm", limit.Rate{Off: true}, true},
	} {
		err := l.Part(row.tenant, row.name, row.rate)
		if f := fault.As(err); (err == nil) != row.want || err != nil && (f.Kind != fault.TooMany || f.RetryAfter <= 0) {
			t.Errorf("%s %q: %v, want %v", row.tenant.ID, row.name, err, row.want)
		}
	}
}
