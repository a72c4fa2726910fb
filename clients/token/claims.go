package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
)

// MaxHops bounds the ancestors of a token.
const MaxHops = 8

// MaxActors bounds a chain of actors, the current one included.
const MaxActors = 4

// Claims are the claims of an access token (RFC 9068 §2.2, RFC 8693 §4). All but those marked optional are present in
// every token. The tenant is iss, the tool is aud.
type Claims struct {
	Issuer   string // iss: {base_url}/t/{tenant}
	Subject  string // sub: ClientSubject, or Subject when the client acts for somebody
	Audience string // aud: the tool's resource URI, always one string
	ClientID string // client_id: the client that the token was issued to
	Scope    string // scope: words separated by single spaces; optional
	IssuedAt int64  // iat: Unix seconds
	Expiry   int64  // exp: Unix seconds, after IssuedAt
	ID       string // jti

	Txn        string // txn: the run, shared by all tokens of one task; optional
	SubProfile string // sub_profile: what kind of entity sub is; optional
	Act        *Actor // act: who acts for Subject, the current actor outermost (RFC 8693 §4.1); optional

	Confirmation         json.RawMessage // cnf: a JSON object (RFC 7800 §3.1); optional
	AuthorizationDetails json.RawMessage // authorization_details: a JSON array (RFC 9396 §9.1); optional
	Status               json.RawMessage // status: a JSON object; optional

	Lineage *Lineage // urn:bursar:lineage; optional
}

// Actor is one link of a delegation chain (RFC 8693 §4.1).
type Actor struct {
	Issuer     string // iss: who names Subject
	Subject    string // sub
	SubProfile string // sub_profile; optional
	Act        *Actor // the actor before this one; optional
}

// Lineage is what a token descends from, so that a checker without the log can decide every kind of cutoff.
type Lineage struct {
	JTI      []string // jti: the ids of the ancestors, nearest first; at most MaxHops
	Clients  []string // clients: the ids of the ancestors' clients
	Issuers  []string // issuers: the names of the trusted issuers whose tokens led here
	Subjects []string // subjects: whom those were about, each as Subject forms it, but for sub itself; optional
}

// Chain yields the actor and those before it, the current one first. A nil actor yields nothing.
func (a *Actor) Chain() iter.Seq[*Actor] {
	return func(yield func(*Actor) bool) {
		for ; a != nil; a = a.Act {
			if !yield(a) {
				return
			}
		}
	}
}

// Marshal returns the claims as JSON, in a fixed order. The raw members must be valid JSON.
func (c Claims) Marshal() []byte {
	b := make([]byte, 0, 1024)
	b = appendString(b, `{"iss":`, c.Issuer)
	b = appendString(b, `,"sub":`, c.Subject)
	b = appendString(b, `,"aud":`, c.Audience)
	b = appendString(b, `,"client_id":`, c.ClientID)
	b = appendOptional(b, `,"scope":`, c.Scope)
	b = strconv.AppendInt(append(b, `,"iat":`...), c.IssuedAt, 10)
	b = strconv.AppendInt(append(b, `,"exp":`...), c.Expiry, 10)
	b = appendString(b, `,"jti":`, c.ID)
	b = appendOptional(b, `,"txn":`, c.Txn)
	b = appendOptional(b, `,"sub_profile":`, c.SubProfile)
	b = c.Act.append(b)
	b = appendRaw(b, `,"cnf":`, c.Confirmation)
	b = appendRaw(b, `,"authorization_details":`, c.AuthorizationDetails)
	b = appendRaw(b, `,"status":`, c.Status)
	b = c.Lineage.append(b)
	return append(b, '}')
}

func (a *Actor) append(b []byte) []byte {
	if a == nil {
		return b
	}
	b = appendString(b, `,"act":{"iss":`, a.Issuer)
	b = appendString(b, `,"sub":`, a.Subject)
	b = appendOptional(b, `,"sub_profile":`, a.SubProfile)
	return append(a.Act.append(b), '}')
}

func (l *Lineage) append(b []byte) []byte {
	if l == nil {
		return b
	}
	b = appendStrings(b, `,"urn:bursar:lineage":{"jti":`, l.JTI)
	b = appendStrings(b, `,"clients":`, l.Clients)
	b = appendStrings(b, `,"issuers":`, l.Issuers)
	if len(l.Subjects) > 0 {
		b = appendStrings(b, `,"subjects":`, l.Subjects)
	}
	return append(b, '}')
}

// appendString appends the constant prefix and s as a JSON string.
func appendString(b []byte, prefix, s string) []byte {
	b = append(b, prefix...)
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x80 || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendOptional(b []byte, prefix, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(b, prefix, s)
}

func appendRaw(b []byte, prefix string, raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return b
	}
	return append(append(b, prefix...), raw...)
}

func appendStrings(b []byte, prefix string, all []string) []byte {
	b = append(append(b, prefix...), '[')
	for i, s := range all {
		comma := ","
		if i == 0 {
			comma = ""
		}
		b = appendString(b, comma, s)
	}
	return append(b, ']')
}

