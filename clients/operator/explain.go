package operator

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"time"
)

// Outcome is how a decision ended.
type Outcome string

// The outcomes.
const (
	OutcomeAllowed Outcome = "allowed"
	OutcomeDenied  Outcome = "denied"
	OutcomeError   Outcome = "error" // there was no decision, or what was decided could not be released
)

// Outcomes returns every outcome.
func Outcomes() []Outcome { return []Outcome{OutcomeAllowed, OutcomeDenied, OutcomeError} }

// Explanation is a decision taken apart into its steps.
type Explanation struct {
	DecisionID string  `json:"decision_id,omitempty"` // absent for a hypothesis
	Outcome    Outcome `json:"outcome"`
	Reason     string  `json:"reason,omitempty"` // a code such as "policy.action"; absent if allowed
	Step       string  `json:"step,omitempty"`   // where it ended; absent if allowed, and of a call through the shim
	// Steps are those that were reached, in order. One can have several lines: the policy has one for each rule that did
	// not pass.
	Steps []Step `json:"steps"`
	// Records are what the tenant's log has of the decision; empty for a hypothesis. There are several if a token that
	// was recorded was withheld; the last one is explained.
	Records []Event `json:"records"`
}

// Step is one line of an explanation.
type Step struct {
	Step string   `json:"step"`         // client, subject, target, scope, policy, lifetime, mint or record
	By   string   `json:"by,omitempty"` // the rule, method or limit that narrowed here
	Had  []string `json:"had"`          // what there was before it, where that says something
	Left []string `json:"left"`         // what it left
	// Refused is the reason on the last line of a decision that was not allowed, and on the line of a rule the check of
	// the policy that it did not pass.
	Refused string `json:"refused,omitempty"`
}

// Hypothesis is a request that nobody made. What a real one would have to prove is taken for granted.
type Hypothesis struct {
	Client string `json:"client"` // the id of the client that would ask
	// Agent is the identity that the client would prove; nil for one with credentials of another kind.
	Agent *Identity `json:"agent,omitempty"`
	// Subject is somebody whom the client would act for; nil for the client as itself.
	Subject *Identity `json:"subject,omitempty"`
	// Parent is a token of bursar that the client would trade in; nil without one. It is about Subject, or else about the
	// client that it was issued to.
	Parent *Parent `json:"parent,omitempty"`
	Tool   string  `json:"tool"`            // its name
	Scope  string  `json:"scope,omitempty"` // as a request would say it; empty for the defaults
	// At and IP are what conditions see as the time and the caller's address; the time of the call, and none.
	At time.Time  `json:"at,omitzero"`
	IP netip.Addr `json:"ip,omitzero"`
	// Lifetime is how long what would be presented is valid, as time.ParseDuration reads it; empty is an hour.
	Lifetime string `json:"lifetime,omitempty"`
}

// Identity is what a token of a trusted issuer would say.
type Identity struct {
	Issuer  string          `json:"issuer"` // the name of its entry
	Subject string          `json:"subject"`
	Claims  json.RawMessage `json:"claims,omitempty"` // an object: whatever conditions look at
}

// Parent is a token of bursar that would be traded in.
type Parent struct {
	Client string `json:"client"` // whom it was issued to
	Tool   string `json:"tool"`   // its name
	Scope  string `json:"scope"`
	Depth  int    `json:"depth,omitempty"` // how many tokens it descends from
}

// Decision explains a decision of the tenant by its id, which callers are told with every refusal. Admin, auditor.
//
//	GET /t/{tenant}/decisions/{id} → 200 Explanation
//	400 invalid_request: it is not the id of a decision
//	404 not_found: the tenant's log has no such decision
func (c *Client) Decision(ctx context.Context, tenant, id string) (*Explanation, error) {
	return one[Explanation](ctx, c, at(http.MethodGet, tenant, "decisions", id))
}

// Explain tells what would be decided about a request that nobody made, by the tenant's configuration and revocations
// as they stand. Nothing is issued or recorded. Admin, auditor.
//
//	POST /t/{tenant}/explain Hypothesis → 200 Explanation
//	422 invalid: a member that is missing, malformed, or names what the tenant does not have
func (c *Client) Explain(ctx context.Context, tenant string, h Hypothesis) (*Explanation, error) {
	return one[Explanation](ctx, c, at(http.MethodPost, tenant, "explain").with(h))
}
