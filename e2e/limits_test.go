package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// behindAProxy makes this machine a proxy whose word is taken for whom it asks.
const behindAProxy = "trusted_proxies: [127.0.0.1/32]\n"

// limited fails the test unless the answer is the refusal of who asks too often.
func limited(t *testing.T, a *harness.Answer) {
	t.Helper()
	after, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if a.Status != http.StatusTooManyRequests || a.Text("error") != "temporarily_unavailable" || err != nil || after < 1 ||
		a.Header.Get("Cache-Control") != "no-store" || a.Token() != "" {
		t.Errorf("status %d %v %s, want 429", a.Status, a.Header, a.Body)
	}
}

// A24. Requests of one client, from one address, and to one tenant, of tenants with limits of their own.
func TestTooManyRequestsAre429(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.withGlobex(t)
		w.Apply(t, "apiVersion: bursar/v1\ntenant: frozen\n")
		w.Limit(t, behindAProxy, map[string]string{
			"acme": "{client: 5/h}", "globex": "{address: 5/h}", "frozen": "{tenant: 5/h}"})
		bot, spare := w.workload(t), w.corp.Mint(t, harness.Mint{Claims: map[string]any{"sub": "spare-bot"}})
		good := harness.Form(bot, payments, readRefunds)
		at := func(tenant, from string) harness.Caller {
			c := w.At(tenant)
			c.From = from
			return c
		}
		for i := range 20 { // of a client, wherever it is
			a := at("acme", fmt.Sprint("203.0.113.", i)).Exchange(t, good)
			if i < 5 {
				answered(t, a, http.StatusOK)
			} else {
				limited(t, a)
			}
		}
		w.acme().MustExchange(t, harness.Form(spare, payments, readRefunds)) // another client
		for i := range 20 {                                                  // from an address, whatever it asks
			c := at("globex", "203.0.113.1")
			ask := []func() *harness.Answer{
				func() *harness.Answer { return c.Exchange(t, good) },
				func() *harness.Answer { return c.Introspect(t, bot) },
				func() *harness.Answer { return c.Revoke(t, bot) },
			}[i%3]
			if a := ask(); i >= 5 {
				limited(t, a)
			} else if a.Status/100 != 4 || a.Status == http.StatusTooManyRequests {
				t.Errorf("request %d: status %d %s", i, a.Status, a.Body)
			}
		}
		answered(t, at("globex", "203.0.113.2").Exchange(t, good), http.StatusBadRequest)
		for i := range 20 { // to a tenant, from wherever
			a := at("frozen", fmt.Sprint("203.0.113.", i)).Exchange(t, good)
			if i < 5 {
				answered(t, a, http.StatusBadRequest)
			} else {
				limited(t, a)
			}
		}
		metrics := harness.Get(t, w.Metrics).Body
		for _, kind := range []string{"client", "address", "tenant"} {
			if want := `bursar_limited_total{kind="` + kind + `"} 15`; !strings.Contains(metrics, want) {
				t.Errorf("the metrics do not have %s", want)
			}
			tenant := map[string]string{"client": "acme", "address": "globex", "tenant": "frozen"}[kind]
			w.Await(t, tenant, 0, "15 refusals", func(log []harness.Event) bool { return count(log, "limit."+kind) == 15 })
		}
	})
}

func answered(t *testing.T, a *harness.Answer, status int) {
	t.Helper()
	if a.Status != status {
		t.Errorf("status %d %s, want %d", a.Status, a.Body, status)
	}
}

// count adds up what the log counts of refusals for a reason.
func count(log []harness.Event, reason string) (n int) {
	for _, e := range log {
		if e.Name == "deny.flood" && e.Reason == reason {
			n += e.Count
		}
	}
	return n
}

