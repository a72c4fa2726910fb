package inject

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bursar-sts/bursar/server/fault"
)

func errType() error {
	return fault.New(fault.InvalidRequest, "body.type",
		"The body must be of the kind that the key of the upstream is put in.")
}

func errAmbiguous() error {
	return fault.New(fault.InvalidRequest, "body.ambiguous",
		"The body is not of its Content-Type, or readers disagree on what it says where the key is put.")
}

func errConstraint() error {
	return fault.New(fault.Forbidden, "body.constraint", "The body has no place for the key of the upstream.")
}

// json sets the string at a JSON pointer (RFC 6901) of the body. The rest of the body keeps its bytes. Objects on the
// way that are missing are made; elements of arrays are not.
func (t *Target) json(pointer, value string) ([]string, error) {
	media := t.media()
	switch {
	case media != "application/json" && !strings.HasSuffix(media, "+json"):
		return nil, errType()
	case !isText(value) || !utf8.ValidString(value):
		return nil, errValue()
	case !strings.HasPrefix(pointer, "/") || !utf8.ValidString(pointer):
		return nil, errPlace()
	case !utf8.Valid(t.Body) || !json.Valid(t.Body):
		return nil, errAmbiguous()
	}
	tokens := strings.Split(pointer[1:], "/")
	for i, token := range tokens {
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
	}
	quoted := quote(value)
	body, err := splice(t.Body, tokens, quoted)
	if err != nil {
		return nil, err
	}
	t.replace(body)
	return spellings(value, quoted[1:len(quoted)-1]), nil
}

// splice returns a JSON text with the value at a place replaced by, or added as, text.
func splice(doc []byte, at []string, text string) ([]byte, error) {
	if len(at) == 0 {
		return []byte(text), nil
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	opening, err := d.Token()
	if err != nil {
		return nil, errAmbiguous()
	}
	var start, end, count int
	switch opening {
	case json.Delim('{'):
		start, end, count, err = member(d, at[0])
	case json.Delim('['):
		start, end, err = element(d, at[0])
	default:
		err = errConstraint()
	}
	if err != nil {
		return nil, err
	}
	if end == 0 { // a member that is not there; the text ends with the object's brace
		close := bytes.LastIndexByte(doc, '}')
		added := quote(at[0]) + ":" + nest(at[1:], text)
		if count > 0 {
			added = "," + added
		}
		return concat(doc[:close], []byte(added), doc[close:]), nil
	}
	inner, err := splice(doc[start:end], at[1:], text)
	if err != nil {
		return nil, err
	}
	return concat(doc[:start], inner, doc[end:]), nil
}

// member finds a member's value in the object that d is in: doc[start:end], or end is 0. It counts the members, and
// refuses an object in which some reader would find it twice, or under another spelling.
func member(d *json.Decoder, name string) (start, end, count int, err error) {
	for d.More() {
		key, err := d.Token()
		own, ok := key.(string)
		if err != nil || !ok {
			return 0, 0, 0, errAmbiguous()
		}
		from, to, err := value(d)
		if err != nil {
			return 0, 0, 0, err
		}
		if count++; strings.EqualFold(own, name) {
			if own != name || end > 0 {
				return 0, 0, 0, errAmbiguous()
			}
			start, end = from, to
		}
	}
	return start, end, count, nil
}

// element finds an element of the array that d is in.
func element(d *json.Decoder, index string) (start, end int, err error) {
	wanted, err := strconv.Atoi(index)
	if err != nil || wanted < 0 || strconv.Itoa(wanted) != index {
		return 0, 0, errConstraint()
	}
	for i := 0; d.More(); i++ {
		if start, end, err = value(d); err != nil || i == wanted {
			return start, end, err
		}
	}
	return 0, 0, errConstraint()
}

// value reads the next value, and returns where it is.
func value(d *json.Decoder) (start, end int, err error) {
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return 0, 0, errAmbiguous()
	}
	end = int(d.InputOffset())
	return end - len(raw), end, nil
}

// nest returns text as the value at a place of an object that has nothing else.
func nest(at []string, text string) string {
	for i := len(at) - 1; i >= 0; i-- {
		text = "{" + quote(at[i]) + ":" + text + "}"
	}
	return text
}

func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string, into memory
	return strings.TrimSuffix(b.String(), "\n")
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// form appends a field to the body of a form, without the caller's own of that name.
func (t *Target) form(name, value string) ([]string, error) {
	switch {
	case t.media() != "application/x-www-form-urlencoded":
		return nil, errType()
	case !isText(value):
		return nil, errValue()
	}
	kept, ok := without(string(t.Body), name)
	if !ok {
		return nil, errAmbiguous()
	}
	t.replace([]byte(appended(kept, name, value)))
	return spellings(value, escape(value)), nil
}

// media returns the media type of the body, "" if it has none or that cannot be read.
func (t *Target) media() string {
	media, _, err := mime.ParseMediaType(t.Request.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}

// replace makes body the body of the call.
func (t *Target) replace(body []byte) {
	t.Body = body
	t.Request.Body, t.Request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	t.Request.GetBody = nil
}
