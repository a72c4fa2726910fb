package operator

import (
	"context"
	"net/http"
	"time"
)

// CutoffKind is a kind of thing that can be revoked.
type CutoffKind string

// The kinds of cutoffs. Those from client on also disable their target: nothing of it is issued until Enable.
const (
	CutoffToken   CutoffKind = "jti"     // one token and what descends from it; the value is its jti
	CutoffLineage CutoffKind = "lineage" // the same of a root: its whole tree; the value is the root's jti
	CutoffRun     CutoffKind = "run"     // every token of one task; the value is their txn
	CutoffClient  CutoffKind = "client"  // every token of a client; the value is its id
	CutoffTool    CutoffKind = "tool"    // every token for a tool; the value is its name
	CutoffTenant  CutoffKind = "tenant"  // every token of the tenant; there is no value
	CutoffIssuer  CutoffKind = "issuer"  // every token that rests on a trusted issuer; the value is its name
	CutoffSubject CutoffKind = "subject" // every token for somebody; the value is their sub, "<issuer's name>:<its sub>"
)

// Disables reports whether a cutoff of the kind also disables its target.
func (k CutoffKind) Disables() bool {
	switch k {
	case CutoffClient, CutoffTool, CutoffTenant, CutoffIssuer, CutoffSubject:
		return true
	}
	return false
}

// Target names what is revoked or enabled. It is the body of Enable, and a part of that of Revoke. Unknown kinds are
// refused, so that a client that is newer than its server learns that nothing was revoked.
type Target struct {
	Kind CutoffKind `json:"kind"`
	// Value is absent for the kind tenant, and required for every other.
	Value string `json:"value,omitempty"`
}

// Revocation is the body of Revoke.
type Revocation struct {
	Target
	// Cause is recorded, and changes nothing else.
	Cause Cause `json:"cause,omitempty"`
}

// Cause is why something is revoked: a code for the log.
type Cause string

// The causes.
const (
	CauseCompromised Cause = "compromised" // a key, a token or a machine is in the wrong hands
	CauseMisbehaving Cause = "misbehaving" // the agent does what it should not
	CauseRisk        Cause = "risk"        // a signal from elsewhere says that it may be one of the two
	CauseRetired     Cause = "retired"     // it is used no more
	CauseSuperseded  Cause = "superseded"  // something else takes its place
	CauseTest        Cause = "test"        // a drill
)

// Causes returns all of them.
func Causes() []Cause {
	return []Cause{CauseCompromised, CauseMisbehaving, CauseRisk, CauseRetired, CauseSuperseded, CauseTest}
}

// Revoked is the receipt of a revocation, or of its lifting.
type Revoked struct {
	Target
	// At is the store's time: everything of the target that was issued up to here is revoked.
	At time.Time `json:"at"`
	// Seq is the number of this change among the tenant's cutoffs.
	Seq int64 `json:"seq"`
	// Index is the event's place in the tenant's log.
	Index int64 `json:"index"`
}

// Revoke ends everything of the target that was issued up to now, and disables the target if its kind can be. A client,
// tool or issuer must exist (a client may also be deleted), so that a slip of the pen cannot pass for a revocation; the
// ids of tokens and runs must have the form of one, and are not looked up. Revoking again moves the cutoff forward.
// Admin, responder.
//
//	POST /t/{tenant}/revoke Revocation → 200 Revoked
//	404 not_found: there is no such client, tool or issuer
//	422 invalid: unknown kind or cause, or a value that is missing, superfluous or malformed
func (c *Client) Revoke(ctx context.Context, tenant string, target Target) (*Revoked, error) {
	return c.RevokeFor(ctx, tenant, Revocation{Target: target})
}

// RevokeFor is Revoke with the cause.
func (c *Client) RevokeFor(ctx context.Context, tenant string, r Revocation) (*Revoked, error) {
	return one[Revoked](ctx, c, at(http.MethodPost, tenant, "revoke").with(r))
}

// Enable lifts what Revoke disabled. What was revoked stays revoked.
// Admin, responder.
//
//	POST /t/{tenant}/enable Target → 200 Revoked, whose at is that of the cutoff
//	404 not_found: the target was never revoked
//	422 invalid: a kind that does not disable, or a value that is missing, superfluous or malformed
func (c *Client) Enable(ctx context.Context, tenant string, target Target) (*Revoked, error) {
	return one[Revoked](ctx, c, at(http.MethodPost, tenant, "enable").with(target))
}

// Cutoff is a revocation that is in force.
type Cutoff struct {
	Target
	Seq int64 `json:"seq"`
	// At: everything of the target that was issued up to here is revoked.
	At time.Time `json:"at"`
	// Until: nothing that the cutoff hits can be alive after this.
	Until time.Time `json:"until"`
	// Disabled says that nothing of the target is issued until it is enabled.
	Disabled bool `json:"disabled"`
}

// Cutoffs lists the tenant's cutoffs that still matter, in the order of Seq. Any role.
//
//	GET /t/{tenant}/cutoffs → 200 {"items": [Cutoff]}
func (c *Client) Cutoffs(ctx context.Context, tenant string) ([]Cutoff, error) {
	return list[Cutoff](ctx, c, at(http.MethodGet, tenant, "cutoffs"))
}
