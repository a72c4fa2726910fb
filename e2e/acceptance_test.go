package e2e_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// acceptance runs the table on one server.
type acceptance struct {
	*harness.Server
	bases   map[string]base
	issuers map[string]*harness.Issuer
	forge   *forge
	secret  harness.Caller // secret-bot
	vars    map[string]string
	own     string // an access token of the tenant
	serial  int
	cached  map[string]string // tokens of the bases, which may be used again

	answers  map[string]string // by row, for Alike
	expected map[string]want   // by decision id
	counted  map[string]int    // by reason
	issued   map[string]string // by jti
}

// want is what the log must say of a decision.
type want struct{ row, outcome, reason string }

// TestAcceptance runs every row of the table on both stores, and then holds the log against what was answered: each
// request of a known client has its one record with its reason, each other request is counted, and there is no more.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	var all table
	strict(t, []byte(read(t, "acceptance.yaml")), &all)
	harness.EachStore(t, func(t *testing.T, s *harness.Server) {
		x := newAcceptance(t, s)
		x.bases = all.Bases
		x.own = s.At("acme").MustExchange(t, x.form(t, row{Base: "alone"}))
		// The first request after a change may be decided twice, and has two records then.
		late := recipe{Claims: map[string]any{"sub": "token-bot", "aud": "${frozen}"}}
		s.At("frozen").Exchange(t, x.form(t, row{Base: "alone", Token: &late}))
		before := map[string]int64{"acme": int64(len(s.Events(t, "acme", 0))), "frozen": int64(len(s.Events(t, "frozen", 0)))}
		t.Run("rows", func(t *testing.T) {
			for _, r := range all.rows(t) {
				t.Run(r.title(), func(t *testing.T) { x.run(t, r) })
			}
		})
		x.reconcile(t, before)
	})
}

// newAcceptance makes the world of the table.
func newAcceptance(t *testing.T, s *harness.Server) *acceptance {
	t.Helper()
	audience := s.Issuer("acme")
	x := &acceptance{Server: s, forge: newForge(t), cached: map[string]string{}, answers: map[string]string{},
		expected: map[string]want{}, counted: map[string]int{}, issued: map[string]string{}}
	x.issuers = map[string]*harness.Issuer{
		"cluster": harness.StartIssuer(t, "kubernetes", "-audience", audience),
		"mesh":    harness.StartIssuer(t, "spiffe", "-audience", audience, "-trust-domain", "mesh.example"),
		"corp":    harness.StartIssuer(t, "oidc", "-audience", audience),
		"faulty":  harness.StartIssuer(t, "oidc", "-audience", audience),
	}
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := nobody.Addr().String()
	_ = nobody.Close()
	x.vars = map[string]string{
		"issuer": audience, "globex": s.Issuer("globex"), "frozen": s.Issuer("frozen"), "forge": x.forge.URL,
		"client_key": string(x.forge.keys["client"].jwk), "twin_key": string(x.forge.keys["twin"].jwk),
		"closed": "http://" + closed, "payments": payments, "ledger": ledger,
		"long": strings.Repeat("a", 10<<10), "thousand": strings.Repeat("a ", 999) + "a",
	}
	for name, issuer := range x.issuers {
		x.vars[name] = issuer.URL
	}
	s.Apply(t, x.fill(t, read(t, "acceptance-tenants.yaml")))
	x.secret = withSecret(t, s, "acme", "secret-bot")
	for _, cut := range [][]string{{"acme", "--client", "parked-bot"}, {"frozen", "--all"}} {
		if out, err := s.Bursar(t, append([]string{"revoke"}, cut...)...); err != nil {
			t.Fatalf("bursar revoke: %v\n%s", err, out)
		}
	}
	return x
}

// form returns the parameters of the row, in the order of their names but for those that are repeated.
func (x *acceptance) form(t *testing.T, r row) url.Values {
	t.Helper()
	name := cmp.Or(r.Base, "self")
	b, known := x.bases[name]
	if !known {
		t.Fatalf("there is no base %s", r.Base)
	}
	form := url.Values{}
	for param, value := range b.Set {
		form.Set(param, x.fill(t, value))
	}
	for param, recipe := range b.Tokens {
		if slices.Contains(r.Drop, param) || r.Token != nil && param == b.Role {
			continue
		}
		form.Set(param, x.common(t, name+" "+param, recipe))
	}
	for param, value := range r.Set {
		form.Set(param, x.fill(t, value))
	}
	for param, recipe := range r.Tokens {
		form.Set(param, x.bake(t, recipe))
	}
	if r.Token != nil {
		form.Set(b.Role, x.bake(t, *r.Token))
	}
	for _, param := range r.Drop {
		form.Del(param)
	}
	return form
}

