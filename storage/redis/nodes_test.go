package redis_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/storage/redis"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// wantAddresses waits until the store's addresses are the wanted ones and, where it has several of them, more.
func wantAddresses(t *testing.T, db *redis.DB, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got, err := db.Addresses(ctx)
		missing := slices.DeleteFunc(slices.Clone(want), func(address string) bool {
			return slices.Contains(got, netip.MustParseAddrPort(address))
		})
		if err == nil && len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v lack %v (%v)", got, missing, err)
		}
	}
}

func TestAddressesAreThoseOfTheURLAndOfReplicas(t *testing.T) {
	primary, replica := replicated(t)
	_, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, redis.Config{URL: "redis://localhost:" + port})
	wantAddresses(t, db, primary.Addr, replica.Addr)
	primary.Stop()
	got, err := db.Addresses(ctx)
	if err == nil || !slices.Contains(got, netip.MustParseAddrPort(replica.Addr)) {
		t.Errorf("without the primary: %v, %v", got, err)
	}
}

// Behind Sentinel the URL names none of the servers that hold data.
func TestBehindSentinelAddressesAreThoseOfTheServers(t *testing.T) {
	primary, replica := replicated(t)
	sentinel := startSentinel(t, primary)
	db := open(t, redis.Config{URL: "redis-sentinel://" + sentinel + "/main"})
	_, err := db.Commit(ctx, "acme", commit("w", 1, aCut()))
	for errors.Is(err, fault.ErrUnavailable) { // the replica of a busy machine confirms late; a commit is repeated then
		_, err = db.Commit(ctx, "acme", commit("w", 1, aCut()))
	}
	if err != nil {
		t.Fatal(err)
	}
	wantAddresses(t, db, primary.Addr, replica.Addr, sentinel)
}

// startSentinel starts a Sentinel that calls the primary "main", and returns its address.
func startSentinel(t *testing.T, primary *storagetest.RedisServer) string {
	t.Helper()
	host, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, log := filepath.Join(dir, "sentinel.conf"), filepath.Join(dir, "sentinel.log")
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(storagetest.FreePort(t)))
	_, own, _ := net.SplitHostPort(address)
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nlogfile %s\nsentinel monitor main %s %s 1\n",
		own, dir, log, host, port)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", path, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		written, _ := os.ReadFile(log)
		if bytes.Contains(written, []byte("+monitor master main")) {
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("the Sentinel did not start: %s", written)
		}
	}
}
