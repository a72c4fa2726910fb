package tree_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// accept accepts the loss of the log, as an operator's call does.
func (p *process) accept() (lost, now ledger.Head, err error) {
	now, err = p.trees.AcceptLoss(p.w.t.Context(), p.w.origin, func(last ledger.Head, _ int64, _ error) error {
		lost = last
		_, err := p.log.Change(p.w.t.Context(), p.w.origin, ledger.Change{},
			audit.Event{Name: audit.LogEpoch, Body: audit.Body{Outcome: audit.Allowed, Tree: audit.Tree{Epoch: last.Epoch,
				Size: last.Size, Root: "r"}}})
		return err
	})
	return lost, now, err
}

func TestALossThatIsAcceptedEndsTheHaltEverywhere(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		one, two := w.start(), w.start()
		one.append(100)
		two.append(100)
		restore := w.snapshot()
		one, two = w.again(one), w.again(two)
		one.append(200)
		two.append(200)
		before := one.head()
		two.head()
		restore()
		one, two = w.again(one), w.again(two)
		for _, p := range []*process{one, two} {
			if err := p.try(); !errors.Is(err, fault.ErrUnavailable) {
				t.Fatalf("after the rollback: %v", err)
			}
		}
		lost, now, err := one.accept()
		if err != nil || !lost.Same(before) || now.Epoch != 2 {
			t.Fatalf("lost %d of epoch %d, now epoch %d: %v", lost.Size, lost.Epoch, now.Epoch, err)
		}
		for _, p := range []*process{one, two} {
			waitFor(t, "it goes on", func() bool { return p.try() == nil })
		}
		head := two.head()
		r := w.verify(two.export(), two.vkeys())
		if !r.Passed() || r.Size != head.Size || r.Origin != auditor.Origin(issuer, 2) {
			t.Errorf("the log that went on: %d entries as %s, %+v", r.Size, r.Origin, r.Findings)
		}
		if r = w.verify(two.export(), two.vkeys(), before.Note); r.Passed() {
			t.Error("an older checkpoint does not show what was lost")
		}
		if _, _, err := one.accept(); err == nil || fault.As(err).Kind != fault.Conflict {
			t.Errorf("accepted again: %v", err)
		}
	})
}

// again is the process after the store was changed: the same one if it can be, which it cannot if its file was closed.
func (w *world) again(p *process) *process {
	if strings.HasPrefix(w.url, "bolt:") {
		_ = p.trees.Save()
		return w.start()
	}
	return p
}

// A process that starts after the loss was accepted finds the anchor of the lost epoch, and goes on all the same.
func TestAnAnchorFromBeforeALossIsNoRollback(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(10)
		p.head()
		restore := w.snapshot()
		p = w.again(p)
		p.append(300)
		before := p.head()
		p.stop()
		restore()
		p = w.start()
		if _, _, err := p.accept(); err != nil {
			t.Fatal(err)
		}
		if err := w.anchors.Save(w.origin.Tenant, before); err != nil {
			t.Fatal(err)
		}
		p.stop()
		later := w.start()
		if err := later.try(); err != nil {
			t.Error(err)
		}
	})
}

func TestNothingIsAcceptedWhereNothingIsLost(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(5)
		if _, _, err := p.accept(); err == nil || fault.As(err).Kind != fault.Conflict {
			t.Errorf("accepted: %v", err)
		}
		if h := p.head(); h.Epoch != 1 {
			t.Errorf("the log is in epoch %d", h.Epoch)
		}
		p.passes(8)
	})
}

// Unless the loss is recorded, nothing is accepted.
func TestALossThatIsNotRecordedIsNotAccepted(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(5)
		p.head()
		restore := w.snapshot()
		p = w.again(p)
		p.append(5)
		p.head()
		p.stop()
		restore()
		p = w.start()
		broken := errors.New("not recorded")
		_, err := p.trees.AcceptLoss(t.Context(), w.origin, func(ledger.Head, int64, error) error { return broken })
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		if err := p.try(); !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("the log goes on: %v", err)
		}
	})
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
