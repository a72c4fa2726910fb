package vault

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// secretRow is the stored form of a secret. All of it is sealed, and not only the values: whoever can write to the
// store can neither make a version active nor lead one elsewhere.
type secretRow struct {
	Name     string       `json:"name"`
	Change   int64        `json:"change"`           // grows with every change; never comes back
	Last     int          `json:"last"`             // the highest number that a version ever had
	Active   int          `json:"active,omitempty"` // number of the version that calls use
	Disabled time.Time    `json:"disabled,omitzero"`
	Versions []versionRow `json:"versions"` // by number
	Sealed   []byte       `json:"sealed"`   // nothing, bound to the rest of the row
}

// versionRow is the stored form of a version.
type versionRow struct {
	Number      int       `json:"number"`
	State       State     `json:"state"`
	Created     time.Time `json:"created"`
	Since       time.Time `json:"since"`
	By          string    `json:"by,omitempty"`
	Previous    int       `json:"previous,omitempty"` // the version that was active before this one was activated
	Fingerprint string    `json:"fingerprint"`
	Fields      []string  `json:"fields"`
	Size        string    `json:"size"`
	Terms       terms     `json:"terms"`
	Sealed      []byte    `json:"sealed,omitempty"` // a body; nothing if destroyed

	binding string // the text of Terms, of a row that was read: each call needs it
}

// terms are what a version is bound to: they stand beside the sealed value, inside it, and in what it is bound to.
type terms struct {
	Binding      Binding `json:"binding"`
	DecisionMode bool    `json:"decision_mode,omitempty"`
	Unscrubbable bool    `json:"unscrubbable,omitempty"`
	Backend      string  `json:"backend,omitempty"`
}

func (t terms) text() (string, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("encode binding: %w", err)
	}
	return string(text), nil
}

// body is what is sealed of a version: its fields, or by what a backend finds them, and their digest.
type body struct {
	Terms  json.RawMessage   `json:"terms"` // terms.text
	Fields map[string]string `json:"fields,omitempty"`
	Ref    string            `json:"ref,omitempty"`
	Digest []byte            `json:"digest,omitempty"` // SHA-256 of canonical(fields), of those in a backend
}

// canonical is one text for each set of fields.
func canonical(fields map[string]string) []byte {
	text, _ := json.Marshal(fields) // strings marshal, in the order of their names
	return text
}

func digest(fields map[string]string) []byte {
	sum := sha256.Sum256(canonical(fields))
	return sum[:]
}

// secret is a row that was read.
type secret struct {
	row    secretRow
	broken error // why nothing of it is believed; nil if all is well
}

func (s *secret) version(number int) *versionRow {
	if number <= 0 {
		return nil
	}
	for i := range s.row.Versions {
		if s.row.Versions[i].Number == number {
			return &s.row.Versions[i]
		}
	}
	return nil
}

func (r *versionRow) ref(name string) Ref {
	return Ref{Name: name, Version: r.Number, Fingerprint: r.Fingerprint}
}

// read reads a row, and believes it only if this vault wrote it.
func (v *Vault) read(row ledger.Row) *secret {
	s := new(secret)
	if err := json.Unmarshal(row.Value, &s.row); err != nil {
		s.broken = fmt.Errorf("read secret: %w", err)
		return s
	}
	if s.broken = v.believe(row.ID, s.row); s.broken == nil {
		s.broken = s.row.bind()
	}
	return s
}

// bind notes the texts that values are bound to.
func (r *secretRow) bind() (err error) {
	for i := range r.Versions {
		n := &r.Versions[i]
		if n.binding, err = n.Terms.text(); err != nil {
			return err
		}
	}
	return nil
}

func (v *Vault) believe(id string, r secretRow) error {
	switch {
	case v.sealer == nil:
		return fmt.Errorf("read secret %s: %w", id, keys.ErrNoKey)
	case r.Name != id:
		return fmt.Errorf("read secret %s: the row holds another secret", id)
	}
	if err := scopes.CheckSlug(id); err != nil {
		return fmt.Errorf("read secret: name: %w", err)
	}
	rest, err := r.rest()
	if err != nil {
		return err
	}
	plain, err := v.sealer.Open(rowObject(id), strconv.FormatInt(r.Change, 10), rest, r.Sealed)
	if err == nil && len(plain) > 0 {
		err = errors.New("holds what it should not")
	}
	return err
}

