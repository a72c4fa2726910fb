package limit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/limit"
)

const failures = 10

func guarded(t *testing.T) (*limit.Limiter, *clock, limit.Tenant) {
	c := newClock()
	l := open(t, limit.Config{Now: c.Now,
		Rules: limit.Rules{SecretFailures: limit.Rate{Count: failures, Per: time.Minute}}})
	return l, c, newTenant()
}

// lock makes as many wrong guesses as are compared, and returns their number.
func lock(t *testing.T, g limit.Guard, id string) (compared int) {
	t.Helper()
	for i := range 1000 {
		if guess(g, id, fmt.Sprint("wrong ", i)) != nil {
			return compared
		}
		compared++
	}
	t.Fatal("a thousand wrong secrets were compared")
	return 0
}

func TestWhoGuessesIsLockedOutWithTheRightSecretToo(t *testing.T) {
	l, c, tenant := guarded(t)
	g := l.Guard(tenant, address(1))
	if n := lock(t, g, "payments-api"); n != failures {
		t.Errorf("%d wrong secrets were compared", n)
	}
	wait := refused(t, g.Try("payments-api", "right"), limit.ReasonSecret)
	if wait != time.Minute/failures {
		t.Errorf("locked out for %v", wait)
	}
	allowed(t, l.Guard(tenant, address(2)).Try("payments-api", "right")) // somebody elsewhere
	allowed(t, g.Try("ledger-api", "right"))                             // another client at the same address
	allowed(t, l.Guard(newTenant(), address(1)).Try("payments-api", "right"))
	c.pass(wait)
	allowed(t, g.Try("payments-api", "right"))
	if s := l.Stats(); s.Secret != 2 {
		t.Errorf("counted %+v", s)
	}
}

// TestAGuesserOfManyClientsIsLockedOut wherever it goes on, but not who has shown a secret at that address.
func TestAGuesserOfManyClientsIsLockedOut(t *testing.T) {
	l, c, tenant := guarded(t)
	g := l.Guard(tenant, address(1))
	g.Tried("honest", "right", true)
	compared := 0
	for i := range 1000 {
		if guess(g, fmt.Sprint("client-", i), "wrong") != nil {
			break
		}
		compared++
	}
	if compared != 10*failures {
		t.Errorf("%d clients were tried", compared)
	}
	refused(t, g.Try("another", "right"), limit.ReasonSecret)
	allowed(t, g.Try("honest", "right"))
	allowed(t, l.Guard(tenant, address(2)).Try("another", "right"))
	c.pass(2 * time.Hour) // the guesser's budget is full again, and the client has to show its secret anew
	for i := range 10 * failures {
		allowed(t, guess(g, fmt.Sprint("client-", i), "wrong"))
	}
	refused(t, g.Try("honest", "right"), limit.ReasonSecret)
}

// TestStrangersCannotLockAClientOut, however many they are, of a process that has not seen the client yet.
func TestStrangersCannotLockAClientOut(t *testing.T) {
	l, _, tenant := guarded(t)
	for i := range 2000 {
		lock(t, l.Guard(tenant, address(2+i)), "payments-api")
	}
	allowed(t, l.Guard(tenant, address(1)).Try("payments-api", "right"))
	refused(t, l.Guard(tenant, address(2001)).Try("payments-api", "right"), limit.ReasonSecret)
}

// TestAForgottenOldSecretLocksOutNobodyElse: one of several copies of a client was not given the new secret.
func TestAForgottenOldSecretLocksOutNobodyElse(t *testing.T) {
	l, c, tenant := guarded(t)
	g := l.Guard(tenant, address(1))
	refusals := 0
	for range 1000 {
		if guess(g, "payments-api", "old") != nil {
			refusals++
		}
		allowed(t, g.Try("payments-api", "new"))
		g.Tried("payments-api", "new", true)
		c.pass(100 * time.Millisecond)
	}
	if refusals < 900 {
		t.Errorf("the old secret was refused without comparison %d times of 1000", refusals)
	}
}

// TestWhatDoesNotExistIsGuardedAlike: neither how an id looks nor how long it is makes a difference.
func TestWhatDoesNotExistIsGuardedAlike(t *testing.T) {
	for _, id := range []string{"", "nobody", "Not A Slug", "\x00", strings.Repeat("a", 60<<10)} {
		l, _, tenant := guarded(t)
		if n := lock(t, l.Guard(tenant, address(1)), id); n != failures {
			t.Errorf("%d secrets of %.20q were compared", n, id)
		}
	}
}

func TestGuessingCanBeAllowed(t *testing.T) {
	l := open(t, limit.Config{Now: newClock().Now, Rules: limit.Unlimited()})
	g := l.Guard(newTenant(), address(1))
	for i := range 5000 {
		allowed(t, guess(g, "payments-api", fmt.Sprint(i)))
	}
}