// Parse reads the payload of an access token: strict JSON (CheckJSON), every claim that RFC 9068 §2.2 requires, each
// of exactly one type. iat and exp are whole seconds, aud is one string. Unknown claims are ignored, except nbf, which
// bursar does not issue and which must not go unheeded. Parse says nothing of who signed the token, or whether
// it is alive. Errors are *Error with ReasonMalformed or ReasonClaims.
func Parse(payload []byte) (Claims, error) {
	var c Claims
	if err := Members(payload, c.read); err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			return Claims{}, e
		}
		return Claims{}, refuse(ReasonMalformed, err)
	}
	if err := c.check(); err != nil {
		return Claims{}, refuse(ReasonClaims, err)
	}
	return c, nil
}

// read takes in one member; it refuses with ReasonClaims.
func (c *Claims) read(name string, value []byte) error {
	var err error
	switch name {
	case "iss":
		err = readString(&c.Issuer, value)
	case "sub":
		err = readString(&c.Subject, value)
	case "aud":
		err = readString(&c.Audience, value)
	case "client_id":
		err = readString(&c.ClientID, value)
	case "scope":
		err = readString(&c.Scope, value)
	case "iat":
		err = readDate(&c.IssuedAt, value)
	case "exp":
		err = readDate(&c.Expiry, value)
	case "jti":
		err = readString(&c.ID, value)
	case "txn":
		err = readString(&c.Txn, value)
	case "sub_profile":
		err = readString(&c.SubProfile, value)
	case "act":
		c.Act, err = readActor(value, MaxActors)
	case "cnf":
		err = readRaw(&c.Confirmation, '{', value)
	case "authorization_details":
		err = readRaw(&c.AuthorizationDetails, '[', value)
	case "status":
		err = readRaw(&c.Status, '{', value)
	case "urn:bursar:lineage":
		c.Lineage, err = readLineage(value)
	case "nbf":
		err = errors.New("is not used by this issuer")
	}
	if err != nil {
		return refuse(ReasonClaims, fmt.Errorf("%s: %w", name, err))
	}
	return nil
}

func (c *Claims) check() error {
	switch {
	case c.Issuer == "" || c.Subject == "" || c.Audience == "" || c.ClientID == "" || c.ID == "":
		return errors.New("iss, sub, aud, client_id or jti is absent")
	case c.IssuedAt == 0 || c.Expiry == 0:
		return errors.New("iat or exp is absent")
	case c.Expiry <= c.IssuedAt:
		return errors.New("exp is not after iat")
	}
	return nil
}

// readActor reads a chain of at most so many actors.
func readActor(value []byte, most int) (*Actor, error) {
	if most == 0 {
		return nil, errors.New("too many actors")
	}
	var a Actor
	err := Members(value, func(name string, value []byte) (err error) {
		switch name {
		case "iss":
			return readString(&a.Issuer, value)
		case "sub":
			return readString(&a.Subject, value)
		case "sub_profile":
			return readString(&a.SubProfile, value)
		case "act":
			a.Act, err = readActor(value, most-1)
		}
		return err
	})
	if err == nil && (a.Issuer == "" || a.Subject == "") {
		err = errors.New("iss or sub is absent")
	}
	if err != nil {
		return nil, err
	}
	return &a, nil
}

func readLineage(value []byte) (*Lineage, error) {
	var l Lineage
	err := Members(value, func(name string, value []byte) error {
		switch name {
		case "jti":
			return readStrings(&l.JTI, value)
		case "clients":
			return readStrings(&l.Clients, value)
		case "issuers":
			return readStrings(&l.Issuers, value)
		case "subjects":
			return readStrings(&l.Subjects, value)
		}
		return nil
	})
	if err == nil && len(l.JTI) > MaxHops {
		err = errors.New("too many ancestors")
	}
	if err != nil {
		return nil, err
	}
	return &l, nil
}

// readString reads a non-empty string: a claim that says nothing is refused, not taken for an absent one.
func readString(to *string, value []byte) error {
	if len(value) <= 2 || value[0] != '"' {
		return errors.New("must be a non-empty string")
	}
	*to = string(unquote(value))
	return nil
}

func readStrings(to *[]string, value []byte) error {
	if value[0] != '[' {
		return errors.New("must be an array of strings")
	}
	s := scanner{data: value}
	return s.array(1, func() error {
		start := s.pos
		if err := s.value(1); err != nil {
			return err
		}
		var text string
		err := readString(&text, value[start:s.pos])
		*to = append(*to, text)
		return err
	})
}

// maxDate is the last second of the year 9999, the last that RFC 3339 can write.
const maxDate = 253402300799

// readDate reads a NumericDate (RFC 7519 §2) in whole seconds, which is all that bursar writes.
func readDate(to *int64, value []byte) error {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n <= 0 || n > maxDate {
		return errors.New("must be a whole number of seconds since 1970")
	}
	*to = n
	return nil
}

func readRaw(to *json.RawMessage, opening byte, value []byte) error {
	if value[0] != opening {
		return fmt.Errorf("must begin with %c", opening)
	}
	*to = bytes.Clone(value)
	return nil
}
