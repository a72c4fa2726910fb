package vault_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/vault"
)

func TestABackendThatGivesSomethingElseIsNotBelieved(t *testing.T) {
	shelf := newShelf()
	w := newWorld(t, "t1")
	w.backend = shelf
	w.put("crm", key("one"))
	w.activate("crm", 1)
	if got := w.use("crm"); got != key("one") {
		t.Fatalf("a call gets %s", got)
	}
	if bytes.Contains(w.row("crm").Value, []byte("t1/crm")) {
		t.Error("the row shows where the value is")
	}
	for ref := range shelf.fields {
		shelf.fields[ref] = map[string]string{vault.Plain: key("evil")}
	}
	if got := w.use("crm"); got != "secret.sealed" {
		t.Errorf("another value: a call gets %s", got)
	}
	shelf.down = errors.New("down")
	if got := w.use("crm"); got != "secret.backend" {
		t.Errorf("down: a call gets %s", got)
	}
	d := draft("crm", key("two"))
	if err := w.open().Keep(t.Context(), d); reason(err) != "secret.backend" {
		t.Errorf("down: put: %v", err)
	}
	if _, err := w.open().Put(d, "op", w.now); err == nil {
		t.Error("a version was put whose value is nowhere")
	}
	w.backend = nil
	if got := w.use("crm"); got != "secret.backend" {
		t.Errorf("without the backend: a call gets %s", got)
	}
}

func TestWhatIsDestroyedIsDroppedByTheBackend(t *testing.T) {
	shelf := newShelf()
	w := newWorld(t, "t1")
	w.backend = shelf
	for range 3 {
		w.put("crm", key("one"))
	}
	w.activate("crm", 3)
	c := w.make(w.open().Destroy("crm", 1, w.now))
	if err := w.open().Drop(t.Context(), c.Drop...); err != nil || len(c.Drop) != 1 || len(shelf.fields) != 2 {
		t.Errorf("one: dropped %v: %v, left %d", c.Drop, err, len(shelf.fields))
	}
	c = w.make(w.open().Destroy("crm", 0, w.now))
	if err := w.open().Drop(t.Context(), c.Drop...); err != nil || len(shelf.fields) != 0 {
		t.Errorf("all: dropped %v: %v", c.Drop, err)
	}
	// Whoever was told that it could not be dropped asks again.
	if c, err := w.open().Destroy("crm", 0, w.now); err != nil || !c.Empty() || len(c.Drop) != 3 {
		t.Errorf("all again: dropped %v: %v", c.Drop, err)
	}
	if c, err := w.open().Destroy("crm", 2, w.now); err != nil || !c.Empty() || len(c.Drop) != 1 {
		t.Errorf("one again: dropped %v: %v", c.Drop, err)
	}
	// What was kept and then not put is dropped the same way.
	d := draft("crm", key("two"))
	if err := w.open().Keep(t.Context(), d); err != nil || len(d.Kept()) != 1 {
		t.Fatal(err)
	}
	if err := w.open().Keep(t.Context(), d); err != nil || len(shelf.fields) != 1 {
		t.Errorf("a draft is kept %d times: %v", len(shelf.fields), err)
	}
	if err := w.open().Drop(t.Context(), d.Kept()...); err != nil || len(shelf.fields) != 0 {
		t.Errorf("left %d: %v", len(shelf.fields), err)
	}
}

func TestNothingIsKeptForAVaultThatCannotSeal(t *testing.T) {
	shelf := newShelf()
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	broken := vault.Broken(keys.ErrSealed, w.rows)
	if err := broken.Keep(t.Context(), draft("crm", key("two"))); reason(err) != "secret.sealed" {
		t.Errorf("without its data keys: %v", err)
	}
	if err := vault.Open(nil, shelf, nil).Keep(t.Context(), draft("crm", key("two"))); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("without any data key: %v", err)
	}
	if len(shelf.fields) != 0 {
		t.Error("something is kept")
	}
}

func TestWhoOnlyOpensSecretsPutsNone(t *testing.T) {
	if got := new(keys.Sealer).Fingerprint([]byte("x")); got != "" {
		t.Errorf("a fingerprint without its key: %q", got)
	}
}
