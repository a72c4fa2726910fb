package adminapi

import (
	"encoding/json"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/exchange"
)

func (a *API) decision(c call) (answer, error) {
	d, err := a.cfg.Service.Decision(c.ctx, c.op, c.path("id"))
	if err != nil {
		return answer{}, err
	}
	return ok(explanation(d)), nil
}

func (a *API) explain(c call) (answer, error) {
	wire, err := decode[operator.Hypothesis](c.body)
	if err != nil {
		return answer{}, err
	}
	h, problems := hypothesis(wire)
	if len(problems) > 0 {
		return answer{}, invalid(problems...)
	}
	d, err := a.cfg.Service.Suppose(c.ctx, c.op, h)
	if err != nil {
		return answer{}, err
	}
	return ok(explanation(d)), nil
}

func explanation(d *admin.Decision) operator.Explanation {
	e := operator.Explanation{DecisionID: d.ID, Outcome: operator.Outcome(d.Outcome), Reason: d.Reason, Step: d.Step,
		Steps: make([]operator.Step, len(d.Lines)), Records: make([]operator.Event, len(d.Records))}
	for i, l := range d.Lines {
		e.Steps[i] = operator.Step{Step: l.Step, By: l.By, Had: present(l.Had), Left: present(l.Left), Refused: l.Refused}
	}
	for i, r := range d.Records {
		e.Records[i] = event(r)
	}
	return e
}

// present returns a list that is never null.
func present(list []string) []string { return append([]string{}, list...) }

// hypothesis translates a request that nobody made, and lists what of it has the wrong form.
func hypothesis(w operator.Hypothesis) (h exchange.Hypothesis, problems []string) {
	h = exchange.Hypothesis{Client: w.Client, Tool: w.Tool, Scope: w.Scope, At: w.At, IP: w.IP}
	for _, who := range []struct {
		name string
		from *operator.Identity
		to   *exchange.Supposed
	}{{"agent", w.Agent, &h.Agent}, {"subject", w.Subject, &h.Subject}} {
		if who.from == nil {
			continue
		}
		claims, ok := readClaims(who.from.Claims)
		if !ok {
			problems = append(problems, who.name+".claims: must be an object as a token could hold it")
		}
		if who.from.Issuer == "" || who.from.Subject == "" {
			problems = append(problems, who.name+": needs an issuer and a subject that are not empty")
		}
		*who.to = exchange.Supposed{Issuer: who.from.Issuer, Subject: who.from.Subject, Claims: claims}
	}
	if p := w.Parent; p != nil {
		h.Parent = &exchange.SupposedParent{Client: p.Client, Tool: p.Tool, Scope: p.Scope, Depth: p.Depth}
		if p.Depth < 0 || p.Depth > maxDepth {
			problems = append(problems, "parent.depth: must be 0 to 16")
		}
	}
	if w.Lifetime != "" {
		var err error
		if h.Lifetime, err = time.ParseDuration(w.Lifetime); err != nil || h.Lifetime <= 0 {
			problems = append(problems, "lifetime: must be a duration such as 30m")
		}
	}
	return h, problems
}

// maxDepth is more than any token's depth can be.
const maxDepth = 16

// readClaims reads claims as those of a presented token are read.
func readClaims(raw json.RawMessage) (claims map[string]any, ok bool) {
	if len(raw) == 0 {
		return nil, true
	}
	claims, err := token.Object(raw)
	return claims, err == nil
}
