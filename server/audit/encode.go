package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// maxClaims bounds the claims of one event, in bytes, so that they stay under 16 KiB when they are signed as a
// compact JWS: base64 adds a third, the header and the signature less than 256 bytes.
const maxClaims = 12000

// maxTail bounds what seal adds to a draft.
const maxTail = 256

// maxIssuer bounds an issuer URL, which is never cut, in bytes.
const maxIssuer = 512

// limits bound what one event may hold. Scopes as asked for have a bound of their own, because they are the caller's
// choice: they give way before anything that was decided does.
type limits struct {
	text  int // bytes of one string
	list  int // elements of one list
	asked int // elements of Body.Requested
}

// tighter are tried in turn until an event fits. Every legitimate event fits with the first two; with the last one
// every event does.
var tighter = []limits{{256, 64, 64}, {256, 64, 8}, {128, 16, 8}, {36, 6, 6}}

// draft is an event that only lacks its number: the claims of a SET (RFC 8417 §2.2) as JSON, without the last brace
// and with room for what seal adds. It is made in the caller's goroutine, because it is most of the work.
type draft []byte

// encode returns the draft of an event that happened at the given time.
func encode(o Origin, e *Event, happened time.Time) (draft, error) {
	if o.Tenant == "" || o.Issuer == "" || len(o.Issuer) > maxIssuer {
		return nil, errors.New("the event has no origin")
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	w := writer{to: make([]byte, 0, usual)}
	for _, w.limits = range tighter {
		w.to = w.to[:0]
		w.claims(o, e, happened)
		if len(w.to) <= maxClaims-maxTail {
			return w.to, nil
		}
	}
	return nil, errors.New("the event is too large")
}

// usual is what an exchange's event takes, in bytes.
const usual = 1536

// claims writes those that are known before the event has its number.
func (w *writer) claims(o Origin, e *Event, happened time.Time) {
	w.to = append(w.to, '{')
	w.exact("iss", o.Issuer)
	w.exact("aud", o.Issuer+"/log")
	w.number("toe", happened.Unix())
	w.text("txn", e.Txn)
	agent := clean(e.Agent, w.limits.text)
	w.object("sub_id", func() { w.subjectID(agent) })
	w.object("events", func() {
		w.object("urn:bursar:event:"+e.Name+":v1", func() {
			w.exact("agent", agent)
			w.body(&e.Body)
		})
	})
}

// subjectID writes a subject identifier (RFC 9493 §3.2.4 and §3.2.7).
func (w *writer) subjectID(agent string) {
	switch {
	case agent == "":
	case strings.Contains(agent, "://"):
		w.exact("format", "uri")
		w.exact("uri", agent)
	default:
		w.exact("format", "opaque")
		w.exact("id", agent)
	}
}

// setType is the typ of a Security Event Token (RFC 8417 §2.3).
const setType = "secevent+jwt"

// seal gives an event its place among those of its writer, and signs it: the result is what is stored, a SET as a
// compact JWS. The draft can be sealed again.
func seal(d draft, now time.Time, writer string, sequence int64, s *keys.Signer) ([]byte, error) {
	b := append(d, `,"iat":`...)
	b = strconv.AppendInt(b, now.Unix(), 10)
	b = append(b, `,"jti":"`...)
	b = append(b, ledger.NewID(now)...)
	b = append(b, `","wid":"`...)
	b = append(b, writer...)
	b = append(b, `","wsn":`...)
	b = strconv.AppendInt(b, sequence, 10)
	return s.SignBytes(setType, append(b, '}'))
}

// Claims returns the claims of a stored event, as JSON; the signature is not looked at.
func Claims(set []byte) ([]byte, error) {
	_, rest, _ := bytes.Cut(set, []byte("."))
	payload, _, ok := bytes.Cut(rest, []byte("."))
	claims, err := base64.RawURLEncoding.AppendDecode(nil, payload)
	if !ok || err != nil {
		return nil, errors.New("a stored event is no SET; verify the log")
	}
	return claims, nil
}

// cut marks what was shortened: it ends a string, and is the last element of a list.
const cut = "…"

func shorten(list []string, most int) []string {
	if len(list) <= most {
		return list
	}
	return append(list[:most-1:most-1], cut)
}

var (
	reasonForm = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)
	// tokenForm finds a JWT, or its payload and signature. A hash has no dot, and names are lower-case.
	tokenForm = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.`)
)

// isTraceID reports whether s is one of W3C Trace Context §3.2.2.3.
func isTraceID(s string) bool { return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" }

// slug returns a reason as it may be recorded. What is not a code is a bug, and might be text of somebody else.
func slug(reason string) string {
	if reason == "" || reasonForm.MatchString(reason) {
		return reason
	}
	return "internal"
}

// clean returns s with at most most bytes (and the mark of a cut), as printable UTF-8. A string with a token inside,
// which somebody put where a name belongs, is not recorded at all.
func clean(s string, most int) string {
	if len(s) <= most && plain(s) {
		return s
	}
	if tokenForm.MatchString(s) {
		return "[token]"
	}
	var b strings.Builder
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > most {
			b.WriteString(cut)
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plain reports whether s is printable ASCII without anything that begins like a token.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return !strings.Contains(s, "eyJ")
}
