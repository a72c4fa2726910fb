package audit

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
)

// Names of events. Those of operators' changes are "admin.<object>.<verb>", such as "admin.client.create". When each
// is recorded, and what it holds, is in the table kinds, of which docs/events.md and the schemas beside it are made.
const (
	TokenExchange   = "token.exchange"   // a token was asked for: allowed, denied or error
	TokenIntrospect = "token.introspect" // an introspection that was denied or odd
	TokenRevoke     = "token.revoke"     // RFC 7009
	KeyUse          = "key.use"          // an upstream is called with a secret of the tenant's: Use
	CutoffSet       = "cutoff.set"       // everything of a target issued so far is revoked
	CutoffEnable    = "cutoff.enable"    // a disabled target may be used again
	AuthAdmin       = "auth.admin"       // an operator signed in, or was refused
	DenyFlood       = "deny.flood"       // unauthenticated refusals, counted; see Log.Refuse

	AuditRead   = "audit.read"   // an operator reads the log
	AuditExport = "audit.export" // a part of the log was handed out whole: Range, and the Tree that it was proven by
	AuditPrune  = "audit.prune"  // a part of the log was dropped: Range, the Tree at that moment, and the Archive
	LogEpoch    = "log.epoch"    // a loss was accepted, and the log goes on anew: Tree is the last one known before it
	LogKeyEvent = "log.key"      // a key of the log itself was made, rotated or revoked: LogKey

	SecretPut      = "secret.put"      // a version of a secret was stored: Secret
	SecretActivate = "secret.activate" // calls use it from now on
	SecretRollback = "secret.rollback" // calls use again what they used before
	SecretDisable  = "secret.disable"  // no call gets the secret
	SecretEnable   = "secret.enable"   // calls get it again
	SecretDestroy  = "secret.destroy"  // the value of one version, or of all, is gone
	SecretTest     = "secret.test"     // an operator had a version tried
	SecretRewrap   = "secret.rewrap"   // secrets were sealed with the newest data key
	SecretShred    = "secret.shred"    // all secrets and their data keys are gone

	ServerStart = "server.start" // a process begins to serve, in the platform's log
	ServerStop  = "server.stop"  // it has ended in order, or by a failure that it could still tell of
	WriterStart = "writer.start" // a process begins to write this log; the log adds it by itself
	WriterStop  = "writer.stop"  // it ended in order, and this is its last event; the log adds it by itself
)

// Outcome says how a decision ended. The zero Outcome is refused.
type Outcome string

const (
	Allowed Outcome = "allowed"
	Denied  Outcome = "denied"
	Failed  Outcome = "error"
)

// Reasons that the log itself gives, in the event that follows one whose caller had been told that recording failed.
const (
	// NotReleased means that the result recorded before, with the same txn and token, never left the process.
	NotReleased = "not_released"
	// NotConfirmed means that the change recorded before was made, but its caller could not be told so.
	NotConfirmed = "not_confirmed"
)

// Event is one thing that happened in a tenant. It holds no token, secret, key or body, and no free text: every field
// is a name, an id, a hash, a code, a number or an address, cut and cleaned before it is written. Values that a caller
// chose and that nobody has parsed do not belong here.
type Event struct {
	Name  string // one of the names above
	Txn   string // the run; ties the events and tokens of one task together
	Agent string // workload id of the agent; the SET's sub_id (RFC 9493)
	Body  Body
}

// Body is what is recorded of an event. The list of fields is closed; empty ones are left out.
type Body struct {
	Outcome    Outcome   `json:"outcome"`
	Reason     string    `json:"reason,omitempty"` // a code such as "policy.no_rule"
	DecisionID string    `json:"decision_id,omitempty"`
	Step       string    `json:"step,omitempty"` // of an exchange that was not allowed: the step that refused
	ClientID   string    `json:"client_id,omitempty"`
	Method     string    `json:"auth_method,omitempty"` // by which the client authenticated
	Actor      Actor     `json:"actor,omitzero"`
	Tool       string    `json:"tool,omitempty"`
	Actions    []string  `json:"actions,omitempty"`   // granted
	Requested  []string  `json:"requested,omitempty"` // asked for
	Within     []string  `json:"within,omitempty"`    // scopes of the token of ours that was traded in
	Limits     Limits    `json:"limits,omitzero"`
	Resource   string    `json:"resource,omitempty"` // the tool's URI (RFC 8707)
	Token      Token     `json:"token,omitzero"`
	Lineage    []string  `json:"lineage,omitempty"` // the tokens of ours that Token descends from, nearest first
	Subject    Presented `json:"subject_token,omitzero"`
	ActorToken Presented `json:"actor_token,omitzero"`
	Policy     Policy    `json:"policy,omitzero"`
	Change     Change    `json:"change,omitzero"`
	Cutoff     Cutoff    `json:"cutoff,omitzero"`
	Use        Use       `json:"use,omitzero"`
	LogKey     LogKey    `json:"log_key,omitzero"`
	Secret     Secret    `json:"secret,omitzero"`
	Tree       Tree      `json:"tree,omitzero"`
	Range      Range     `json:"range,omitzero"`
	Archive    Archive   `json:"archive,omitzero"`
	Server     Server    `json:"server,omitzero"`
	Operator   Operator  `json:"operator,omitzero"`
	Request    Request   `json:"request,omitzero"`
	Count      int64     `json:"count,omitempty"` // how many alike this one event stands for
	Start      int64     `json:"start,omitempty"` // the first of them, Unix seconds
	End        int64     `json:"end,omitempty"`   // the last of them
}

