package redis_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/redis"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

const guestPassword = "guest-password-of-the-test"

// admit makes a user with the rights of a guest on some nodes, and returns the URL of the store for that user.
func admit(t *testing.T, storeURL string, tenants []ledger.Tenant, kinds ...string) string {
	t.Helper()
	scheme, hosts, _ := strings.Cut(storeURL, "://")
	rights := redis.GuestRights(tenants, kinds...)
	for host := range strings.SplitSeq(hosts, ",") {
		raw := goredis.NewClient(&goredis.Options{Addr: host})
		words := []any{"ACL", "SETUSER", "guest", "reset", "on", ">" + guestPassword}
		for _, word := range rights {
			words = append(words, word)
		}
		if err := raw.Do(ctx, words...).Err(); err != nil {
			t.Fatal(err)
		}
		if err := raw.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return scheme + "://" + url.UserPassword("guest", guestPassword).String() + "@" + hosts
}

// seeded puts rows and a cutoff into two tenants.
func seeded(t *testing.T, db *redis.DB) {
	t.Helper()
	for _, tenant := range []ledger.Tenant{"acme", "globex"} {
		change := aCut()
		for _, kind := range []string{"tool", "secret", "shimkey", "key", "dek", "logkey", "client_secret", "operator"} {
			change.Put = append(change.Put, ledger.Row{Kind: kind, ID: "x", Value: []byte(kind + " of " + string(tenant))})
		}
		if _, err := db.Commit(ctx, tenant, commit("server", 1, change)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAGuestReadsAndAppends(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) string{
		"one node":  func(t *testing.T) string { return storagetest.StartRedis(t).URL() },
		"a cluster": startCluster,
	} {
		t.Run(name, func(t *testing.T) {
			storeURL := start(t)
			server := open(t, redis.Config{URL: storeURL})
			seeded(t, server)
			guest := open(t, redis.Config{Guest: true,
				URL: admit(t, storeURL, []ledger.Tenant{"acme"}, "tool", "secret", "shimkey")})
			guestKeepsUp(t, server, guest)
			guestAppends(t, server, guest)
			if where, err := guest.Addresses(ctx); err != nil || len(where) == 0 {
				t.Errorf("it is at %v, %v", where, err)
			}
		})
	}
}

func guestKeepsUp(t *testing.T, server, guest *redis.DB) {
	t.Helper()
	rows, at, err := guest.Rows(ctx, "acme", "tool", "secret", "shimkey")
	if err != nil || len(rows) != 3 || at.Revision != 1 || at.Cutoffs != 1 || at.Index != 1 {
		t.Fatalf("%d rows at %+v, %v", len(rows), at, err)
	}
	if _, err := server.Commit(ctx, "acme", commit("server", 2, aCut())); err != nil {
		t.Fatal(err)
	}
	cutoffs, at, err := guest.Cutoffs(ctx, "acme", 1)
	if err != nil || len(cutoffs) != 1 || at.Cutoffs != 2 {
		t.Errorf("%v at %+v, %v", cutoffs, at, err)
	}
	if p, err := guest.Position(ctx, "acme"); err != nil || p.Cutoffs != 2 {
		t.Errorf("at %+v, %v", p, err)
	}
	if _, _, err := guest.Head(ctx, "acme"); err != nil {
		t.Error(err)
	}
}

// guestAppends takes turns with a server, which must find what it expects of its own commits.
func guestAppends(t *testing.T, server, guest *redis.DB) {
	t.Helper()
	one := int64(1)
	first := ledger.Commit{Writer: "guest", First: 1, Entries: [][]byte{[]byte("a"), []byte("b")}, Signed: &one}
	p, err := guest.Commit(ctx, "acme", first)
	if err != nil || p.Index != 2 || p.Revision != 1 || p.Cutoffs != 2 {
		t.Fatalf("at %+v, %v", p, err)
	}
	if again, err := guest.Commit(ctx, "acme", first); err != nil || again.Index != 2 {
		t.Errorf("repeated: at %+v, %v", again, err)
	}
	if q, err := server.Commit(ctx, "acme", commit("server", 3, ledger.Change{})); err != nil || q.Index != 4 ||
		q.Time.Before(p.Time) {
		t.Errorf("the server after it: at %+v, %v", q, err)
	}
	next := ledger.Commit{Writer: "guest", First: 3, Entries: [][]byte{[]byte("c")}}
	if q, err := guest.Commit(ctx, "acme", next); err != nil || q.Index != 5 {
		t.Errorf("at %+v, %v", q, err)
	}
	changed := []byte("changed")
	for name, bad := range map[string]struct {
		c    ledger.Commit
		want error
	}{
		"a gap":                    {ledger.Commit{Writer: "guest", First: 5, Entries: [][]byte{changed}}, fault.ErrSequence},
		"another event in a place": {ledger.Commit{Writer: "guest", First: 3, Entries: [][]byte{changed}}, fault.ErrSequence},
		"another revision": {ledger.Commit{Writer: "guest", First: 4, Entries: [][]byte{changed}, Signed: new(int64)},
			fault.ErrStale},
	} {
		if _, err := guest.Commit(ctx, "acme", bad.c); !errors.Is(err, bad.want) {
			t.Errorf("%s: %v, want %v", name, err, bad.want)
		}
	}
	for name, c := range map[string]ledger.Commit{
		"rows": commit("guest", 4, aRow()), "a cutoff": commit("guest", 4, aCut()),
		"a claim of the servers": {Writer: "guest", First: 4, Entries: [][]byte{changed},
			Claims: []ledger.Claim{{Key: "k", Until: time.Now()}}},
	} {
		if _, err := guest.Commit(ctx, "acme", c); err == nil || errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	guestClaims(t, server, guest)
	var log []string
	entries, err := server.Events(ctx, "acme", 0, 100)
	for _, e := range entries {
		log = append(log, fmt.Sprintf("%d=%s", e.Index, e.Data))
	}
	if got := strings.Join(log, " "); err != nil || got != "0=server 1 1=server 2 2=a 3=b 4=server 3 5=c 6=d 7=e" {
		t.Errorf("the log: %s, %v", got, err)
	}
}

// guestClaims takes what only one can have, against a server.
func guestClaims(t *testing.T, server, guest *redis.DB) {
	t.Helper()
	claim := func(names ...string) (all []ledger.Claim) {
		for _, name := range names {
			all = append(all, ledger.Claim{Key: ledger.UseClaim + name, Until: time.Now().Add(time.Hour)})
		}
		return all
	}
	c := ledger.Commit{Writer: "guest", First: 4, Entries: [][]byte{[]byte("d")}, Claims: claim("a", "b")}
	for range 2 { // repeated, it is its own
		if p, err := guest.Commit(ctx, "acme", c); err != nil || p.Index != 6 {
			t.Errorf("claims: at %+v, %v", p, err)
		}
	}
	for name, by := range map[string]*redis.DB{"guest": guest, "server": server} {
		c := ledger.Commit{Writer: "late " + name, First: 1, Entries: [][]byte{[]byte("x")},
			Claims: claim("c", "b", "d", "d")}
		_, err := by.Commit(ctx, "acme", c)
		if taken, is := errors.AsType[*ledger.Taken](err); !is || fmt.Sprint(taken.Claims) != "[1 3]" {
			t.Errorf("claims of the %s that are taken: %v", name, err)
		}
	}
	c = ledger.Commit{Writer: "server", First: 4, Entries: [][]byte{[]byte("e")}, Claims: claim("c")}
	if _, err := server.Commit(ctx, "acme", c); err != nil {
		t.Error(err)
	}
	c = ledger.Commit{Writer: "guest", First: 5, Entries: [][]byte{[]byte("x")}, Claims: claim("c")}
	if _, err := guest.Commit(ctx, "acme", c); err == nil {
		t.Error("what the server took was taken again")
	}
}

// Times do not go back between commits of a guest and those of a server, though one of them runs behind.
func TestTimesOfAGuestAreNotTakenBack(t *testing.T) {
	node := storagetest.StartRedis(t)
	server := open(t, redis.Config{URL: node.URL()})
	seeded(t, server)
	raw := goredis.NewClient(&goredis.Options{Addr: node.Addr})
	defer func() { _ = raw.Close() }()
	later := time.Now().Add(time.Hour).UnixMilli()
	if err := raw.HSet(ctx, "{acme}:aud:log", "time", later).Err(); err != nil {
		t.Fatal(err)
	}
	check := func(what string, p ledger.Position, err error) {
		t.Helper()
		if err != nil || p.Time.UnixMilli() < later {
			t.Errorf("%s: at %s, %v", what, p.Time, err)
		}
	}
	p, err := open(t, redis.Config{URL: node.URL()}).Position(ctx, "acme")
	check("read", p, err)
	p, err = open(t, redis.Config{URL: node.URL()}).Commit(ctx, "acme", commit("w", 1, ledger.Change{}))
	check("committed", p, err)
	p, err = open(t, redis.Config{URL: node.URL(), Guest: true}).Commit(ctx, "acme", commit("g", 1, ledger.Change{}))
	check("appended", p, err)
}

// Whoever has the password of a guest gets at nothing else, by whatever command.
func TestAGuestGetsAtNothingElse(t *testing.T) {
	node := storagetest.StartRedis(t)
	server := open(t, redis.Config{URL: node.URL()})
	seeded(t, server)
	storeURL := admit(t, node.URL(), []ledger.Tenant{"acme"}, "tool", "secret", "shimkey")
	guest := open(t, redis.Config{Guest: true, URL: storeURL})
	for _, kind := range []string{"key", "dek", "logkey", "client_secret", "operator"} {
		if rows, _, err := guest.Rows(ctx, "acme", kind); err == nil {
			t.Errorf("it read %d rows of kind %s of its own tenant", len(rows), kind)
		}
	}
	if _, _, err := guest.Rows(ctx, "acme"); err == nil {
		t.Error("it read all rows")
	}
	for _, kind := range []string{"tool", "secret", "shimkey"} {
		if _, _, err := guest.Rows(ctx, "globex", kind); err == nil {
			t.Errorf("it read the %s of another tenant", kind)
		}
	}
	if _, err := guest.Position(ctx, "globex"); err == nil {
		t.Error("it read where another tenant stands")
	}
	if _, err := guest.Commit(ctx, "globex", commit("guest", 1, ledger.Change{})); err == nil {
		t.Error("it wrote the log of another tenant")
	}
	o, err := goredis.ParseURL(storeURL)
	if err != nil {
		t.Fatal(err)
	}
	raw := goredis.NewClient(o)
	defer func() { _ = raw.Close() }()
	for _, line := range []string{
		"HGET {acme}:row:key x", "HGETALL {acme}:row:dek", "HGET {globex}:row:secret x", "HGETALL {platform}:row:operator",
		"HSET {acme}:row:tool x y", "HSET {acme}:row:secret x y", "HSET {acme}:row:shimkey thief y", "HDEL {acme}:row:tool x",
		"HSET {acme}:meta cut 0", "HSET {acme}:meta rev 0", "HSET {acme}:cut client:a 1", "ZADD {acme}:cut:seq 1 x",
		"DEL {acme}:cut", "DEL {acme}:aud:ev", "XDEL {acme}:aud:ev 1-0", "XTRIM {acme}:aud:ev MAXLEN 0",
		"SET {acme}:once:x 1", "SET bursar:format 1", "KEYS *", "SCAN 0", "FLUSHALL", "CONFIG GET *", "ACL LIST", "MONITOR",
		"DUMP {acme}:row:key", "SORT {acme}:row:key", "PUBLISH x y", "SHUTDOWN", "REPLICAOF NO ONE", "SCRIPT FLUSH",
	} {
		var words []any
		for word := range strings.FieldsSeq(line) {
			words = append(words, word)
		}
		if err := raw.Do(ctx, words...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, script := range []string{"return redis.call('HGETALL', '{acme}:row:key')",
		"return redis.call('HGETALL', '{globex}:row:secret')", "return redis.call('HSET', '{acme}:cut', 'a', 'b')"} {
		if err := raw.Eval(ctx, script, nil).Err(); err == nil || !strings.Contains(err.Error(), "can't access") {
			t.Errorf("%s: %v", script, err)
		}
	}
}

// A user that lacks something is told what, and an empty Redis is not made a store by a guest.
func TestAGuestWithoutRightsSaysWhatItNeeds(t *testing.T) {
	node := storagetest.StartRedis(t)
	if _, err := redis.Open(ctx, redis.Config{URL: node.URL(), Guest: true}); err == nil ||
		!strings.Contains(err.Error(), "start a bursar server") {
		t.Errorf("an empty Redis: %v", err)
	}
	seeded(t, open(t, redis.Config{URL: node.URL()}))
	raw := goredis.NewClient(&goredis.Options{Addr: node.Addr})
	defer func() { _ = raw.Close() }()
	for _, without := range []string{"-info", "-get", "resetkeys"} {
		full := admit(t, node.URL(), []ledger.Tenant{"acme"}, "tool")
		if err := raw.Do(ctx, "ACL", "SETUSER", "guest", without).Err(); err != nil {
			t.Fatal(err)
		}
		for guest, want := range map[bool]string{true: "bursar keys shim", false: "a server needs"} {
			_, err := redis.Open(ctx, redis.Config{URL: full, Guest: guest})
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "NOPERM") ||
				strings.Contains(err.Error(), guestPassword) {
				t.Errorf("%s, guest %t: %v", without, guest, err)
			}
		}
	}
}

func TestAGuestWaitsForAReplica(t *testing.T) {
	primary, replica := replicated(t)
	seeded(t, open(t, redis.Config{URL: primary.URL()}))
	guest := open(t, redis.Config{Guest: true, ReplicateAppends: true,
		URL: admit(t, primary.URL(), []ledger.Tenant{"acme"}, "tool")})
	n := int64(1)
	for ; ; n++ { // the replica may be too busy for a while
		_, err := guest.Commit(ctx, "acme", commit("guest", n, ledger.Change{}))
		if err == nil {
			break
		}
		if !errors.Is(err, fault.ErrUnavailable) || n == 20 {
			t.Fatal(err)
		}
	}
	replica.Kill()
	if _, err := guest.Commit(ctx, "acme", commit("guest", n+1, ledger.Change{})); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("without the replica: %v", err)
	}
}
