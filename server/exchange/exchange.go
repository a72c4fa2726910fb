// Package exchange decides who gets which token (RFC 8693). An Attempt goes through fixed steps, each of which can only
// narrow what the ones before it left:
//
//	who asks → what was presented → which tool → which actions → the policy → how long
//	→ mint → record → release
//
// Nothing is released that is not recorded, and nothing that a revocation or a change of configuration, committed
// before the record, would have refused.
package exchange

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/memory"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tenant"
)

// Log records decisions. Append returns once the event is durable, with the position that the tenant had reached; an
// error means that nothing may be released. Refuse counts what nobody authenticated and never blocks.
type Log interface {
	Append(ctx context.Context, o audit.Origin, e audit.Event, claims ...ledger.Claim) (ledger.Position, error)
	Change(ctx context.Context, o audit.Origin, c ledger.Change, es ...audit.Event) (ledger.Position, error)
	Refuse(o audit.Origin, reason string, ip netip.Addr)
}

// Config is what an Exchanger needs; every field but the last three is required. Its time is the directory's, which all
// processes share.
type Config struct {
	Directory *tenant.Directory
	Log       Log
	Claims    clients.Claims
	// Limits are how often callers may ask; without any, the defaults, counted by this process alone.
	Limits *limit.Limiter
	// Watch is told of every attempt when it has ended, with the context of the call that ended it. It must not block.
	Watch func(context.Context, Decided)
	// Watches reports whether Watch is to be told of the attempt that begins with a context; nil: of every one.
	Watches func(context.Context) bool
}

// Exchanger decides requests for tokens, and later questions about them. It is safe for concurrent use.
type Exchanger struct {
	Config
	known *memory.Memory[[sha256.Size]byte, known] // tokens of ours, by their exact bytes
}

// New returns an Exchanger.
func New(c Config) *Exchanger {
	if c.Limits == nil {
		c.Limits = limit.New(limit.Config{})
	}
	return &Exchanger{c, memory.New[[sha256.Size]byte, known](16<<20, time.Minute)}
}

// Attempt is one request on its way. It is used by one goroutine; its methods are called in the order Begin, Decide,
// Issue, and none after one of them failed.
type Attempt struct {
	x   *Exchanger
	req Request
	id  string // decision id

	moment time.Time // what a hypothesis takes for now; zero in earnest

	view   *tenant.View
	caller caller
	run    string // a fresh one
	txn    string // the run of what is issued: that of a token that is traded in, else run
	grant  *grant

	jti     later           // what the private_key_jwt assertion of the client claims
	held    map[string]bool // by key: what the records of this attempt have taken
	known   map[string]bool // by onceKey: the tokens of which the log has an earlier exchange
	step    string          // the one that it is at
	steps   []Step          // with their times; kept only for Watch
	watches bool            // Watch is to be told
}

// maxTurns bounds how often a decision is made again because the tenant changed meanwhile.
const maxTurns = 4

// Begin finds out who asks. Errors are *fault.Error: InvalidClient for a client that did not authenticate,
// InvalidRequest for a token that identifies nobody, NotFound for an unknown tenant, TooMany, Unavailable; or what
// wraps context.Canceled if the caller has left.
func (x *Exchanger) Begin(ctx context.Context, slug string, r Request) (*Attempt, error) {
	view, err := x.Directory.View(ctx, slug)
	if err != nil {
		return nil, err
	}
	now := x.Directory.Now()
	a := &Attempt{x: x, req: r, view: view, id: ledger.NewID(now), run: ledger.NewID(now),
		held: map[string]bool{}, known: map[string]bool{}}
	a.txn = a.run
	a.watches = x.Watch != nil && (x.Watches == nil || x.Watches(ctx))
	err = a.identify(ctx)
	if limited := x.admitClient(view, a.caller.client, r.IP); limited != nil {
		return a, a.watch(ctx, limited)
	}
	return a, a.watch(ctx, a.settle(ctx, err, a.identify))
}

// ClientID returns the client that asks.
func (a *Attempt) ClientID() string { return a.caller.client.ID }

// Decide narrows the request to what is granted. It has no effect but the record of a refusal.
func (a *Attempt) Decide(ctx context.Context) error {
	return a.watch(ctx, a.settle(ctx, a.narrow(ctx), a.again))
}

// Refuse ends the attempt with a refusal that its surface found, and records it.
func (a *Attempt) Refuse(ctx context.Context, err error) error {
	return a.watch(ctx, a.refuse(ctx, err))
}

// Reject counts a request that could not be read. It fails only if there is no such tenant, or nobody can say.
func (x *Exchanger) Reject(ctx context.Context, slug, reason string, ip netip.Addr) error {
	view, err := x.Directory.View(ctx, slug)
	if err != nil {
		return err
	}
	x.Log.Refuse(view.Origin(), reason, ip)
	return nil
}

// again makes the whole decision anew, on the view as it is now. Whatever becomes of it is recorded as the client's
// that was found before.
func (a *Attempt) again(ctx context.Context) error {
	before := a.caller.client
	a.grant = nil
	err := a.identify(ctx)
	switch {
	case err == nil && a.caller.client.ID != before.ID:
		err = otherClient()
	case err == nil:
		return a.narrow(ctx)
	}
	a.caller.client = before
	return err
}

// settle decides what becomes of a step's outcome. A refusal, or an issuer that does not answer, may rest on a view
// that is out of date, so it counts only once the newest view gives it too; then it is recorded, and returned.
func (a *Attempt) settle(ctx context.Context, err error, retry func(context.Context) error) error {
	for range maxTurns {
		if err == nil || fault.As(err).Kind == fault.Internal || fault.As(err).Kind == fault.TooMany {
			break
		}
		newest, freshErr := a.x.Directory.Fresh(ctx, a.view.Slug)
		if freshErr != nil {
			return freshErr
		}
		if newest == a.view {
			break
		}
		a.view = newest
		err = retry(ctx)
	}
	if err == nil {
		return nil
	}
	return a.refuse(ctx, err)
}

// unanswered reports whether err is not a decision but the lack of one.
func unanswered(err error) bool {
	kind := fault.As(err).Kind
	return kind == fault.Unavailable || kind == fault.Internal
}

// refuse records a refusal and returns what the caller may know of it. Those of callers who did not authenticate are
// counted, so that nobody can fill a tenant's log from outside.
func (a *Attempt) refuse(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	f := fault.As(err)
	if a.caller.client == nil {
		a.x.Log.Refuse(a.view.Origin(), f.Reason, a.req.IP)
		return f
	}
	event := func() audit.Event { return a.event(outcomeOf(f), f.Reason) }
	switch _, err := a.record(ctx, event, a.authenticating); {
	case err != nil && a.caller.client == nil:
		return a.refuse(ctx, err)
	case err != nil:
		return fault.As(err)
	}
	recorded := *f
	recorded.DecisionID = a.id
	return &recorded
}

// disabled refuses what an operator has switched off.
func disabled(s *revoke.State, kind fault.Kind, keys ...ledger.Key) error {
	if key, hit := s.Disabled(keys...); hit {
		return fault.New(kind, "revoked."+key.Kind, refusedByPolicy)
	}
	return nil
}

// vouching are the targets by which an identity can be switched off.
func vouching(p *identity.Principal) []ledger.Key {
	return []ledger.Key{target(revoke.Issuer, p.Issuer), target(revoke.Subject, token.Subject(p.Issuer, p.Subject))}
}

func target(kind revoke.Kind, value string) ledger.Key {
	return ledger.Key{Kind: string(kind), ID: value}
}
