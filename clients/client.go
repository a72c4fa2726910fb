// Package clients knows who is on the other side: the tenant's registry of OAuth clients, the workload identities that
// are bound to them, their secrets, and how each of them proves that it is who it says (RFC 6749 §2.3).
//
// The method by which a client authenticates is the one it is registered for, never one that a request picks.
package clients

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/bursar-sts/bursar/scopes"
)

// Kind is what a client is.
type Kind string

// The kinds of clients.
const (
	Agent          Kind = "agent"           // asks for tokens
	ResourceServer Kind = "resource_server" // is asked with tokens: introspects, and exchanges what it was sent
)

// Method is how a client authenticates (RFC 7591 §2, token_endpoint_auth_method).
type Method string

// The methods. Public clients ("none") and client_secret_jwt do not exist here.
const (
	MethodWorkload      Method = "workload"            // a trusted issuer's token for one of the client's identities
	MethodPrivateKeyJWT Method = "private_key_jwt"     // a JWT signed with the client's own key (RFC 7523 §2.2)
	MethodSecretBasic   Method = "client_secret_basic" // a generated secret in the Authorization header
	MethodSecretPost    Method = "client_secret_post"  // a generated secret in the form
)

// Client is one OAuth registration. Its JSON is an entry of `clients` in the tenant file.
type Client struct {
	// ID is a slug, unique in the tenant, and never used again. Required.
	ID string `json:"id"`
	// Kind is what the client is. Required.
	Kind Kind `json:"kind"`
	// Identities are the workload identities that are this client; at least one where it authenticates by workload
	// token. An identity is never two clients.
	Identities []Binding `json:"identities,omitempty"`
	// Tools are the tools that a resource server owns, by name; at least one, and none for an agent.
	Tools []string `json:"tools,omitempty"`
	// Auth is how the client authenticates; absent means by workload token.
	Auth Auth `json:"auth,omitzero"`
}

// Binding says which subjects of one trusted issuer are the client. Exactly one of Subject and SubjectGlob is set.
type Binding struct {
	// Issuer is the trusted issuer's name in the tenant, not its URL. Required.
	Issuer string `json:"issuer"`
	// Subject is the sub of the workload's tokens, character by character.
	Subject string `json:"subject,omitempty"`
	// SubjectGlob is a pattern for sub, instead of `subject`. A * stands for one or more characters other than / and :,
	// and so never for more than one segment; everything else stands for itself.
	SubjectGlob string `json:"subject_glob,omitempty"`
	// Condition is a CEL expression over claims, the token's, that must also be true; without one all are.
	Condition string `json:"condition,omitempty"`
}

// Auth is a client's registered authentication.
type Auth struct {
	// Method is MethodWorkload unless given.
	Method Method `json:"method,omitempty"`
	// JWKS are the public keys of a private_key_jwt client, as a JSON Web Key Set (RFC 7517 §5), each with a kid.
	JWKS json.RawMessage `json:"jwks,omitempty"`
	// JWKSURI is where a private_key_jwt client publishes its keys, instead of `jwks`: https, or http on loopback.
	JWKSURI string `json:"jwks_uri,omitempty"`
	// Network says from where JWKSURI may be fetched.
	Network Network `json:"network,omitzero"`
}

// Network says where a client's documents may be fetched from.
type Network struct {
	// AllowPrivate opens the private addresses that the platform lets this tenant use; none unless given.
	AllowPrivate bool `json:"allow_private,omitempty"`
}

// MaxSubject bounds a subject, in bytes; the longest SPIFFE ID has as many.
const MaxSubject = 2048

// mistakes gathers what is wrong with a document, each with the path of its field.
type mistakes []string

func (m *mistakes) add(path, what string) { *m = append(*m, path+": "+what) }

func (m *mistakes) err(path string, err error) {
	if err != nil {
		m.add(path, err.Error())
	}
}

// Check lists every mistake that shows in the client alone, each with the path of its field ("auth.jwks: …"). Globs
// and conditions are compiled, and clients compared, by NewRegistry.
func (c Client) Check() []string {
	var m mistakes
	m.err("id", scopes.CheckSlug(c.ID))
	switch c.Kind {
	case Agent:
		if len(c.Tools) > 0 {
			m.add("tools", "only a resource_server owns tools")
		}
	case ResourceServer:
		if len(c.Tools) == 0 {
			m.add("tools", "name the tools that this resource server owns")
		}
	default:
		m.add("kind", "must be agent or resource_server")
	}
	for i, tool := range c.Tools {
		path := fmt.Sprintf("tools[%d]", i)
		m.err(path, scopes.CheckSlug(tool))
		if slices.Contains(c.Tools[:i], tool) {
			m.add(path, "is named twice")
		}
	}
	for i, b := range c.Identities {
		path := fmt.Sprintf("identities[%d]", i)
		b.check(path+".", &m)
		if slices.Contains(c.Identities[:i], b) {
			m.add(path, "is listed twice")
		}
	}
	if c.Auth.method() == MethodWorkload && len(c.Identities) == 0 {
		m.add("identities", "list at least one identity, or give the client another auth.method")
	}
	c.Auth.check("auth.", &m)
	return m
}

func (b Binding) check(path string, m *mistakes) {
	m.err(path+"issuer", scopes.CheckSlug(b.Issuer))
	switch {
	case b.Subject != "" && b.SubjectGlob != "":
		m.add(path+"subject_glob", "give either subject or subject_glob, not both")
	case b.Subject != "":
		m.err(path+"subject", checkSubject(b.Subject))
	case b.SubjectGlob == "":
		m.add(path+"subject", "give subject, or subject_glob")
	}
}

func checkSubject(s string) error {
	switch {
	case len(s) > MaxSubject:
		return fmt.Errorf("has %d bytes; at most %d are allowed", len(s), MaxSubject)
	case !utf8.ValidString(s) || slices.ContainsFunc([]rune(s), unicode.IsControl):
		return errors.New("holds control characters, or is not UTF-8")
	}
	return nil
}

// method is the registered method, with the default for an absent one.
func (a Auth) method() Method {
	if a.Method == "" {
		return MethodWorkload
	}
	return a.Method
}

func (a Auth) check(path string, m *mistakes) {
	switch a.method() {
	case MethodPrivateKeyJWT:
		a.checkKeys(path, m)
		return
	case MethodWorkload, MethodSecretBasic, MethodSecretPost:
	default:
		m.add(path+"method", "must be workload, private_key_jwt, client_secret_basic or client_secret_post")
	}
	if len(a.JWKS) > 0 {
		m.add(path+"jwks", "only private_key_jwt has keys")
	}
	if a.JWKSURI != "" {
		m.add(path+"jwks_uri", "only private_key_jwt has keys")
	}
	if a.Network != (Network{}) {
		m.add(path+"network", "only private_key_jwt with jwks_uri fetches anything")
	}
}

func (a Auth) checkKeys(path string, m *mistakes) {
	inline := len(a.JWKS) > 0
	switch {
	case inline && a.JWKSURI != "":
		m.add(path+"jwks_uri", "give either jwks or jwks_uri, not both")
	case inline:
		_, problems := parseKeys(a.JWKS)
		for _, p := range problems {
			m.add(path+"jwks"+p.path, p.what)
		}
	case a.JWKSURI != "":
		m.err(path+"jwks_uri", scopes.CheckURL(a.JWKSURI, scopes.WithQuery))
	default:
		m.add(path+"jwks", "private_key_jwt needs the client's public keys: jwks, or jwks_uri")
	}
	if inline && a.Network != (Network{}) {
		m.add(path+"network", "only jwks_uri is fetched")
	}
}
