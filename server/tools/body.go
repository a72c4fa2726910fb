package tools

import (
	"mime"
	"net/url"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/server/fault"
)

// DefaultMaxBody bounds the bodies of POST, PUT and PATCH under a rule that does not say how long they may be.
const DefaultMaxBody Size = 1 << 20

// Media types that are read.
const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

func refuseType() error {
	return fault.New(fault.InvalidRequest, "body.type", "A body of this Content-Type is not allowed here.")
}

func refuseSize() error {
	return fault.New(fault.TooLarge, "body.too_large", "The body is larger than this call may send.")
}

func refuseBody() error {
	return fault.New(fault.InvalidRequest, "body.not_allowed", "This call has no body; send it without one.")
}

func refuseRead() error {
	return fault.New(fault.InvalidRequest, "body.ambiguous",
		"The body is not of its Content-Type, or readers disagree on what it says, as on a name that comes twice.")
}

func refuseConstraint() error {
	return fault.New(fault.Forbidden, "body.constraint", "The body has not the values that this call must have.")
}

// takesBody reports whether calls of a method may have a body at all. What a body of GET or HEAD means is not defined
// (RFC 9110 §9.3.1), so that readers disagree even on where it ends.
func takesBody(method string) bool { return method != "GET" && method != "HEAD" }

// hasBody reports whether calls of a method usually have one.
func hasBody(method string) bool { return method == "POST" || method == "PUT" || method == "PATCH" }

// MaxBody returns the most bytes that the call's body may have; 0 for none.
func (m *Match) MaxBody() int64 {
	switch {
	case !takesBody(m.method):
		return 0
	case m.Rule.MaxBody != 0:
		return int64(m.Rule.MaxBody)
	case hasBody(m.method):
		return int64(DefaultMaxBody)
	}
	return 0
}

// CheckType judges what is known of a body before it is read: its Content-Type and its size in bytes, negative if that
// is not known. It refuses as CheckBody does.
func (m *Match) CheckType(contentType string, size int64) error {
	switch most := m.MaxBody(); {
	case size == 0:
		return nil
	case most == 0:
		return refuseBody()
	case size > most:
		return refuseSize()
	}
	if _, ok := m.mediaType(contentType); !ok {
		return refuseType()
	}
	return nil
}

// Whole reports whether the body has to be read whole before the call can be judged. Of the others CheckType has said
// all, but for their size as they come.
func (m *Match) Whole(contentType string) bool {
	media, _ := m.mediaType(contentType)
	return media == typeForm || m.Constrained()
}

// Constrained reports whether something must stand in the body: for the rule, for the authorization_details that narrow
// the match, or because a secret is put there.
func (m *Match) Constrained() bool {
	return len(m.Rule.JSON) > 0 || slices.ContainsFunc(m.details, func(d detail) bool { return len(d.JSON) > 0 }) ||
		m.upstream.fillsBody() != ""
}

// fillsBody returns the media type of the bodies that a secret is put in; "" if that happens in none.
func (u *Upstream) fillsBody() string {
	for _, i := range u.Inject {
		switch i.In {
		case InJSON:
			return typeJSON
		case InForm:
			return typeForm
		}
	}
	return ""
}

// CheckBody judges a body that was read whole, nil if there is none. The bytes that it was given are to be sent.
//
// Errors are *fault.Error. Reasons: body.not_allowed, for a call without a body; body.too_large; body.type (to be
// answered with 415); body.ambiguous, for what is not of its type or can be read in two ways; body.constraint, for what
// lacks the values that it must have.
func (m *Match) CheckBody(contentType string, body []byte) error {
	if err := m.CheckType(contentType, int64(len(body))); err != nil {
		return err
	}
	if len(body) == 0 {
		if m.Constrained() {
			return refuseConstraint()
		}
		return nil
	}
	switch media, _ := m.mediaType(contentType); {
	case media == typeForm:
		return checkForm(body, m.Constrained() && m.upstream.fillsBody() != typeForm)
	case m.Constrained():
		return m.checkJSON(media, body)
	}
	return nil
}

// mediaType reads a Content-Type and reports whether the rule allows it.
func (m *Match) mediaType(contentType string) (string, bool) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", false
	}
	if charset, given := params["charset"]; given && !strings.EqualFold(charset, "utf-8") &&
		(media == typeForm || isJSON(media)) {
		return media, false // readers that heed it find other characters than we do
	}
	return media, slices.Contains(m.Rule.mediaTypes(), media)
}

// mediaTypes are the types that a body may have.
func (r *Rule) mediaTypes() []string {
	if len(r.ContentTypes) == 0 {
		return []string{typeJSON, typeForm}
	}
	return r.ContentTypes
}

func isJSON(media string) bool { return media == typeJSON || strings.HasSuffix(media, "+json") }

// checkForm refuses a form that cannot be read in one way, and the field by which many servers let a form say that it
// is another method's. A form has no places at which JSON constraints could hold.
func checkForm(body []byte, constrained bool) error {
	if constrained {
		return refuseConstraint()
	}
	for pair := range strings.SplitSeq(string(body), "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || !isQueryText(name) || strings.Contains(pair, ";") {
			return refuseRead()
		}
		if value, err = url.QueryUnescape(value); err != nil || !isQueryText(value) {
			return refuseRead()
		}
		if strings.EqualFold(strings.TrimSpace(name), methodField) {
			return refuseConstraint()
		}
	}
	return nil
}

// methodField is the parameter by which many servers let a request say that it is another method's.
const methodField = "_method"

func (m *Match) checkJSON(media string, body []byte) error {
	if !isJSON(media) {
		return refuseConstraint()
	}
	document, err := parseJSON(body)
	if err != nil {
		return refuseRead()
	}
	if !holds(m.Rule.JSON, document) || m.details != nil && !slices.ContainsFunc(m.details, func(d detail) bool {
		return holds(d.JSON, document)
	}) {
		return refuseConstraint()
	}
	return nil
}

// holds reports whether a document has, at each place, one of the values that are allowed there.
func holds(constraints map[string][]any, document node) bool {
	for text, allowed := range constraints {
		at, err := parsePointer(text)
		if err != nil {
			return false
		}
		found, ok := at.find(document)
		value, isScalar := scalar(found)
		if !ok || !isScalar || !slices.ContainsFunc(allowed, func(a any) bool {
			want, ok := scalar(a)
			return ok && want == value
		}) {
			return false
		}
	}
	return true
}
