package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// standalone runs a test with a shim that is a process of its own.
func standalone(t *testing.T, run func(t *testing.T, w *shimWorld)) {
	t.Helper()
	t.Parallel()
	run(t, newShimWorld(t, "standalone"))
}

// signers returns by which keys the events of acme's log are signed, by the name of the event.
func (w *shimWorld) signers(t *testing.T) map[string][]string {
	t.Helper()
	by := map[string][]string{}
	(&world{Server: w.Server}).meddle(t, "acme", func(s stored) {
		for _, entry := range s.entries() {
			parts := strings.Split(entry, ".")
			var header struct{ Kid string }
			var claims struct{ Events map[string]any }
			for i, into := range []any{&header, &claims} {
				text, err := base64.RawURLEncoding.DecodeString(parts[i])
				if err == nil {
					err = json.Unmarshal(text, into)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for name := range claims.Events {
				name = strings.TrimSuffix(strings.TrimPrefix(name, "urn:bursar:event:"), ":v1")
				if !slices.Contains(by[name], header.Kid) {
					by[name] = append(by[name], header.Kid)
				}
			}
		}
	})
	return by
}

// covered returns how many events the log of acme has, and how many of them the head in the store covers.
func (w *shimWorld) covered(t *testing.T) (entries, covered int) {
	t.Helper()
	(&world{Server: w.Server}).meddle(t, "acme", func(s stored) {
		in := s.(*redisStore)
		found, err := in.c.HMGet(t.Context(), in.prefix+"aud:log", "n", "size").Result()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Sscan(fmt.Sprintln(found...), &entries, &covered)
	})
	return entries, covered
}

// A standalone shim signs what it does by its own key, and only that. It goes on while the servers are away, and after
// it was killed; its log verifies.
func TestAStandaloneShimRecordsByItself(t *testing.T) {
	standalone(t, func(t *testing.T, w *shimWorld) {
		outside := w.Auditor(t, "acme")
		ok := func(when string) {
			t.Helper()
			if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
				t.Errorf("%s: %d %s", when, reply.Status, reply.Body)
			}
		}
		before, _ := w.covered(t)
		ok("at first")
		harness.Eventually(t, "a server signs what the shim recorded, without being asked", func() bool {
			entries, covered := w.covered(t)
			return entries >= before+2 && covered == entries
		})
		w.uses(t, 0, 1)
		by := w.signers(t)
		if got := by["key.use"]; !slices.Equal(got, []string{w.outpost.ID}) {
			t.Errorf("its calls are signed by %v, and it is %s", got, w.outpost.ID)
		}
		for name, ids := range by {
			if slices.Contains(ids, w.outpost.ID) && !slices.Contains([]string{"key.use", "writer.start"}, name) {
				t.Errorf("it signed %s", name)
			}
		}
		outside.Passes(t, w.Server)

		w.Kill()
		ok("without a server")
		w.Restart(t)
		ok("with the server back")

		token := w.token(t, "legacy")
		stop, _, sent := w.load(t, token, 100)
		at := sent.Load()
		harness.Eventually(t, "calls are made", func() bool { return sent.Load() > at+20 })
		w.outpost.Kill()
		stop()
		w.outpost.Restart(t)
		ok("after it was killed")
		outside.Passes(t, w.Server)

		w.outpost.Stop()
		outside.Passes(t, w.Server)
		if got := w.signers(t)["writer.stop"]; !slices.Contains(got, w.outpost.ID) {
			t.Errorf("its end is signed by %v", got)
		}
	})
}

// A shim that is not trusted any more swaps nothing, at once; it says so, and another one serves.
func TestAStandaloneShimIsRevoked(t *testing.T) {
	standalone(t, func(t *testing.T, w *shimWorld) {
		w.get(t, "legacy", "/v1/items/1")
		health := []string{"health", "--config", w.outpost.Config()}
		if out, err := w.outpost.Run(t, health...); err != nil || out != "ready\n" {
			t.Errorf("health: %v %s", err, out)
		}
		w.run(t, "keys", "shim", "--revoke", w.outpost.ID)
		w.silent(t, "revoked", func() {
			for range 3 {
				problem(t, "revoked", w.get(t, "legacy", "/v1/items/1"), 503, "")
			}
		})
		if w.outpost.Ready(t) {
			t.Error("it says that it can serve")
		}
		if out, err := w.outpost.Run(t, health...); err == nil || !strings.Contains(out, "not ready") {
			t.Errorf("health: %v %s", err, out)
		}
		if text := string(w.said(t)); !strings.Contains(text, "does not trust this shim") {
			t.Errorf("it does not say why: %s", text)
		}
		w.outpost.Stop()
		w.outpost = w.StartOutpost(t, "", "acme", "globex")
		w.front = w.outpost
		w.within(t)
		if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
			t.Errorf("the next shim: %d %s", reply.Status, reply.Body)
		}
		w.Auditor(t, "acme").Passes(t, w.Server)
	})
}

