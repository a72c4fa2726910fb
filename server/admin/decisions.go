package admin

import (
	"context"
	"fmt"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
)

// Decision is a decision taken apart: a past one, or one about a hypothesis.
type Decision struct {
	ID      string // empty for a hypothesis
	Outcome audit.Outcome
	Reason  string          // of a refusal or failure
	Step    string          // where it ended, unless it was allowed, or is a call through the shim
	Lines   []exchange.Line // none of such a call
	Records []audit.Record  // what the log has of it, in order; the last one counts
}

// Decision explains a decision of the operator's tenant by its records. Another tenant's is NotFound, as is one that
// was never made; what is no id is InvalidRequest.
func (s *Service) Decision(ctx context.Context, op Operator, id string) (*Decision, error) {
	if _, err := s.Log(ctx, op); err != nil {
		return nil, err
	}
	v, err := s.cfg.Directory.Bare(ctx, op.slug)
	if err != nil {
		return nil, err
	}
	records, err := s.cfg.Log.Find(ctx, v.ID, id)
	if err != nil {
		return nil, err
	}
	name, body, err := records[len(records)-1].Open()
	if err != nil {
		return nil, fmt.Errorf("explain decision: %w", err)
	}
	d := &Decision{Outcome: body.Outcome, Reason: body.Reason}
	if name != audit.KeyUse { // a call through the shim has not the steps of an exchange
		d = explain(body)
	}
	d.ID, d.Records = id, records
	return d, nil
}

// Suppose explains what would be decided about a request to the operator's tenant that nobody made. Nothing is issued
// or recorded. Invalid is a hypothesis about what the tenant does not have.
func (s *Service) Suppose(ctx context.Context, op Operator, h exchange.Hypothesis) (*Decision, error) {
	if err := s.allow(ctx, op, ReadLog); err != nil {
		return nil, err
	}
	body, err := s.cfg.Judge.Suppose(ctx, op.slug, h)
	if err != nil {
		return nil, err
	}
	return explain(body), nil
}

func explain(b audit.Body) *Decision {
	d := &Decision{Outcome: b.Outcome, Reason: b.Reason, Lines: exchange.Explain(b)}
	if n := len(d.Lines); n > 0 && b.Outcome != audit.Allowed && d.Lines[n-1].Refused != "" {
		d.Step = d.Lines[n-1].Step
	}
	return d
}
