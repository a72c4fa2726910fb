package limit_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/limit"
)

// TestManyAddressesTakeNoMoreMemory, and are counted where they push out what says something.
func TestManyAddressesTakeNoMoreMemory(t *testing.T) {
	l, tenant := alone(t, newClock(), limit.Rate{Count: 10, Per: time.Hour}), newTenant()
	for i := range 4 * limit.Places {
		allowed(t, l.Request(tenant, address(i)))
	}
	if all, _ := l.Held(limit.Address, tenant); all > limit.Places {
		t.Errorf("%d budgets are held", all)
	}
	if l.Stats().Forgotten == 0 {
		t.Error("nothing was forgotten")
	}
}

// TestAFloodDoesNotMakeTheServerForgetAGuesser: one wrong secret from each of very many addresses is not enough, in one
// tenant or in several.
func TestAFloodDoesNotMakeTheServerForgetAGuesser(t *testing.T) {
	for _, tenants := range []int{1, 16} {
		l, _, tenant := guarded(t)
		guesser := l.Guard(tenant, address(1))
		for i := range failures {
			allowed(t, guess(guesser, "payments-api", fmt.Sprint(i)))
		}
		flooded := []limit.Tenant{tenant}
		for range tenants - 1 {
			flooded = append(flooded, newTenant())
		}
		for i := range 3 * limit.Places { // each for a client of its own, so that none of them is refused
			_ = guess(l.Guard(flooded[i%tenants], address(1000+i)), fmt.Sprint("client-", i), "wrong")
		}
		refused(t, guesser.Try("payments-api", "right"), limit.ReasonSecret)
	}
}

// TestAFloodOfOneTenantLeavesTheBudgetsOfOthers: it can have half of what there is.
func TestAFloodOfOneTenantLeavesTheBudgetsOfOthers(t *testing.T) {
	c := newClock()
	l, flooded, quiet := alone(t, c, limit.Rate{Count: 10, Per: time.Hour}), newTenant(), newTenant()
	const few = limit.Places / 100
	for i := range few {
		allowed(t, l.Request(quiet, address(i)))
	}
	for i := range 3 * limit.Places {
		for range 3 { // each of them says more than those of the quiet tenant
			allowed(t, l.Request(flooded, address(i)))
		}
	}
	if _, own := l.Held(limit.Address, quiet); own < few*9/10 {
		t.Errorf("%d of %d budgets are left", own, few)
	}
	if all, own := l.Held(limit.Address, flooded); all-own < few*9/10 || own > limit.Places {
		t.Errorf("the flood holds %d of %d", own, all)
	}
}

// TestABudgetIsExactWhoeverCounts: of many calls at once no more are allowed than there are tokens.
func TestABudgetIsExactWhoeverCounts(t *testing.T) {
	l, tenant := alone(t, newClock(), limit.Rate{Count: 500, Per: time.Hour}), newTenant()
	counts := make([]int, 16)
	var group sync.WaitGroup
	for i := range counts {
		group.Go(func() {
			for range 200 {
				if l.Client(tenant, "ap-bot") == nil {
					counts[i]++
				}
			}
		})
	}
	group.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	if sum != 500 {
		t.Errorf("%d were allowed", sum)
	}
}
