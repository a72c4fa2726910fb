package e2e_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// table is testdata/acceptance.yaml, whose comments say what the fields mean.
type table struct {
	Bases map[string]base `yaml:"bases"`
	Rows  []yaml.Node     `yaml:"rows"`
}

type base struct {
	Set    map[string]string `yaml:"set"`
	Tokens map[string]recipe `yaml:"tokens"`
	Role   string            `yaml:"role"` // which parameter a row's token stands in
}

type row struct {
	ID   string `yaml:"id"`
	Says string `yaml:"says"`
	Name string `yaml:"name"` // of a variant

	Base   string            `yaml:"base"` // self if empty
	Both   bool              `yaml:"both"` // with the token as subject_token, and again as actor_token
	Tenant string            `yaml:"tenant"`
	Method string            `yaml:"method"`
	Set    map[string]string `yaml:"set"`
	Drop   []string          `yaml:"drop"`
	Repeat []string          `yaml:"repeat"` // parameters that are sent again, name or name=value
	Token  *recipe           `yaml:"token"`
	Tokens map[string]recipe `yaml:"tokens"`

	Type   *string           `yaml:"content_type"` // "" sends none
	Header map[string]string `yaml:"header"`
	Query  bool              `yaml:"query"`  // the form goes into the URL
	Form   string            `yaml:"form"`   // how it is written: json, multipart; as a form if empty
	Raw    *string           `yaml:"raw"`    // the body as it is
	Append string            `yaml:"append"` // raw text behind the form
	Many   int               `yaml:"many"`   // so many more parameters
	Size   int               `yaml:"size"`   // the body is filled up to so many bytes
	Stream bool              `yaml:"stream"` // without a Content-Length
	Slow   bool              `yaml:"slow"`   // the body never ends
	Basic  bool              `yaml:"basic"`  // with the secret of secret-bot

	Mode string `yaml:"mode"` // of the issuer "faulty"
	Warm bool   `yaml:"warm"` // the request is sent once before, while that issuer is well

	Expect expect `yaml:"expect"`
}

type expect struct {
	Status   int               `yaml:"status"`
	Error    string            `yaml:"error"`
	Reason   string            `yaml:"reason"`   // in the log, with {role} for subject or actor
	Record   string            `yaml:"record"`   // issued, refused, counted or none; see record
	Headers  map[string]string `yaml:"headers"`  // "" means absent
	NoBody   bool              `yaml:"no_body"`  // the body is empty
	Audience string            `yaml:"audience"` // aud of the issued token
	Scope    string            `yaml:"scope"`
	Alike    string            `yaml:"alike"`   // the id of an earlier row with the same answer
	Fetches  *int64            `yaml:"fetches"` // the forge's keys are fetched at most so often
}

// Records of a row's request in the log.
const (
	recordIssued  = "issued"  // one token.exchange: allowed
	recordRefused = "refused" // one token.exchange: denied, or error where the answer is a 5xx
	recordCounted = "counted" // one more of a deny.flood
	recordNone    = "none"
)

func (e expect) record() string {
	if e.Status == http.StatusOK {
		return cmp.Or(e.Record, recordIssued)
	}
	return cmp.Or(e.Record, recordRefused)
}

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
		s.At("frozen").Exchange(t, x.form(t, row{Base: "alone", Token: &recipe{Claims: map[string]any{"sub": "token-bot", "aud": "${frozen}"}}}))
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
		"client_key": string(x.forge.keys["client"].jwk), "closed": "http://" + closed,
		"payments": payments, "ledger": ledger, "long": strings.Repeat("a", 10<<10), "thousand": strings.Repeat("a ", 999) + "a",
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

// strict reads YAML in which nothing may be unknown.
func strict(t *testing.T, text []byte, to any) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(to); err != nil {
		t.Fatal(err)
	}
}

// rows returns every variant of every row, in both roles where that is asked for.
func (all *table) rows(t *testing.T) []row {
	t.Helper()
	var rows []row
	for _, node := range all.Rows {
		var file struct {
			Row      map[string]yaml.Node `yaml:",inline"`
			Variants []map[string]any     `yaml:"variants"`
		}
		if err := node.Decode(&file); err != nil {
			t.Fatal(err)
		}
		if len(file.Variants) == 0 {
			file.Variants = []map[string]any{{}}
		}
		for _, v := range file.Variants {
			var r row
			for _, part := range []any{file.Row, v} {
				text, err := yaml.Marshal(part)
				if err != nil {
					t.Fatal(err)
				}
				strict(t, text, &r)
			}
			rows = append(rows, r)
			if r.Both {
				r.Base = "delegated"
				rows = append(rows, r)
			}
		}
	}
	return rows
}

