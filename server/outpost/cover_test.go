package outpost_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/outpost"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tree"
)

// What nobody signs could vanish: the shim stops when that has gone on for a minute, and goes on when a server signs.
func TestAShimStopsWhileNobodySignsTheLog(t *testing.T) {
	w := newWorld(t)
	var ahead atomic.Int64
	dir := outpost.New(outpost.Config{Store: w.guest, Key: w.key, BaseURL: servertest.BaseURL, URL: servertest.ShimURL,
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	t.Cleanup(dir.Close)
	trees := tree.New(tree.Config{Store: w.Store, Master: w.Master, Anchors: tree.NoAnchors{}})
	t.Cleanup(func() { _ = trees.Close(t.Context()) })
	origin := audit.Origin{Tenant: w.ID("acme"), Issuer: "https://sts.example/t/acme"}
	gate := func(after time.Duration, open bool) {
		t.Helper()
		ahead.Add(int64(after))
		err := dir.Gate(t.Context(), origin)
		if (err == nil) != open {
			t.Errorf("%s later: %v", after, err)
		}
		if err != nil && (!errors.Is(err, fault.ErrUnavailable) || fault.As(err).Reason != "log.uncovered") {
			t.Errorf("%s later: %v", after, err)
		}
	}
	sign := func() {
		t.Helper()
		if _, err := trees.Head(t.Context(), origin); err != nil {
			t.Fatal(err)
		}
	}
	gate(0, true)
	gate(50*time.Second, true)
	gate(11*time.Second, false)
	gate(time.Hour, false)
	sign()
	gate(3*time.Second, true)
	gate(time.Hour, true) // there is nothing to sign
	w.Cut("acme", "client", "ap-bot", false)
	gate(3*time.Second, true)
	gate(59*time.Second, true)
	sign()
	gate(3*time.Second, true)
	gate(time.Hour, true)
	if err := dir.Gate(t.Context(), audit.Origin{Tenant: w.ID("globex"), Issuer: "x"}); err != nil {
		t.Errorf("a log of somebody else: %v", err)
	}
}

// epochs is a store whose log goes on in an epoch of the test's.
type epochs struct {
	outpost.Store
	epoch int64
}

func (s *epochs) Head(ctx context.Context, t ledger.Tenant) (ledger.Head, ledger.Position, error) {
	head, at, err := s.Store.Head(ctx, t)
	head.Epoch = s.epoch
	return head, at, err
}

// Once an operator has accepted a loss, the log is written again that the process had frozen, and told so once.
func TestAnAcceptedLossIsNoticed(t *testing.T) {
	w := newWorld(t)
	store, ahead := &epochs{Store: w.guest, epoch: 1}, time.Duration(0)
	dir := outpost.New(outpost.Config{Store: store, Key: w.key, BaseURL: servertest.BaseURL, URL: servertest.ShimURL,
		Now: func() time.Time { return time.Now().Add(ahead) }})
	t.Cleanup(dir.Close)
	var told []ledger.Tenant
	dir.Accepted(func(t ledger.Tenant) { told = append(told, t) })
	for _, epoch := range []int64{1, 1, 2, 2} {
		store.epoch = epoch
		ahead += 3 * time.Second
		if err := dir.Gate(t.Context(), audit.Origin{Tenant: w.ID("acme"), Issuer: "x"}); err != nil {
			t.Error(err)
		}
	}
	if len(told) != 1 || told[0] != w.ID("acme") {
		t.Errorf("told of %v", told)
	}
}
