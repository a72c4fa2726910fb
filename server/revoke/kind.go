package revoke

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Kind is a kind of target, and the Kind of a cutoff's key.
type Kind string

const (
	JTI     Kind = "jti"     // a token and what descends from it; the value is its jti
	Lineage Kind = "lineage" // the same of a root: its whole tree; the value is the root's jti
	Run     Kind = "run"     // all tokens of one task; the value is their txn
	Client  Kind = "client"  // all tokens issued to a client, and what it passed on; the value is its id
	Tool    Kind = "tool"    // all tokens for a tool; the value is its name, or a resource that a tool lost (their aud)
	Tenant  Kind = "tenant"  // all tokens of the tenant; there is no value
	Issuer  Kind = "issuer"  // all tokens that rest on a trusted issuer; the value is its name
	Subject Kind = "subject" // all tokens issued for somebody; the value is their sub, "<trusted issuer's name>:<its sub>"
)

// Keep is how long a cutoff is kept: until the last token that it hits has expired everywhere.
const Keep = token.MaxLife + token.MaxLeeway

// MaxValue bounds the value of a target, in bytes: the name of an issuer, a colon, and the longest subject.
const MaxValue = scopes.MaxName + 1 + 2048

// Kinds returns every kind, for messages and tests.
func Kinds() []Kind { return []Kind{JTI, Lineage, Run, Client, Tool, Tenant, Issuer, Subject} }

// Known reports whether k is one of Kinds.
func (k Kind) Known() bool { return slices.Contains(Kinds(), k) }

// Disables reports whether a cutoff of this kind also stops everything new of its target until it is enabled. The other
// kinds are final: a token, a tree or a run never comes back.
func (k Kind) Disables() bool {
	switch k {
	case Client, Tool, Tenant, Issuer, Subject:
		return true
	}
	return false
}

// ParseTarget reads what a caller wants to revoke or enable. Whether it exists is not checked, only that it can: a slip
// of the pen in an id must not look like a revocation. Errors are sentences for the caller, begin with the field
// ("kind: …", "value: …") and hold nothing of the input.
func ParseTarget(kind, value string) (ledger.Key, error) {
	k := Kind(kind)
	if !k.Known() {
		return ledger.Key{}, errors.New("kind: must be one of jti, lineage, run, client, tool, tenant, issuer, subject")
	}
	if err := k.check(value); err != nil {
		return ledger.Key{}, fmt.Errorf("value: %w", err)
	}
	return ledger.Key{Kind: kind, ID: value}, nil
}

func (k Kind) check(value string) error {
	switch k {
	case Tenant:
		if value != "" {
			return errors.New("the kind tenant has none")
		}
	case Client, Tool, Issuer:
		return scopes.CheckSlug(value)
	case Subject:
		issuer, sub, _ := token.SplitSubject(value)
		if issuer == token.ClientIssuer {
			return errors.New("names a client of ours; revoke the client instead, by its id")
		}
		if scopes.CheckSlug(issuer) != nil || sub == "" || len(value) > MaxValue || !utf8.ValidString(value) ||
			strings.ContainsFunc(value, unicode.IsControl) {
			return errors.New("must be the sub of the tokens: the trusted issuer's name, a colon, and its subject")
		}
	default: // every jti and every txn in a token of ours is one of ledger.NewID
		if _, ok := ledger.IDTime(value); !ok {
			return errors.New("cannot be the id of a token or a run: those have 36 characters, digits and the letters a to v")
		}
	}
	return nil
}
