package clients

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Why an identity is no client.
var (
	// ErrUnbound means that no client has the identity.
	ErrUnbound = errors.New("no client has this identity")
	// ErrAmbiguous means that several clients have it. None of them is preferred.
	ErrAmbiguous = errors.New("more than one client has this identity")
)

// Condition is a compiled condition of a Binding.
type Condition interface {
	// Allow reports whether the condition holds of the claims; an error in evaluating it is false.
	Allow(ctx context.Context, claims map[string]any) bool
}

// Config is what a Registry is built from. Nothing of it may be changed afterwards. All functions are required.
type Config struct {
	Clients []Client
	// Secrets are the stored sets. A set whose client is not among Clients is ignored, because it opens nothing.
	Secrets []SecretSet
	// Glob reports whether a pattern that CheckGlob accepted matches the whole of s.
	Glob func(pattern, s string) bool
	// CheckGlob reports why pattern cannot be a subject_glob.
	CheckGlob func(pattern string) error
	// Condition compiles a condition.
	Condition func(expr string) (Condition, error)
}

// Registry holds the clients of one tenant. It is immutable; its zero value knows nobody.
type Registry struct {
	entries map[string]*entry
	exact   map[identity][]binding
	globs   map[string][]binding // by trusted issuer
	glob    func(pattern, s string) bool
}

type entry struct {
	client  Client
	keys    keySet // of auth.jwks
	secrets digests
}

type identity struct{ issuer, subject string }

// binding is a Binding ready to be matched.
type binding struct {
	client    *Client
	pattern   string    // only in globs
	condition Condition // nil holds always
	path      string    // of the field, for mistakes
}

// NewRegistry compiles the clients. If there are mistakes it returns all of them, each with its path beginning
// "clients[i]", and no Registry.
func NewRegistry(c Config) (*Registry, []string) {
	r := &Registry{
		entries: make(map[string]*entry, len(c.Clients)),
		exact:   make(map[identity][]binding),
		globs:   make(map[string][]binding),
		glob:    c.Glob,
	}
	var m mistakes
	for i, client := range c.Clients {
		path := fmt.Sprintf("clients[%d].", i)
		for _, what := range client.Check() {
			m = append(m, path+what)
		}
		if _, twice := r.entries[client.ID]; twice {
			m.add(path+"id", "is the id of another client, too")
			continue
		}
		client.Auth.Method = client.Auth.method()
		e := &entry{client: client}
		if len(client.Auth.JWKS) > 0 {
			e.keys, _ = parseKeys(client.Auth.JWKS) // Check listed what is wrong with them
		}
		r.entries[client.ID] = e
		for j, b := range client.Identities {
			r.bind(&m, c, &e.client, b, fmt.Sprintf("%sidentities[%d]", path, j))
		}
	}
	for _, set := range c.Secrets {
		e, known := r.entries[set.Client]
		if known && !e.secrets.parse(set) {
			m.add("client_secret "+set.Client, "is damaged: it must hold at most two SHA-256 hashes in hex")
		}
	}
	if len(m) > 0 {
		return nil, m
	}
	return r, nil
}

// bind compiles b and adds it to the index.
func (r *Registry) bind(m *mistakes, c Config, client *Client, b Binding, path string) {
	compiled := binding{client: client, pattern: b.SubjectGlob, path: path}
	if b.Condition != "" {
		condition, err := c.Condition(b.Condition)
		m.err(path+".condition", err)
		compiled.condition = condition
	}
	if b.SubjectGlob != "" {
		m.err(path+".subject_glob", c.CheckGlob(b.SubjectGlob))
		r.globs[b.Issuer] = append(r.globs[b.Issuer], compiled)
		return
	}
	id := identity{b.Issuer, b.Subject}
	for _, other := range r.exact[id] {
		// Match would refuse the identity whatever its claims; say so before it does.
		if other.client != client && other.condition == nil && b.Condition == "" {
			m.add(path, "is bound to another client at "+other.path+"; an identity is one client")
		}
	}
	r.exact[id] = append(r.exact[id], compiled)
}

// Get returns the client of that id. It is shared, and not to be changed.
func (r *Registry) Get(id string) (*Client, bool) {
	e, ok := r.entries[id]
	if !ok {
		return nil, false
	}
	return &e.client, true
}

// Match returns the one client that a verified workload identity is: issuer is the trusted issuer's name, subject and
// claims are its token's. Errors are ErrUnbound and ErrAmbiguous. Bindings by subject and by glob count alike, and a
// binding whose condition does not hold does not count.
//
// How the client must authenticate is for the caller to heed (Auth.Method): an identity that is bound to a client is
// a way to authenticate as it only for MethodWorkload.
func (r *Registry) Match(ctx context.Context, issuer, subject string, claims map[string]any) (*Client, error) {
	var found *Client
	for b := range r.candidates(identity{issuer, subject}) {
		if b.client == found || b.condition != nil && !b.condition.Allow(ctx, claims) {
			continue
		}
		if found != nil {
			return nil, ErrAmbiguous
		}
		found = b.client
	}
	if found == nil {
		return nil, ErrUnbound
	}
	return found, nil
}

// candidates yields the bindings of id, before their conditions.
func (r *Registry) candidates(id identity) iter.Seq[binding] {
	return func(yield func(binding) bool) {
		if id.subject == "" {
			return // a glob could match it, but it names nobody
		}
		for _, b := range r.exact[id] {
			if !yield(b) {
				return
			}
		}
		for _, b := range r.globs[id.issuer] {
			if r.glob(b.pattern, id.subject) && !yield(b) {
				return
			}
		}
	}
}
