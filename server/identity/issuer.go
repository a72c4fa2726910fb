package identity

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/scopes"
)

// Kind says what an issuer is, and so what its tokens must look like besides being JWTs.
type Kind string

// The kinds of trusted issuers.
const (
	OIDC       Kind = "oidc"       // any OpenID Connect provider or issuer of JWTs
	Kubernetes Kind = "kubernetes" // a cluster's service-account tokens
	SPIFFE     Kind = "spiffe"     // JWT-SVIDs of one trust domain
	GitHub     Kind = "github"     // tokens of GitHub Actions jobs
)

// Use says what an issuer's tokens may stand for.
type Use string

// The uses of a token.
const (
	Workload Use = "workload" // an agent itself
	Subject  Use = "subject"  // somebody an agent acts for
)

// Replay says what happens when a token comes again.
type Replay string

// The treatments of replay.
const (
	ReplayOff   Replay = "off"   // nothing
	ReplayAudit Replay = "audit" // it is noted in the log
	ReplayOnce  Replay = "once"  // it is refused, and so is a token without jti
)

// DefaultMaxLifetime is how long a token may live from iat to exp unless its issuer's entry says otherwise.
const DefaultMaxLifetime = 24 * time.Hour

// Issuer is a trusted issuer as a tenant's configuration describes it. The zero value trusts nobody; Check finds what
// is wrong with it.
type Issuer struct {
	// Name is a slug, unique in the tenant, by which clients and policies refer to the issuer. Required.
	Name string `json:"name"`
	// Issuer is the iss of its tokens, character by character. Required, except for kind spiffe.
	Issuer string `json:"issuer,omitempty"`
	// Kind is what the issuer is; oidc unless given.
	Kind Kind `json:"kind,omitempty"`
	// TrustDomain is the trust domain of kind spiffe, such as "prod.example". Required there.
	TrustDomain string `json:"trust_domain,omitempty"`
	// JWKSURI is where its keys are fetched: https, or http on loopback. Without it and `jwks` they are found by OpenID
	// Connect Discovery, save those of kind spiffe.
	JWKSURI string `json:"jwks_uri,omitempty"`
	// JWKS are its public keys themselves, as a JSON Web Key Set (RFC 7517 §5), each with a kid; nothing is fetched then.
	JWKS json.RawMessage `json:"jwks,omitempty"`
	// Audiences are the aud values that mean this tenant. Required; one of them must be in each token.
	Audiences []string `json:"audiences,omitempty"`
	// Algorithms are the signature algorithms that it may use; ES256 and RS256 unless given.
	Algorithms []string `json:"algorithms,omitempty"`
	// Use is what its tokens may stand for; workload unless given.
	Use []Use `json:"use,omitempty"`
	// AcceptAct accepts subject tokens that say who acts for their subject already (act, RFC 8693 §4.1). Those actors
	// are kept in what is issued, and grant nothing; without it such a token is refused.
	AcceptAct bool `json:"accept_act,omitempty"`
	// Replay is what happens when a token comes again; audit unless given.
	Replay Replay `json:"replay,omitempty"`
	// MaxLifetime is how long its tokens may live, from iat to exp, at most 366 days (8784h); 24h unless given.
	MaxLifetime scopes.Duration `json:"max_lifetime,omitempty"`
	// Condition is a CEL expression over claims, the token's, that must be true. Required for issuers from which anybody
	// can get a token, such as GitHub.
	Condition string `json:"condition,omitempty"`
	// Network says where its keys may be fetched from.
	Network Network `json:"network,omitzero"`
}

// Network says which addresses a tenant's configuration makes the server dial.
type Network struct {
	// AllowPrivate opens the private addresses that the platform lets this tenant use; none unless given.
	AllowPrivate bool `json:"allow_private,omitempty"`
}

// Uses reports whether the issuer's tokens may be used so.
func (i Issuer) Uses(u Use) bool { return slices.Contains(i.withDefaults().Use, u) }

// Selectors are what decides that a token belongs to this entry. Entries of one tenant must not share any.
func (i Issuer) Selectors() []string {
	if i.Kind == SPIFFE {
		return []string{spiffeScheme + i.TrustDomain}
	}
	return []string{i.Issuer}
}

// withDefaults returns the entry with every optional choice made.
func (i Issuer) withDefaults() Issuer {
	i.Kind = cmp.Or(i.Kind, OIDC)
	i.Replay = cmp.Or(i.Replay, ReplayAudit)
	i.MaxLifetime = cmp.Or(i.MaxLifetime, scopes.Duration(DefaultMaxLifetime))
	if len(i.Algorithms) == 0 {
		i.Algorithms = []string{"ES256", "RS256"}
	}
	if len(i.Use) == 0 {
		i.Use = []Use{Workload}
	}
	return i
}
