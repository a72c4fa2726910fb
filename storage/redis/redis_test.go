package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/redis"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

var ctx = context.Background()

// patience is how long a call may take when Redis is away.
const patience = 2 * time.Second

func open(t *testing.T, cfg redis.Config) *redis.DB {
	t.Helper()
	db, err := redis.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func commit(writer string, first int64, change ledger.Change) ledger.Commit {
	entry := fmt.Appendf(nil, "%s %d", writer, first)
	return ledger.Commit{Writer: writer, First: first, Entries: [][]byte{entry}, Change: change}
}

func aRow() ledger.Change {
	return ledger.Change{Put: []ledger.Row{{Kind: "client", ID: "a", Value: []byte("1")}}}
}

func aCut() ledger.Change {
	return ledger.Change{Cut: []ledger.Cut{{Key: ledger.Key{Kind: "client", ID: "a"}, Keep: time.Hour}}}
}

func TestConformance(t *testing.T) {
	db := open(t, redis.Config{URL: storagetest.Redis(t)})
	storagetest.Run(t, func(*testing.T) storage.Store { return db })
}

func TestEveryKeyOfATenantIsUnderItsHashTag(t *testing.T) {
	server := storagetest.StartRedis(t)
	db := open(t, redis.Config{URL: server.URL()})
	change := aRow()
	change.Cut = append(aCut().Cut, ledger.Cut{Key: ledger.Key{Kind: "tool", ID: "b"}, Disable: true})
	if _, err := db.Commit(ctx, "acme", commit("w", 1, change)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Claim(ctx, "acme", "k", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Spend(ctx, []limit.Spent{{Tenant: "acme", Budget: "address:1", Worth: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.TakeSink(ctx, "acme", "siem", "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	raw := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer func() { _ = raw.Close() }()
	keys, err := raw.Keys(ctx, "*").Result()
	if err != nil || len(keys) != 13 {
		t.Fatalf("%d keys: %v (%v)", len(keys), keys, err)
	}
	for _, key := range keys {
		if key != "bursar:format" && !strings.HasPrefix(key, "{acme}:") {
			t.Errorf("%s is outside the tenant", key)
		}
	}
	if n, err := raw.HGet(ctx, "{acme}:aud:log", "n").Result(); err != nil || n != "1" {
		t.Errorf("n is %s (%v)", n, err)
	}
	events, err := raw.XRange(ctx, "{acme}:aud:ev", "1-0", "1-0").Result()
	if err != nil || len(events) != 1 || events[0].Values["s"] != "w 1" {
		t.Errorf("the stream holds %v (%v)", events, err)
	}
}

func TestAClaimIsKeptUntilAMinuteAfterItsTime(t *testing.T) {
	server := storagetest.StartRedis(t)
	now := time.Unix(1_700_000_000, 0) // what counts is how long, not whose clock
	db := open(t, redis.Config{URL: server.URL(), Now: func() time.Time { return now }})
	if fresh, err := db.Claim(ctx, "acme", "k", now.Add(time.Hour)); err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	raw := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer func() { _ = raw.Close() }()
	keys, err := raw.Keys(ctx, "{acme}:once:*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	ttl, err := raw.PTTL(ctx, keys[0]).Result()
	if want := time.Hour + time.Minute; err != nil || ttl > want || ttl < want-time.Minute {
		t.Fatalf("kept for %v (%v)", ttl, err)
	}
}

// TestABudgetIsKeptUntilItIsFull: what says nothing takes no memory, and a Redis that has lost its scripts gets them
// again.
func TestABudgetIsKeptUntilItIsFull(t *testing.T) {
	server := storagetest.StartRedis(t)
	db := open(t, redis.Config{URL: server.URL()})
	raw := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer func() { _ = raw.Close() }()
	for n := time.Duration(1); n <= 2; n++ {
		if _, err := db.Spend(ctx, []limit.Spent{{Tenant: "acme", Budget: "address:1", Worth: time.Hour}}); err != nil {
			t.Fatal(err)
		}
		ttl, err := raw.PTTL(ctx, "{acme}:lim:address:1").Result()
		if err != nil || ttl > n*time.Hour+time.Millisecond || ttl < n*time.Hour-time.Minute {
			t.Fatalf("kept for %v (%v)", ttl, err)
		}
		if err := raw.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAWipedRedisIsNoticed(t *testing.T) {
	server := storagetest.StartRedis(t)
	db := open(t, redis.Config{URL: server.URL()})
	for first := int64(1); first <= 2; first++ {
		if _, err := db.Commit(ctx, "acme", commit("w", first, ledger.Change{})); err != nil {
			t.Fatal(err)
		}
	}
	server.Command(t, "FLUSHALL")
	if _, err := db.Commit(ctx, "acme", commit("w", 3, ledger.Change{})); !errors.Is(err, fault.ErrSequence) {
		t.Fatal(err)
	}
	if reply := server.Command(t, "EXISTS {acme}:aud:ev"); reply != ":0" {
		t.Fatal("something was written")
	}
}

func TestALogWithoutItsCounterTakesNothing(t *testing.T) {
	server := storagetest.StartRedis(t)
	db := open(t, redis.Config{URL: server.URL()})
	if _, err := db.Commit(ctx, "acme", commit("w", 1, aRow())); err != nil {
		t.Fatal(err)
	}
	server.Command(t, "DEL {acme}:aud:log {acme}:meta")
	if _, err := db.Commit(ctx, "acme", commit("w", 2, aCut())); !errors.Is(err, fault.ErrUnavailable) {
		t.Fatal(err)
	}
	if server.Command(t, "EXISTS {acme}:aud:log {acme}:meta {acme}:cut") != ":0" {
		t.Fatal("a part of the commit was written")
	}
}

func TestARepeatedBatchWhoseEntriesAreGoneIsNotConfirmed(t *testing.T) {
	server := storagetest.StartRedis(t)
	db := open(t, redis.Config{URL: server.URL()})
	c := commit("w", 1, ledger.Change{})
	if _, err := db.Commit(ctx, "acme", c); err != nil {
		t.Fatal(err)
	}
	server.Command(t, "XTRIM {acme}:aud:ev MAXLEN 0")
	if _, err := db.Commit(ctx, "acme", c); !errors.Is(err, fault.ErrSequence) {
		t.Fatal(err)
	}
}

func TestTimeStaysAboveWhatWasTold(t *testing.T) {
	server := storagetest.StartRedis(t)
	db := open(t, redis.Config{URL: server.URL()})
	ahead := time.Now().Add(time.Hour).UnixMilli()
	server.Command(t, fmt.Sprintf("HSET {ahead}:meta time %d", ahead)) // as if the clock had been an hour ahead
	told, err := db.Position(ctx, "ahead")
	if err != nil || told.Time.UnixMilli() != ahead {
		t.Fatal(told, err)
	}
	if _, err := db.Commit(ctx, "acme", commit("w", 1, ledger.Change{})); err != nil {
		t.Fatal(err)
	}
	another := open(t, redis.Config{URL: server.URL()}) // a process that was told nothing
	p, err := another.Position(ctx, "acme")
	if err != nil || p.Time.Before(told.Time) {
		t.Fatalf("%v was told, and %v came after it (%v)", told.Time, p.Time, err)
	}
}

// everything makes every call, each in less than patience, and returns their errors.
func everything(t *testing.T, db *redis.DB, writer string) []error {
	t.Helper()
	var errs []error
	for _, call := range []func() error{
		func() error { _, err := db.Commit(ctx, "acme", commit(writer, 1, ledger.Change{})); return err },
		func() error { _, err := db.Commit(ctx, "acme", commit(writer+"'", 1, aCut())); return err },
		func() error { _, err := db.Position(ctx, "acme"); return err },
		func() error { _, _, err := db.Rows(ctx, "acme"); return err },
		func() error { _, _, err := db.Cutoffs(ctx, "acme", 0); return err },
		func() error { _, err := db.Events(ctx, "acme", 0, 1); return err },
		func() error { _, err := db.Claim(ctx, "acme", writer, time.Now().Add(time.Hour)); return err },
	} {
		start := time.Now()
		errs = append(errs, call())
		if took := time.Since(start); took > patience {
			t.Errorf("call %d took %v", len(errs), took)
		}
	}
	return errs
}

func TestServiceFailsFastAndResumesByItself(t *testing.T) {
	server := storagetest.StartRedis(t)
	db := open(t, redis.Config{URL: server.URL()})
	if err := errors.Join(everything(t, db, "before")...); err != nil {
		t.Fatal(err)
	}
	for _, outage := range []struct {
		name       string
		begin, end func()
	}{
		{"stopped", server.Stop, func() { server.Restart(t) }},
		{"killed", server.Kill, func() { server.Restart(t) }},
		{"frozen", func() { server.Pause(t) }, func() { server.Resume(t) }},
	} {
		outage.begin()
		for i, err := range everything(t, db, "during "+outage.name) {
			if !errors.Is(err, fault.ErrUnavailable) {
				t.Errorf("%s: call %d: %v", outage.name, i, err)
			}
		}
		outage.end()
		if err := errors.Join(everything(t, db, "after "+outage.name)...); err != nil {
			t.Errorf("after it was %s: %v", outage.name, err)
		}
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	rounds := 2
	if storagetest.Full() {
		rounds = 10
	}
	server := storagetest.StartRedis(t)
	db := open(t, redis.Config{URL: server.URL()})
	told := map[int64]string{}
	for round := range rounds {
		var mu sync.Mutex
		var group sync.WaitGroup
		enough := make(chan struct{}, 1)
		for i := range 16 {
			group.Go(func() {
				writer := fmt.Sprintf("%d.%d", round, i)
				for first := int64(1); ; first++ {
					p, err := db.Commit(ctx, "acme", commit(writer, first, ledger.Change{}))
					if err != nil {
						return
					}
					mu.Lock()
					told[p.Index] = fmt.Sprintf("%s %d", writer, first)
					mu.Unlock()
					if first == 50 {
						select {
						case enough <- struct{}{}:
						default:
						}
					}
				}
			})
		}
		<-enough
		server.Kill()
		group.Wait()
		server.Restart(t)
	}
	var entries []ledger.Entry
	var err error
	for range 100 { // the client believes for up to a second that the server is away, if enough calls have failed in a row
		if entries, err = db.Events(ctx, "acme", 0, 1<<20); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	for index, want := range told {
		if index >= int64(len(entries)) || entries[index].Index != index || string(entries[index].Data) != want {
			t.Fatalf("the acknowledged entry %d is lost", index)
		}
	}
}

func TestAnUnfitRedisIsRefused(t *testing.T) {
	for _, test := range []struct {
		name, want string
		args       []string
		acceptable bool
	}{
		{"no append-only file", "appendonly yes", []string{"--appendonly", "no"}, true},
		{"eviction", "maxmemory-policy noeviction", []string{"--maxmemory-policy", "allkeys-lru"}, true},
		{"a replica", "it is a replica", []string{"--replicaof", "127.0.0.1 1"}, false},
		{"a node of a cluster", "redis-cluster://", []string{"--cluster-enabled", "yes",
			"--cluster-port", fmt.Sprint(storagetest.FreePort(t))}, false},
	} {
		server := storagetest.StartRedis(t, test.args...)
		_, err := redis.Open(ctx, redis.Config{URL: server.URL()})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
		db, err := redis.Open(ctx, redis.Config{URL: server.URL(), AcceptVolatile: true})
		if (err == nil) != test.acceptable {
			t.Errorf("%s, accepted: %v", test.name, err)
		}
		if err == nil {
			_ = db.Close()
		}
	}
}

func TestAllReasonsAreGivenAtOnce(t *testing.T) {
	server := storagetest.StartRedis(t, "--appendonly", "no", "--maxmemory-policy", "allkeys-lru")
	_, err := redis.Open(ctx, redis.Config{URL: server.URL()})
	if err == nil || !strings.Contains(err.Error(), "append-only") || !strings.Contains(err.Error(), "evict") {
		t.Fatal(err)
	}
}

func TestAnotherFormatIsRefused(t *testing.T) {
	server := storagetest.StartRedis(t)
	server.Command(t, "SET bursar:format 1")
	_, err := redis.Open(ctx, redis.Config{URL: server.URL()})
	if err == nil || !strings.Contains(err.Error(), "another format") {
		t.Fatal(err)
	}
	if reply := server.Command(t, "STRLEN bursar:format"); reply != ":1" {
		t.Fatal("the format number was overwritten")
	}
}

func TestDurabilityTellsHowOftenRedisSyncs(t *testing.T) {
	for fsync, want := range map[string]string{
		"always": "survives a crash of Redis or of the machine", "everysec": "the last second", "no": "half a minute",
	} {
		server := storagetest.StartRedis(t, "--appendfsync", fsync)
		if got := open(t, redis.Config{URL: server.URL()}).Durability(); !strings.Contains(got, want) {
			t.Errorf("%s: %s", fsync, got)
		}
	}
	server := storagetest.StartRedis(t, "--rename-command", "CONFIG", "")
	if got := open(t, redis.Config{URL: server.URL()}).Durability(); !strings.Contains(got, "unknown") {
		t.Errorf("CONFIG forbidden: %s", got)
	}
}

func TestRedisAwayAtTheStartIsUnavailable(t *testing.T) {
	start := time.Now()
	_, err := redis.Open(ctx, redis.Config{URL: fmt.Sprintf("redis://127.0.0.1:%d", storagetest.FreePort(t))})
	if !errors.Is(err, fault.ErrUnavailable) || time.Since(start) > patience {
		t.Fatal(err, time.Since(start))
	}
}

// What ends a script does not undo it: a head must not be stored before its tiles are.
func TestAHeadIsNotStoredWithoutItsTiles(t *testing.T) {
	server := storagetest.StartRedis(t)
	db := open(t, redis.Config{URL: server.URL()})
	p, err := db.Commit(ctx, "acme", commit("w", 1, aRow()))
	if err != nil {
		t.Fatal(err)
	}
	server.Command(t, "SET {acme}:aud:tile x") // whatever it is that refuses a write in the middle
	step := ledger.Step{To: ledger.Head{Epoch: 1, Size: 1, Note: []byte("n")}, Revision: p.Revision,
		Tiles: []ledger.Tile{{Hashes: make([]byte, 32)}}}
	if err := db.Advance(ctx, "acme", step); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if h, _, err := db.Head(ctx, "acme"); err != nil || h.Epoch != 0 {
		t.Errorf("the head is %+v, %v", h, err)
	}
	server.Command(t, "DEL {acme}:aud:tile")
	if err := db.Advance(ctx, "acme", step); err != nil {
		t.Error(err)
	}
}
