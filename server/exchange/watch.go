package exchange

import (
	"context"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
)

// The steps of an attempt, in their order. An attempt that is decided again goes through them again.
const (
	stepClient   = "client"   // who asks
	stepSubject  = "subject"  // for whom: subject token, actor token, who may act, the chain
	stepTarget   = "target"   // which tool
	stepScope    = "scope"    // which actions
	stepPolicy   = "policy"   // what the policies allow of them
	stepLifetime = "lifetime" // how long
	stepMint     = "mint"     // sign
	stepRecord   = "record"   // append to the log, and confirm that nothing changed meanwhile
)

// Step is how long one step of an attempt took.
type Step struct {
	Name         string
	Began, Ended time.Time
}

// Decided is an attempt that has ended. It holds codes, ids and names, and nothing that was presented or issued.
type Decided struct {
	Tenant     string // slug
	DecisionID string
	ClientID   string // empty if nobody authenticated
	Txn        string // the run
	Outcome    audit.Outcome
	Reason     string // of a refusal
	Steps      []Step // in order; the last one is where it ended
}

// at begins a step, and ends the one before it. Times are kept only if somebody watches.
func (a *Attempt) at(step string) {
	a.step = step
	if !a.watches {
		return
	}
	now := time.Now()
	a.ended(now)
	if a.steps == nil {
		a.steps = make([]Step, 0, 8) // those of an attempt that is decided once
	}
	a.steps = append(a.steps, Step{Name: step, Began: now})
}

func (a *Attempt) ended(now time.Time) {
	if n := len(a.steps); n > 0 {
		a.steps[n-1].Ended = now
	}
}

// watch is what every call but Issue ends with: an attempt that was refused has ended.
func (a *Attempt) watch(ctx context.Context, err error) error {
	if err != nil {
		a.watched(ctx, err)
	}
	return err
}

// watched tells whoever watches how the attempt ended: well if err is nil.
func (a *Attempt) watched(ctx context.Context, err error) {
	if !a.watches {
		return
	}
	a.ended(time.Now())
	d := Decided{Tenant: a.view.Slug, DecisionID: a.id, Txn: a.txn, Outcome: audit.Allowed, Steps: a.steps}
	if a.caller.client != nil {
		d.ClientID = a.caller.client.ID
	}
	if err != nil {
		f := fault.As(err)
		d.Outcome, d.Reason = outcomeOf(f), f.Reason
	}
	a.x.Watch(ctx, d)
}

// outcomeOf tells a refusal from the lack of a decision.
func outcomeOf(err error) audit.Outcome {
	if unanswered(err) {
		return audit.Failed
	}
	return audit.Denied
}
