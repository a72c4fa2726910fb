package vault_test

import (
	"bytes"
	"testing"

	"github.com/bursar-sts/bursar/server/vault"
)

// TestF2AnOlderRowIsNotBelievedByWhoSawTheNewerOne puts a row back as it was before the secret was disabled, which its
// seal alone cannot tell.
func TestF2AnOlderRowIsNotBelievedByWhoSawTheNewerOne(t *testing.T) {
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	w.put("erp", key("two"))
	w.activate("erp", 1)
	old := w.row("crm").Value
	var running *vault.Vault
	running = w.open().After(running)
	w.make(w.open().Disable("crm", w.now))
	running = w.open().After(running)
	if got := use(running, "crm"); got != "secret.disabled" {
		t.Fatalf("a call gets %s", got)
	}
	w.row("crm").Value = old
	running = w.open().After(running)
	if got := use(running, "crm"); got != "secret.sealed" {
		t.Errorf("put back: a call gets %s", got)
	}
	if got := use(running, "erp"); got != key("two") {
		t.Errorf("put back: a call for the other secret gets %s", got)
	}
	if s, err := running.Get("crm"); err != nil || s.State != vault.Unreadable {
		t.Errorf("put back: %+v, %v", s, err)
	}
	// It stays so whatever is read in between, and ends with the next change of the secret.
	running = w.open().After(running).After(running)
	if got := use(running, "crm"); got != "secret.sealed" {
		t.Errorf("read again: a call gets %s", got)
	}
	w.make(running.Destroy("crm", 0, w.now))
	w.put("crm", key("three"))
	w.activate("crm", 2)
	running = w.open().After(running)
	if got := use(running, "crm"); got != key("three") {
		t.Errorf("put anew: a call gets %s", got)
	}
}

func TestAnUnreadableSecretIsReplacedByDestroyingIt(t *testing.T) {
	w := newWorld(t, "t1")
	for range 3 {
		w.put("crm", key("one"))
	}
	w.activate("crm", 3)
	w.row("crm").Value = bytes.Replace(w.row("crm").Value, []byte(`"active":3`), []byte(`"active":2`), 1)
	v := w.open()
	for name, change := range map[string]func() (vault.Change, error){
		"put":      func() (vault.Change, error) { return v.Put(draft("crm", key("two")), "op", w.now) },
		"activate": func() (vault.Change, error) { return v.Activate("crm", 1, nil, w.now) },
		"roll":     func() (vault.Change, error) { return v.Rollback("crm", w.now) },
		"enable":   func() (vault.Change, error) { return v.Enable("crm", w.now) },
		"destroy":  func() (vault.Change, error) { return v.Destroy("crm", 1, w.now) },
	} {
		if _, err := change(); reason(err) != "secret.sealed" {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.make(v.Destroy("crm", 0, w.now))
	if got := w.put("crm", key("two")); got.Number != 4 {
		t.Errorf("the next version is number %d", got.Number)
	}
	w.activate("crm", 4)
	if got := w.use("crm"); got != key("two") {
		t.Errorf("a call gets %s", got)
	}
}
