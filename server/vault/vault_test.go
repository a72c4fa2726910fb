package vault_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/vault"
)

func TestTheLifeOfASecret(t *testing.T) {
	w := newWorld(t, "t1")
	steps := []struct {
		name   string
		do     func()
		states string
		use    string
	}{
		{"nothing", func() {}, "secret.unknown", "secret.unknown"},
		{"put", func() { w.put("crm", key("one")) }, "staged: 1=staged", "secret.none_active"},
		{"activate", func() { w.activate("crm", 0) }, "active: 1=active", key("one")},
		{"put another", func() { w.put("crm", key("two")) }, "active: 1=active 2=staged", key("one")},
		{"activate it", func() { w.activate("crm", 2) }, "active: 1=retired 2=active", key("two")},
		{"roll back", func() { w.make(w.open().Rollback("crm", w.now)) }, "active: 1=active 2=retired", key("one")},
		{"activate a retired one", func() { w.activate("crm", 2) }, "active: 1=retired 2=active", key("two")},
		{"disable", func() { w.make(w.open().Disable("crm", w.now)) }, "disabled: 1=retired 2=active", "secret.disabled"},
		{"put while disabled", func() { w.put("crm", key("three")) }, "disabled: 1=retired 2=active 3=staged",
			"secret.disabled"},
		{"activate while disabled", func() { w.activate("crm", 3) }, "disabled: 1=retired 2=retired 3=active",
			"secret.disabled"},
		{"enable", func() { w.make(w.open().Enable("crm", w.now)) }, "active: 1=retired 2=retired 3=active", key("three")},
		{"destroy a retired one", func() { w.make(w.open().Destroy("crm", 2, w.now)) },
			"active: 1=retired 2=destroyed 3=active", key("three")},
		{"destroy all", func() { w.make(w.open().Destroy("crm", 0, w.now)) },
			"destroyed: 1=destroyed 2=destroyed 3=destroyed", "secret.none_active"},
		{"put again", func() { w.put("crm", key("four")) },
			"staged: 1=destroyed 2=destroyed 3=destroyed 4=staged", "secret.none_active"},
	}
	for _, step := range steps {
		step.do()
		if got := w.states("crm"); got != step.states {
			t.Errorf("%s: %s", step.name, got)
		}
		if got := w.use("crm"); got != step.use {
			t.Errorf("%s: a call gets %s", step.name, got)
		}
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.put("crm", key("two"))
	w.activate("crm", 1)
	w.put("idle", key("idle"))
	w.put("gone", key("gone"))
	w.put("gone", key("gone2"))
	w.make(w.open().Destroy("gone", 1, w.now))
	v, zero, two := w.open(), 0, 2
	first := func(_ vault.Change, err error) string { return reason(err) }
	for _, row := range []struct{ name, got, want string }{
		{"activate an unknown one", first(v.Activate("crn", 0, nil, w.now)), "secret.unknown"},
		{"activate no version", first(v.Activate("crm", 7, nil, w.now)), "secret.version"},
		{"activate a destroyed one", first(v.Activate("gone", 1, nil, w.now)), "secret.version"},
		{"expect none", first(v.Activate("crm", 2, &zero, w.now)), "secret.moved"},
		{"expect another", first(v.Activate("crm", 2, &two, w.now)), "secret.moved"},
		{"expect another of none", first(v.Activate("idle", 1, &two, w.now)), "secret.moved"},
		{"roll back without one before", first(v.Rollback("crm", w.now)), "secret.none_before"},
		{"roll back without an active one", first(v.Rollback("idle", w.now)), "secret.none_active"},
		{"roll back an unknown one", first(v.Rollback("crn", w.now)), "secret.unknown"},
		{"disable an unknown one", first(v.Disable("crn", w.now)), "secret.unknown"},
		{"enable an unknown one", first(v.Enable("crn", w.now)), "secret.unknown"},
		{"destroy the active one", first(v.Destroy("crm", 1, w.now)), "secret.active"},
		{"destroy no version", first(v.Destroy("crm", 7, w.now)), "secret.version"},
		{"destroy an unknown one", first(v.Destroy("crn", 0, w.now)), "secret.unknown"},
	} {
		if row.got != row.want {
			t.Errorf("%s: %s", row.name, row.got)
		}
	}
}

func TestWhatIsSoAlreadyIsNotChanged(t *testing.T) {
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.put("crm", key("two"))
	w.activate("crm", 2)
	w.make(w.open().Destroy("crm", 1, w.now))
	w.put("off", key("off"))
	w.make(w.open().Disable("off", w.now))
	w.put("gone", key("gone"))
	w.make(w.open().Destroy("gone", 0, w.now))
	v := w.open()
	for name, change := range map[string]func() (vault.Change, error){
		"activate": func() (vault.Change, error) { return v.Activate("crm", 2, nil, w.now) },
		"disable":  func() (vault.Change, error) { return v.Disable("off", w.now) },
		"enable":   func() (vault.Change, error) { return v.Enable("crm", w.now) },
		"destroy":  func() (vault.Change, error) { return v.Destroy("crm", 1, w.now) },
		"all":      func() (vault.Change, error) { return v.Destroy("gone", 0, w.now) },
	} {
		if c, err := change(); err != nil || !c.Empty() || c.Secret.Name == "" {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

func TestAVersionCanBePutAndActivatedAtOnce(t *testing.T) {
	w := newWorld(t, "t1")
	d := draft("crm", key("one"))
	d.Activate, d.Expect = true, new(int)
	if c := w.make(w.open().Put(d, "op", w.now)); c.Version.State != vault.Active || w.use("crm") != key("one") {
		t.Errorf("%+v", c.Version)
	}
	if _, err := w.open().Put(d, "op", w.now); reason(err) != "secret.moved" {
		t.Errorf("when another one is active: %v", err)
	}
	d = draft("crm", key("two"))
	d.Activate = true
	w.make(w.open().Put(d, "op", w.now))
	if got := w.states("crm"); got != "active: 1=retired 2=active" {
		t.Error(got)
	}
	w.make(w.open().Rollback("crm", w.now))
	if got := w.use("crm"); got != key("one") {
		t.Errorf("after the rollback a call gets %s", got)
	}
}

func TestARollbackGoesToWhatWasActiveBefore(t *testing.T) {
	w := newWorld(t, "t1")
	for n := range 4 {
		w.put("crm", key(fmt.Sprint(n+1)))
	}
	for _, n := range []int{1, 3, 2, 4} {
		w.activate("crm", n)
	}
	for _, want := range []int{2, 3, 1} {
		if c := w.make(w.open().Rollback("crm", w.now)); c.Secret.Active != want || c.Version.Number != want {
			t.Fatalf("active is %d, not %d", c.Secret.Active, want)
		}
	}
	if _, err := w.open().Rollback("crm", w.now); reason(err) != "secret.none_before" {
		t.Errorf("from the first one: %v", err)
	}
	// A version that is gone is not gone back to.
	w.activate("crm", 4)
	w.make(w.open().Destroy("crm", 1, w.now))
	if _, err := w.open().Rollback("crm", w.now); reason(err) != "secret.none_before" {
		t.Errorf("to a destroyed one: %v", err)
	}
}

func TestASecretHasSoManyVersions(t *testing.T) {
	w := newWorld(t, "t1")
	for range vault.MaxVersions {
		w.put("crm", key("x"))
	}
	_, err := w.open().Put(draft("crm", key("x")), "op", w.now)
	if reason(err) != "secret.too_many" {
		t.Fatalf("one more: %v", err)
	}
	// Destroyed ones make room, and the oldest of them are forgotten in the end.
	for n := 1; n <= 3*vault.MaxVersions; n++ {
		w.make(w.open().Destroy("crm", n, w.now))
		w.put("crm", key("x"))
	}
	s, err := w.open().Get("crm")
	if err != nil || len(s.Versions) != 2*vault.MaxVersions || s.Versions[0].Number != 4*vault.MaxVersions {
		t.Errorf("%d versions, the newest %d: %v", len(s.Versions), s.Versions[0].Number, err)
	}
}

func TestATenantHasSoManySecrets(t *testing.T) {
	w := newWorld(t, "t1")
	v := w.open()
	for n := range vault.MaxSecrets {
		c, err := v.Put(draft(fmt.Sprintf("s-%d", n), key("x")), "op", w.now)
		if err != nil {
			t.Fatal(err)
		}
		w.rows = append(w.rows, c.Put...)
	}
	v = w.open()
	if _, err := v.Put(draft("one-more", key("x")), "op", w.now); reason(err) != "secret.too_many" {
		t.Errorf("one more: %v", err)
	}
	if _, err := v.Put(draft("s-7", key("x")), "op", w.now); err != nil {
		t.Errorf("a version of one that is there: %v", err)
	}
}

func TestAStagedVersionCanBeTriedWhateverIsActive(t *testing.T) {
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	w.put("crm", key("two"))
	trial := func(number int) string {
		v := w.open()
		ref, err := v.Version("crm", number)
		if err != nil {
			return reason(err)
		}
		value, err := v.Open(t.Context(), ref, api.Destination(), "header")
		if err != nil {
			return reason(err)
		}
		return value.Field(vault.Plain)
	}
	check := func(when string, one, two string) {
		t.Helper()
		if got := trial(1); got != one {
			t.Errorf("%s: version 1: %s", when, got)
		}
		if got := trial(2); got != two {
			t.Errorf("%s: version 2: %s", when, got)
		}
	}
	check("active", key("one"), key("two"))
	w.make(w.open().Disable("crm", w.now))
	check("disabled", "secret.disabled", key("two"))
	w.make(w.open().Destroy("crm", 2, w.now))
	check("destroyed", "secret.disabled", "secret.version")
}

func TestAChangeDoesNotTouchTheVaultThatItIsOf(t *testing.T) {
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	w.put("crm", key("two"))
	v := w.open()
	for _, change := range []func() (vault.Change, error){
		func() (vault.Change, error) { return v.Activate("crm", 2, nil, w.now) },
		func() (vault.Change, error) { return v.Disable("crm", w.now) },
		func() (vault.Change, error) { return v.Destroy("crm", 0, w.now) },
		func() (vault.Change, error) { return v.Put(draft("crm", key("three")), "op", w.now) },
	} {
		if c, err := change(); err != nil || c.Empty() {
			t.Fatal(err)
		}
	}
	if got := use(v, "crm"); got != key("one") {
		t.Errorf("a call gets %s", got)
	}
	if s, err := v.Get("crm"); err != nil || len(s.Versions) != 2 || s.State != vault.Active {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAVaultThatIsNotThereHasNothing(t *testing.T) {
	var none *vault.Vault
	empty := vault.Open(nil, nil, nil)
	broken := vault.Broken(keys.ErrSealed, nil)
	for name, v := range map[string]*vault.Vault{"nil": none, "empty": empty, "broken": broken} {
		if _, err := v.Active("crm"); reason(err) != "secret.unknown" {
			t.Errorf("%s: %v", name, err)
		}
		if len(v.List()) != 0 || !v.Progress().Done() || v.Sealer() != nil {
			t.Errorf("%s has something", name)
		}
	}
	if _, err := empty.Put(draft("crm", key("one")), "op", start); err == nil {
		t.Error("a secret was put without a data key")
	}
}

func TestDataKeysThatDoNotOpenMakeEverySecretUnreadable(t *testing.T) {
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	v := vault.Broken(keys.ErrSealed, w.rows)
	if got := use(v, "crm"); got != "secret.sealed" {
		t.Errorf("a call gets %s", got)
	}
	if list := v.List(); len(list) != 1 || list[0].Name != "crm" || list[0].State != vault.Unreadable {
		t.Errorf("%+v", list)
	}
	if _, err := v.Put(draft("crm", key("two")), "op", start); reason(err) != "secret.sealed" {
		t.Errorf("put: %v", err)
	}
}

// TestF3NothingShowsAValue prints all that anybody can hold of a secret, in every way.
func TestF3NothingShowsAValue(t *testing.T) {
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	v := w.open()
	ref, err := v.Active("crm")
	if err != nil {
		t.Fatal(err)
	}
	value, err := v.Open(t.Context(), ref, api.Destination(), "header")
	if err != nil || value.Field(vault.Plain) != key("one") {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	text := slog.New(slog.NewTextHandler(&out, nil))
	for _, x := range []any{value, *value, []*vault.Value{value}, struct{ V vault.Value }{*value}, v.List(), ref} {
		fmt.Fprintf(&out, "%v %+v %#v %s %q %x %X %d\n", x, x, x, x, x, x, x, x)
		log.Debug("x", "value", x)
		text.Info("x", "value", x)
		encoded, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(encoded)
	}
	fmt.Fprint(&out, value.String(), string(w.row("crm").Value))
	for _, seen := range []string{key("one"), key("one")[5:], fmt.Sprintf("%x", key("one"))} {
		if strings.Contains(out.String(), seen) {
			t.Errorf("something shows %q:\n%s", seen, out.String())
		}
	}
	if !strings.Contains(out.String(), ref.Fingerprint) {
		t.Error("the fingerprint is not there either: the test looks at nothing")
	}
}

func TestWhatIsKnownOfAVersion(t *testing.T) {
	w := newWorld(t, "t1")
	got := w.put("crm", key("one"))
	want := vault.Info{Number: 1, State: vault.Staged, Created: start, Since: start, By: "op-1",
		Fingerprint: got.Fingerprint, Fields: []string{"value"}, Size: "16-31",
		Binding: vault.Binding{Scheme: "https", Host: "api.example", Port: 8443, Kinds: []string{"bearer", "header"}}}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if len(got.Fingerprint) != 2*keys.PrintSize {
		t.Errorf("fingerprint %q", got.Fingerprint)
	}
	if again := w.put("other", key("one")); again.Fingerprint != got.Fingerprint {
		t.Error("one value has two fingerprints: nobody can tell that two secrets are one")
	}
	if other := w.put("crm", key("two")); other.Fingerprint == got.Fingerprint {
		t.Error("two values have one fingerprint")
	}
	// A clock that was set back does not make a change an older one.
	w.now = start.Add(-time.Hour)
	v := w.open()
	w.activate("crm", 1)
	if got := use(w.open().After(v), "crm"); got != key("one") {
		t.Errorf("after a change by a clock that was set back, a call gets %s", got)
	}
}
