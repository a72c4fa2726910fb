package limit_test

import (
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage/bolt"
)

// clock is a time that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// alone returns a limiter without others, with one rate for everything.
func alone(t testing.TB, c *clock, r limit.Rate) *limit.Limiter {
	t.Helper()
	return open(t, limit.Config{Rules: all(r), Now: c.Now})
}

func open(t testing.TB, cfg limit.Config) *limit.Limiter {
	t.Helper()
	l := limit.New(cfg)
	t.Cleanup(l.Close)
	return l
}

func all(r limit.Rate) limit.Rules {
	return limit.Rules{Address: r, Client: r, Tenant: limit.Rate{Off: true}, SecretFailures: r}
}

func embedded(t testing.TB, c *clock) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "bursar.db"), Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func newTenant() limit.Tenant { return limit.Tenant{ID: ledger.NewTenant(), Slug: "acme"} }

func address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{192, byte(n >> 16), byte(n >> 8), byte(n)})
}

// refused fails the test unless err is a refusal for that reason, and returns for how long.
func refused(t testing.TB, err error, reason string) time.Duration {
	t.Helper()
	if err == nil {
		t.Fatal("nothing was refused")
	}
	f := fault.As(err)
	if f.Kind != fault.TooMany || f.Reason != reason || f.RetryAfter <= 0 || f.Public == "" {
		t.Fatalf("refused with %+v", f)
	}
	return f.RetryAfter
}

func allowed(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
}

// guess tries a secret that is wrong.
func guess(g limit.Guard, id, secret string) error {
	err := g.Try(id, secret)
	if err == nil {
		g.Tried(id, secret, false)
	}
	return err
}
