package e2e_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// TestNothingSecretIsWrittenDown (T-61): everything secret that takes part in a busy day is looked for afterwards in
// everything that is written down: what the server prints, its log, its metrics, its traces and its data.
func TestNothingSecretIsWrittenDown(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		collector := traced(t, w.Server)
		secrets := w.busyDay(t)
		places := map[string][]byte{
			"the metrics": []byte(harness.Get(t, w.Metrics).Body),
			"acme's log": everything(t, func(q operator.EventQuery) (*operator.Events, error) {
				return w.Operator.Events(t.Context(), "acme", q)
			}),
			"platform's log": everything(t, func(q operator.EventQuery) (*operator.Events, error) {
				return w.Operator.PlatformEvents(t.Context(), q)
			}),
		}
		w.Stop()
		places["the traces"] = collector.received()
		if len(collector.all()) < 100 {
			t.Errorf("only %d spans of a busy day", len(collector.all()))
		}
		for _, dir := range w.folders() {
			collect(t, dir, places)
		}
		if len(places) < 5 {
			t.Errorf("only these places were found: %v", slices.Collect(maps.Keys(places)))
		}
		for place, content := range places {
			for name, secret := range secrets {
				if len(secret) < 12 {
					t.Fatalf("%s is too short to be looked for", name)
				}
				if i := bytes.Index(content, []byte(secret)); i >= 0 {
					t.Errorf("%s holds %s: …%q…", place, name, content[max(0, i-60):i])
				}
			}
		}
	})
}

// busyDay does everything that involves a secret, the wrong way too, and returns the secrets by name.
func (w *world) busyDay(t *testing.T) map[string]string {
	t.Helper()
	api := w.as(t, "payments-api")
	secrets := map[string]string{"the client secret": api.Secret, "the operator's token": w.Operator.Token,
		"a tenant operator's token": w.operatorOf(t, "acme", operator.RoleAdmin).Token}
	master, err := os.ReadFile(filepath.Join(w.Dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(strings.TrimSpace(string(master)), ":")
	secrets["the master key"] = fields[len(fields)-1]
	tokens := map[string]string{
		"a workload token": w.workload(t), "a person's token": w.corp.Mint(t, harness.Mint{}),
		"an unbound token":  w.corp.Mint(t, harness.Mint{Claims: map[string]any{"sub": "canary-of-nobody-1"}}),
		"an expired token":  w.corp.Mint(t, harness.Mint{Lifetime: "-1h"}),
		"a token of nobody": w.corp.Mint(t, harness.Mint{Claims: map[string]any{"iss": "https://canary-issuer.example"}}),
	}
	form := harness.Form(tokens["a workload token"], payments, readRefunds)
	tokens["an access token"] = w.acme().MustExchange(t, form)
	tokens["a delegated token"] = w.acme().MustExchange(t,
		harness.For(tokens["a person's token"], tokens["a workload token"], payments, readRefunds))
	api.Active(t, tokens["an access token"])
	api.Revoke(t, tokens["a delegated token"])
	for _, token := range tokens { // where it does not belong
		w.acme().Exchange(t, harness.Form(token, payments, readRefunds))
		w.acme().Exchange(t, harness.For(token, token, payments, readRefunds))
		api.Introspect(t, token)
		misplaced := maps.Clone(form)
		for _, param := range strings.Fields("scope resource audience client_id grant_type requested_token_type canary") {
			misplaced[param] = []string{token}
			w.acme().Exchange(t, misplaced)
			misplaced[param] = form[param]
		}
		harness.Get(t, w.URL+"/t/acme/token?subject_token="+url.QueryEscape(token))
		harness.Get(t, w.URL+"/t/"+token+"/jwks.json")
	}
	wrong := api
	wrong.Secret = "canary-of-a-wrong-secret"
	wrong.Introspect(t, tokens["an access token"])
	_, _ = (&operator.Client{BaseURL: w.URL, Token: "brs_op_canary-of-an-operator"}).Tenants(t.Context())
	secrets["a wrong secret"], secrets["a wrong operator's token"] = wrong.Secret, "brs_op_canary-of-an-operator"
	for name, token := range tokens {
		parts := strings.Split(token, ".")
		secrets[name], secrets["the header of "+name] = token, parts[0]
		secrets["the claims of "+name], secrets["the signature of "+name] = parts[1], parts[2]
	}
	return secrets
}

// everything returns a log as text.
func everything(t *testing.T, read func(operator.EventQuery) (*operator.Events, error)) []byte {
	t.Helper()
	page, err := read(operator.EventQuery{Limit: operator.MaxEvents})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(page)
	if err != nil || len(page.Events) == 0 || len(page.Events) == operator.MaxEvents {
		t.Fatalf("%d events, %v", len(page.Events), err)
	}
	return text
}

// folders are where the server and its store write.
func (w *world) folders() []string {
	if w.Redis != nil {
		return []string{w.Dir, w.Redis.Dir}
	}
	return []string{w.Dir}
}

// collect reads every file that holds no secret by its purpose.
func collect(t *testing.T, dir string, places map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "admin.token" || d.Name() == "master.key" {
			return err
		}
		content, err := os.ReadFile(path)
		places[path] = content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