func (r row) title() string {
	title := r.ID
	if r.Name != "" {
		title += " " + r.Name
	}
	if r.Base == "delegated" && r.Both {
		title += " (actor)"
	}
	return title
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
	_, err = fmt.Fprintf(conn, "POST /t/acme/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Content-Length: 1000\r\n\r\ngrant_type=")
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

// judge holds an answer against the row.
func (x *acceptance) judge(t *testing.T, r row, form url.Values, a *harness.Answer) {
	t.Helper()
	e := r.Expect
	if a.Status != e.Status || a.Text("error") != e.Error {
		t.Errorf("status %d %s, want %d %s", a.Status, a.Body, e.Status, e.Error)
	}
	for name, value := range e.Headers {
		if got := a.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if e.NoBody {
		if a.Body != "" {
			t.Errorf("body %q", a.Body)
		}
	} else {
		judgeForm(t, form, a)
	}
	if e.Alike != "" && x.answers[e.Alike] != plainAnswer(a) {
		t.Errorf("%s is not the answer of %s, %s", plainAnswer(a), e.Alike, x.answers[e.Alike])
	}
	x.answers[r.ID] = plainAnswer(a)
	x.remember(t, r, a)
}

// plainAnswer is what an answer says, but for the id of the decision.
func plainAnswer(a *harness.Answer) string {
	members := maps.Clone(a.JSON)
	delete(members, "decision_id")
	return fmt.Sprint(a.Status, members)
}

// judgeForm checks what holds of every answer with a body (RFC 6749 §5.1, §5.2).
func judgeForm(t *testing.T, form url.Values, a *harness.Answer) {
	t.Helper()
	if media, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type")); a.JSON == nil || media != "application/json" {
		t.Errorf("not JSON: %s %q", a.Header.Get("Content-Type"), a.Body)
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control: %q", a.Header.Get("Cache-Control"))
	}
	if a.JSON["refresh_token"] != nil {
		t.Error("a refresh token was issued")
	}
	if a.Status == http.StatusOK {
		return
	}
	if a.JSON["access_token"] != nil {
		t.Error("a token was issued")
	}
	description := a.Text("error_description")
	if description == "" {
		t.Error("no error_description")
	}
	if i := strings.IndexFunc(description, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }); i >= 0 {
		t.Errorf("error_description has %q at %d", description[i:], i)
	}
	answer := a.Body + fmt.Sprint(a.Header)
	for _, name := range []string{"subject_token", "actor_token", "client_assertion"} {
		for _, part := range strings.Split(form.Get(name), ".") {
			if len(part) >= 12 && strings.Contains(answer, part[:min(len(part), 24)]) {
				t.Errorf("the answer repeats %s", name)
			}
		}
	}
}

// remember notes what the log must say of a request.
func (x *acceptance) remember(t *testing.T, r row, a *harness.Answer) {
	t.Helper()
	role := "subject"
	if b := x.bases[cmp.Or(r.Base, "self")]; b.Role == "actor_token" {
		role = "actor"
	}
	reason := strings.ReplaceAll(r.Expect.Reason, "{role}", role)
	decision := a.Text("decision_id")
	switch record := r.Expect.record(); record {
	case recordIssued:
		x.judgeToken(t, r, a)
		x.issued[harness.ID(a.Token())] = r.title()
	case recordRefused:
		outcome := "denied"
		if a.Status >= http.StatusInternalServerError {
			outcome = "error"
		}
		if decision == "" {
			t.Error("no decision_id")
		}
		x.expected[decision] = want{r.title(), outcome, reason}
	case recordCounted:
		x.counted[reason]++
	case recordNone:
	default:
		t.Errorf("record: %s", record)
	}
	if decision != "" && r.Expect.record() != recordRefused {
		t.Error("the answer has a decision_id that is in no record")
	}
}

// judgeToken checks an issued token.
func (x *acceptance) judgeToken(t *testing.T, r row, a *harness.Answer) {
	t.Helper()
	claims := harness.Claims(t, a.Token())
	if claims["iss"] != x.vars["issuer"] || claims["aud"] != cmp.Or(x.fill(t, r.Expect.Audience), payments) {
		t.Errorf("iss %v, aud %v", claims["iss"], claims["aud"])
	}
	scope := cmp.Or(r.Expect.Scope, readRefunds)
	if claims["scope"] != scope || a.Text("scope") != scope {
		t.Errorf("scope %v, %q in the response, want %q", claims["scope"], a.Text("scope"), scope)
	}
	if a.Text("issued_token_type") != "urn:ietf:params:oauth:token-type:access_token" {
		t.Errorf("issued_token_type %q", a.Text("issued_token_type"))
	}
}

// reconcile holds the log against the answers.
func (x *acceptance) reconcile(t *testing.T, after map[string]int64) {
	t.Helper()
	floods := func(log []harness.Event) map[string]int {
		sums := map[string]int{}
		for _, e := range log {
			if e.Name == "deny.flood" {
				sums[e.Reason] += e.Count
			}
		}
		return sums
	}
	total := 0
	for _, n := range x.counted {
		total += n
	}
	log := x.Await(t, "acme", after["acme"], fmt.Sprintf("%d refusals are counted", total), func(log []harness.Event) bool {
		sum := 0
		for _, n := range floods(log) {
			sum += n
		}
		return sum >= total
	})
	harness.CheckNumbers(t, log)
	if got := floods(log); !maps.Equal(got, x.counted) {
		t.Errorf("counted refusals: %v, want %v", got, x.counted)
	}
	for _, e := range append(log, x.Events(t, "frozen", after["frozen"])...) {
		if e.Name != "token.exchange" {
			continue
		}
		if e.Outcome == "allowed" {
			if _, known := x.issued[e.Token.JTI]; !known {
				t.Errorf("event %d is about a token that nobody got", e.Index)
			}
			delete(x.issued, e.Token.JTI)
			continue
		}
		w, known := x.expected[e.DecisionID]
		if !known {
			t.Errorf("event %d (%s %s) has no answer, or is one too many", e.Index, e.Outcome, e.Reason)
			continue
		}
		if e.Outcome != w.outcome || e.Reason != w.reason {
			t.Errorf("%s: recorded as %s %s, want %s %s", w.row, e.Outcome, e.Reason, w.outcome, w.reason)
		}
		delete(x.expected, e.DecisionID)
	}
	for _, w := range x.expected {
		t.Errorf("%s: the refusal is not in the log", w.row)
	}
	for _, title := range x.issued {
		t.Errorf("%s: the token is not in the log", title)
	}
}
