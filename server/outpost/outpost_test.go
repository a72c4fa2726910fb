package outpost_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/outpost"
	"github.com/bursar-sts/bursar/server/shim"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/tools"
)

// fresh returns acme as it stands.
func (w *world) fresh() *shim.View {
	w.t.Helper()
	v, err := w.dir.Fresh(w.t.Context(), "acme")
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// value returns what the tool's secret is.
func (w *world) value(v *shim.View) (string, error) {
	tool, ok := v.Tools.Named("legacy")
	if !ok {
		return "", errors.New("there is no such tool")
	}
	ref, err := v.Secrets.Active("legacy-key")
	if err != nil {
		return "", err
	}
	value, err := v.Secrets.Open(w.t.Context(), ref, tool.Upstream.Destination(), tools.InHeader)
	if err != nil {
		return "", err
	}
	return value.Field("value"), nil
}

// refused fails the test unless the tenant is refused with a reason.
func (w *world) refused(reason string) {
	w.t.Helper()
	_, err := w.dir.Fresh(w.t.Context(), "acme")
	if err == nil || fault.As(err).Kind != fault.Unavailable || fault.As(err).Reason != reason {
		w.t.Errorf("got %v, want %s", err, reason)
	}
	if _, err := w.dir.View(w.t.Context(), "acme"); err == nil {
		w.t.Error("what was seen before is used on")
	}
}

// recovers waits until the tenant can be used.
func (w *world) recovers() *shim.View {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		v, err := w.dir.Fresh(w.t.Context(), "acme")
		if err == nil {
			return v
		}
		if time.Now().After(end) {
			w.t.Fatal(err)
		}
	}
}