func rowObject(name string) string { return "row:" + name }

func valueObject(name string) string { return "secret:" + name }

// rest is the row without its seal, as it is bound.
func (r secretRow) rest() (string, error) {
	r.Sealed = nil
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode secret: %w", err)
	}
	return string(text), nil
}

// seal returns the row as it is stored.
func (r secretRow) seal(s *keys.Sealer) (ledger.Row, error) {
	rest, err := r.rest()
	if err != nil {
		return ledger.Row{}, err
	}
	r.Sealed = s.Seal(rowObject(r.Name), strconv.FormatInt(r.Change, 10), rest, nil)
	value, err := json.Marshal(r)
	if err != nil {
		return ledger.Row{}, fmt.Errorf("encode secret: %w", err)
	}
	return ledger.Row{Kind: Kind, ID: r.Name, Value: value}, nil
}

// sealBody seals what a version is, under its terms.
func sealBody(s *keys.Sealer, name string, r *versionRow, b body) error {
	binding, err := r.Terms.text()
	if err != nil {
		return err
	}
	b.Terms = json.RawMessage(binding)
	plain, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode value: %w", err)
	}
	r.Sealed = s.Seal(valueObject(name), strconv.Itoa(r.Number), binding, plain)
	return nil
}

// open opens what sealBody sealed. What comes out says itself that it is bound to the row's terms.
func (v *Vault) open(name string, r *versionRow) (*body, error) {
	plain, err := v.sealer.Open(valueObject(name), strconv.Itoa(r.Number), r.binding, r.Sealed)
	if err != nil {
		return nil, err
	}
	if value, ok := lone(string(plain), r.binding); ok {
		return &body{Fields: map[string]string{Plain: value}}, nil
	}
	b := new(body)
	if err := json.Unmarshal(plain, b); err != nil {
		return nil, errors.New("read value: it is not in the form of one") // the cause could show some of it
	}
	if string(b.Terms) != r.binding {
		return nil, errors.New("read value: it is bound to something else")
	}
	return b, nil
}

// lone returns the value of a body that has one field alone, Plain, without anything in it that JSON escapes, and is
// bound to exactly that. Nearly all are like that, and every call opens one.
func lone(plain, binding string) (value string, ok bool) {
	rest, headed := strings.CutPrefix(plain, `{"terms":`)
	rest, bound := strings.CutPrefix(rest, binding)
	rest, plainly := strings.CutPrefix(rest, `,"fields":{"`+Plain+`":"`)
	value, ended := strings.CutSuffix(rest, `"}}`)
	return value, headed && bound && plainly && ended && !strings.ContainsAny(value, `"\`)
}

// value returns the fields of an opened body, wherever they are.
func (v *Vault) value(ctx context.Context, r *versionRow, b *body) (*Value, error) {
	if r.Terms.Backend == "" {
		return &Value{b.Fields}, nil
	}
	if v.backend == nil || v.backend.Name() != r.Terms.Backend {
		return nil, fault.New(fault.Unavailable, "secret.backend", "The secret is kept where this server does not look.")
	}
	fields, err := v.backend.Get(ctx, v.sealer.Tenant(), b.Ref)
	switch {
	case err != nil:
		return nil, fault.Wrap(fault.Unavailable, "secret.backend", "The secret cannot be fetched right now.", err)
	case subtle.ConstantTimeCompare(digest(fields), b.Digest) != 1:
		return nil, sealed(errors.New("the backend gave something else than what was put"))
	}
	return &Value{fields}, nil
}

// info is what anybody may know of a version.
func (r *versionRow) info() Info {
	return Info{Number: r.Number, State: r.State, Created: r.Created, Since: r.Since, By: r.By,
		Fingerprint: r.Fingerprint, Fields: slices.Clone(r.Fields), Binding: r.Terms.Binding,
		DecisionMode: r.Terms.DecisionMode, Unscrubbable: r.Terms.Unscrubbable, Size: r.Size, Backend: r.Terms.Backend}
}
