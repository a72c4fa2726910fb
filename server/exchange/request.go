package exchange

import (
	"net/netip"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
)

// Request is one request for a token, read from the wire once and not believed yet. Empty parameters are absent
// (RFC 6749 §3.2).
type Request struct {
	Credentials clients.Credentials

	// AsItself asks by the client_credentials grant (RFC 6749 §4.4): the client's credentials are all that there is, and
	// the token is about the client. Without it the request is a token exchange.
	AsItself bool

	SubjectToken, SubjectTokenType string
	ActorToken, ActorTokenType     string
	RequestedTokenType             string
	Resources, Audiences           []string // RFC 8693 §2.1: each may repeat
	Scope                          string

	// AuthorizationDetails (RFC 9396) and Proof (a DPoP header, RFC 9449) say that the caller counts on a restriction
	// that this version cannot give; such a request is refused, never answered without it.
	AuthorizationDetails bool
	Proof                bool

	IP    netip.Addr // the caller's
	Trace string     // W3C trace id, hexadecimal; optional
}

// TypeAccessToken is the type of what is issued (RFC 8693 §3).
const TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"

// Result is an issued token. It was recorded before it left this package.
type Result struct {
	Token     string
	Scope     string        // as the tool's servers know it
	ExpiresIn time.Duration // whole seconds, at least one
	Txn       string        // the run
}

// check refuses requests that are malformed whoever sends them.
func (r *Request) check() error {
	switch {
	case r.AuthorizationDetails:
		return bad("request.authorization_details", "authorization_details is not available in this version; leave it out.")
	case r.Proof:
		return bad("request.dpop", "DPoP is not available in this version; leave the DPoP header out.")
	case r.AsItself:
		return r.checkAsItself()
	case r.SubjectToken == "":
		return bad("request.subject_token", "subject_token is missing.")
	case r.SubjectTokenType == "":
		return bad("request.subject_token_type", "subject_token_type is missing.")
	case !foreign(r.SubjectTokenType) && r.SubjectTokenType != TypeAccessToken:
		return bad("request.subject_token_type",
			"subject_token_type must be the type jwt, id_token or access_token of RFC 8693 section 3.")
	case r.ActorToken != "" && r.ActorTokenType == "":
		return bad("request.actor_token_type", "actor_token needs an actor_token_type.")
	case r.ActorToken == "" && r.ActorTokenType != "":
		return bad("request.actor_token", "actor_token_type needs an actor_token.")
	case r.ActorToken != "" && !foreign(r.ActorTokenType):
		return bad("request.actor_token_type", "actor_token_type must be the type jwt or id_token of RFC 8693 section 3.")
	case r.RequestedTokenType != "" && r.RequestedTokenType != TypeAccessToken:
		return bad("request.requested_token_type",
			"requested_token_type must be the type access_token of RFC 8693 section 3.")
	}
	return nil
}

// checkAsItself refuses what belongs to a token exchange: a client that sends it counts on more than it would get.
func (r *Request) checkAsItself() error {
	if r.SubjectToken+r.SubjectTokenType+r.ActorToken+r.ActorTokenType+r.RequestedTokenType == "" {
		return nil
	}
	return bad("request.as_itself", "client_credentials takes no subject_token, actor_token or requested_token_type; "+
		"they belong to the token-exchange grant.")
}

// foreign reports whether the type is one that a trusted issuer's token may have.
func foreign(tokenType string) bool {
	return tokenType == string(identity.TypeJWT) || tokenType == string(identity.TypeIDToken)
}

func bad(reason, public string) error { return fault.New(fault.InvalidRequest, reason, public) }