// Actor is who acted for whom.
type Actor struct {
	Chain []string `json:"chain,omitempty"` // from the agent that calls to the subject that it acts for
}

// Limits are what bounded the life of a token; the smallest did.
type Limits struct {
	Policy int64 `json:"policy,omitempty"` // seconds, of the rules that decided
	Tool   int64 `json:"tool,omitempty"`   // seconds
	// What was presented expires, Unix seconds: the subject token of whatever issuer, the actor token, the assertion.
	Subject   int64 `json:"subject,omitempty"`
	Actor     int64 `json:"actor,omitempty"`
	Assertion int64 `json:"assertion,omitempty"`
}

// Token is an issued token.
type Token struct {
	JTI    string `json:"jti,omitempty"`
	Hash   string `json:"th,omitempty"`  // base64url SHA-256 of the compact token
	Expiry int64  `json:"exp,omitempty"` // Unix seconds
	Type   string `json:"typ,omitempty"`
}

// Presented is a token that a caller presented. Of one that was not accepted there is the hash alone.
type Presented struct {
	Issuer string `json:"iss,omitempty"`
	JTI    string `json:"jti,omitempty"`
	Hash   string `json:"th,omitempty"` // base64url SHA-256 of the exact bytes; evidence, never a key
	Alg    string `json:"alg,omitempty"`
	KeyID  string `json:"kid,omitempty"`
	Reused bool   `json:"reused,omitempty"` // seen before in its lifetime
}

// Policy is what decided.
type Policy struct {
	Revision string   `json:"rev,omitempty"`   // hash of the compiled set
	Rules    []string `json:"rules,omitempty"` // ids of the rules that decided
	// Considered are all rules about this client at this tool that did not decide: "id:step", the step being the one that
	// the rule did not pass.
	Considered []string `json:"considered,omitempty"`
}

// Change is a change of configuration.
type Change struct {
	Object string   `json:"object,omitempty"` // such as "client"
	ID     string   `json:"id,omitempty"`
	Before string   `json:"before,omitempty"` // Digest of the row before
	After  string   `json:"after,omitempty"`  // Digest of the row after
	Fields []string `json:"fields,omitempty"` // names of the fields that changed, never their values
}

// Cutoff is the target of a revocation.
type Cutoff struct {
	Kind  string `json:"kind,omitempty"`
	Value string `json:"value,omitempty"`
	Cause Cause  `json:"cause,omitempty"` // why it was revoked, if somebody said so
}

// Cause is why something was revoked: a code, never a text.
type Cause string

// The causes that an operator can give, and CauseChange, which is given where a change of the configuration takes away
// what the tokens rest on: the events of that change stand beside it.
const (
	CauseCompromised Cause = "compromised" // a key, a token or a machine is in the wrong hands
	CauseMisbehaving Cause = "misbehaving" // the agent does what it should not
	CauseRisk        Cause = "risk"        // a signal from elsewhere says that it may be one of the two
	CauseRetired     Cause = "retired"     // it is used no more
	CauseSuperseded  Cause = "superseded"  // something else takes its place
	CauseTest        Cause = "test"        // a drill
	CauseChange      Cause = "change"
)

// Causes returns those that an operator can give.
func Causes() []Cause {
	return []Cause{CauseCompromised, CauseMisbehaving, CauseRisk, CauseRetired, CauseSuperseded, CauseTest}
}

