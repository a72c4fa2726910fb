package admin_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/fault"
)

func states(list []admin.Key) []string {
	var all []string
	for _, k := range list {
		all = append(all, k.Alg+" "+k.State)
	}
	return all
}

// rotations counts the recorded rotations of the tenant's keys.
func (w *world) rotations(slug string) int {
	w.t.Helper()
	n := 0
	for _, e := range w.records(w.id(slug)) {
		if e.Name == "admin.signing-key.rotate" {
			n++
		}
	}
	return n
}

func TestKeysRotate(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot")+
		"tools: [{name: old, resource: https://old.example, actions: [a], signing_alg: RS256}]\n")
	w.pass(time.Hour) // the next keys are known everywhere
	first, err := w.svc.Keys(t.Context(), w.root("acme"))
	if err != nil || !slices.Equal(states(first), []string{"ES256 next", "ES256 active", "RS256 next", "RS256 active"}) {
		t.Fatal(states(first), err)
	}
	all, err := w.svc.RotateKeys(t.Context(), w.root("acme"), "ES256")
	want := []string{"ES256 next", "ES256 active", "ES256 retired", "RS256 next", "RS256 active"}
	if err != nil || !slices.Equal(states(all), want) || all[1].ID != first[0].ID || all[2].Until.IsZero() {
		t.Fatal(states(all), err)
	}
	before := w.position("acme")
	if _, err = w.svc.RotateKeys(t.Context(), w.root("acme"), ""); err != nil { // ES256's takes effect later
		t.Fatal(err)
	}
	after := w.position("acme")
	if after.Revision != before.Revision+1 || after.Index != before.Index+2 {
		t.Errorf("rotating two algorithms went from %+v to %+v", before, after)
	}
	_, err = w.svc.RotateKeys(t.Context(), w.root("acme"), "ES256")
	if err != nil || w.position("acme").Index != after.Index {
		t.Errorf("a rotation that is under way was made twice: %v", err)
	}
	for _, alg := range []string{"EdDSA", "none", "es256"} {
		_, err = w.svc.RotateKeys(t.Context(), w.root("acme"), alg)
		wantKind(t, err, fault.Invalid)
	}
}

func TestARevokedKeyIsGoneAtOnce(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	first, _ := w.svc.Keys(t.Context(), w.root("acme"))
	all, err := w.svc.RevokeKey(t.Context(), w.root("acme"), first[1].ID)
	if err != nil || !slices.Equal(states(all), []string{"ES256 next", "ES256 active", "ES256 revoked"}) ||
		all[1].ID != first[0].ID {
		t.Fatal(states(all), err)
	}
	at := w.position("acme")
	if _, err := w.svc.RevokeKey(t.Context(), w.root("acme"), first[1].ID); err != nil ||
		w.position("acme").Index != at.Index {
		t.Errorf("revoked again: %v", err)
	}
	_, err = w.svc.RevokeKey(t.Context(), w.root("acme"), "unknown")
	wantKind(t, err, fault.NotFound)
}

// TestMaintainRotatesOnce lets two processes find the same key old at the same moment.
func TestMaintainRotatesOnce(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	w.apply("young", file("young", "bot"))
	second := w.start()
	w.signIn(second, "acme", w.platform)
	both := func() {
		var wg sync.WaitGroup
		for _, p := range []*process{w.process, second} {
			wg.Go(func() {
				if err := p.svc.Maintain(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	both()
	if n := w.rotations("acme"); n != 0 {
		t.Fatalf("%d rotations of fresh keys", n)
	}
	w.pass(30*24*time.Hour + time.Hour)
	both()
	if n := w.rotations("acme"); n != 1 {
		t.Errorf("%d rotations by two processes", n)
	}
	for _, e := range w.records(w.id("acme")) {
		if e.Name == "admin.signing-key.rotate" && e.Body.Operator.ID != "schedule" {
			t.Errorf("recorded %s", e.raw)
		}
	}
	both()
	if n := w.rotations("acme"); n != 1 {
		t.Errorf("%d rotations after another round", n)
	}
}
