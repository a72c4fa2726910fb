package tenant

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tools"
)

// A cutoff disables a name, and a tenant file says what has the name. What is disabled is therefore held: it stays, and
// keeps every mark by which requests find it, until somebody enables it. Or else an editor, who may not enable, would
// lead requests past the cutoff to another name.

// mark is one thing by which an object is found: a tool's resource, an issuer's iss, an identity or key of a client.
type mark struct {
	field string // where the object's entry in the file has it
	text  string // tells it from the other marks of its kind, and the reader what it is
}

// marks returns what the object of a row is found by, in the order of the row. A row that cannot be read has none.
func marks(kind string, value []byte) []mark {
	switch kind {
	case KindTool:
		if tool, ok := read[tools.Tool](value); ok {
			return []mark{{"resource", tool.Resource}} // verbatim: it is the aud of its tokens
		}
	case KindIssuer:
		if issuer, ok := read[identity.Issuer](value); ok {
			field := "issuer"
			if issuer.Kind == identity.SPIFFE {
				field = "trust_domain"
			}
			return marked(field, issuer.Selectors()...)
		}
	case KindClient:
		if client, ok := read[clients.Client](value); ok {
			return clientMarks(client)
		}
	}
	return nil
}

func clientMarks(c clients.Client) []mark {
	var all []mark
	for _, binding := range c.Identities {
		text, _ := json.Marshal(binding) // strings marshal
		all = append(all, mark{"identities", string(text)})
	}
	all = append(all, marked("auth.jwks", c.Auth.Thumbprints()...)...)
	if c.Auth.JWKSURI != "" {
		all = append(all, mark{"auth.jwks_uri", c.Auth.JWKSURI})
	}
	return all
}

func marked(field string, texts ...string) []mark {
	var all []mark
	for _, text := range texts {
		all = append(all, mark{field, text})
	}
	return all
}

// read decodes a row that may be anything.
func read[T any](value []byte) (x T, ok bool) {
	err := json.Unmarshal(value, &x)
	return x, err == nil
}

// holds are the objects that a disabling cutoff holds, each with the targets to enable before it may go. Beside what is
// disabled itself these are the trusted issuers of disabled subjects, and of the identities of disabled clients: under
// another issuer's name they would be others.
type holds map[ledger.Key][]ledger.Key

// holds finds what the view's cutoffs hold.
func (v *View) holds() holds {
	held := holds{}
	hold := func(kind, id string, by ledger.Key) {
		key := ledger.Key{Kind: kind, ID: id}
		if _, exists := v.rows[key]; exists && !slices.Contains(held[key], by) {
			held[key] = append(held[key], by)
		}
	}
	for by := range v.Cutoffs.AllDisabled() {
		switch revoke.Kind(by.Kind) {
		case revoke.Tool:
			hold(KindTool, by.ID, by)
		case revoke.Issuer:
			hold(KindIssuer, by.ID, by)
		case revoke.Client:
			hold(KindClient, by.ID, by)
			client, _ := read[clients.Client](v.rows[ledger.Key{Kind: KindClient, ID: by.ID}])
			for _, binding := range client.Identities {
				hold(KindIssuer, binding.Issuer, by)
			}
		case revoke.Subject:
			issuer, _, _ := token.SplitSubject(by.ID)
			hold(KindIssuer, issuer, by)
		}
	}
	for _, by := range held {
		slices.SortFunc(by, compareKeys)
	}
	return held
}

// why says for what an object is held, and how that is ended before something happens.
func (h holds) why(slug string, key ledger.Key, before string) string {
	by := h[key]
	cause := "is disabled by a revocation"
	if by[0].Kind != key.Kind {
		cause = fmt.Sprintf("is needed as it is by the revocation of %s %s", by[0].Kind, by[0].ID)
	}
	if more := len(by) - 1; more > 0 {
		cause += fmt.Sprintf(" (and by %d more)", more)
	}
	return fmt.Sprintf("%s; before %s: bursar enable %s --%s %s", cause, before, slug, by[0].Kind, by[0].ID)
}

// refuse lists what edits would do to what is held: delete it, take a mark from it, or give a mark of it to another
// object. paths are those of the file's objects.
func (h holds) refuse(edits []Edit, v *View, paths map[ledger.Key]string) []string {
	var found problems
	for _, edit := range edits {
		_, held := h[edit.Key]
		if edit.Action == Delete {
			if held {
				found.add(edit.Kind+" "+edit.ID, h.why(v.Slug, edit.Key, "it is deleted"))
			}
			continue
		}
		path, before, after := paths[edit.Key], marks(edit.Kind, edit.Before), marks(edit.Kind, edit.After)
		if held {
			for _, m := range without(before, after) {
				found.add(path+"."+m.field, fmt.Sprintf("must keep %s: %s %s %s", m.text, edit.Kind, edit.ID,
					h.why(v.Slug, edit.Key, "that is changed")))
			}
		}
		for _, owner := range slices.SortedFunc(maps.Keys(h), compareKeys) {
			if owner.Kind != edit.Kind || owner.ID == edit.ID {
				continue
			}
			for _, m := range taken(edit, v.rows[owner]) {
				found.add(path+"."+m.field, fmt.Sprintf("would take %s from %s %s, which %s", m.text, owner.Kind, owner.ID,
					h.why(v.Slug, owner, "that")))
			}
		}
	}
	return found
}

// taken returns the marks by which an edit would lead to its object what belongs to the held one.
func taken(edit Edit, held []byte) []mark {
	gained := without(marks(edit.Kind, edit.After), marks(edit.Kind, edit.Before))
	theirs := marks(edit.Kind, held)
	lost := slices.DeleteFunc(slices.Clone(gained), func(m mark) bool { return !slices.Contains(theirs, m) })
	if edit.Kind != KindIssuer {
		return lost
	}
	// A token goes to the trust domain of its sub before it goes to its iss, unless the entry of kind spiffe says which
	// other iss its tokens have.
	before, _ := read[identity.Issuer](edit.Before)
	after, _ := read[identity.Issuer](edit.After)
	other, _ := read[identity.Issuer](held)
	if after.Kind == identity.SPIFFE && other.Kind != identity.SPIFFE &&
		(after.Issuer == "" || after.Issuer == other.Issuer) && (len(gained) > 0 || after.Issuer != before.Issuer) {
		lost = append(lost, mark{"issuer", other.Issuer})
	}
	return lost
}

func without(all, those []mark) []mark {
	return slices.DeleteFunc(slices.Clone(all), func(m mark) bool { return slices.Contains(those, m) })
}
