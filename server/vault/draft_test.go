package vault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/vault"
)

// bound is a draft of some fields for some kinds of injection.
func bound(fields map[string]string, kinds ...string) *vault.Draft {
	d := &vault.Draft{Name: "crm", Fields: fields, Binding: vault.Binding{Scheme: "https", Host: "api.example", Port: 443,
		TokenURL: "https://as.example/token", Kinds: kinds}}
	d.Fill()
	return d
}

func plain(value string) map[string]string { return map[string]string{vault.Plain: value} }

func TestFieldsHaveTheirUsualKinds(t *testing.T) {
	certificate, private := pair(t)
	for want, fields := range map[string]map[string]string{
		"bearer,header": plain(key("x")),
		"basic":         {vault.Username: "u", vault.Password: key("x")},
		"sigv4":         {vault.AccessKeyID: "AKIA", vault.SecretKey: key("x"), vault.SessionToken: key("y")},
		"oauth2":        {vault.ClientID: "us", vault.ClientSecret: key("x")},
		"mtls":          {vault.Certificate: certificate, vault.PrivateKey: private},
	} {
		d := bound(fields)
		if got := strings.Join(d.Binding.Kinds, ","); got != want {
			t.Errorf("%v: %s", slices.Sorted(maps.Keys(fields)), got)
		}
		if problems := d.Check(); len(problems) > 0 {
			t.Errorf("%s: %q", want, problems)
		}
	}
}

// TestC5AValueThatAHeaderCannotHoldIsRefused before it is ever stored.
func TestC5AValueThatAHeaderCannotHoldIsRefused(t *testing.T) {
	for _, row := range []struct{ name, value, kind, want string }{
		{"CR", key("x") + "\rX-Evil: 1", "header", "printable ASCII"},
		{"LF", key("x") + "\nX-Evil: 1", "header", "printable ASCII"},
		{"CRLF at the end", key("x") + "\r\n", "bearer", "printable ASCII"},
		{"NUL", key("x") + "\x00", "header", "printable ASCII"},
		{"a tab", key("x") + "\tx", "header", "printable ASCII"},
		{"DEL", key("x") + "\x7f", "header", "printable ASCII"},
		{"not ASCII", key("x") + "é", "header", "printable ASCII"},
		{"no UTF-8", key("x") + "\xff", "header", "printable ASCII"},
		{"a space before", " " + key("x"), "header", "space"},
		{"a space behind", key("x") + " ", "bearer", "space"},
		{"a semicolon in a cookie", key("x") + ";Domain=evil.test", "cookie", "cookie"},
		{"a space in a cookie", key("x") + " x", "cookie", "cookie"},
		{"not ASCII in a cookie", key("x") + "é", "cookie", "cookie"},
		{"a line in JSON", key("x") + "\n", "json", "control"},
		{"NUL in a query", key("x") + "\x00", "query", "control"},
		{"no UTF-8 in a form", key("x") + "\xff", "form", "control"},
		{"too long for a header", strings.Repeat("x", 8<<10+1), "header", "at most 8192"},
	} {
		problems := bound(plain(row.value), row.kind).Check()
		if len(problems) != 1 || !strings.HasPrefix(problems[0], "fields.value: ") ||
			!strings.Contains(problems[0], row.want) {
			t.Errorf("%s: %q", row.name, problems)
		}
		if strings.Contains(strings.Join(problems, " "), key("x")) {
			t.Errorf("%s: the mistake shows the value", row.name)
		}
	}
	for _, row := range []struct{ value, kind string }{
		{key("x") + " and words", "header"}, {key("x") + " é", "json"}, {key("x") + "é;,", "form"},
	} {
		if problems := bound(plain(row.value), row.kind).Check(); len(problems) > 0 {
			t.Errorf("%q in %s: %q", row.value, row.kind, problems)
		}
	}
}

// TestD11AShortValueIsPutKnowinglyOrNotAtAll and says what it means.
func TestD11AShortValueIsPutKnowinglyOrNotAtAll(t *testing.T) {
	for _, row := range []struct {
		length   int
		knowing  bool
		refused  bool
		warnings string
	}{
		{0, true, true, ""}, {1, false, true, ""}, {7, false, true, ""}, {15, false, true, ""}, {16, false, false, ""},
		{1, true, false, "headers alone"}, {7, true, false, "headers alone"}, {8, true, false, "other text"},
		{15, true, false, "other text"}, {16, true, false, ""},
	} {
		d := bound(plain(strings.Repeat("x", row.length)), "header")
		d.Unscrubbable = row.knowing
		if problems := d.Check(); (len(problems) > 0) != row.refused {
			t.Errorf("%d bytes, knowing %v: %q", row.length, row.knowing, problems)
			continue
		}
		got := strings.Join(d.Warnings(), " ")
		if !row.refused && (!strings.Contains(got, row.warnings) || row.warnings == "" && got != "") {
			t.Errorf("%d bytes, knowing %v: %q", row.length, row.knowing, got)
		}
	}
	// Names of users and of keys are no secrets, and may be short; what is put with them may not.
	if problems := bound(map[string]string{vault.Username: "u", vault.Password: key("x")}).Check(); len(problems) > 0 {
		t.Error(problems)
	}
	if problems := bound(map[string]string{vault.Username: "u", vault.Password: "short"}).Check(); len(problems) != 1 {
		t.Error(problems)
	}
	// What was allowed to be short is known as that, and what is not short is not.
	w := newWorld(t, "t1")
	for value, want := range map[string]bool{"short": true, key("x"): false} {
		d := draft("crm", value)
		d.Unscrubbable = true
		if c := w.make(w.open().Put(d, "op", w.now)); c.Version.Unscrubbable != want {
			t.Errorf("%q: unscrubbable is %v", value, c.Version.Unscrubbable)
		}
	}
}

