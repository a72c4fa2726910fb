package redis_test

import (
	"errors"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/redis"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// replicated starts a primary with one replica that is in step.
func replicated(t *testing.T) (primary, replica *storagetest.RedisServer) {
	t.Helper()
	primary = storagetest.StartRedis(t, "--repl-diskless-sync-delay", "0")
	host, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		t.Fatal(err)
	}
	replica = storagetest.StartRedis(t, "--replicaof", host+" "+port)
	primary.Command(t, "SET started 1")
	for deadline := time.Now().Add(20 * time.Second); replica.Command(t, "EXISTS started") != ":1"; {
		if time.Now().After(deadline) {
			t.Fatal("the replica did not come into step")
		}
		time.Sleep(10 * time.Millisecond)
	}
	return primary, replica
}

func TestChangesWaitForAReplica(t *testing.T) {
	primary, replica := replicated(t)
	db := open(t, redis.Config{URL: primary.URL()})
	strict := open(t, redis.Config{URL: primary.URL(), ReplicateAppends: true})
	if got := db.Durability(); !strings.Contains(got, "a replica has changes and revocations too") {
		t.Error(got)
	}
	if got := strict.Durability(); !strings.Contains(got, "a replica has it too") {
		t.Error(got)
	}
	change := aRow()
	change.Cut = aCut().Cut
	if _, err := db.Commit(ctx, "acme", commit("w", 1, change)); err != nil {
		t.Fatal(err)
	}
	if replica.Command(t, "EXISTS {acme}:cut") != ":1" {
		t.Fatal("acknowledged, but not on the replica")
	}
	replica.Pause(t)
	cut := commit("w", 2, aCut())
	if _, err := db.Commit(ctx, "acme", cut); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("a cut that no replica confirmed: %v", err)
	}
	if _, p, err := db.Cutoffs(ctx, "acme", 0); err != nil || p.Cutoffs != 2 || p.Index != 2 {
		t.Errorf("the cut is in force on the primary: %+v %v", p, err)
	}
	if _, err := db.Commit(ctx, "acme", commit("w", 3, ledger.Change{})); err != nil {
		t.Errorf("a plain append waits for nobody: %v", err)
	}
	if _, err := strict.Commit(ctx, "acme", commit("strict", 1, ledger.Change{})); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("an append that should have been replicated: %v", err)
	}
	replica.Resume(t)
	if _, err := strict.Commit(ctx, "acme", commit("strict", 1, ledger.Change{})); err != nil {
		t.Errorf("repeating it after the outage: %v", err)
	}
	if _, err := db.Commit(ctx, "acme", commit("w", 4, aCut())); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

func TestAPrimaryThatLostItsReplicasIsNotTrusted(t *testing.T) {
	primary, replica := replicated(t)
	db := open(t, redis.Config{URL: primary.URL()})
	replica.Stop()
	if _, err := db.Commit(ctx, "acme", commit("w", 1, aCut())); !errors.Is(err, fault.ErrUnavailable) {
		t.Fatal(err)
	}
	db = open(t, redis.Config{URL: primary.URL()}) // the operator took the replica away on purpose
	if _, err := db.Commit(ctx, "acme", commit("w2", 1, aCut())); err != nil {
		t.Fatal(err)
	}
}

func TestAReplicaThatJoinsLaterIsWaitedFor(t *testing.T) {
	primary := storagetest.StartRedis(t, "--repl-diskless-sync-delay", "0")
	db := open(t, redis.Config{URL: primary.URL()})
	if _, err := db.Commit(ctx, "acme", commit("w", 1, aCut())); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(primary.Addr)
	replica := storagetest.StartRedis(t, "--replicaof", host+" "+port)
	for replica.Command(t, "EXISTS {acme}:cut") != ":1" {
		time.Sleep(10 * time.Millisecond)
	}
	replica.Pause(t)
	defer replica.Resume(t)
	if _, err := db.Commit(ctx, "acme", commit("w", 2, aCut())); !errors.Is(err, fault.ErrUnavailable) {
		t.Fatal(err)
	}
}

func TestAnAppendLooksForReplicasEveryMinute(t *testing.T) {
	primary := storagetest.StartRedis(t, "--repl-diskless-sync-delay", "0")
	var passed atomic.Int64
	now := func() time.Time { return time.Unix(1_700_000_000, passed.Load()) }
	strict := open(t, redis.Config{URL: primary.URL(), ReplicateAppends: true, Now: now})
	if _, err := strict.Commit(ctx, "acme", commit("w", 1, ledger.Change{})); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(primary.Addr)
	replica := storagetest.StartRedis(t, "--replicaof", host+" "+port)
	for replica.Command(t, "EXISTS {acme}:aud:ev") != ":1" {
		time.Sleep(10 * time.Millisecond)
	}
	replica.Pause(t)
	defer replica.Resume(t)
	passed.Store(int64(time.Minute) - 1)
	if _, err := strict.Commit(ctx, "acme", commit("w", 2, ledger.Change{})); err != nil {
		t.Errorf("before the minute is over: %v", err)
	}
	passed.Store(int64(time.Minute))
	for first := int64(3); first <= 4; first++ {
		if _, err := strict.Commit(ctx, "acme", commit("w", first, ledger.Change{})); !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("commit %d was acknowledged without the replica: %v", first, err)
		}
	}
}

// startCluster starts three primaries that share the slots, and returns their store URL.
func startCluster(t *testing.T) string {
	t.Helper()
	var addrs []string
	for range 3 {
		port := strconv.Itoa(storagetest.FreePort(t))
		server := storagetest.StartRedis(t, "--cluster-enabled", "yes", "--cluster-port", port)
		addrs = append(addrs, server.Addr)
	}
	args := append([]string{"--cluster", "create"}, addrs...)
	if out, err := exec.Command("redis-cli", append(args, "--cluster-yes")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, addr := range addrs {
		agrees(t, addr)
	}
	return "redis-cluster://" + strings.Join(addrs, ",")
}

// agrees waits until a node knows that all slots are served, which it does a little after redis-cli ends.
func agrees(t *testing.T, addr string) {
	t.Helper()
	node := goredis.NewClient(&goredis.Options{Addr: addr})
	defer func() { _ = node.Close() }()
	for deadline := time.Now().Add(20 * time.Second); ; {
		info, err := node.ClusterInfo(ctx).Result()
		if strings.Contains(info, "cluster_state:ok") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the cluster does not come up: %s, %v", info, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestConformanceOnACluster(t *testing.T) {
	if !storagetest.Full() {
		t.Skip("takes ten seconds; BURSAR_TEST=full runs it")
	}
	url := startCluster(t)
	db := open(t, redis.Config{URL: url})
	storagetest.Run(t, func(*testing.T) storage.Store { return db })
}
