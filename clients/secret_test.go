package clients_test

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/fault"
)

func TestNewSecret(t *testing.T) {
	form := regexp.MustCompile(`^brs_[A-Za-z0-9_-]{43}[a-z2-7]{7}$`)
	seen := map[string]bool{}
	for range 100 {
		plain, s := clients.NewSecret(now)
		if !form.MatchString(plain) || !clients.IsSecret(plain) || seen[plain] {
			t.Fatal("not a fresh secret of the documented form")
		}
		if len(s.Hash) != 64 || !strings.HasPrefix(s.Hash, s.ID) || len(s.ID) != 8 || !s.Created.Equal(now) {
			t.Fatalf("stored as %+v", s)
		}
		if strings.Contains(string(mustJSON(s)), plain[4:20]) {
			t.Fatal("the stored form holds the secret")
		}
		seen[plain] = true
	}
}

func TestAtMostTwoSecretsAreValid(t *testing.T) {
	var set clients.SecretSet
	var plains, ids []string
	for i := range 4 {
		plain, s := clients.NewSecret(now.Add(time.Duration(i) * time.Hour))
		before := slices.Clone(set.Secrets)
		next := set.Add(s)
		if !slices.Equal(before, set.Secrets) {
			t.Fatal("Add changed the set that it was called on")
		}
		set, plains, ids = next, append(plains, plain), append(ids, s.ID)
	}
	set.Client = "basic"
	valid := func(set clients.SecretSet) (valid []bool) {
		w := newWorld(t)
		c := config(registered()...)
		c.Secrets = []clients.SecretSet{set}
		var mistakes []string
		if w.Registry, mistakes = clients.NewRegistry(c); len(mistakes) > 0 {
			t.Fatal(mistakes)
		}
		for _, plain := range plains {
			_, _, err := w.Authenticate(t.Context(), clients.Credentials{Basic: &clients.IDSecret{ID: "basic", Secret: plain}})
			if err != nil && fault.As(err).Reason != clients.ReasonSecret {
				t.Fatal(err)
			}
			valid = append(valid, err == nil)
		}
		return valid
	}
	if got := valid(set); !slices.Equal(got, []bool{false, false, true, true}) {
		t.Errorf("after four additions valid are %v", got)
	}
	less, ok := set.Remove(ids[2])
	if got := valid(less); !ok || !slices.Equal(got, []bool{false, false, false, true}) {
		t.Errorf("after removing the older, valid are %v", got)
	}
	if _, ok := less.Remove(ids[2]); ok {
		t.Error("removed a secret twice")
	}
	if less, _ = less.Remove(ids[3]); slices.Contains(valid(less), true) {
		t.Error("an empty set lets somebody in")
	}
}

func TestAddLeavesOtherSetsAlone(t *testing.T) {
	_, first := clients.NewSecret(now)
	_, second := clients.NewSecret(now)
	_, third := clients.NewSecret(now)
	base := clients.SecretSet{Secrets: append(make([]clients.Secret, 0, 4), first)}
	one, two := base.Add(second), base.Add(third)
	if one.Secrets[1] != second || two.Secrets[1] != third {
		t.Error("two sets share their memory")
	}
}

// A stored hash of something that was not generated here, and can therefore be guessed, opens nothing.
func TestOnlyGeneratedSecretsCount(t *testing.T) {
	sum := sha256.Sum256([]byte("password"))
	c := config(registered()...)
	c.Secrets = []clients.SecretSet{{Client: "basic", Secrets: []clients.Secret{{Hash: hex.EncodeToString(sum[:])}}}}
	w := newWorld(t)
	w.Registry, _ = clients.NewRegistry(c)
	got := w.outcome(t.Context(), clients.Credentials{Basic: &clients.IDSecret{ID: "basic", Secret: "password"}})
	if got != "invalid_client client.secret" {
		t.Errorf("got %s", got)
	}
}

func FuzzSecret(f *testing.F) {
	plain, _ := clients.NewSecret(now)
	f.Add(plain)
	f.Add(plain[:len(plain)-1])
	f.Add(strings.ToUpper(plain))
	f.Add("brs_")
	f.Add("brs_" + strings.Repeat("A", 50))
	f.Add("")
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, s string) {
		if clients.IsSecret(s) && (len(s) != len(plain) || !strings.HasPrefix(s, "brs_")) {
			t.Errorf("%q passes for a secret", s)
		}
		// A changed character is always noticed: it is what the checksum is for.
		for i := range s {
			changed := s[:i] + string(rune(s[i]^1)) + s[i+1:]
			if clients.IsSecret(s) && clients.IsSecret(changed) {
				t.Errorf("a mistyped secret passes: character %d", i)
			}
		}
		c := clients.Credentials{Basic: &clients.IDSecret{ID: "basic", Secret: s}}
		if got := w.outcome(t.Context(), c); got != "invalid_client client.secret" {
			t.Errorf("got %s", got)
		}
	})
}

// TestTheGuardIsAskedBeforeASecretIsCompared, and told what came of it, in the same way whether there is such a client
// or not. Who does not present a secret is none of its business.
func TestTheGuardIsAskedBeforeASecretIsCompared(t *testing.T) {
	w := newWorld(t)
	basic := func(id, secret string) clients.Credentials {
		return clients.Credentials{Basic: &clients.IDSecret{ID: id, Secret: secret}}
	}
	wrong, _ := clients.NewSecret(now)
	calls := []struct {
		credentials clients.Credentials
		told        string
	}{
		{basic("basic", w.secrets["basic"]), "basic right"},
		{basic("basic", wrong), "basic wrong"},
		{basic("basic", "not even formed"), "basic wrong"},
		{basic("basic", ""), "basic wrong"},
		{basic("nobody", wrong), "nobody wrong"},
		{basic("post", w.secrets["post"]), "post right"}, // by the wrong method, which only its owner is told
		{basic("own", wrong), "own wrong"},               // which has no secrets
		{own("es256", nil, nil), ""},
		{clients.Credentials{ClientID: "basic"}, ""},
	}
	for _, call := range calls {
		w.guard.told = nil
		w.outcome(t.Context(), call.credentials)
		if told := strings.Join(w.guard.told, ", "); told != call.told {
			t.Errorf("told %q, want %q", told, call.told)
		}
	}
	w.guard.shut, w.guard.told = true, nil
	for _, call := range calls {
		got := w.outcome(t.Context(), call.credentials)
		if (got == "too_many limit.secret") != (call.told != "") {
			t.Errorf("%q: %s", call.told, got)
		}
	}
	if len(w.guard.told) > 0 {
		t.Errorf("compared although the guard refused: %q", w.guard.told)
	}
}