// Use is a call of an upstream with the tenant's secrets. An allowed call has two events of one decision: the intent,
// which is durable before anything is sent, and the outcome, when the call has ended.
type Use struct {
	Phase    string   `json:"phase,omitempty"`    // UseIntent or UseOutcome; empty of a call that was refused
	Mode     string   `json:"mode,omitempty"`     // UseProxy or UseDecision
	Secrets  []string `json:"secrets,omitempty"`  // those that the call carries, each as name:version
	Host     string   `json:"host,omitempty"`     // of the upstream, with its port
	Method   string   `json:"method,omitempty"`   // of the call
	Rule     string   `json:"rule,omitempty"`     // path of the rule that allows it
	Status   int64    `json:"status,omitempty"`   // that the upstream answered with
	Sent     int64    `json:"sent,omitempty"`     // bytes of the body, and of messages, to the upstream
	Received int64    `json:"received,omitempty"` // bytes of those from it
	Scrubbed int64    `json:"scrubbed,omitempty"` // how often a secret was found in the answer, and masked
	Duration int64    `json:"duration,omitempty"` // milliseconds from the intent to the end
}

// What Use.Phase and Use.Mode can be.
const (
	UseIntent  = "intent"
	UseOutcome = "outcome"

	UseProxy    = "proxy"    // through the shim
	UseDecision = "decision" // by a proxy that asked, and was given the key
)

// LogKey is a key of the log itself, by which its events or its checkpoints are signed.
type LogKey struct {
	Use        string `json:"use,omitempty"`    // KeyEvent, KeyCheckpoint or KeyShim
	Action     string `json:"action,omitempty"` // KeyCreated, KeyRotated or KeyRevoked
	KeyID      string `json:"kid,omitempty"`
	Thumbprint string `json:"thumbprint,omitempty"` // of the public key (RFC 7638)
	Replaces   string `json:"replaces,omitempty"`   // of a rotation: the kid of the key that signed until then
}

// What LogKey.Use and LogKey.Action can be.
const (
	KeyEvent      = "event"
	KeyCheckpoint = "checkpoint"
	KeyShim       = "shim" // some events, of one standalone shim

	KeyCreated = "create"
	KeyRotated = "rotate"
	KeyRevoked = "revoke"
)

// Secret is a secret of the tenant's vault, or one version of it; never its value.
type Secret struct {
	Name        string   `json:"name,omitempty"`
	Version     int64    `json:"version,omitempty"`
	Fingerprint string   `json:"fingerprint,omitempty"` // of the value: the same in this tenant for the same value
	State       string   `json:"state,omitempty"`       // after what happened
	Kinds       []string `json:"kinds,omitempty"`       // how it may be put on a request
	Host        string   `json:"host,omitempty"`        // the origin where it may go
}

// Tree is a head of the log, as a checkpoint has it.
type Tree struct {
	Epoch int64  `json:"epoch,omitempty"` // from 1
	Size  int64  `json:"size,omitempty"`
	Root  string `json:"root,omitempty"` // standard base64, as in a checkpoint
}

// Range is a part of the log.
type Range struct {
	First int64 `json:"first,omitempty"` // index of its first event
	Count int64 `json:"count,omitempty"`
}

// Archive is where a part of the log went that was dropped.
type Archive struct {
	Name string `json:"name,omitempty"` // of the archive's checkpoint, below the folder of archives
	Hash string `json:"hash,omitempty"` // Digest of that checkpoint
}

// Server is what runs.
type Server struct {
	Version    string `json:"version,omitempty"`
	Durability string `json:"durability,omitempty"` // what an acknowledged write survives; the store's sentence
}

// Operator is who administers.
type Operator struct {
	ID   string `json:"id,omitempty"`
	Role string `json:"role,omitempty"`
}

// Request is where a request came from. The address is written as it is, but for a zone: the log of a tenant is
// personal data where addresses are. What is not a W3C trace id is left out.
type Request struct {
	IP    netip.Addr `json:"ip,omitzero"`
	Trace string     `json:"trace,omitempty"`
	Node  string     `json:"node,omitempty"` // the log fills it in
}

// Digest returns "sha256:" and the base64url SHA-256 of value, for Change.Before and Change.After; "" of no bytes.
func Digest(value []byte) string {
	if len(value) == 0 {
		return ""
	}
	sum := sha256.Sum256(value)
	return "sha256:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// check reports why the event may not be recorded. Only a bug gets here, and it must not lead to an effect that the
// log misreports.
func (e Event) check() error {
	if !known(e.Name) {
		return errors.New("the event has no known name")
	}
	switch e.Body.Outcome {
	case Allowed, Denied, Failed:
		return nil
	}
	return errors.New("the event has no outcome")
}

func known(name string) bool {
	_, ok := kindOf[name]
	return ok
}