func TestDraftsThatAreRefused(t *testing.T) {
	certificate, private := pair(t)
	_, another := pair(t)
	long := strings.Repeat("x", vault.MaxSize)
	for _, row := range []struct {
		name  string
		draft *vault.Draft
		want  string
	}{
		{"no fields", bound(nil, "header"), "fields: there are none"},
		{"no kinds", bound(map[string]string{vault.Username: key("x")}), "inject: these fields"},
		{"an unknown kind", bound(plain(key("x")), "trailer"), "inject: must be some of"},
		{"an unknown field", bound(map[string]string{vault.Plain: key("x"), "token": key("y")}),
			"fields: have a name that is none of"},
		{"basic without a user", bound(map[string]string{vault.Password: key("x")}, "basic"), "needs the fields username"},
		{"a user with a colon", bound(map[string]string{vault.Username: "a:b", vault.Password: key("x")}), "colon"},
		{"sigv4 of a plain one", bound(plain(key("x")), "sigv4"), "needs the fields access_key_id"},
		{"too much", bound(map[string]string{vault.Plain: long, vault.ClientID: long}, "json"), "at most 32768"},
		{"another key", bound(map[string]string{vault.Certificate: certificate, vault.PrivateKey: another}), "not a pair"},
		{"no PEM", bound(map[string]string{vault.Certificate: "é", vault.PrivateKey: private}, "mtls"), "must be PEM"},
	} {
		problems := row.draft.Check()
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, row.want) }) {
			t.Errorf("%s: %q", row.name, problems)
		}
	}
	elsewhere := bound(map[string]string{vault.ClientID: "us", vault.ClientSecret: key("x")})
	elsewhere.Binding.TokenURL = "ftp://as.example/token"
	if problems := elsewhere.Check(); len(problems) != 1 || !strings.HasPrefix(problems[0], "token_url: ") {
		t.Errorf("a token endpoint that is none: %q", problems)
	}
	nowhere := &vault.Draft{Name: "crm", Fields: plain(key("x"))}
	nowhere.Fill()
	if problems := nowhere.Check(); len(problems) != 1 || !strings.HasPrefix(problems[0], "host: ") {
		t.Errorf("no destination: %q", problems)
	}
	without := bound(map[string]string{vault.ClientID: "us", vault.ClientSecret: key("x")})
	without.Binding.TokenURL = ""
	if problems := without.Check(); len(problems) != 1 || !strings.Contains(problems[0], "token_url") {
		t.Errorf("without a token endpoint: %q", problems)
	}
}

func TestBindings(t *testing.T) {
	for origin, want := range map[string]string{
		"https://api.example":          "https://api.example",
		"https://api.example:443":      "https://api.example",
		"https://api.example:8443":     "https://api.example:8443",
		"http://api.example":           "http://api.example",
		"https://[2001:db8::1]:8443":   "https://[2001:db8::1]:8443",
		"https://10.2.0.1":             "https://10.2.0.1",
		"https://api.example/":         "",
		"https://api.example/v1":       "",
		"https://API.example":          "",
		"https://api.example.":         "",
		"https://u:p@api.example":      "",
		"https://api.example?x":        "",
		"ftp://api.example":            "",
		"api.example":                  "",
		"":                             "",
		"https://api.example:99999":    "",
		"https://0x7f.1":               "",
		"https://api.example\\@evil":   "",
		"https://api.example%2eevil":   "",
		"https://api_1.example:000443": "",
	} {
		b, err := vault.NewBinding(origin, "", "", []string{"header"})
		if want == "" {
			if err == nil {
				t.Errorf("%q: bound to %+v", origin, b)
			}
		} else if err != nil || b.Origin() != want {
			t.Errorf("%q: %s, %v", origin, b.Origin(), err)
		}
	}
	plain, err := vault.NewBinding(api.URL, "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := vault.NewBinding(api.URL, ca, "", nil)
	if err != nil || pinned.CA == plain.CA || pinned.CA == "" {
		t.Errorf("%+v, %v", pinned, err)
	}
}

// pair returns a certificate and its key, in PEM.
func pair(t *testing.T) (certificate, private string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}
