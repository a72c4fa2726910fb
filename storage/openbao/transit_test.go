package openbao_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/storage/openbao"
)

// transit makes a key of a transit engine.
func (w *world) transit() openbao.TransitKey {
	w.t.Helper()
	k := openbao.TransitKey{Mount: w.Mount(w.t, "transit"), Name: "bursar"}
	w.Must(w.t, http.MethodPost, k.Mount+"/keys/"+k.Name, nil)
	return k
}

func (w *world) master(c *openbao.Client, k openbao.TransitKey) keys.Master {
	w.t.Helper()
	m, err := c.Master(w.t.Context(), k)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func TestAMasterKeyStaysInTransit(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		k := w.transit()
		m, other := w.master(w.client(w.Token), k), w.master(w.client(w.Token), k)
		if m.ID() != "openbao-transit:bursar" {
			t.Errorf("it is named %s", m.ID())
		}
		sealed, err := m.Seal([]byte(secretText), []byte("place"))
		if err != nil || bytes.Contains(sealed, []byte(secretText)) || !strings.HasPrefix(string(sealed), "vault:v1:") {
			t.Fatalf("sealed: %v", err)
		}
		for _, m := range []keys.Master{m, other} {
			if plain, err := m.Open(sealed, []byte("place")); err != nil || string(plain) != secretText {
				t.Errorf("it does not open: %v", err)
			}
			for _, wrong := range []struct{ sealed, aad string }{
				{string(sealed), "elsewhere"}, {string(sealed), ""}, {string(sealed[:len(sealed)-8]) + "AAAAAAA=", "place"},
				{"vault:v9:" + string(sealed[9:]), "place"}, {secretText, "place"}, {"", "place"},
			} {
				plain, err := m.Open([]byte(wrong.sealed), []byte(wrong.aad))
				if err == nil || plain != nil || errors.Is(err, fault.ErrUnavailable) { // it is not to be tried again
					t.Errorf("%q opens in %q, or may later: %v", wrong.sealed, wrong.aad, err)
					continue
				}
				w.quiet(err.Error())
			}
		}
	})
}

// After the key was rotated in OpenBao, what it sealed before still opens, is known to be outdated, and is not any more
// when it was sealed again.
func TestAMasterKeyIsRotated(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		k := w.transit()
		m := w.master(w.client(w.Token), k)
		sealed, err := m.Seal([]byte(secretText), []byte("place"))
		if err != nil {
			t.Fatal(err)
		}
		aged, ok := m.(interface{ Outdated(sealed []byte) bool })
		if !ok || aged.Outdated(sealed) {
			t.Fatal("it is outdated at once")
		}
		w.Must(t, http.MethodPost, k.Mount+"/keys/"+k.Name+"/rotate", nil)
		m = w.master(w.client(w.Token), k) // knows of it
		if aged = m.(interface{ Outdated(sealed []byte) bool }); !aged.Outdated(sealed) {
			t.Error("it is not outdated")
		}
		plain, err := m.Open(sealed, []byte("place"))
		if err != nil || string(plain) != secretText {
			t.Fatalf("it does not open: %v", err)
		}
		again, err := m.Seal(plain, []byte("place"))
		if err != nil || aged.Outdated(again) {
			t.Errorf("sealed again, it is outdated: %v", err)
		}
		w.Must(t, http.MethodPost, k.Mount+"/keys/"+k.Name+"/config", map[string]any{"min_decryption_version": 2})
		fresh := w.master(w.client(w.Token), k)
		if _, err := fresh.Open(sealed, []byte("place")); err == nil {
			t.Error("the version that is not allowed any more opens")
		}
		if plain, err := fresh.Open(again, []byte("place")); err != nil || string(plain) != secretText {
			t.Errorf("the other does not: %v", err)
		}
	})
}

// A token needs the right to encrypt and to decrypt, and no other.
func TestAMasterKeyNeedsTwoRights(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		k := w.transit()
		as := func(policy string) error {
			_, err := w.client(w.Holder(t, fmt.Sprintf(policy, k.Mount), "1h")).Master(t.Context(), k)
			return err
		}
		encrypts := `path "%[1]s/encrypt/bursar" { capabilities = ["update"] }`
		if err := as(encrypts + "\n" + `path "%[1]s/decrypt/bursar" { capabilities = ["update"] }`); err != nil {
			t.Error(err)
		}
		for policy, says := range map[string]string{encrypts: "decrypt with",
			`path "%[1]s/decrypt/bursar" { capabilities = ["update"] }`: "encrypt with"} {
			if err := as(policy); err == nil || !strings.Contains(err.Error(), says) ||
				!strings.Contains(err.Error(), "permission denied") {
				t.Errorf("%s: %v", policy, err)
			}
		}
	})
}

