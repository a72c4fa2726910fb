package attack

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// check is one thing that a server must withstand.
type check struct {
	findings.Check
	base  base
	needs []need
	run   func(ctx context.Context, p *probe)
}

// need says what a check cannot do without: "" if it is there, else the verdict that it leaves and why.
type need func(ctx context.Context, s *suite) (findings.Verdict, string)

// probe is a check under way. Once it is stuck, its methods do nothing.
type probe struct {
	*suite
	check   check
	tries   []findings.Try
	stuck   string // why the check cannot go on
	refused bool   // something was refused, so that a control is needed
	granted bool   // something was granted that should not have been, which no control can explain
	absent  string // why the check does not apply after all
	missing string // what the profile would have to offer after all
	class   findings.Class
	worst   findings.Severity
}

// run runs a check, and then its control.
func (s *suite) run(ctx context.Context, c check) findings.Result {
	result := findings.Result{Check: c.Check}
	for _, need := range c.needs {
		var verdict findings.Verdict
		var reason string
		if broke := unbroken(func() { verdict, reason = need(ctx, s) }); broke != "" {
			verdict, reason = findings.Error, broke
		}
		if verdict != "" {
			result.Verdict, result.Reason = verdict, reason
			return result
		}
	}
	p := &probe{suite: s, check: c}
	p.stuck = cmp.Or(unbroken(func() { c.run(ctx, p) }), p.stuck)
	if p.refused && p.stuck == "" && c.base != nothing {
		result.Control = p.control(ctx)
	}
	result.Tries = p.tries
	result.Verdict, result.Reason = p.verdict()
	if p.worst != "" {
		result.Severity, result.Class = p.worst, p.class
	}
	return result
}

// control sends the good request again, and says what came of it.
func (p *probe) control(ctx context.Context) string {
	r, err := p.good(ctx, p.check.base)
	if err != nil {
		p.stuck = "the control cannot be sent: " + err.Error()
		return "not sent"
	}
	a := p.send(ctx, r)
	if !a.issued() {
		p.stuck = "the good request is refused as well (" + a.got() + "), so that the refusals prove nothing"
		return "refused: " + a.got()
	}
	return p.check.base.String() + " was granted right after"
}

func (p *probe) verdict() (findings.Verdict, string) {
	var bad, unknown string
	for _, t := range p.tries {
		switch t.Verdict {
		case findings.Fail:
			bad = cmp.Or(bad, t.Sent+": "+t.Got)
		case findings.Error:
			unknown = cmp.Or(unknown, t.Sent+": "+t.Got)
		}
	}
	switch {
	case bad != "" && (p.granted || p.stuck == ""):
		return findings.Fail, bad
	case p.stuck != "":
		return findings.Error, p.stuck
	case unknown != "":
		return findings.Error, unknown
	case p.missing != "":
		return findings.Skip, p.missing
	case p.absent != "" || len(p.tries) == 0:
		return findings.NotApplicable, cmp.Or(p.absent, "there was nothing to try")
	}
	return findings.Pass, ""
}

// want is how a request should be refused.
type want struct {
	codes  []string
	status []int // 400 if empty
}

// The refusals of RFC 6749 §5.2 and RFC 8693 §2.2.2.
var (
	invalidRequest = want{codes: []string{"invalid_request"}}
	invalidTarget  = want{codes: []string{"invalid_target"}}
	invalidScope   = want{codes: []string{"invalid_scope"}}
	invalidClient  = want{codes: []string{"invalid_client"}, status: []int{401}}
	unauthorized   = want{codes: []string{"invalid_client"}, status: []int{400, 401}}
)

func (w want) or(codes ...string) want {
	w.codes = append(slices.Clone(w.codes), codes...)
	return w
}

func (w want) orStatus(status ...int) want {
	if len(w.status) == 0 {
		w.status = []int{http.StatusBadRequest}
	}
	w.status = append(slices.Clone(w.status), status...)
	return w
}

