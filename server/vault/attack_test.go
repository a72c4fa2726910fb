package vault_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

const ca = `-----BEGIN CERTIFICATE-----
AAAA
-----END CERTIFICATE-----
`

// TestA5ASecretGoesNowhereButToWhereItIsBound edits the upstream that a tool names, as an admin or a writer of the
// store can.
func TestA5ASecretGoesNowhereButToWhereItIsBound(t *testing.T) {
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	v := w.open()
	ref, err := v.Active("crm")
	if err != nil {
		t.Fatal(err)
	}
	header := &tools.Injection{In: tools.InHeader, Secret: "crm"}
	for _, row := range []struct {
		name     string
		upstream tools.Upstream
		want     string
	}{
		{"as it is", *api, ""},
		{"another host", tools.Upstream{URL: "https://evil.test:8443"}, "secret.host_not_bound"},
		{"a host below it", tools.Upstream{URL: "https://api.example.evil.test:8443"}, "secret.host_not_bound"},
		{"another port", tools.Upstream{URL: "https://api.example"}, "secret.host_not_bound"},
		{"without TLS", tools.Upstream{URL: "http://api.example:8443"}, "secret.host_not_bound"},
		{"another authority", tools.Upstream{URL: api.URL, Network: tools.Network{CA: ca}}, "secret.host_not_bound"},
		{"no host", tools.Upstream{}, "secret.host_not_bound"},
		{"no URL", tools.Upstream{URL: "https://api.example:port"}, "secret.host_not_bound"},
	} {
		value, err := v.For(t.Context(), ref, &row.upstream, header)
		if row.want == "" {
			if err != nil || value.Field(vault.Plain) != key("one") {
				t.Errorf("%s: %v", row.name, err)
			}
			continue
		}
		if reason(err) != row.want || value != nil {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	for _, kind := range tools.Kinds() {
		_, err := v.Open(t.Context(), ref, api.Destination(), kind)
		if kind == tools.InHeader || kind == tools.InBearer {
			if err != nil {
				t.Errorf("in %s: %v", kind, err)
			}
		} else if got := reason(err); got != "secret.kind_not_bound" && got != "secret.host_not_bound" {
			t.Errorf("in %s: %v", kind, err)
		}
	}
	if _, err := v.Open(t.Context(), ref, api.Destination(), ""); reason(err) != "secret.kind_not_bound" {
		t.Errorf("in nothing: %v", err)
	}
}

// TestA5ClientCredentialsGoToTheirTokenEndpointAndTheirTokenToTheUpstream binds both halves.
func TestA5ClientCredentialsGoToTheirTokenEndpointAndTheirTokenToTheUpstream(t *testing.T) {
	w := newWorld(t, "t1")
	d := &vault.Draft{Name: "crm", Fields: map[string]string{vault.ClientID: "us", vault.ClientSecret: key("one")},
		Binding: vault.Binding{Scheme: "https", Host: "api.example", Port: 8443, TokenURL: "https://as.example/token"}}
	d.Fill()
	if problems := d.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	w.make(w.open().Put(d, "op", w.now))
	w.activate("crm", 1)
	v := w.open()
	ref, err := v.Active("crm")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ upstream, token, want string }{
		{api.URL, "https://as.example/token", ""},
		{api.URL, "https://evil.test/token", "secret.host_not_bound"},
		{"https://evil.test", "https://as.example/token", "secret.host_not_bound"},
		{"https://as.example", "https://api.example:8443", "secret.host_not_bound"},
	} {
		i := &tools.Injection{In: tools.InOAuth2, OAuth2: &tools.OAuth2{TokenURL: row.token}}
		_, err := v.For(t.Context(), ref, &tools.Upstream{URL: row.upstream}, i)
		if row.want == "" && err != nil || row.want != "" && reason(err) != row.want {
			t.Errorf("%s by %s: %v", row.upstream, row.token, err)
		}
	}
	none := &tools.Injection{In: tools.InOAuth2}
	if _, err := v.For(t.Context(), ref, api, none); reason(err) != "secret.host_not_bound" {
		t.Errorf("to no token endpoint: %v", err)
	}
	if _, err := v.Open(t.Context(), ref, (&tools.OAuth2{TokenURL: "https://as.example/token"}).Destination(),
		tools.InOAuth2); err != nil {
		t.Errorf("at the token endpoint: %v", err)
	}
	if _, err := v.Open(t.Context(), ref, api.Destination(), tools.InOAuth2); reason(err) != "secret.host_not_bound" {
		t.Errorf("credentials at the upstream: %v", err)
	}
}

// TestE9ADisabledSecretIsRefusedAndNeverEmpty asks in every way.
func TestE9ADisabledSecretIsRefusedAndNeverEmpty(t *testing.T) {
	w := newWorld(t, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	ref, err := w.open().Active("crm")
	if err != nil {
		t.Fatal(err)
	}
	w.make(w.open().Disable("crm", w.now))
	v := w.open()
	if _, err := v.Active("crm"); reason(err) != "secret.disabled" {
		t.Errorf("active: %v", err)
	}
	if _, err := v.Version("crm", 1); reason(err) != "secret.disabled" {
		t.Errorf("version: %v", err)
	}
	if value, err := v.Open(t.Context(), ref, api.Destination(), tools.InHeader); reason(err) != "secret.disabled" {
		t.Errorf("what was active before gives %v: %v", value, err)
	}
}

// TestE2NamesThatAreNoSlugsAreRefused as paths of a backend would be.
func TestE2NamesThatAreNoSlugsAreRefused(t *testing.T) {
	shelf := newShelf()
	w := newWorld(t, "t1")
	w.backend = shelf
	for _, name := range []string{"", "..", "a/../b", "%2e%2e", "crm%2fx", "Crm", "crm/", "сrm", "crm\x00", "crm.1",
		strings.Repeat("a", 64)} {
		if problems := draft(name, key("one")).Check(); len(problems) != 1 || !strings.HasPrefix(problems[0], "name: ") {
			t.Errorf("%q: %q", name, problems)
		}
	}
	// Nor is a row of such a name believed, whoever wrote it.
	w.backend = nil
	c, err := w.open().Put(draft("..", key("one")), "op", w.now)
	if err != nil {
		t.Fatal(err)
	}
	w.rows = append(w.rows, c.Put...)
	if got := w.use(".."); got != "secret.sealed" {
		t.Errorf("a call gets %s", got)
	}
}

// TestF1NothingOpensInAnotherPlace moves whole rows, versions and sealed bytes between tenants, secrets and versions.
func TestF1NothingOpensInAnotherPlace(t *testing.T) {
	w := newWorld(t, "t1")
	other := newWorldUnder(t, w.master, "t2")
	for _, x := range []*world{w, other} {
		for _, name := range []string{"crm", "erp"} {
			x.put(name, key(string(x.tenant)+name+"1"))
			x.activate(name, 1)
			x.put(name, key(string(x.tenant)+name+"2"))
		}
	}
	before := slices.Clone(w.rows)
	type fields = map[string]any
	edit := func(change func(row fields)) {
		var row fields
		if err := json.Unmarshal(w.row("crm").Value, &row); err != nil {
			t.Fatal(err)
		}
		change(row)
		value, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		*w.row("crm") = ledger.Row{Kind: vault.Kind, ID: "crm", Value: value}
	}
	version := func(row fields, n int) fields { return row["versions"].([]any)[n-1].(fields) }
	terms := func(row fields) fields { return version(row, 1)["terms"].(fields) }
	binding := func(row fields) fields { return terms(row)["binding"].(fields) }
	for name, attack := range map[string]func(){
		"the row of another tenant": func() { w.row("crm").Value = other.row("crm").Value },
		"the row of another secret": func() { w.row("crm").Value = w.row("erp").Value },
		"another active version":    func() { edit(func(r fields) { r["active"] = 2 }) },
		"a higher change":           func() { edit(func(r fields) { r["change"] = 9e15 }) },
		"versions exchanged":        func() { edit(func(r fields) { slices.Reverse(r["versions"].([]any)) }) },
		"a version less":            func() { edit(func(r fields) { r["versions"] = r["versions"].([]any)[:1] }) },
		"a state":                   func() { edit(func(r fields) { version(r, 2)["state"] = "active" }) },
		"sealed bytes of the other": func() { edit(func(r fields) { version(r, 1)["sealed"] = version(r, 2)["sealed"] }) },
		"a fingerprint":             func() { edit(func(r fields) { version(r, 1)["fingerprint"] = "0011223344556677" }) },
		"another host":              func() { edit(func(r fields) { binding(r)["host"] = "evil.test" }) },
		"another kind":              func() { edit(func(r fields) { binding(r)["kinds"] = []string{"query"} }) },
		"for a front proxy":         func() { edit(func(r fields) { terms(r)["decision_mode"] = true }) },
		"in a backend":              func() { edit(func(r fields) { terms(r)["backend"] = "shelf" }) },
		"no seal":                   func() { edit(func(r fields) { delete(r, "sealed") }) },
		"a value for a seal":        func() { edit(func(r fields) { r["sealed"] = version(r, 1)["sealed"] }) },
		"a disabled secret":         func() { edit(func(r fields) { r["disabled"] = "2026-12-01T09:00:00Z" }) },
		"another number":            func() { edit(func(r fields) { version(r, 1)["number"], r["active"] = 3, 3 }) },
		"no JSON":                   func() { w.row("crm").Value = []byte("{") },
	} {
		w.rows = slices.Clone(before)
		if got := w.use("crm"); got != key("t1crm1") {
			t.Fatalf("before: a call gets %s", got)
		}
		attack()
		if got := w.use("crm"); got != "secret.sealed" {
			t.Errorf("%s: a call gets %s", name, got)
		}
		if got := w.use("erp"); got != key("t1erp1") {
			t.Errorf("%s: a call for the other secret gets %s", name, got)
		}
	}
}

// TestF1AnySwapOfSealedBytesFails exchanges any two seals of two tenants' rows.
func TestF1AnySwapOfSealedBytesFails(t *testing.T) {
	w := newWorld(t, "t1")
	worlds := []*world{w, newWorldUnder(t, w.master, "t2")}
	type seal struct {
		row     *ledger.Row
		version int // 0: of the row itself
	}
	var seals []seal
	for _, x := range worlds {
		for _, name := range []string{"crm", "erp"} {
			x.put(name, key("same"))
			x.activate(name, 1)
			x.put(name, key("same"))
			x.put(name, key("same"))
		}
	}
	for _, x := range worlds {
		for _, name := range []string{"crm", "erp"} {
			for version := range 4 {
				seals = append(seals, seal{x.row(name), version})
			}
		}
	}
	get := func(s seal) (row map[string]any, at map[string]any) {
		if err := json.Unmarshal(s.row.Value, &row); err != nil {
			t.Fatal(err)
		}
		if at = row; s.version > 0 {
			at = row["versions"].([]any)[s.version-1].(map[string]any)
		}
		return row, at
	}
	set := func(s seal, sealed any) {
		row, at := get(s)
		at["sealed"] = sealed
		value, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		s.row.Value = value
	}
	index := rapid.IntRange(0, len(seals)-1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := seals[index.Draw(t, "a")], seals[index.Draw(t, "b")]
		if a == b {
			t.Skip("the same")
		}
		before := [][]byte{bytes.Clone(a.row.Value), bytes.Clone(b.row.Value)}
		_, atA := get(a)
		_, atB := get(b)
		set(a, atB["sealed"])
		set(b, atA["sealed"])
		for _, x := range []seal{a, b} {
			i := slices.IndexFunc(worlds, func(w *world) bool {
				return slices.ContainsFunc(w.rows, func(r ledger.Row) bool { return &r.Value[0] == &x.row.Value[0] })
			})
			if got := worlds[i].use(x.row.ID); got != "secret.sealed" {
				t.Errorf("a call gets %s", got)
			}
		}
		b.row.Value = before[1]
		a.row.Value = before[0]
	})
	for _, x := range worlds {
		if got := x.use("crm"); got != key("same") {
			t.Errorf("in the end a call gets %s: the test looked at nothing", got)
		}
	}
}