// A key that does not exist is not made by using it.
func TestAMissingMasterKeyIsSaid(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		k := openbao.TransitKey{Mount: w.Mount(t, "transit"), Name: "bursar"}
		_, err := w.client(w.Token).Master(t.Context(), k)
		if err == nil || !strings.Contains(err.Error(), "there is no transit key "+k.String()) {
			t.Errorf("the error is %v", err)
		}
		w.Must(t, http.MethodPost, k.Mount+"/keys/derived", map[string]any{"derived": true})
		if w.Fake == nil {
			k.Name = "derived"
			if _, err := w.client(w.Token).Master(t.Context(), k); err == nil || !strings.Contains(err.Error(), "derives") {
				t.Errorf("the error is %v", err)
			}
		}
	})
}

// What was opened once is at hand when OpenBao is away; nothing else is.
func TestAMasterKeyRemembersWhatItOpened(t *testing.T) {
	w := fake(t)
	k := w.transit()
	m := w.master(w.client(w.Token), k)
	known, err := m.Seal([]byte("known"), []byte("place"))
	if err != nil {
		t.Fatal(err)
	}
	strange, err := w.master(w.client(w.Token), k).Seal([]byte("strange"), []byte("place"))
	if err != nil {
		t.Fatal(err)
	}
	w.Fake.Seal(true)
	plain, err := m.Open(known, []byte("place"))
	if err != nil || string(plain) != "known" {
		t.Errorf("it does not open: %v", err)
	}
	plain[0] = 'x' // is the caller's own
	if plain, err := m.Open(known, []byte("place")); err != nil || string(plain) != "known" {
		t.Errorf("it opens to %s, %v", plain, err)
	}
	_, err = m.Open(known, []byte("elsewhere"))
	w.refused(err, "openbao.sealed")
	_, err = m.Open(strange, []byte("place"))
	w.refused(err, "openbao.sealed")
	_, err = m.Seal([]byte("new"), []byte("place"))
	w.refused(err, "openbao.sealed")
	w.Fake.Seal(false)
	if plain, err := m.Open(strange, []byte("place")); err != nil || string(plain) != "strange" {
		t.Errorf("it does not open: %v", err)
	}
	w.advance(25 * time.Hour) // in which nobody asks for them
	if _, err := m.Seal([]byte("new"), []byte("place")); err != nil {
		t.Fatal(err)
	}
	w.Fake.Seal(true)
	_, err = m.Open(known, []byte("place"))
	w.refused(err, "openbao.sealed")
}

// The master key seals a tenant's data keys as one from a file does.
func TestAMasterKeySealsDataKeys(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		k := w.transit()
		tenant, now := tenants["acme"], time.Now()
		rows, err := keys.CreateLog(w.master(w.client(w.Token), k), tenant, now)
		if err != nil {
			t.Fatal(err)
		}
		w.Must(t, http.MethodPost, k.Mount+"/keys/"+k.Name+"/rotate", nil)
		m := w.master(w.client(w.Token), k)
		if _, err := keys.OpenLog(m, tenant, rows); err != nil {
			t.Error(err)
		}
		if _, err := keys.OpenLog(m, tenants["globex"], rows); err == nil {
			t.Error("they open for another tenant")
		}
	})
}

func TestATransitKeyIsNamedInOneWay(t *testing.T) {
	for text, want := range map[string]string{"bursar": "transit/bursar", "kms/bursar": "kms/bursar",
		"a/b/bursar": "a/b/bursar", "": "", "/bursar": "", "bursar/": "", "../x": "", "a//b": "", "a%2fb": "", "a b": ""} {
		k, err := openbao.ParseTransitKey(text)
		if want == "" && err == nil || want != "" && k.String() != want {
			t.Errorf("%q is %v, %v", text, k, err)
		}
	}
}
