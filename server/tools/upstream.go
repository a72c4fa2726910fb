package tools

import (
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/limit"
)

// Upstream is the legacy API behind a tool, and everything that the shim may do there. It is fixed by the tenant's
// configuration: a caller chooses nothing of it. The zero value allows no call.
type Upstream struct {
	// URL is the API's origin: scheme, host and port alone. https, or http with allow_plaintext. Required.
	URL string `json:"url"`
	// Inject says which secrets are put on a call, and where. Required.
	Inject []Injection `json:"inject"`
	// Allow is what may be called. Required; what no rule allows is refused.
	Allow []Rule `json:"allow"`
	// Headers are request headers of the agent that are passed on beside those that always are.
	Headers []string `json:"headers,omitempty"`
	// Response says what is taken from answers.
	Response Response `json:"response,omitzero"`
	// Stream says how answers end that go on for long.
	Stream Stream `json:"stream,omitzero"`
	// WebSocket lets GET calls become WebSocket connections.
	WebSocket bool `json:"websocket,omitempty"`
	// Network says how the API is reached and known.
	Network Network `json:"network,omitzero"`
	// Probe is the call that `bursar secret test` makes.
	Probe *Probe `json:"probe,omitempty"`
	// Limits bound how often and how many at once.
	Limits Limits `json:"limits,omitzero"`
	// Timeouts bound how long.
	Timeouts Timeouts `json:"timeouts,omitzero"`
	// AllowPlaintext admits an http URL: whoever is on the way then reads the secret.
	AllowPlaintext bool `json:"allow_plaintext,omitempty"`
	// AllowEncodedSlash admits %2F within a segment of the path.
	AllowEncodedSlash bool `json:"allow_encoded_slash,omitempty"`
	// AllowDecisionMode lets the decision endpoint give the secrets to a proxy.
	AllowDecisionMode bool `json:"allow_decision_mode,omitempty"`
	// SingleUse lets each token be used for one call alone.
	SingleUse bool `json:"single_use,omitempty"`
	// Retries is how often a call is made again after it brought no byte of an answer, 0 to 2: GET, HEAD and OPTIONS
	// without a body alone.
	Retries int `json:"retries,omitempty"`

	routes []route  // the rules, the most specific first; none before New
	at     *address // where it is, because every call asks; nil before New
}

// Kind is a way of putting a secret on a call.
type Kind string

// The kinds of injection.
const (
	InHeader Kind = "header" // a header of its own, as format says
	InBearer Kind = "bearer" // Authorization: Bearer (RFC 6750 §2.1)
	InBasic  Kind = "basic"  // Authorization: Basic, of the fields username and password (RFC 7617)
	InQuery  Kind = "query"  // a query parameter
	InCookie Kind = "cookie" // one cookie
	InPath   Kind = "path"   // one segment of the path
	InJSON   Kind = "json"   // a string in a JSON body
	InForm   Kind = "form"   // a field of a body of application/x-www-form-urlencoded
	InSigV4  Kind = "sigv4"  // AWS Signature Version 4
	InHMAC   Kind = "hmac"   // a header with an HMAC of the call
	InOAuth2 Kind = "oauth2" // Authorization: Bearer, of a token got for client credentials (RFC 6749 §4.4)
	InMTLS   Kind = "mtls"   // a client certificate
)

// Kinds returns every kind.
func Kinds() []Kind {
	return []Kind{InHeader, InBearer, InBasic, InQuery, InCookie, InPath, InJSON, InForm, InSigV4, InHMAC, InOAuth2,
		InMTLS}
}

// Injection puts one secret in one place of each call.
type Injection struct {
	// In is how. Required.
	In Kind `json:"in"`
	// Name is where: the name of a header, query parameter, cookie or form field; a JSON pointer (RFC 6901) for json; for
	// path the parameter of the rules' paths, which the agent has to send as that word itself. The other kinds have none.
	Name string `json:"name,omitempty"`
	// Secret is the name of one of the tenant's secrets. Required.
	Secret string `json:"secret"`
	// Format is the text of a header, with {value} once in it; default "{value}". For kind header alone.
	Format string `json:"format,omitempty"`
	// SigV4 is how kind sigv4 signs. Required there.
	SigV4 *SigV4 `json:"sigv4,omitempty"`
	// HMAC is how kind hmac signs. Required there.
	HMAC *HMAC `json:"hmac,omitempty"`
	// OAuth2 is where kind oauth2 gets its tokens. Required there.
	OAuth2 *OAuth2 `json:"oauth2,omitempty"`
}

// SigV4 is how a call is signed for AWS, or for what works like it.
type SigV4 struct {
	Region  string `json:"region"`  // such as eu-central-1
	Service string `json:"service"` // such as s3
	// UnsignedPayload leaves the body out of the signature, so that it can be streamed: for s3 over https.
	UnsignedPayload bool `json:"unsigned_payload,omitempty"`
}

