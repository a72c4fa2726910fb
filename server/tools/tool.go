// Package tools is what a tenant's tools are: their names, resources and actions, and, of those that stand behind the
// shim, which calls of which legacy API each action is. What a tool may say is decided here, and which rule a call
// falls under; who may call is not.
package tools

import (
	"errors"
	"fmt"
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
	// Discoverable lets anybody read the tool's metadata (RFC 9728) at the shim.
	Discoverable bool `json:"discoverable,omitempty"`
	// Upstream is the legacy API behind the tool; without one the tool checks tokens itself.
	Upstream *Upstream `json:"upstream,omitempty"`
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

// check lists the tool's mistakes, each with its field.
func (t *Tool) check(at Place) []string {
	var p problems
	p.err("name", scopes.CheckSlug(t.Name))
	p.err("resource", at.check(t))
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
	if t.Discoverable && t.Upstream == nil {
		p.add("discoverable", "is for tools behind the shim, which have an upstream")
	}
	if t.Upstream != nil {
		p.under("upstream", t.Upstream.check(t, at))
	}
	return p
}
