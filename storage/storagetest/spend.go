package storagetest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage"
)

// testSpend takes hours, of which next to nothing grows back during the test.
func testSpend(t *testing.T, s storage.Store) {
	ctx := context.Background()
	a, b := ledger.NewTenant(), ledger.NewTenant()
	near := func(got, want time.Duration) {
		t.Helper()
		if got > want || got < want-time.Hour/2 {
			t.Fatalf("it takes %v, want %v", got, want)
		}
	}
	left := must(s.Spend(ctx, []limit.Spent{{Tenant: a, Budget: "address:1", Worth: time.Hour},
		{Tenant: b, Budget: "address:1", Worth: 3 * time.Hour}, {Tenant: a, Budget: "client:1", Worth: 5 * time.Hour}}))(t)
	equal(t, len(left), 3)
	near(left[0], time.Hour)
	near(left[1], 3*time.Hour)
	near(left[2], 5*time.Hour)
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			if _, err := s.Spend(ctx, []limit.Spent{{Tenant: a, Budget: "address:1", Worth: time.Hour}}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	left = must(s.Spend(ctx, []limit.Spent{{Tenant: a, Budget: "address:1"}, {Tenant: b, Budget: "address:1"}}))(t)
	near(left[0], 101*time.Hour)
	near(left[1], 3*time.Hour)
	equal(t, len(must(s.Spend(ctx, nil))(t)), 0)
}

// testSpendMany spends more than fits into one step, for several tenants at once.
func testSpendMany(t *testing.T, s storage.Store) {
	tenants := []ledger.Tenant{ledger.NewTenant(), ledger.NewTenant(), ledger.NewTenant()}
	var all []limit.Spent
	for i := range 3000 {
		all = append(all, limit.Spent{Tenant: tenants[i%3], Budget: "pair:" + ledger.NewID(time.Now()),
			Worth: time.Duration(i+1) * time.Hour})
	}
	for i, left := range must(s.Spend(context.Background(), all))(t) {
		if want := all[i].Worth; left > want || left < want-time.Hour/2 {
			t.Fatalf("budget %d takes %v, want %v", i, left, want)
		}
	}
}

// testGrowsBack takes so little that it is back at once.
func testGrowsBack(t *testing.T, s storage.Store) {
	tenant := ledger.NewTenant()
	spend := func(worth time.Duration) time.Duration {
		t.Helper()
		return must(s.Spend(context.Background(), []limit.Spent{{Tenant: tenant, Budget: "address:1", Worth: worth}}))(t)[0]
	}
	for last := spend(20 * time.Millisecond); last > 0; {
		left := spend(0)
		if left > last {
			t.Fatalf("it takes %v, and took %v before", left, last)
		}
		last = left
	}
	if left := spend(time.Hour); left > time.Hour {
		t.Fatalf("it takes %v: a full budget saves nothing", left)
	}
}

func testSpendNames(t *testing.T, s storage.Store) {
	ctx := context.Background()
	good := limit.Spent{Tenant: ledger.NewTenant(), Budget: "address:1", Worth: time.Hour}
	for _, change := range []func(*limit.Spent){
		func(x *limit.Spent) { x.Tenant = "" },
		func(x *limit.Spent) { x.Tenant = "{a}" },
		func(x *limit.Spent) { x.Budget = "" },
		func(x *limit.Spent) { x.Budget = "a}b" },
		func(x *limit.Spent) { x.Budget = "a b" },
		func(x *limit.Spent) { x.Budget = strings.Repeat("a", 1000) },
		func(x *limit.Spent) { x.Worth = -1 },
	} {
		bad := good
		change(&bad)
		if _, err := s.Spend(ctx, []limit.Spent{good, bad}); err == nil {
			t.Errorf("%+v can be spent", bad)
		}
	}
	if left := must(s.Spend(ctx, []limit.Spent{good}))(t)[0]; left > time.Hour {
		t.Error("what stood beside a mistake was spent")
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, err := s.Spend(over, []limit.Spent{good})
	is(t, err, fault.ErrUnavailable)
}
