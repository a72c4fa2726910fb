package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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
var tighter = []limits{{256, 64, 64}, {256, 64, 8}, {128, 16, 8}, {48, 8, 8}}

// claims are those of a SET (RFC 8417 §2.2) that are known before the event has its number.
type claims struct {
	Issuer   string              `json:"iss"`
	Audience string              `json:"aud"`
	Happened int64               `json:"toe"`
	Txn      string              `json:"txn,omitempty"`
	Subject  subjectID           `json:"sub_id,omitzero"`
	Events   map[string]*payload `json:"events"`
}

// payload is the value of the one event in the claims.
type payload struct {
	Agent string `json:"agent,omitempty"`
	Body
}

// subjectID is a subject identifier (RFC 9493 §3.2.4 and §3.2.7).
type subjectID struct {
	Format string `json:"format"`
	ID     string `json:"id,omitempty"`
	URI    string `json:"uri,omitempty"`
}

func newSubjectID(agent string) subjectID {
	switch {
	case agent == "":
		return subjectID{}
	case strings.Contains(agent, "://"):
		return subjectID{Format: "uri", URI: agent}
	}
	return subjectID{Format: "opaque", ID: agent}
}

// draft is an event that only lacks its number: the claims as JSON, without the closing brace. It is made in the
// caller's goroutine, because it is most of the work.
type draft []byte

// encode returns the draft of an event that happened at the given time.
func encode(o Origin, e Event, happened time.Time) (draft, error) {
	if o.Tenant == "" || o.Issuer == "" || len(o.Issuer) > maxIssuer {
		return nil, errors.New("the event has no origin")
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	for _, l := range tighter {
		d, err := encodeWithin(l, o, e, happened)
		if err != nil || len(d) <= maxClaims-maxTail {
			return d, err
		}
	}
	return nil, errors.New("the event is too large")
}

func encodeWithin(l limits, o Origin, e Event, happened time.Time) (draft, error) {
	e.Body.Reason = slug(e.Body.Reason)
	e.Body.Request.IP = e.Body.Request.IP.Unmap().WithZone("")
	if !traceID.MatchString(e.Body.Request.Trace) {
		e.Body.Request.Trace = ""
	}
	e.Body.Requested = shorten(e.Body.Requested, l.asked)
	bound(reflect.ValueOf(&e).Elem(), l)
	c := claims{
		Issuer: o.Issuer, Audience: o.Issuer + "/log", Happened: happened.Unix(),
		Txn: e.Txn, Subject: newSubjectID(e.Agent),
		Events: map[string]*payload{"urn:bursar:event:" + e.Name + ":v1": {e.Agent, e.Body}},
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // nothing here is a page, and six bytes for an ampersand would spoil the bounds
	if err := enc.Encode(&c); err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("}\n")), nil
}

// seal gives an event its place among those of its writer, and its final bytes. Nothing else makes stored bytes, so
// this is where a signature belongs.
func seal(d draft, now time.Time, writer string, sequence int64) []byte {
	b := make([]byte, 0, len(d)+maxTail)
	b = append(b, d...)
	b = append(b, `,"iat":`...)
	b = strconv.AppendInt(b, now.Unix(), 10)
	b = append(b, `,"jti":"`...)
	b = append(b, ledger.NewID(now)...)
	b = append(b, `","wid":"`...)
	b = append(b, writer...)
	b = append(b, `","wsn":`...)
	b = strconv.AppendInt(b, sequence, 10)
	return append(b, '}')
}

// bound cuts and cleans every string that v holds, without touching memory that the caller shares.
func bound(v reflect.Value, l limits) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			bound(v.Field(i), l)
		}
	case reflect.String:
		if s := v.String(); s != "" {
			v.SetString(clean(s, l.text))
		}
	case reflect.Slice:
		if v.Len() == 0 {
			return
		}
		list := shorten(v.Interface().([]string), l.list)
		cleaned := make([]string, len(list))
		for i, s := range list {
			cleaned[i] = clean(s, l.text)
		}
		v.Set(reflect.ValueOf(cleaned))
	}
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
	traceID    = regexp.MustCompile(`^[0-9a-f]{32}$`)
	// tokenForm finds a JWT, or its payload and signature. A hash has no dot, and names are lower-case.
	tokenForm = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.`)
)

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
