// Package identity turns a token that somebody else signed into a Principal: it knows whom each tenant trusts, finds
// their keys, and checks the whole token. Success says who the token speaks of and nothing about what they may do;
// revocation, replay and policy are the caller's, on every use.
//
// Sources lives as long as the process and owns everything that is cached or fetched. A Pool is one tenant's trusted
// issuers at one revision of its configuration; it is cheap and immutable.
package identity

import (
	"context"
	"sync/atomic"
	"time"
)

// TokenType is a token type identifier (RFC 8693 §3) that a Pool verifies.
type TokenType string

// The token types of foreign tokens. An access token of ours is not an identity and is verified elsewhere.
const (
	TypeJWT     TokenType = "urn:ietf:params:oauth:token-type:jwt"
	TypeIDToken TokenType = "urn:ietf:params:oauth:token-type:id_token"
)

// Principal is who a verified token speaks of. It is only ever made by Pool.Verify. Claims and the slices are shared
// with later callers and must not be changed.
type Principal struct {
	Issuer    string         // name of the trusted issuer's entry
	Kind      Kind           // of that entry
	IssuerURL string         // iss of the token; for a JWT-SVID without one, "spiffe://" and its trust domain
	Subject   string         // sub
	JTI       string         // jti; empty if the token has none
	ID        string         // tells the token from all others of IssuerURL, however it is spelled; never empty
	Alg       string         // algorithm of the verified signature
	KeyID     string         // kid of the header; empty if the token has none
	Claims    map[string]any // the whole payload; whole numbers are int64, others float64
	Expiry    time.Time      // exp, rounded down to the second
	Uses      []Use          // what the trusted issuer's tokens may be used for
	MayAct    *Party         // the only one who may act for the subject (RFC 8693 §4.4); nil if anybody may
	Actors    []Party        // who acts for the subject already, the current one first (RFC 8693 §4.1)
	Replay    Replay         // how the caller is to treat a token that comes again
	Hash      string         // base64url SHA-256 of the compact token: evidence for the log, never a key for state
	// Traded says that the log has an exchange of the token. The caller sets it; who verifies the same bytes again a
	// moment later, in this process, finds it.
	Traded *atomic.Bool
}

// Condition is an expression over the claims of a verified token. Allow reports whether it holds; an error within it,
// an absent claim and a timeout all mean that it does not.
type Condition interface {
	Allow(ctx context.Context, claims map[string]any) bool
}