// What somebody gets who has everything that a shim of acme has: the keys of acme, and nothing of globex.
func TestAStolenShimOpensOneTenant(t *testing.T) {
	standalone(t, func(t *testing.T, w *shimWorld) {
		ids := map[string]string{}
		for _, slug := range []string{"acme", "globex"} {
			w.inStore(t, slug, func(s rowStore) { ids[slug] = s.(*redisStore).prefix })
		}
		w.outpost.Stop()
		stolen := w.StartOutpost(t, "", "acme")
		w.outpost, w.front = stolen, stolen
		w.within(t)
		if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
			t.Fatalf("%d %s", reply.Status, reply.Body)
		}
		options, err := goredis.ParseURL(stolen.RedisURL())
		if err != nil {
			t.Fatal(err)
		}
		c := goredis.NewClient(options)
		defer func() { _ = c.Close() }()
		for _, row := range []struct {
			name  string
			words []any
			may   bool
		}{
			{"its secrets", []any{"HGETALL", ids["acme"] + "row:secret"}, true},
			{"the signing keys", []any{"HGETALL", ids["acme"] + "row:key"}, false},
			{"the data keys", []any{"HGETALL", ids["acme"] + "row:dek"}, false},
			{"the keys of the log", []any{"HGETALL", ids["acme"] + "row:logkey"}, false},
			{"the secrets of clients", []any{"HGETALL", ids["acme"] + "row:client"}, false},
			{"operators", []any{"HGETALL", ids["acme"] + "row:operator"}, false},
			{"secrets of another", []any{"HGETALL", ids["globex"] + "row:secret"}, false},
			{"the log of another", []any{"XRANGE", ids["globex"] + "aud:ev", "-", "+"}, false},
			{"a change of a tool", []any{"HSET", ids["acme"] + "row:tool", "legacy", "{}"}, false},
			{"a change of a trust", []any{"HDEL", ids["acme"] + "row:shimkey", stolen.ID}, false},
			{"an end of a revocation", []any{"DEL", ids["acme"] + "cut"}, false},
			{"names of keys", []any{"KEYS", "*"}, false},
			{"a scan", []any{"SCAN", "0"}, false},
			{"other users", []any{"ACL", "LIST"}, false},
			{"everything", []any{"FLUSHALL"}, false},
			{"configuration", []any{"CONFIG", "GET", "*"}, false},
			{"a copy", []any{"DUMP", ids["acme"] + "row:key"}, false},
			{"replication", []any{"REPLICAOF", "127.0.0.1", "1"}, false},
			{"a script of its own", []any{"EVAL", "return redis.call('HGETALL', KEYS[1])", "1", ids["globex"] + "row:secret"},
				false},
		} {
			err := c.Do(t.Context(), row.words...).Err()
			if may := err == nil || err == goredis.Nil; may != row.may {
				t.Errorf("%s: %v", row.name, err)
			}
			if err != nil && !row.may && !strings.Contains(err.Error(), "NOPERM") {
				t.Errorf("%s: %v", row.name, err)
			}
		}
		if set := harness.Get(t, w.Issuer("acme")+"/jwks.json"); set.Status != 200 || strings.Contains(set.Body, stolen.ID) {
			t.Errorf("its key signs tokens: %d %s", set.Status, set.Body)
		}
		// A configuration of its own does not make it a shim of globex.
		text, err := os.ReadFile(stolen.Config())
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(stolen.Dir, "greedy.yaml")
		greedy := strings.Replace(string(text), "  acme: {", "  globex: {", 1)
		if err := os.WriteFile(path, []byte(greedy), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := stolen.Run(t, "config", "check", "--config", path); err == nil ||
			!strings.Contains(out, "no tenant that the shim's key is for") {
			t.Errorf("%v %s", err, out)
		}
		globex := w.fresh(t, "globex", "legacy", "items.read")
		request := "GET /shim/t/globex/legacy/v1/items/1 HTTP/1.1\r\nHost: " + w.host() + "\r\nAuthorization: Bearer " +
			globex + "\r\n\r\n"
		w.silent(t, "a call to globex", func() { problem(t, "a call to globex", w.ask(t, request), 401, "invalid_token") })
	})
}

// What the environment says of proxies is not heeded: neither the server nor an upstream is reached through one.
func TestAStandaloneShimUsesNoProxy(t *testing.T) {
	standalone(t, func(t *testing.T, w *shimWorld) {
		var caught atomic.Int64
		trap, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = trap.Close() })
		go func() {
			for {
				conn, err := trap.Accept()
				if err != nil {
					return
				}
				caught.Add(1)
				_ = conn.Close()
			}
		}()
		proxies := []string{"env"}
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
			proxies = append(proxies, name+"=http://"+trap.Addr().String(),
				strings.ToLower(name)+"=http://"+trap.Addr().String())
		}
		w.within(t, proxies...)
		w.run(t, "keys", "rotate", "acme") // so that it asks the server
		if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
			t.Errorf("%d %s", reply.Status, reply.Body)
		}
		if n := caught.Load(); n > 0 {
			t.Errorf("%d connections to a proxy", n)
		}
	})
}
