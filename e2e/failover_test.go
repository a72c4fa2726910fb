package e2e_test

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// A failover to a replica that lacks the last writes stops the logs that lost some, and no others: in the server that
// runs, and in one that is started with the anchors. Both show what is left, and sign nothing of it; revocations are made
// all the same. Without anchors a server cannot know (docs/decisions/0021); then whoever kept a checkpoint does.
func TestAFailoverThatLosesTheLastWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.Start(t, "redis"))
	w.withGlobex(t)
	address := w.Detour(t)
	spared := w.globexForm(t)
	w.At("globex").MustExchange(t, spared)
	kept := w.token(t)
	replica := w.staleReplica(t)
	left := headIn(t, replica, "acme")
	outside := w.Auditor(t, "acme")
	stop := outside.Watch(t, w.Server)
	l := new(load)
	l.start(t, w, 8)
	l.await(t, "tokens that will be lost", &l.tokens, 100)
	w.awaitAnchor(t, outside)
	address.To(replica)
	l.await(t, "refusals", &l.refusals, 20)
	l.stop()
	stop()
	largest := slices.MaxFunc(outside.Shown(t), bySize).Size

	halted := func(what, gauge string) {
		t.Helper()
		form := harness.Form(w.workload(t), payments, readRefunds)
		for range 10 {
			a := w.acme().Exchange(t, form)
			if a.Status != http.StatusServiceUnavailable || a.Token() != "" || a.Header.Get("Retry-After") == "" {
				t.Errorf("%s: status %d %s", what, a.Status, a.Body)
			}
		}
		if _, err := w.TryApply(t, strings.Replace(w.file(t, "acme.yaml"), "ttl: 5m", "ttl: 4m", 1)); err == nil {
			t.Errorf("%s: the tenant was changed", what)
		}
		if n := metric(t, w.Server, gauge); n != 1 {
			t.Errorf("%s: %s is %d, want 1", what, gauge, n)
		}
		one := operator.Target{Kind: operator.CutoffToken, Value: harness.ID(kept)}
		if _, err := w.Operator.Revoke(t.Context(), "acme", one); err != nil {
			t.Errorf("%s: revoke: %v", what, err)
		}
		w.At("globex").MustExchange(t, spared)
		if head, err := outside.Look(t.Context(), w.Server); err != nil || string(head) != left {
			t.Errorf("%s: it shows %s, %v; what is left was signed as %s", what, head, err, left)
		}
		finds(t, outside.Verify(t, w.Server), auditor.RolledBack)
	}
	halted("the server that runs", "bursar_log_frozen_tenants")
	w.Kill()
	w.Restart(t)
	halted("a server that is started", "bursar_log_halted_tenants")
	said, err := os.ReadFile(w.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the store lost acknowledged events of this process",
		"nothing is issued in this log until an operator accepts the loss", "it was rolled back"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("the server did not say %q", want)
		}
	}

	w.Kill()
	if err := os.RemoveAll(filepath.Join(w.Dir, "anchors")); err != nil {
		t.Fatal(err)
	}
	w.Restart(t)
	w.token(t)
	finds(t, outside.Verify(t, w.Server), auditor.RolledBack)
	l = new(load)
	l.start(t, w, 8)
	l.await(t, "tokens beyond what was lost", &l.tokens, largest)
	l.stop()
	finds(t, outside.Verify(t, w.Server), auditor.Forked)
}

func bySize(a, b auditor.Checkpoint) int { return int(a.Size - b.Size) }

// finds fails the test unless a report has an error of a kind.
func finds(t *testing.T, r *auditor.Report, kind auditor.Kind) {
	t.Helper()
	found := slices.ContainsFunc(r.Findings, func(f auditor.Finding) bool {
		return f.Severity == auditor.Error && f.Kind == kind
	})
	if r.Passed() || !found {
		t.Errorf("found %+v in a log of %d entries, want %s", r.FirstError(), r.Size, kind)
	}
}

// globexForm returns a request to globex.
func (w *world) globexForm(t *testing.T) map[string][]string {
	t.Helper()
	return harness.Form(w.cluster.Mint(t, harness.Mint{Claims: map[string]any{
		"sub": "system:serviceaccount:globex:gx-bot", "aud": []string{w.Issuer("globex")}}}), globexPayments, readRefunds)
}

// staleReplica returns a Redis that has everything which the server's own has now, and nothing that it gets later.
func (w *world) staleReplica(t *testing.T) *storagetest.RedisServer {
	t.Helper()
	host, port, err := net.SplitHostPort(w.Redis.Addr)
	if err != nil {
		t.Fatal(err)
	}
	replica := storagetest.StartRedis(t, "--appendfsync", "always", "--replicaof", host+" "+port)
	w.Redis.Command(t, "SET in-step 1")
	harness.Eventually(t, "the replica is in step", func() bool { return replica.Command(t, "EXISTS in-step") == ":1" })
	replica.Command(t, "REPLICAOF NO ONE")
	return replica
}

// headIn returns the signed head of a tenant's log that a Redis holds.
func headIn(t *testing.T, r *storagetest.RedisServer, slug string) string {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: r.Addr})
	defer func() { _ = c.Close() }()
	signed, err := c.HGet(t.Context(), inRedis(t, c, slug).prefix+"aud:log", "note").Result()
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// awaitAnchor waits until the server has saved a head that is as long as any that was seen until now.
func (w *world) awaitAnchor(t *testing.T, outside *harness.Auditor) {
	t.Helper()
	seen := slices.MaxFunc(outside.Shown(t), bySize).Size
	harness.Eventually(t, "the anchor is saved", func() bool {
		files, err := filepath.Glob(filepath.Join(w.Dir, "anchors", "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(files, func(file string) bool {
			var head struct{ Size int64 }
			text, err := os.ReadFile(file)
			return err == nil && json.Unmarshal(text, &head) == nil && head.Size >= seen
		})
	})
}
