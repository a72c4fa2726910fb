package tenant

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/keys"
)

// Tool is a protected resource: one resource URI (RFC 8707) and the actions that can be allowed there.
type Tool struct {
	// Name is the tool's slug, the first half of its scopes.
	Name string `json:"name"`
	// Resource is the audience of its tokens, verbatim: https, or http on loopback; no fragment, no user info.
	Resource string `json:"resource"`
	// Actions are what can be done at the tool, such as refunds.read.
	Actions []string `json:"actions"`
	// MaxTTL bounds the lifetime of the tool's tokens, 1s to 15m; default 15m.
	MaxTTL scopes.Duration `json:"max_ttl,omitempty"`
	// SigningAlg signs its tokens: ES256 (default), RS256 or EdDSA.
	SigningAlg keys.Alg `json:"signing_alg,omitempty"`
	// ScopeFormat is "qualified" (default: tool:action) or "bare" (action), for servers that know only their own words.
	ScopeFormat string `json:"scope_format,omitempty"`
	// Disabled refuses every exchange for the tool.
	Disabled bool `json:"disabled,omitempty"`
}

const (
	qualified = "qualified"
	bare      = "bare"
)

// Alg returns the algorithm that signs the tool's tokens.
func (t *Tool) Alg() keys.Alg {
	if t.SigningAlg == "" {
		return keys.ES256
	}
	return t.SigningAlg
}

// TTL returns the longest life of the tool's tokens.
func (t *Tool) TTL() time.Duration {
	if t.MaxTTL == 0 {
		return token.MaxLife
	}
	return time.Duration(t.MaxTTL)
}

// Requested reads the words of a scope parameter as scopes of this tool. It refuses any word that is not one: an
// unknown action, another tool's scope, or the tool's own in the other format.
func (t *Tool) Requested(words []string) (scopes.Set, error) {
	actions := make([]string, 0, len(words))
	for _, word := range words {
		action := word
		if t.ScopeFormat != bare {
			scope, err := scopes.Parse(word)
			if err != nil || scope.Tool != t.Name {
				return scopes.Set{}, errScope
			}
			action = scope.Action
		}
		if !slices.Contains(t.Actions, action) {
			return scopes.Set{}, errScope
		}
		actions = append(actions, action)
	}
	return scopes.Actions(t.Name, actions...), nil
}

var errScope = errors.New("not a scope of this tool")

// Scope returns a set of this tool's scopes as its servers know them: the scope claim.
func (t *Tool) Scope(s scopes.Set) string {
	if t.ScopeFormat == bare {
		return strings.Join(s.Names(), " ")
	}
	return s.String()
}

// check lists the tool's mistakes, each with its field. base is the server's base URL, slug the tenant's.
func (t *Tool) check(base, slug string) []string {
	var p problems
	p.err("name", scopes.CheckSlug(t.Name))
	p.err("resource", checkResource(t.Resource, base, slug))
	if len(t.Actions) == 0 {
		p.add("actions", "lists nothing; name at least one action")
	}
	for i, a := range t.Actions {
		p.err(fmt.Sprintf("actions[%d]", i), scopes.CheckAction(a))
		if slices.Contains(t.Actions[:i], a) {
			p.add(fmt.Sprintf("actions[%d]", i), "is listed twice")
		}
	}
	if ttl := time.Duration(t.MaxTTL); ttl != 0 && (ttl < time.Second || ttl > token.MaxLife) {
		p.add("max_ttl", "must be between 1s and "+scopes.Duration(token.MaxLife).String())
	}
	if !slices.Contains([]keys.Alg{"", keys.ES256, keys.RS256, keys.EdDSA}, t.SigningAlg) {
		p.add("signing_alg", "must be ES256, RS256 or EdDSA")
	}
	if !slices.Contains([]string{"", qualified, bare}, t.ScopeFormat) {
		p.add("scope_format", "must be qualified or bare")
	}
	return p
}

