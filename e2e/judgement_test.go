package e2e_test

import (
	"cmp"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
)

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
	if e.Closes && !a.Closes {
		t.Error("the connection stays open")
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

// judgeOnce holds the answers to one request, sent many times at once, against the row: one was served.
func (x *acceptance) judgeOnce(t *testing.T, r row, form url.Values, answers []*harness.Answer) {
	t.Helper()
	served := r
	served.Expect = expect{Status: http.StatusOK}
	n := 0
	for _, a := range answers {
		if a.Status == http.StatusOK {
			n++
			x.judge(t, served, form, a)
			continue
		}
		x.judge(t, r, form, a)
	}
	if n != 1 {
		t.Errorf("%d of %d were served", n, len(answers))
	}
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
	if challenge := a.Header.Get("WWW-Authenticate"); (a.Status == http.StatusUnauthorized) != (challenge != "") {
		t.Errorf("WWW-Authenticate: %q", challenge)
	}
	description := a.Text("error_description")
	if description == "" && a.Status != http.StatusNotFound { // which says nothing of tenants
		t.Error("no error_description")
	}
	foreign := func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }
	if i := strings.IndexFunc(description, foreign); i >= 0 {
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
		x.counted[cmp.Or(r.Tenant, "acme")][reason]++
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
	if want := r.Expect.Actors; want != nil && !slices.Equal(actors(claims), want) {
		t.Errorf("the actors are %q, want %q", actors(claims), want)
	}
	if a.Text("issued_token_type") != "urn:ietf:params:oauth:token-type:access_token" {
		t.Errorf("issued_token_type %q", a.Text("issued_token_type"))
	}
}

// actors returns the sub of each act of a token, the current one first.
func actors(claims map[string]any) (subjects []string) {
	for act, ok := claims["act"].(map[string]any); ok; act, ok = act["act"].(map[string]any) {
		subjects = append(subjects, fmt.Sprint(act["sub"]))
	}
	return subjects
}

// impersonal is all of an answer but the code, the decision's id, and what HTTP adds.
func impersonal(a *harness.Answer) string {
	body := strings.NewReplacer(a.Text("decision_id"), "id", `"`+a.Text("error")+`"`, `"code"`).Replace(a.Body)
	header := a.Header.Clone()
	header.Del("Date")
	header.Del("Content-Length")
	return fmt.Sprint(a.Status, header, body)
}