func (w want) String() string {
	status := "400"
	if len(w.status) > 0 {
		status = strings.Trim(strings.ReplaceAll(fmt.Sprint(w.status), " ", "/"), "[]")
	}
	return status + " " + strings.Join(w.codes, " or ")
}

func (w want) met(a *answer) bool {
	status := w.status
	if len(status) == 0 {
		status = []int{http.StatusBadRequest}
	}
	return slices.Contains(status, a.status) && slices.Contains(w.codes, a.text("error"))
}

// ask sends the good request with changes, and returns nil if it cannot.
func (p *probe) ask(ctx context.Context, edits ...func(*request)) *answer {
	if p.stuck != "" || ctx.Err() != nil {
		return nil
	}
	r, err := p.good(ctx, p.check.base)
	if err != nil {
		p.stuck = err.Error()
		return nil
	}
	return p.send(ctx, r.with(edits...))
}

// refuse sends the good request with changes that make it bad, and judges the answer.
func (p *probe) refuse(ctx context.Context, sent string, w want, edits ...func(*request)) *answer {
	a := p.ask(ctx, edits...)
	if a != nil {
		p.judge(sent, w, a)
	}
	return a
}

// judge expects a refusal. Granting it is what the check is about; to refuse in other words, or by breaking down, is
// counted for the checks that sum up.
func (p *probe) judge(sent string, w want, a *answer) {
	t := findings.Try{Sent: sent, Expected: w.String(), Got: a.got(), Verdict: findings.Pass}
	switch {
	case a.status == http.StatusOK && (a.issued() || a.object["error"] == nil):
		t.Verdict = findings.Fail
		p.granted = true
		p.blame(p.check.Severity, p.check.Class)
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable,
		a.failed == "no answer in time":
		t.Verdict = findings.Error
	default:
		p.refused = true
		p.watched.judged(p.check.ID, sent, w, a)
	}
	p.tries = append(p.tries, t)
}

// accept sends the good request with changes that leave it good; the answer is nil if it was refused.
func (p *probe) accept(ctx context.Context, sent string, edits ...func(*request)) *answer {
	a := p.ask(ctx, edits...)
	if a == nil {
		return nil
	}
	t := findings.Try{Sent: sent, Expected: "200 and a token", Got: a.got(), Verdict: findings.Pass}
	switch {
	case a.status == http.StatusTooManyRequests || a.failed == "no answer in time":
		t.Verdict = findings.Error
	case !a.issued():
		t.Verdict = findings.Fail
		p.refused = true
		p.blame(p.check.Severity, p.check.Class)
	}
	p.tries = append(p.tries, t)
	if !a.issued() {
		return nil
	}
	return a
}

// note adds what a check found by itself.
func (p *probe) note(ok bool, sent, expected, got string) {
	p.noteAs(p.check.Severity, p.check.Class, ok, sent, expected, got)
}

// noteAs is note for a finding of another weight than the check's.
func (p *probe) noteAs(s findings.Severity, c findings.Class, ok bool, sent, expected, got string) {
	t := findings.Try{Sent: sent, Expected: expected, Got: got, Verdict: findings.Pass}
	if !ok {
		t.Verdict = findings.Fail
		p.blame(s, c)
	}
	p.tries = append(p.tries, t)
}

// blame makes the result as bad as its worst finding.
func (p *probe) blame(s findings.Severity, c findings.Class) {
	heavier := c == findings.Must && p.class != findings.Must
	same := c == p.class && s.Rank() > p.worst.Rank()
	if p.worst == "" || heavier || same {
		p.worst, p.class = s, c
	}
}

// stop ends the check without a verdict about the server.
func (p *probe) stop(format string, args ...any) {
	if p.stuck == "" {
		p.stuck = fmt.Sprintf(format, args...)
	}
}

// inOrder goes through a map in the order of its keys, so that two runs tell the same.
func inOrder[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