// B32 and T-51. Twenty wrong secrets in a row; what is answered is the same for a client that exists and for one that
// does not, and while it is refused the right secret is too. Nobody elsewhere is refused, nor who has no secret.
func TestTwentyWrongSecretsAre429(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		api, other := w.as(t, "payments-api"), w.as(t, "mail-api")
		w.Limit(t, behindAProxy+"limits: {secret_failures: 10/h}\n", nil)
		token := w.token(t)
		before := int64(len(w.Events(t, "acme", 0)))
		answers := map[string][]string{}
		for from, id := range map[string]string{"203.0.113.1": "payments-api", "203.0.113.2": "no-such-client"} {
			guess := api
			guess.ID, guess.From = id, from
			for i := range 20 {
				guess.Secret = fmt.Sprintf("%s%d", api.Secret[:40], i)
				a := guess.Introspect(t, token)
				if i < 10 {
					answered(t, a, http.StatusUnauthorized)
				} else {
					limited(t, a)
				}
				a.Header.Del("Date")
				answers[id] = append(answers[id], fmt.Sprint(a.Status, a.Body, a.Header))
			}
			api.From, other.From = from, from
			if id == "payments-api" {
				limited(t, api.Introspect(t, token))
			} else {
				answered(t, api.Introspect(t, token), http.StatusOK)
			}
			answered(t, other.Introspect(t, token), http.StatusOK)
		}
		if !slices.Equal(answers["payments-api"], answers["no-such-client"]) {
			t.Errorf("answers differ: %q", answers)
		}
		api.From = "203.0.113.3"
		answered(t, api.Introspect(t, token), http.StatusOK)
		agent := w.acme()
		agent.From = "203.0.113.1"
		agent.MustExchange(t, harness.Form(w.workload(t), payments, readRefunds))
		w.Await(t, "acme", before, "the refusals", func(log []harness.Event) bool {
			return count(log, "limit.secret") == 21 && count(log, "client.secret") == 10 && count(log, "client.unknown") == 10
		})
	})
}

// Wrong operator tokens are refused in the same way, but the right one never is: whoever is at an operator's address
// would keep the operator from revoking.
func TestGuessingOperatorTokensIs429(t *testing.T) {
	harness.EachStore(t, func(t *testing.T, s *harness.Server) {
		s.Apply(t, "apiVersion: bursar/v1\ntenant: acme\n")
		s.Limit(t, behindAProxy+"limits: {secret_failures: 10/h}\n", nil)
		send := func(from, token string) (*harness.Answer, error) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/admin/v1/t/acme", nil)
			if err != nil {
				return nil, err
			}
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("X-Forwarded-For", from)
			return harness.Do(req)
		}
		call := func(from, token string) *harness.Answer {
			a, err := send(from, token)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		for i := range 20 {
			a := call("203.0.113.1", fmt.Sprintf("%s%02d", s.Operator.Token[:len(s.Operator.Token)-2], i))
			if i < 10 {
				answered(t, a, http.StatusUnauthorized)
			} else {
				answered(t, a, http.StatusTooManyRequests)
			}
		}
		a := call("203.0.113.1", s.Operator.Token[:20])
		if a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "360" ||
			a.Text("type") != "urn:bursar:problem:too_many_requests" {
			t.Errorf("status %d %v %s", a.Status, a.Header, a.Body)
		}
		answered(t, call("203.0.113.1", s.Operator.Token), http.StatusOK)

		// The kill switch, at the address of the machine, while a neighbour there tries what comes to mind.
		var tried atomic.Int64
		stop, guessing := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(guessing)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				a, err := send("127.0.0.1", fmt.Sprintf("%s%02d", s.Operator.Token[:len(s.Operator.Token)-2], i%100))
				if err == nil && a.Status == http.StatusTooManyRequests {
					tried.Add(1)
				}
			}
		}()
		harness.Eventually(t, "the neighbour is refused", func() bool { return tried.Load() > 0 })
		for range 5 {
			if out, err := s.Bursar(t, "revoke", "acme", "--run", "06h0a950h3ahtuqor3uq4l6ms1pk09dcjlb0"); err != nil {
				t.Errorf("bursar revoke: %v\n%s", err, out)
			}
		}
		close(stop)
		<-guessing

		// The command line says what to do. It tries one wrong token again and again.
		wrong := filepath.Join(s.Dir, "wrong.token")
		if err := os.WriteFile(wrong, []byte(s.Operator.Token[:20]), 0o600); err != nil {
			t.Fatal(err)
		}
		tenant := func(token string) error {
			_, err := (&operator.Client{BaseURL: s.URL, Token: token}).Tenant(t.Context(), "acme")
			return err
		}
		for range 10 {
			_ = tenant(s.Operator.Token[:20])
		}
		p, _ := errors.AsType[*operator.Problem](tenant(s.Operator.Token[:20]))
		if p == nil || p.Code() != operator.CodeTooMany || p.RetryAfter <= 0 || p.RetryAfter > 6*time.Minute {
			t.Errorf("the client says %+v", p)
		}
		if err := tenant(s.Operator.Token); err != nil {
			t.Errorf("the right token: %v", err)
		}
		out, err := s.Bursar(t, "tenant", "show", "acme", "--token-file", wrong)
		if err == nil || !strings.Contains(out, "bursar: hint: check the token; the right one is served at once") {
			t.Errorf("bursar: %v\n%s", err, out)
		}
	})
}

