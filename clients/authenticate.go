package clients

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Types of client assertions.
const (
	TypeJWTBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523 §2.2
	TypeJWTSPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe" // draft-ietf-oauth-spiffe-client-auth
)

// Credentials are what a request presents, as it presents it. It prints as "[credentials]".
type Credentials struct {
	// Basic is the decoded Authorization header (RFC 6749 §2.3.1); nil without one.
	Basic *IDSecret
	// Post is client_id and client_secret of the form; nil without a client_secret.
	Post *IDSecret
	// ClientID is the parameter client_id. It proves nothing, but must not contradict the proof (RFC 7521 §4.2).
	ClientID string
	// AssertionType and Assertion are client_assertion_type and client_assertion.
	AssertionType, Assertion string
}

// IDSecret is a client's id and secret. It prints as "[credentials]".
type IDSecret struct{ ID, Secret string }

const redacted = "[credentials]"

// Format hides what is inside from every verb of package fmt.
func (Credentials) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides what is inside from package slog.
func (Credentials) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format hides what is inside from every verb of package fmt.
func (IDSecret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides what is inside from package slog.
func (IDSecret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Proof is how a client authenticated. P is the verifier's own record of a workload token.
type Proof[P any] struct {
	// Method is never empty in a proof that Authenticate returned.
	Method Method
	// Principal is the verified workload token; the zero P unless Method is MethodWorkload. Its issuer's replay policy
	// has not been applied: that needs to know what the token is used for.
	Principal P
	// JTI is the jti of a private_key_jwt assertion, which is claimed.
	JTI string
}

// Identity is what a workload token says of its bearer.
type Identity struct {
	Issuer  string // the trusted issuer's name in the tenant
	Subject string
	Claims  map[string]any
}

// Workload verifies the tokens of the tenant's trusted issuers.
type Workload[P any] interface {
	// Verify checks signature, issuer, audience, times and the issuer's own condition, for use as a workload's
	// identity. With spiffe, only a JWT-SVID of an issuer of kind spiffe is acceptable. An error is a *fault.Error:
	// Unavailable if the issuer's keys could not be had, Internal for a bug, any other kind for a token that is not
	// acceptable; its Public is then what the client reads.
	Verify(ctx context.Context, raw string, spiffe bool) (Identity, P, error)
}

// KeySource knows the keys that clients publish.
type KeySource interface {
	// VerifySignature checks the signature of a compact JWS with the key set at uri, and nothing else of it. Keys come
	// from nowhere but there. allowPrivate permits private addresses, within the tenant's ceiling. An error is a
	// *fault.Error: Unavailable if the keys could not be had, Internal for a bug, any other kind for a signature that
	// none of the keys made.
	VerifySignature(ctx context.Context, uri string, allowPrivate bool, compact string) error
}

// Claims remembers what may be used once. Who says that a key is fresh before it is taken must take it, and undo the
// authentication if it was not, before anything comes of it.
type Claims interface {
	// Claim takes key in the tenant's ledger, and reports whether nobody had: of any number of calls with one key, in
	// all processes, exactly one is fresh. A key stays taken until then, through a restart. If the error is not nil (it
	// wraps fault.ErrUnavailable where the store did not answer) the key may be taken or not.
	Claim(ctx context.Context, t ledger.Tenant, key string, until time.Time) (fresh bool, err error)
}

// Guard keeps strangers from guessing secrets.
type Guard interface {
	// Try is asked before a secret is compared, whether there is such a client or not. Its error, a *fault.Error of kind
	// TooMany, is the answer; nothing is compared then, so that guessing on tells nobody anything.
	Try(id, secret string) error
	// Tried is told what became of a comparison that Try allowed.
	Tried(id, secret string, right bool)
}

// Authenticator authenticates the clients of one tenant. Every field is required.
type Authenticator[P any] struct {
	// Issuer is our issuer URL, the only audience of a client's own assertions.
	Issuer   string
	Tenant   ledger.Tenant
	Registry *Registry
	Keys     KeySource
	Workload Workload[P]
	Claims   Claims
	Guard    Guard // against whoever sends the request
	// Disabled reports whether a client was disabled by a revocation.
	Disabled func(id string) bool
	Now      func() time.Time
}

// Authenticate returns the client whose credentials these are. The method is the one that the client is registered
// for; whatever else the request presents is a failure, not an alternative.
//
// Errors are *fault.Error: InvalidClient with one of the Reasons; InvalidRequest for two secrets at once (RFC 6749
// §2.3; where an assertion is one of several methods it is InvalidClient, RFC 7521 §4.2.1); TooMany where the Guard
// refuses; Unavailable where an answer that is needed could not be had. Without credentials the error is also ErrNone.
func (a Authenticator[P]) Authenticate(ctx context.Context, c Credentials) (*Client, Proof[P], error) {
	assertion := c.Assertion != "" || c.AssertionType != ""
	switch {
	case assertion && (c.Basic != nil || c.Post != nil):
		return none[P](refuse(ReasonMethods, nil))
	case assertion:
		return a.assertion(ctx, c)
	case c.Basic != nil && c.Post != nil:
		return none[P](fault.New(fault.InvalidRequest, ReasonMethods, sentences[ReasonMethods]))
	case c.Basic != nil:
		return a.secret(c, *c.Basic, MethodSecretBasic)
	case c.Post != nil:
		return a.secret(c, *c.Post, MethodSecretPost)
	}
	return none[P](refuse(ReasonNone, ErrNone))
}

// none is the answer of a failed authentication.
func none[P any](err error) (*Client, Proof[P], error) { return nil, Proof[P]{}, err }

// secret authenticates by a client secret. A client that does not exist is compared like one that has no secrets, and
// answered like a wrong secret; that the method is wrong is told only to who knows the secret.
func (a Authenticator[P]) secret(c Credentials, presented IDSecret, method Method) (*Client, Proof[P], error) {
	e, known := a.Registry.entries[presented.ID]
	var secrets digests
	if known {
		secrets = e.secrets
	}
	if err := a.Guard.Try(presented.ID, presented.Secret); err != nil {
		return none[P](err)
	}
	right := secrets.match(presented.Secret)
	a.Guard.Tried(presented.ID, presented.Secret, right)
	switch {
	case !known:
		return none[P](refuse(ReasonUnknown, nil))
	case !right:
		return none[P](refuse(ReasonSecret, nil))
	}
	if err := a.admit(c, &e.client, method); err != nil {
		return none[P](err)
	}
	return &e.client, Proof[P]{Method: method}, nil
}

// admit is what every method ends with, once the client is proven.
func (a Authenticator[P]) admit(c Credentials, client *Client, method Method) error {
	switch {
	case client.Auth.Method != method:
		return refuse(ReasonMethod, nil)
	case c.ClientID != "" && c.ClientID != client.ID:
		return refuse(ReasonID, nil)
	case a.Disabled(client.ID):
		return refuse(ReasonDisabled, nil)
	}
	return nil
}

// assertion authenticates by client_assertion. What names itself (iss = sub) as a private_key_jwt client is held to
// the rules of that, with no second chance as a workload's token, which everything else has to be.
func (a Authenticator[P]) assertion(ctx context.Context, c Credentials) (*Client, Proof[P], error) {
	if c.Assertion == "" || c.AssertionType != TypeJWTBearer && c.AssertionType != TypeJWTSPIFFE {
		return none[P](refuse(ReasonAssertionType, nil))
	}
	x, err := peek(c.Assertion)
	if err != nil {
		return none[P](err)
	}
	e, known := a.Registry.entries[x.subject]
	own := known && x.issuer == x.subject && e.client.Auth.Method == MethodPrivateKeyJWT
	if !own || c.AssertionType == TypeJWTSPIFFE {
		return a.workload(ctx, c)
	}
	proof, err := a.privateKeyJWT(ctx, c, e, x)
	if err != nil {
		return none[P](err)
	}
	return &e.client, proof, nil
}

func (a Authenticator[P]) workload(ctx context.Context, c Credentials) (*Client, Proof[P], error) {
	who, principal, err := a.Workload.Verify(ctx, c.Assertion, c.AssertionType == TypeJWTSPIFFE)
	if err != nil {
		return none[P](judge(ReasonAssertionWorkload, err))
	}
	client, err := a.Registry.Match(ctx, who.Issuer, who.Subject, who.Claims)
	switch {
	case errors.Is(err, ErrAmbiguous):
		return none[P](refuse(ReasonSeveral, err))
	case err != nil:
		return none[P](refuse(ReasonUnbound, err))
	}
	if err := a.admit(c, client, MethodWorkload); err != nil {
		return none[P](err)
	}
	return client, Proof[P]{Method: MethodWorkload, Principal: principal}, nil
}