// common is a token of a base. Assertions can be used once only; the others serve every row.
func (x *acceptance) common(t *testing.T, name string, r recipe) string {
	t.Helper()
	if r.From == "client" {
		return x.bake(t, r)
	}
	if x.cached[name] == "" {
		x.cached[name] = x.bake(t, r)
	}
	return x.cached[name]
}

// run sends the request of a row and judges the answer.
func (x *acceptance) run(t *testing.T, r row) {
	if r.Slow {
		x.runSlowly(t, r)
		return
	}
	if r.Warm {
		warm := x.send(t, r, x.form(t, r))
		if warm.Status != http.StatusOK {
			t.Fatalf("before: status %d %s", warm.Status, warm.Body)
		}
		x.issued[harness.ID(warm.Token())] = r.title()
	}
	if r.Mode != "" {
		x.issuers["faulty"].Mode(t, x.fill(t, r.Mode))
		defer x.issuers["faulty"].Mode(t, "ok")
	}
	form := x.form(t, r)
	fetched := x.forge.fetches.Load()
	a := x.send(t, r, form)
	if most := r.Expect.Fetches; most != nil && x.forge.fetches.Load()-fetched > *most {
		t.Errorf("the keys were fetched %d times", x.forge.fetches.Load()-fetched)
	}
	x.judge(t, r, form, a)
}

// send sends the request of a row.
func (x *acceptance) send(t *testing.T, r row, form url.Values) *harness.Answer {
	t.Helper()
	target := x.URL + "/t/" + cmp.Or(r.Tenant, "acme") + "/token"
	body, contentType := r.body(t, form)
	if r.Query {
		target, body = target+"?"+body, ""
	}
	var reader io.Reader = strings.NewReader(body)
	if r.Stream {
		reader = io.MultiReader(reader) // hides the length
	}
	req, err := http.NewRequestWithContext(t.Context(), cmp.Or(r.Method, http.MethodPost), target, reader)
	if err != nil {
		t.Fatal(err)
	}
	if r.Type != nil {
		contentType = *r.Type
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for name, value := range r.Header {
		req.Header.Set(name, x.fill(t, value))
	}
	if r.Basic {
		req.SetBasicAuth(x.secret.ID, x.secret.Secret)
	}
	a, err := harness.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// body writes the parameters as the row says.
func (r row) body(t *testing.T, form url.Values) (body, contentType string) {
	t.Helper()
	contentType = "application/x-www-form-urlencoded"
	body = form.Encode()
	switch r.Form {
	case "json":
		members := map[string]any{}
		for name := range form {
			members[name] = form.Get(name)
		}
		body, contentType = encode(t, members), "application/json"
	case "multipart":
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for name := range form {
			if err := w.WriteField(name, form.Get(name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		body, contentType = b.String(), w.FormDataContentType()
	}
	if r.Raw != nil {
		body = *r.Raw
	}
	for _, again := range r.Repeat {
		name, value, given := strings.Cut(again, "=")
		if !given {
			value = form.Get(name)
		}
		body += "&" + name + "=" + url.QueryEscape(value)
	}
	for i := range r.Many {
		body += fmt.Sprintf("&p%d=1", i)
	}
	body += r.Append
	if missing := r.Size - len(body); missing > 0 {
		body += "&pad=" + strings.Repeat("a", missing-len("&pad="))
	}
	return body, contentType
}

// runSlowly sends half a request and waits until the server hangs up.
func (x *acceptance) runSlowly(t *testing.T, r row) {
	t.Parallel()
	conn, err := net.Dial("tcp", strings.TrimPrefix(x.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprint(conn, "POST /t/acme/token HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant_type=")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("the server did not hang up: %v", err)
	}
	if strings.Contains(string(answer), "access_token") {
		t.Error("a token was issued")
	}
	x.counted[r.Expect.Reason]++ // parallel rows begin when the others have ended
}