func TestATenantIsReadWithoutTheMasterKey(t *testing.T) {
	w := newWorld(t)
	w.dir.Warm(t.Context())
	v, err := w.dir.View(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.value(v); err != nil || got != secretOf+"acme" {
		t.Errorf("the secret is %q, %v", got, err)
	}
	compact := w.token()
	payload, err := v.Verify(compact, time.Now())
	if err != nil || !strings.Contains(string(payload), `"ap-bot"`) {
		t.Errorf("a token of the tenant: %s, %v", payload, err)
	}
	if _, err := v.Verify(compact[:len(compact)-8]+"AAAAAAAA", time.Now()); err == nil {
		t.Error("a forged token verifies")
	}
	if v.Issuer != "https://sts.example/t/acme" || v.Origin().Tenant != w.ID("acme") || len(v.Private) == 0 {
		t.Errorf("it is %+v", v)
	}
	for _, slug := range []string{"globex", "nobody", ""} {
		_, err := w.dir.View(t.Context(), slug)
		if err == nil || fault.As(err).Kind != fault.NotFound {
			t.Errorf("%q: %v", slug, err)
		}
		if _, err := w.dir.At(t.Context(), slug, ledger.Position{}); err == nil || fault.As(err).Kind != fault.NotFound {
			t.Errorf("%q: %v", slug, err)
		}
	}
	if all, usable := w.dir.Count(); all != 1 || usable != 1 {
		t.Errorf("%d of %d can be used", usable, all)
	}
	if err := w.dir.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if d := time.Until(w.dir.Now()); d > time.Millisecond || d < -time.Second {
		t.Errorf("its time is %s ahead of the store's", d)
	}
}

// A view has everything that was acknowledged before it was asked for, and the server is asked for keys only when a row
// may be another.
func TestAViewIsAsNewAsAskedFor(t *testing.T) {
	w := newWorld(t)
	first := w.fresh()
	asked := w.asked.Load()
	p := w.Cut("acme", "client", "ap-bot", false)
	v, err := w.dir.At(t.Context(), "acme", p)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := token.Parse(must(v.Verify(w.token(), time.Now())))
	if err != nil {
		t.Fatal(err)
	}
	claims.IssuedAt = p.Time.Add(-time.Minute).Unix()
	if _, hit := v.Cutoffs.Hits(claims, "legacy"); !hit {
		t.Error("the revocation is not in it")
	}
	if _, hit := first.Cutoffs.Hits(claims, "legacy"); hit {
		t.Error("a view changed")
	}
	if n := w.asked.Load(); n != asked {
		t.Errorf("the server was asked %d times for a revocation", n-asked)
	}
	w.RotateSecret("acme", "legacy-key", "sk-live-another-value")
	if got, err := w.value(w.fresh()); err != nil || got != "sk-live-another-value" {
		t.Errorf("after the rotation it is %q, %v", got, err)
	}
	w.DisableSecret("acme", "legacy-key")
	if got, err := w.value(w.fresh()); err == nil || fault.As(err).Reason != "secret.disabled" {
		t.Errorf("disabled it is %q, %v", got, err)
	}
	if same := w.fresh(); same != w.fresh() {
		t.Error("nothing changed, and it was made anew")
	}
	ahead := ledger.Position{Revision: v.Revision + 100}
	if _, err := w.dir.At(t.Context(), "acme", ahead); err == nil || fault.As(err).Reason != "tenant.behind" {
		t.Errorf("more than there is: %v", err)
	}
}

func must(payload []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return payload
}

// revokeKey ends the signing key of acme that signed before.
func (w *world) revokeKey() {
	w.t.Helper()
	v, err := w.Directory.Fresh(w.t.Context(), "acme")
	if err != nil {
		w.t.Fatal(err)
	}
	signer, err := v.Ring.Signer(keys.ES256, w.Directory.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	put, gone, err := v.Ring.Revoke(signer.KeyID, w.Directory.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	w.Commit("acme", ledger.Change{Expect: v.Revision, Put: put, Delete: gone})
}

func TestARevokedSigningKeyIsNotAccepted(t *testing.T) {
	w := newWorld(t)
	compact := w.token()
	if _, err := w.fresh().Verify(compact, time.Now()); err != nil {
		t.Fatal(err)
	}
	w.revokeKey()
	if _, err := w.fresh().Verify(compact, time.Now()); err == nil {
		t.Error("it is accepted")
	}
	if _, err := w.fresh().Verify(w.token(), time.Now()); err != nil {
		t.Errorf("the key after it: %v", err)
	}
}

// older is a store that is as it was some changes ago.
type older struct {
	outpost.Store
	by int64
}

func (o *older) Position(ctx context.Context, t ledger.Tenant) (ledger.Position, error) {
	p, err := o.Store.Position(ctx, t)
	p.Revision -= o.by
	return p, err
}

func (o *older) Rows(ctx context.Context, t ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position, error) {
	rows, p, err := o.Store.Rows(ctx, t, kinds...)
	p.Revision -= o.by
	return rows, p, err
}

// A store that went back holds what was revoked since. It is not used unless the server vouches for it, as it does when
// an operator has accepted the loss.
func TestAStoreThatWentBackIsNotUsedUnvouched(t *testing.T) {
	w := newWorld(t)
	store := &older{Store: w.guest}
	w.dir = w.over(store)
	was := w.fresh()
	store.by = 1
	rec := httptest.NewRecorder()
	w.Server.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/t/acme/jwks.json", nil)) // without a revision
	w.answers(func(to http.ResponseWriter, _ *http.Request) { _, _ = to.Write(rec.Body.Bytes()) })
	for range 2 {
		_, err := w.dir.At(t.Context(), "acme", ledger.Position{Revision: was.Revision - 1, Cutoffs: was.Cutoffs.Seq})
		if err == nil || fault.As(err).Reason != "tenant.keys" {
			t.Errorf("got %v", err)
		}
		w.refused("tenant.keys")
	}
	w.answers(nil)
	if v := w.recovers(); v.Revision != was.Revision-1 {
		t.Errorf("it is at %d", v.Revision)
	}
}

// While the keys of a new revision cannot be fetched, neither they nor those before are used; that is said once.
func TestWithoutTheKeysOfARevisionNothingIsUsed(t *testing.T) {
	w := newWorld(t)
	compact := w.token()
	w.fresh()
	kept := httptest.NewRecorder()
	w.Server.ServeHTTP(kept, httptest.NewRequest(http.MethodGet, "/t/acme/jwks.json?revision=1", nil))
	trapped := make(chan struct{}, 8)
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { trapped <- struct{}{} }))
	t.Cleanup(trap.Close)
	for name, handle := range map[string]http.HandlerFunc{
		"an answer from before": func(to http.ResponseWriter, _ *http.Request) {
			for header, values := range kept.Header() {
				to.Header()[header] = values
			}
			_, _ = to.Write(kept.Body.Bytes())
		},
		"no revision": func(to http.ResponseWriter, _ *http.Request) { _, _ = to.Write(kept.Body.Bytes()) },
		"elsewhere": func(to http.ResponseWriter, r *http.Request) {
			http.Redirect(to, r, trap.URL+"/keys", http.StatusTemporaryRedirect)
		},
		"an error": func(to http.ResponseWriter, _ *http.Request) { to.WriteHeader(http.StatusServiceUnavailable) },
		"rubbish": func(to http.ResponseWriter, _ *http.Request) {
			to.Header().Set("Bursar-Revision", "1000000")
			_, _ = to.Write([]byte("rubbish"))
		},
		"too much": func(to http.ResponseWriter, _ *http.Request) {
			to.Header().Set("Bursar-Revision", "1000000")
			_, _ = to.Write(append(kept.Body.Bytes(), make([]byte, 1<<20)...))
		},
		"nothing": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.logs.Reset()
			w.answers(handle)
			w.revokeKey()
			for range 3 {
				w.refused("tenant.keys")
			}
			if n := strings.Count(w.logs.String(), "cannot be used"); n != 1 || !strings.Contains(w.logs.String(), "acme") {
				t.Errorf("it is said %d times: %s", n, w.logs)
			}
			if _, usable := w.dir.Count(); w.dir.Ready(t.Context()) == nil || usable != 0 {
				t.Error("it is ready")
			}
			w.answers(nil)
			if _, err := w.recovers().Verify(compact, time.Now()); err == nil {
				t.Error("a token of the revoked key is accepted")
			}
			if !strings.Contains(w.logs.String(), "can be used again") {
				t.Errorf("that it is over is not said: %s", w.logs)
			}
		})
	}
	if len(trapped) > 0 {
		t.Error("it went elsewhere")
	}
}

