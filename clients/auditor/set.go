package auditor

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	// This one compares names of members exactly, and refuses an object that names one twice.
	"github.com/go-jose/go-jose/v4/json"
)

const (
	// MaxSET bounds an event, in bytes; nothing larger is written.
	MaxSET = 16 << 10
	// EventPrefix and EventSuffix are around an event's name in its URI, such as urn:bursar:event:token.exchange:v1.
	EventPrefix, EventSuffix = "urn:bursar:event:", ":v1"

	maxWriter = 64 // bytes of a writer's id
)

// SET is one event of a log: a Security Event Token (RFC 8417) as a compact JWS, with its claims.
type SET struct {
	KeyID    string `json:"-"` // of the key that signed it, as the header says
	Issuer   string `json:"iss"`
	Audience string `json:"aud"` // the log
	IssuedAt int64  `json:"iat"` // Unix seconds: recorded
	Happened int64  `json:"toe"` // Unix seconds
	ID       string `json:"jti"`
	Txn      string `json:"txn"`
	Writer   string `json:"wid"`
	Sequence int64  `json:"wsn"` // the writer's count of its events in this log, from 1, without a gap
	Name     string `json:"-"`   // of the event, such as token.exchange
	Body     []byte `json:"-"`   // what the event says, a JSON object
	Claims   []byte `json:"-"`   // all of it, a JSON object

	signed, signature []byte
}

var errCompact = errors.New("it is not three parts in base64url with dots between, as a compact JWS is (RFC 7515)")

// ParseSET reads an entry of a log. It accepts what bursar writes and no other spelling of it; it does not verify the
// signature. The result aliases entry.
func ParseSET(entry []byte) (*SET, error) {
	if len(entry) > MaxSET {
		return nil, fmt.Errorf("it has %d bytes, and an event has at most %d", len(entry), MaxSET)
	}
	parts := bytes.Split(entry, []byte("."))
	if len(parts) != 3 {
		return nil, errCompact
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = decode(part); err != nil {
			return nil, err
		}
	}
	kid, err := parseHeader(decoded[0])
	if err != nil {
		return nil, err
	}
	s, err := parseClaims(decoded[1])
	if err != nil {
		return nil, err
	}
	s.KeyID, s.signed, s.signature = kid, entry[:len(parts[0])+1+len(parts[1])], decoded[2]
	return s, nil
}

// decode reads base64url without padding, in its one canonical spelling.
func decode(part []byte) ([]byte, error) {
	if bytes.ContainsAny(part, "\r\n") { // which the decoder passes over
		return nil, errCompact
	}
	data, err := base64.RawURLEncoding.Strict().AppendDecode(nil, part)
	if err != nil {
		return nil, errCompact
	}
	return data, nil
}

func parseHeader(data []byte) (kid string, err error) {
	var header map[string]string
	if err := json.Unmarshal(data, &header); err != nil {
		return "", errors.New("its header is not a JSON object of strings")
	}
	if len(header) != 3 || header["alg"] != "EdDSA" || header["typ"] != "secevent+jwt" || header["kid"] == "" {
		return "", errors.New("its header is not alg EdDSA, typ secevent+jwt and a kid")
	}
	return header["kid"], nil
}

func parseClaims(data []byte) (*SET, error) {
	claims := struct {
		SET
		Events map[string]json.RawMessage `json:"events"`
	}{SET: SET{Claims: data}}
	if err := json.Unmarshal(data, &claims); err != nil {
		return nil, fmt.Errorf("its claims cannot be read: %w", err)
	}
	s := &claims.SET
	for uri, body := range claims.Events {
		name, ours := strings.CutPrefix(uri, EventPrefix)
		if !ours {
			continue // another name of the same fact, such as CAEP's
		}
		if s.Name != "" {
			return nil, errors.New("it holds two events of bursar")
		}
		if s.Name, ours = strings.CutSuffix(name, EventSuffix); !ours || s.Name == "" {
			return nil, fmt.Errorf("its event is not named %s<name>%s", EventPrefix, EventSuffix)
		}
		s.Body = body
	}
	switch {
	case s.Name == "":
		return nil, errors.New("it holds no event of bursar")
	case len(s.Body) == 0 || s.Body[0] != '{':
		return nil, errors.New("its event is not a JSON object")
	case s.Issuer == "" || s.Audience == "" || s.ID == "" || s.IssuedAt <= 0:
		return nil, errors.New("it lacks iss, aud, jti or iat")
	case s.Writer == "" || len(s.Writer) > maxWriter || s.Sequence < 1:
		return nil, errors.New("it lacks the id of its writer (wid) and its number (wsn)")
	}
	return s, nil
}

// Verify reports whether key signed the event.
func (s *SET) Verify(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, s.signed, s.signature)
}

// rawToken finds a JWT, or what is left of one that was cut: "eyJ" begins every object in base64url.
var rawToken = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.`)

// HoldsToken reports whether the claims hold what looks like a JWT, however it is escaped. No event may.
func (s *SET) HoldsToken() bool {
	if rawToken.Match(s.Claims) {
		return true
	}
	if !bytes.ContainsRune(s.Claims, '\\') {
		return false
	}
	var all any
	if err := json.Unmarshal(s.Claims, &all); err != nil {
		return false // it was read before
	}
	plain, err := json.Marshal(all)
	return err == nil && rawToken.Match(plain)
}