// CanonicalResource returns the form in which resource URIs are compared: scheme and host in lower case, no default
// port, everything else byte for byte, so that a trailing slash is significant (RFC 8707 §2, RFC 3986 §6.2.3). It
// refuses what scopes.CheckURL refuses of that form, and what two parsers could still read differently. Errors are the
// end of a sentence.
func CanonicalResource(raw string) (string, error) {
	scheme, rest, _ := strings.Cut(raw, "://")
	host := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host = rest[:end]
	}
	rest = rest[len(host):]
	scheme, host = lower(scheme), lower(host)
	if err := scopes.CheckURL(scheme+"://"+host+rest, scopes.WithQuery); err != nil {
		return "", err
	}
	u, err := url.Parse(scheme + "://" + host + rest)
	if err != nil {
		return "", errors.New("must be an absolute URL")
	}
	for segment := range strings.SplitSeq(strings.ReplaceAll(u.Path, "\\", "/"), "/") {
		if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
			return "", errors.New("must not hold dot segments")
		}
	}
	if err := checkHost(u.Hostname()); err != nil {
		return "", err
	}
	return scheme + "://" + strings.TrimSuffix(host, defaultPorts[scheme]) + rest, nil
}

var defaultPorts = map[string]string{"https": ":443", "http": ":80"}

// lower is strings.ToLower for ASCII alone: no other letter becomes one of a host name.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// checkHost refuses second spellings of a host, by which two names would be one server.
func checkHost(host string) error {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Contains(host, ":") || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		if ip, err := netip.ParseAddr(host); err != nil || ip.Is4In6() || ip.String() != host {
			return errors.New("must hold a host name without a trailing dot, or an IP address in its usual form")
		}
		return nil
	}
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
	}
	if strings.ContainsFunc(host, odd) || strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return errors.New("must hold a host name of letters, digits, hyphens and dots")
	}
	return nil
}

// checkResource reports why a tenant may not register the resource.
func checkResource(raw, base, slug string) error {
	if _, err := CanonicalResource(raw); err != nil {
		return err
	}
	// Everything under the server's own origin belongs to somebody: a tenant may name its own path only.
	if rest, ours := ownPath(raw, base); ours {
		if own := "/t/" + slug; rest != own && !strings.HasPrefix(rest, own+"/") {
			return fmt.Errorf("lies under this server's own address; only paths below %s%s/ are this tenant's", base, own)
		}
	}
	return nil
}

// ownPath reports whether a URI lies under the server's own address, and returns what follows that.
func ownPath(uri, base string) (rest string, ours bool) {
	canonical, err := CanonicalResource(uri)
	root, rootErr := CanonicalResource(base)
	if err != nil || rootErr != nil {
		return "", false
	}
	rest, ours = strings.CutPrefix(canonical, root)
	return rest, ours && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// Tools is one tenant's tools by name and by resource. The zero value knows none.
type Tools struct {
	byName     map[string]*Tool
	byResource map[string]*Tool
}

func newTools(all []Tool, base, slug string) (*Tools, []string) {
	t := &Tools{byName: map[string]*Tool{}, byResource: map[string]*Tool{}}
	var p problems
	for i := range all {
		tool, path := &all[i], fmt.Sprintf("tools[%d]", i)
		p.under(path, tool.check(base, slug))
		if t.byName[tool.Name] != nil {
			p.add(path+".name", "is used twice")
		}
		t.byName[tool.Name] = tool
		if canonical, err := CanonicalResource(tool.Resource); err == nil {
			if other := t.byResource[canonical]; other != nil {
				p.add(path+".resource", fmt.Sprintf("is also the resource of tool %s", other.Name))
			}
			t.byResource[canonical] = tool
		}
	}
	return t, p
}

// Named returns the tool of that name.
func (t *Tools) Named(name string) (*Tool, bool) {
	tool, ok := t.byName[name]
	return tool, ok
}

// At returns the tool whose resource is the given URI, compared as CanonicalResource says.
func (t *Tools) At(resource string) (*Tool, bool) {
	if tool, ok := t.byResource[resource]; ok { // its keys are canonical
		return tool, true
	}
	canonical, err := CanonicalResource(resource)
	if err != nil {
		return nil, false
	}
	tool, ok := t.byResource[canonical]
	return tool, ok
}

// All returns the tools in the order of their names.
func (t *Tools) All() []*Tool {
	all := make([]*Tool, 0, len(t.byName))
	for _, tool := range t.byName {
		all = append(all, tool)
	}
	slices.SortFunc(all, func(a, b *Tool) int { return strings.Compare(a.Name, b.Name) })
	return all
}