// What the environment says of proxies is not heeded (attack A8).
func TestNoProxyOfTheEnvironmentIsUsed(t *testing.T) {
	trapped := make(chan struct{}, 8)
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { trapped <- struct{}{} }))
	t.Cleanup(trap.Close)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, trap.URL)
		t.Setenv(strings.ToLower(name), trap.URL)
	}
	w := newWorld(t)
	w.fresh()
	if len(trapped) > 0 {
		t.Error("the proxy was asked")
	}
}

func TestAShimThatWasRevokedServesNothing(t *testing.T) {
	w := newWorld(t)
	w.fresh()
	shims, at := w.shims("acme")
	put, gone, err := shims.Revoke(w.key.ID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.Commit("acme", ledger.Change{Expect: at.Revision, Put: put, Delete: gone})
	for range 3 {
		w.refused("shim.revoked")
	}
	if !strings.Contains(w.logs.String(), "does not trust") {
		t.Errorf("it is not said: %s", w.logs)
	}
}

// A tool that says what this version does not know may be restricted by it.
func TestAToolThatThisVersionDoesNotKnowIsNotServed(t *testing.T) {
	w := newWorld(t)
	rows, at, err := w.Store.Rows(t.Context(), w.ID("acme"), tenant.KindTool)
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	strange := rows[0]
	strange.ID = "strange"
	text := strings.NewReplacer(`"name":"legacy"`, `"name":"strange"`, "acme/legacy", "acme/strange",
		`"upstream":{`, `"upstream":{"only_on_sundays":true,`).Replace(string(strange.Value))
	strange.Value = []byte(text)
	w.Commit("acme", ledger.Change{Expect: at.Revision, Put: []ledger.Row{strange}})
	v := w.fresh()
	if _, known := v.Tools.Named("strange"); known {
		t.Error("it is served")
	}
	if got, err := w.value(v); err != nil || got != secretOf+"acme" {
		t.Errorf("the other tool: %q, %v", got, err)
	}
	if !strings.Contains(w.logs.String(), "strange") {
		t.Errorf("it is not said: %s", w.logs)
	}
	strange.Value = []byte(strings.ReplaceAll(text, `"only_on_sundays":true,`, ""))
	w.Commit("acme", ledger.Change{Expect: v.Revision, Put: []ledger.Row{strange}})
	if _, known := w.fresh().Tools.Named("strange"); !known {
		t.Error("without that it is not served either")
	}
}

// Rows of another tenant open nothing, though somebody puts them where the shim reads.
func TestSecretsOfAnotherTenantOpenNothing(t *testing.T) {
	w := newWorld(t)
	theirs, _, err := w.Store.Rows(t.Context(), w.ID("globex"), "secret")
	if err != nil || len(theirs) != 1 {
		t.Fatal(theirs, err)
	}
	at, err := w.Store.Position(t.Context(), w.ID("acme"))
	if err != nil {
		t.Fatal(err)
	}
	w.Commit("acme", ledger.Change{Expect: at.Revision, Put: theirs})
	if got, err := w.value(w.fresh()); err == nil || fault.As(err).Reason != "secret.sealed" {
		t.Errorf("it is %q, %v", got, err)
	}
}

// What a shim records stands in the tenant's log, by its own key, and tells it where the tenant stands.
func TestWhatAShimRecordsTellsItWhereItStands(t *testing.T) {
	w := newWorld(t)
	v := w.fresh()
	log := audit.New(audit.Config{Store: w.guest, Signer: w.key, Gate: w.dir.Gate, Deadline: 5 * time.Second})
	t.Cleanup(func() { _ = log.Close(t.Context()) })
	id := ledger.NewID(time.Now())
	e := audit.Event{Name: audit.KeyUse, Body: audit.Body{Outcome: audit.Allowed, DecisionID: id, ClientID: "ap-bot",
		Tool: "legacy", Resource: "https://sts.example/shim/t/acme/legacy", Token: audit.Token{JTI: id, Expiry: 1},
		Actor: audit.Actor{Chain: []string{"client:ap-bot"}}, Use: audit.Use{Phase: audit.UseIntent, Mode: audit.UseProxy}},
		Txn: id, Agent: "client:ap-bot"}
	p, err := log.Append(t.Context(), v.Origin(), e)
	if err != nil || p.Revision != v.Revision || p.Cutoffs != v.Cutoffs.Seq {
		t.Fatalf("at %+v, %v", p, err)
	}
	w.Cut("acme", "tool", "legacy", true)
	if p, err = log.Append(t.Context(), v.Origin(), e); err != nil || p.Cutoffs != v.Cutoffs.Seq+1 {
		t.Fatalf("at %+v, %v", p, err)
	}
	if newer, err := w.dir.At(t.Context(), "acme", p); err != nil || newer.Cutoffs.Seq != p.Cutoffs {
		t.Errorf("%v", err)
	}
	if all := w.Records("acme"); len(all) != 2 || all[1].Name != audit.KeyUse {
		t.Errorf("%d records", len(all))
	}
}
