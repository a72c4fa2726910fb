// Package demoissuer is a small but real issuer of identity tokens, for `bursar dev` and for tests: it publishes keys
// the way a cluster, a SPIFFE server, GitHub or an OpenID Connect provider does, signs tokens such as they sign, and
// can be told to misbehave. It signs whatever it is asked to sign, so it must only ever be trusted by demonstrations
// and tests.
package demoissuer

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Kind is what the issuer imitates.
type Kind string

// The kinds of issuers.
const (
	OIDC       Kind = "oidc"
	Kubernetes Kind = "kubernetes"
	SPIFFE     Kind = "spiffe"
	GitHub     Kind = "github"
)

// Config configures an Issuer.
type Config struct {
	Kind Kind // OIDC if empty
	// URL is the iss of its tokens and the base of its endpoints, without a trailing slash. Required.
	URL string
	// TrustDomain is that of SPIFFE IDs; "demo.example" if empty.
	TrustDomain string
	// Audience is the aud of tokens that are minted without one; "https://sts.example" if empty.
	Audience string
	// Now dates tokens; time.Now if nil.
	Now func() time.Time
}

// Issuer serves its metadata and keys, and mints tokens. It is safe for concurrent use.
//
//	GET  /.well-known/openid-configuration
//	GET  /jwks             (Kubernetes: /openid/v1/jwks)
//	POST /mint   Request   → the token as text; an empty body asks for the kind's usual token
//	POST /rotate           → a new key signs from now on; old ones stay published
//	POST /drop             → old keys are not published any more
//	POST /mode   {"jwks": mode}, see Mode
//	GET  /stats            → {"fetches": n, "discoveries": n}
type Issuer struct {
	config    Config
	mux       *http.ServeMux
	authority jose.JSONWebKey // for X.509-SVIDs; only in a SPIFFE bundle

	mu          sync.Mutex // guards what follows
	keys        []*key     // published, oldest first; the last of each algorithm signs
	mode        Mode
	fetches     int
	discoveries int
}

// New returns an Issuer with the key of the kind's usual algorithm; others are made when they are first needed.
func New(c Config) (*Issuer, error) {
	if c.URL == "" {
		return nil, fmt.Errorf("demo issuer: no URL")
	}
	if c.Kind == "" {
		c.Kind = OIDC
	}
	if _, known := usual[c.Kind]; !known {
		return nil, fmt.Errorf("demo issuer: unknown kind %q", c.Kind)
	}
	if c.TrustDomain == "" {
		c.TrustDomain = "demo.example"
	}
	if c.Audience == "" {
		c.Audience = "https://sts.example"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	i := &Issuer{config: c, mux: http.NewServeMux(), mode: Mode{Name: ModeOK}}
	var err error
	if i.authority, err = i.newAuthority(); err != nil {
		return nil, err
	}
	i.mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	i.mux.HandleFunc("GET "+i.jwksPath(), i.jwks)
	i.mux.HandleFunc("POST /mint", i.mint)
	i.mux.HandleFunc("POST /rotate", func(w http.ResponseWriter, _ *http.Request) { i.Rotate(); w.WriteHeader(204) })
	i.mux.HandleFunc("POST /drop", func(w http.ResponseWriter, _ *http.Request) { i.Drop(); w.WriteHeader(204) })
	i.mux.HandleFunc("POST /mode", i.setMode)
	i.mux.HandleFunc("GET /stats", i.stats)
	return i, nil
}

// ServeHTTP serves the endpoints; paths are relative to Config.URL.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) { i.mux.ServeHTTP(w, r) }

// JWKSURI is where the keys are.
func (i *Issuer) JWKSURI() string { return i.config.URL + i.jwksPath() }

func (i *Issuer) jwksPath() string {
	if i.config.Kind == Kubernetes {
		return "/openid/v1/jwks"
	}
	return "/jwks"
}

// Request asks for a token. The zero Request asks for the kind's usual one.
type Request struct {
	// Claims replace those of the kind's usual token; null removes one.
	Claims map[string]any `json:"claims"`
	// Header replaces members of the header likewise. It does not change how the token is signed.
	Header map[string]any `json:"header"`
	// Alg is the algorithm; the kind's usual one if empty. "none" leaves the signature empty, and "HS256" takes the
	// published key for a shared secret, as attackers do.
	Alg string `json:"alg"`
	// Lifetime is a duration such as "5m", "1h" if empty. It may be negative.
	Lifetime string `json:"lifetime"`
}

// Mint signs a token.
func (i *Issuer) Mint(r Request) (string, error) {
	lifetime := time.Hour
	if r.Lifetime != "" {
		var err error
		if lifetime, err = time.ParseDuration(r.Lifetime); err != nil {
			return "", fmt.Errorf("lifetime: %w", err)
		}
	}
	if r.Alg == "" {
		r.Alg = usual[i.config.Kind].alg
	}
	k, err := i.signer(r.Alg)
	if err != nil {
		return "", err
	}
	header := map[string]any{"alg": r.Alg, "kid": k.id}
	if i.config.Kind != Kubernetes {
		header["typ"] = "JWT"
	}
	replace(header, r.Header)
	return k.sign(r.Alg, header, i.claims(r.Claims, lifetime))
}

// Rotate makes new keys sign from now on. Old ones stay published.
func (i *Issuer) Rotate() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.keys {
		k.retired = true
	}
}

// Drop stops publishing the keys that do not sign any more.
func (i *Issuer) Drop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	var live []*key
	for _, k := range i.keys {
		if !k.retired {
			live = append(live, k)
		}
	}
	i.keys = live
}

// Stats returns how often the keys and the metadata were asked for.
func (i *Issuer) Stats() (fetches, discoveries int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches, i.discoveries
}

// JWKS returns the key document as it is published now.
func (i *Issuer) JWKS() ([]byte, error) {
	if _, err := i.signer(usual[i.config.Kind].alg); err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.document()
}

func (i *Issuer) mint(w http.ResponseWriter, r *http.Request) {
	var request Request
	if err := decode(r, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	compact, err := i.Mint(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/jwt")
	fmt.Fprintln(w, compact)
}

// decode reads a JSON body, which may be empty.
func decode(r *http.Request, target any) error {
	if r.ContentLength == 0 {
		return nil
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	return d.Decode(target)
}

// replace puts changes into members; nil removes.
func replace(members, changes map[string]any) {
	for name, value := range changes {
		if value == nil {
			delete(members, name)
		} else {
			members[name] = value
		}
	}
}

func random() string { return strings.ToLower(rand.Text()) }