// However many strangers ask, and whatever they write, the log gets no more than one event a second for each reason,
// and the reasons are ours. Half of them come from one address, which is limited.
func TestTenThousandRefusalsOfStrangersAreFewRecords(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.Limit(t, behindAProxy+"limits: {address: 500/h}\n", nil)
		before := int64(len(w.Events(t, "acme", 0)))
		const strangers = 10_000
		reasons := []string{"client.unknown", "subject.malformed", "request.encoding", "limit.address"}
		var next atomic.Int64
		began := time.Now()
		all(8, func(int) {
			for i := next.Add(1); i <= strangers; i = next.Add(1) {
				c := w.acme()
				c.From = "203.0.113.1"
				if i%2 == 0 {
					c.From = fmt.Sprintf("198.51.%d.%d", i>>8, i&255)
				}
				form := harness.Form(fmt.Sprint("x", i), payments, readRefunds)
				switch i % 3 {
				case 0:
					c.ID, c.Secret = fmt.Sprint("client-", i), fmt.Sprint("secret-", i)
				case 1:
					form = url.Values{fmt.Sprint("reason;", i): {"x"}} // a semicolon is an encoding of nothing
					form["grant_type;"] = []string{"x"}
				}
				if _, err := c.Send(t.Context(), "token", form); err != nil {
					t.Error(err)
					return
				}
			}
		})
		sum := func(log []harness.Event) (n int) {
			for _, e := range log {
				n += e.Count
			}
			return n
		}
		log := w.Await(t, "acme", before, "every refusal", func(log []harness.Event) bool { return sum(log) >= strangers })
		seconds := int(time.Since(began)/time.Second) + 2
		if n := sum(log); n != strangers || len(log) > seconds*8 {
			t.Errorf("%d refusals in %d events, within %d seconds", n, len(log), seconds)
		}
		seen := map[string]int{}
		for _, e := range log {
			if e.Name != "deny.flood" && e.Name != "writer.start" {
				t.Errorf("the log has an event %s of its own", e.Name)
			}
			seen[e.Reason] += e.Count
		}
		if len(seen) > 8 || seen["limit.address"] < strangers/2-1000 {
			t.Errorf("the log counts %v; expected something like %v", seen, reasons)
		}
	})
}

// Three servers on one Redis count together.
func TestServersOnOneRedisCountTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.Start(t, "redis"))
	const limit = 60 // of which one comes back in a minute: longer than all of them take
	w.Limit(t, fmt.Sprintf("limits: {client: %d/h}\n", limit), nil)
	servers := []*harness.Server{w.Server, w.Twin(t), w.Twin(t)}
	form := harness.Form(w.workload(t), payments, readRefunds)
	for i := range limit {
		answered(t, servers[0].At("acme").Exchange(t, form), http.StatusOK)
		if t.Failed() {
			t.Fatalf("request %d of %d", i, limit)
		}
	}
	limited(t, servers[0].At("acme").Exchange(t, form))
	for _, s := range servers[1:] {
		allowed := 0
		harness.Eventually(t, "the others know", func() bool {
			a := s.At("acme").Exchange(t, form)
			if a.Status == http.StatusOK {
				allowed++
			}
			return a.Status == http.StatusTooManyRequests
		})
		if allowed >= limit {
			t.Errorf("another server allowed %d more", allowed)
		}
	}
}

// The address of a request is the one that a trusted proxy names, for the log too; a stranger's word is not taken.
func TestATrustedProxySaysWhoAsks(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		form := harness.Form(w.workload(t), payments, readRefunds)
		seen := func(from string) string {
			t.Helper()
			c := w.acme()
			c.From = from
			c.MustExchange(t, form)
			log := harness.Exchanges(w.Events(t, "acme", 0))
			return log[len(log)-1].Request.IP
		}
		if ip := seen("203.0.113.7"); ip != "127.0.0.1" {
			t.Errorf("without a trusted proxy the log has %s", ip)
		}
		w.Limit(t, behindAProxy, nil)
		for from, want := range map[string]string{"203.0.113.7": "203.0.113.7", "1.1.1.1, 203.0.113.7": "203.0.113.7",
			"nonsense": "", "": "127.0.0.1", "2001:db8::7": "2001:db8::7"} {
			if ip := seen(from); ip != want {
				t.Errorf("for %q the log has %s, want %s", from, ip, want)
			}
		}
	})
}
