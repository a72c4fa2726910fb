package auditor

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// tokens looks for the records of tokens.
type tokens struct {
	byID map[string]*wantedToken
	all  []*wantedToken
}

// wantedToken is a token that must be on record.
type wantedToken struct {
	ID       string `json:"jti"`
	Issuer   string `json:"iss"`
	Expires  int64  `json:"exp"`
	hash     string // base64url SHA-256 of the compact token
	index    int64  // of the entry that records it; -1 if none does
	other    int64  // of an entry that records another token by this jti; -1 if none does
	withheld int64  // of an entry that says that it never left; -1 if none does
}

func newTokens(compact []string) (*tokens, error) {
	t := &tokens{byID: map[string]*wantedToken{}}
	for i, text := range compact {
		w := &wantedToken{index: -1, other: -1, withheld: -1}
		parts := bytes.Split([]byte(text), []byte("."))
		if len(parts) != 3 {
			return nil, fmt.Errorf("token %d is not a compact JWT", i+1)
		}
		claims, err := decode(parts[1])
		if err != nil || json.Unmarshal(claims, w) != nil {
			return nil, fmt.Errorf("the claims of token %d cannot be read", i+1)
		}
		if w.ID == "" || t.byID[w.ID] != nil {
			return nil, fmt.Errorf("token %d has no jti, or that of another one", i+1)
		}
		sum := sha256.Sum256([]byte(text))
		w.hash = base64.RawURLEncoding.EncodeToString(sum[:])
		t.byID[w.ID], t.all = w, append(t.all, w)
	}
	return t, nil
}

func (t *tokens) wanted() bool { return len(t.all) > 0 }

// see takes what an event says of a token.
func (t *tokens) see(index int64, body tokenBody) {
	w := t.byID[body.Token.ID]
	switch {
	case w == nil:
	case body.Outcome == "error" && body.Reason == "not_released":
		w.withheld = index
	case body.Outcome != "allowed" || body.Token.Hash == "": // about the token, and not its issuance
	case body.Token.Hash != w.hash || body.Token.Expires != w.Expires:
		w.other = index
	default:
		w.index = index
	}
}

// conclude reports the tokens that are not on record.
func (t *tokens) conclude(r *Report, origin string) {
	for _, w := range t.all {
		at, err := w.check(origin)
		if err != nil {
			r.fail(TokenNotOnRecord, Unrecorded, at, "token %q: %v", shown(w.ID), err)
			continue
		}
		r.Tokens = append(r.Tokens, TokenRecord{ID: w.ID, Index: w.index})
	}
}

// check returns the entry that records the token, or why none does and the entry that says so, -1 if none does.
func (w *wantedToken) check(origin string) (index int64, err error) {
	switch {
	case KeyName(w.Issuer) != origin:
		return -1, errors.New("it is of another issuer, whose log this is not")
	case w.withheld >= 0:
		return w.withheld, errors.New("it was recorded, and then never left the server: whoever has it has it from elsewhere")
	case w.index >= 0:
		return w.index, nil
	case w.other >= 0:
		return w.other, errors.New("another token was issued by its jti: the hash, or the expiry, is not that of this one")
	}
	return -1, errors.New("the log has no record that it was issued")
}
