package vault_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/vault"
)

func (w *world) rotate() {
	w.t.Helper()
	put, err := w.open().Sealer().Rotate(w.master, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store(put, nil)
}

// TestARewrapGoesOnWhereItWasKilled makes a step, loses it before it is stored, and begins again from what is stored.
func TestARewrapGoesOnWhereItWasKilled(t *testing.T) {
	w := newWorld(t, "t1")
	const secrets = 150
	for n := range secrets {
		w.put(fmt.Sprintf("s-%d", n), key(fmt.Sprint(n)))
		w.activate(fmt.Sprintf("s-%d", n), 1)
	}
	before, err := w.open().Get("s-7")
	if err != nil {
		t.Fatal(err)
	}
	w.rotate()
	if p := w.open().Progress(); p != (vault.Progress{DataKey: 2, Total: secrets, Left: secrets, Old: 1}) {
		t.Fatalf("after the rotation: %+v", p)
	}
	steps := 0
	for left := secrets; !w.open().Progress().Done(); steps++ {
		lost, _, err := w.open().Rewrap(w.now)
		if err != nil || lost.Empty() {
			t.Fatalf("step %d: %v", steps, err)
		}
		c, count, err := w.open().Rewrap(w.now)
		w.make(c, err)
		if count == 0 || count > 64 || count != len(c.Put) {
			t.Errorf("step %d has %d secrets", steps, count)
		}
		left -= count
		if p := w.open().Progress(); p.Left != left || (left > 0 && p.Old != 1) {
			t.Errorf("after step %d: %+v", steps, p)
		}
		for n := range secrets {
			if got := w.use(fmt.Sprintf("s-%d", n)); got != key(fmt.Sprint(n)) {
				t.Fatalf("after step %d a call gets %s", steps, got)
			}
		}
	}
	if steps != 3 {
		t.Errorf("it took %d steps", steps)
	}
	v := w.open()
	if got := v.Sealer().Versions(); !slices.Equal(got, []int{2}) {
		t.Errorf("data keys %v are left", got)
	}
	if c, count, err := v.Rewrap(w.now); err != nil || !c.Empty() || count != 0 {
		t.Errorf("there is still something to do: %d, %v", count, err)
	}
	after, err := v.Get("s-7")
	if before.DataKey, after.DataKey = 0, 0; err != nil || fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("a rewrap changed the secret:\n%+v\n%+v", before, after)
	}
}

func TestAChangeSealsItsSecretWithTheNewestKey(t *testing.T) {
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	w.put("erp", key("two"))
	w.rotate()
	w.put("crm", key("three"))
	if s, err := w.open().Get("crm"); err != nil || s.DataKey != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if p := w.open().Progress(); p.Left != 1 {
		t.Errorf("%+v", p)
	}
	if got := w.use("crm"); got != key("one") {
		t.Errorf("a call gets %s", got)
	}
	// A second rotation, before the first has ended, loses nothing.
	w.rotate()
	for !w.open().Progress().Done() {
		c, _, err := w.open().Rewrap(w.now)
		w.make(c, err)
	}
	if s, err := w.open().Get("erp"); err != nil || s.DataKey != 3 || w.use("crm") != key("one") {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAnUnreadableSecretDoesNotStopARewrap(t *testing.T) {
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	w.put("erp", key("two"))
	w.row("erp").Value = []byte("{}")
	w.rotate()
	c, count, err := w.open().Rewrap(w.now)
	if w.make(c, err); count != 1 || !w.open().Progress().Done() || w.use("crm") != key("one") {
		t.Errorf("%d: %+v", count, w.open().Progress())
	}
}

// TestAfterShreddingNoCopyOfTheRowsOpens keeps all that was ever stored.
func TestAfterShreddingNoCopyOfTheRowsOpens(t *testing.T) {
	shelf := newShelf()
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	w.backend = shelf
	w.put("erp", key("two"))
	w.rotate()
	w.put("erp", key("three"))
	kept := slices.Clone(w.rows)
	c := w.make(w.open().Shred(w.rows))
	if len(w.rows) != 0 || len(c.Drop) != 2 {
		t.Fatalf("left %v, dropped %v", w.rows, c.Drop)
	}
	if _, err := keys.OpenVault(w.master, w.tenant, w.rows); err == nil {
		t.Error("there is a data key")
	}
	// A vault that is made anew opens nothing of the old one.
	row, err := keys.CreateVault(w.master, w.tenant, w.now)
	if err != nil {
		t.Fatal(err)
	}
	w.rows = append([]ledger.Row{row}, slices.DeleteFunc(kept, func(r ledger.Row) bool { return r.Kind != vault.Kind })...)
	for _, name := range []string{"crm", "erp"} {
		if got := w.use(name); got != "secret.sealed" {
			t.Errorf("a call for %s gets %s", name, got)
		}
	}
	empty := newWorld(t, "t3")
	if _, err := empty.open().Shred(nil); reason(err) != "secret.none" {
		t.Errorf("nothing to shred: %v", err)
	}
}
