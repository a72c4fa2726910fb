package e2e_test

import (
	"cmp"
	"fmt"
	"io"
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
	own     map[string]string // access tokens of ours, by what recipes call them
	serial  int
	cached  map[string]string // tokens of the bases, which may be used again

	answers  map[string]string         // by row, for Alike
	expected map[string]want           // by decision id
	counted  map[string]map[string]int // by tenant and reason
	issued   map[string]string         // by jti
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
		before := map[string]int64{}
		for _, tenant := range tenants {
			before[tenant] = int64(len(s.Events(t, tenant, 0)))
		}
		t.Run("rows", func(t *testing.T) {
			for _, r := range all.rows(t) {
				t.Run(r.title(), func(t *testing.T) { x.run(t, r) })
			}
		})
		x.reconcile(t, before)
	})
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
	x.vars["role"] = strings.TrimSuffix(x.bases[cmp.Or(r.Base, "self")].Role, "_token")
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
	if r.Once > 0 {
		x.judgeOnce(t, r, form, x.sendAtOnce(t, r, form))
		return
	}
	fetched := x.forge.fetches.Load()
	a := x.send(t, r, form)
	if most := r.Expect.Fetches; most != nil && x.forge.fetches.Load()-fetched > *most {
		t.Errorf("the keys were fetched %d times", x.forge.fetches.Load()-fetched)
	}
	x.judge(t, r, form, a)
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
	x.counted["acme"][r.Expect.Reason]++ // parallel rows begin when the others have ended
}