// HMAC is how a call is signed with an HMAC (RFC 2104). What is signed is fixed here, so that no caller can have
// anything else signed.
type HMAC struct {
	Hash     string `json:"hash,omitempty"`     // sha256 (default) or sha512
	Header   string `json:"header"`             // that the signature is put in
	Encoding string `json:"encoding,omitempty"` // hex (default) or base64
	Prefix   string `json:"prefix,omitempty"`   // that stands before the signature, such as "sha256="
	// Template is what is signed: text and any of {method} {path} {query} {body} {body_sha256} {timestamp} {nonce}.
	Template string `json:"template"`
	// TimestampHeader gets the {timestamp}, Unix seconds in decimal.
	TimestampHeader string `json:"timestamp_header,omitempty"`
	// NonceHeader gets the {nonce}, 128 random bits in hex.
	NonceHeader string `json:"nonce_header,omitempty"`
}

// OAuth2 is where and how a token is got for client credentials.
type OAuth2 struct {
	TokenURL string            `json:"token_url"`          // https; the secret is bound to it, too
	Scope    string            `json:"scope,omitempty"`    // words, separated by single spaces
	Audience string            `json:"audience,omitempty"` // parameter audience
	Resource string            `json:"resource,omitempty"` // parameter resource (RFC 8707)
	Auth     string            `json:"auth,omitempty"`     // basic (default) or post (RFC 6749 §2.3.1)
	Params   map[string]string `json:"params,omitempty"`   // further parameters
}

// Rule allows the calls of some methods to some paths, to those who hold one action's scope.
type Rule struct {
	// Action is the action of the tool that a call needs. Required.
	Action string `json:"action"`
	// Methods are GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS. Required.
	Methods []string `json:"methods"`
	// Path is a template such as /v1/refunds/{id}: literal segments, {name} for any one segment, and at the end
	// {name...} for all that follows, which must be something. Required.
	Path string `json:"path"`
	// Query are the names of the query parameters that an agent may send, once each; a name with "..." behind it may come
	// more often.
	Query []string `json:"query,omitempty"`
	// MaxBody bounds the body. Without it: none for GET, HEAD, OPTIONS and DELETE, 1MiB for the others.
	MaxBody Size `json:"max_body,omitempty"`
	// ContentTypes are the media types that a body may have; default application/json and
	// application/x-www-form-urlencoded.
	ContentTypes []string `json:"content_types,omitempty"`
	// JSON says which values a JSON body must have at which places: by JSON pointer (RFC 6901), the strings, numbers,
	// booleans or null that are allowed there.
	JSON map[string][]any `json:"json,omitempty"`
}

// Response is what is taken from answers, beside what always is.
type Response struct {
	// Strip are further headers that are taken away.
	Strip []string `json:"strip,omitempty"`
	// Scrub is strict (default: the secret is masked everywhere) or headers (bodies are passed on as they are).
	Scrub string `json:"scrub,omitempty"`
	// KeepChallenge passes a Basic challenge of the upstream on.
	KeepChallenge bool `json:"keep_challenge,omitempty"`
	// MaxBody bounds the body of an answer; without it none is too long.
	MaxBody Size `json:"max_body,omitempty"`
}

// ScrubStrict and ScrubHeaders are the values of Response.Scrub.
const (
	ScrubStrict  = "strict"
	ScrubHeaders = "headers"
)

// Stream is what happens to an answer that outlives its token.
type Stream struct {
	// OnExpiry is finish (default: it may go on for 15 minutes) or cut. A revocation always cuts.
	OnExpiry string `json:"on_expiry,omitempty"`
}

// ExpiryFinish and ExpiryCut are the values of Stream.OnExpiry.
const (
	ExpiryFinish = "finish"
	ExpiryCut    = "cut"
)

// Network is how an upstream is reached and known.
type Network struct {
	// AllowPrivate admits the private addresses that the platform allows the tenant.
	AllowPrivate bool `json:"allow_private,omitempty"`
	// CA are the certificates, PEM, that alone may sign the upstream's; the system's roots unless given.
	CA string `json:"ca,omitempty"`
	// Pins are public keys, one of which a certificate of the chain must have: sha256/ and the base64 of the SHA-256 of a
	// SubjectPublicKeyInfo (RFC 7469 §2.4).
	Pins []string `json:"pins,omitempty"`
}

// Probe is a call that shows whether a secret works.
type Probe struct {
	Method string `json:"method"`           // GET or HEAD, or what a rule allows
	Path   string `json:"path"`             // with a query, if one is needed
	Expect []int  `json:"expect,omitempty"` // status codes; default 200 to 299
}

// Limits bound the calls of a tool. Zero is no limit.
type Limits struct {
	Rate            limit.Rate `json:"rate,omitzero"`              // of calls, such as 50/s
	AgentRate       limit.Rate `json:"agent_rate,omitzero"`        // of calls of one agent
	Concurrent      int        `json:"concurrent,omitempty"`       // calls that are under way
	AgentConcurrent int        `json:"agent_concurrent,omitempty"` // calls of one agent that are under way
}

// Timeouts bound a call. Zero is the default.
type Timeouts struct {
	Connect scopes.Duration `json:"connect,omitempty"` // until the connection stands, TLS and all; 5s
	Header  scopes.Duration `json:"header,omitempty"`  // until the header of the answer is there; 30s
	Idle    scopes.Duration `json:"idle,omitempty"`    // between two reads of a body; 60s
	Total   scopes.Duration `json:"total,omitempty"`   // from beginning to end, except of streams; 5m
}
