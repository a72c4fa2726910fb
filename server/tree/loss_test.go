package tree_test

import (
	"errors"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// revoke cuts a run off.
func (p *process) revoke() {
	p.w.t.Helper()
	_, err := p.log.Change(p.w.t.Context(), p.w.origin,
		ledger.Change{Cut: []ledger.Cut{{Key: ledger.Key{Kind: "run", ID: "r"}, Keep: time.Hour}}},
		audit.Event{Name: audit.CutoffSet, Body: audit.Body{Outcome: audit.Allowed}})
	if err != nil {
		p.w.t.Errorf("revoke: %v", err)
	}
}

// loses has a failover lose an event that was acknowledged, before a head covered it. The process runs on.
func loses(t *testing.T) (*world, *process) {
	t.Helper()
	w := newWorld(t, storagetest.Redis(t))
	s := &stubborn{Store: w.store}
	p := w.startOn(s, w.anchors)
	p.append(10)
	p.head()
	s.set(true)
	restore := w.snapshot()
	if err := p.try(); err != nil {
		t.Fatal(err)
	}
	restore()
	s.set(false)
	return w, p
}

func (p *process) refuses(when string) {
	p.w.t.Helper()
	if err := p.try(); !errors.Is(err, fault.ErrUnavailable) {
		p.w.t.Errorf("%s: %v", when, err)
	}
}

// An acknowledged event that no head covered is missed by whoever recorded it, even after a restart, until an operator
// accepts the loss.
func TestAnAcknowledgedEventIsMissed(t *testing.T) {
	for name, meet := range map[string]func(p *process){
		"by who writes":  func(p *process) { p.refuses("at once") },
		"by who is idle": func(p *process) { _, _ = p.trees.Latest(p.w.t.Context(), p.w.origin) },
		"though a revocation took its place": func(p *process) {
			p.revoke()
			p.refuses("after a revocation")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := loses(t)
			meet(p)
			if s := p.trees.Stats(); s.Halted != 1 {
				t.Errorf("the process that recorded it: %+v", s)
			}
			p.kill()
			next := w.start()
			next.refuses("after a restart")
			next.revoke()
			next.refuses("after a restart and a revocation")
			if _, _, err := next.accept(); err != nil {
				t.Fatal(err)
			}
			if err := next.try(); err != nil {
				t.Errorf("when the loss is accepted: %v", err)
			}
			next.stop()
			if err := w.start().try(); err != nil {
				t.Errorf("after another restart: %v", err)
			}
		})
	}
}

// A change rides on no cut past the rules that stop a log.
func TestAChangeIsNoRevocation(t *testing.T) {
	_, p := loses(t)
	p.refuses("at once")
	_, err := p.log.Change(t.Context(), p.w.origin, ledger.Change{
		Expect: 1, Put: []ledger.Row{{Kind: "client", ID: "x", Value: []byte("{}")}},
		Cut: []ledger.Cut{{Key: ledger.Key{Kind: "client", ID: "ap-bot"}, Keep: time.Hour}},
	}, event(1))
	if !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// How long the oldest event has waited does not begin anew with each attempt to cover it.
func TestTheOldestEventKeepsItsAge(t *testing.T) {
	w := newWorld(t, storagetest.Redis(t))
	p := w.startOn(&stubborn{Store: w.store, broken: true}, w.anchors)
	p.append(1)
	var last time.Duration
	for attempts := p.trees.Stats().Failures; attempts < 4; attempts = p.trees.Stats().Failures {
		now := p.trees.Stats().Oldest
		if now < last {
			t.Fatalf("it has waited for %s, and had for %s", now, last)
		}
		last = now
		time.Sleep(time.Millisecond) // for the next attempt, which nothing announces
	}
}
