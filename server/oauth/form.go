package oauth

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bursar-sts/bursar/server/fault"
)

// Limits of a request's form.
const (
	MaxBody   = 64 << 10 // bytes
	maxParams = 100
	maxName   = 128 // bytes
)

// repeatable are the parameters that may be given more than once (RFC 8693 §2.1).
var repeatable = []string{"resource", "audience"}

// readForm reads the one form that every endpoint here takes: POST, application/x-www-form-urlencoded in UTF-8, small,
// nothing in the query, no parameter twice. It is stricter than net/http, which would accept multipart bodies, merge
// the query, and take the first of two values.
//
// Parameters without a value are dropped (RFC 6749 §3.2).
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if r.Method != http.MethodPost {
		return nil, fault.New(fault.MethodNotAllowed, "request.method", "Use POST.")
	}
	var body bytes.Buffer
	body.Grow(int(min(max(r.ContentLength, 0), MaxBody)) + bytes.MinRead)
	if _, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, MaxBody)); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, fault.New(fault.TooLarge, "request.too_large", "The body is larger than 64 KiB.")
		}
		return nil, fault.Wrap(fault.InvalidRequest, "request.body", "The body could not be read.", err)
	}
	if err := checkContentType(r.Header.Values("Content-Type")); err != nil {
		return nil, err
	}
	form, err := parseForm(body.String())
	if err != nil {
		return nil, err
	}
	return form, checkQuery(r.URL.RawQuery)
}

func checkContentType(values []string) error {
	wrong := fault.New(fault.InvalidRequest, "request.content_type",
		"Send the parameters as application/x-www-form-urlencoded in UTF-8.")
	if len(values) != 1 {
		return wrong
	}
	media, params, err := mime.ParseMediaType(values[0])
	charset, named := params["charset"]
	if err != nil || media != "application/x-www-form-urlencoded" || named && !strings.EqualFold(charset, "utf-8") {
		return wrong
	}
	return nil
}

func parseForm(body string) (url.Values, error) {
	malformed := func(reason, public string) (url.Values, error) {
		return nil, fault.New(fault.InvalidRequest, "request."+reason, public)
	}
	form, given, count := url.Values{}, map[string]bool{}, 0
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, nameErr := url.QueryUnescape(name)
		value, valueErr := url.QueryUnescape(value)
		switch count++; {
		case count > maxParams:
			return malformed("parameters", "The form has more than 100 parameters.")
		case nameErr != nil || valueErr != nil || strings.Contains(pair, ";"):
			return malformed("encoding", "The form is not application/x-www-form-urlencoded.")
		case len(name) > maxName:
			return malformed("parameter_name", "The form has a parameter name of more than 128 bytes.")
		case !clean(name) || !clean(value):
			return malformed("characters", "The form holds control characters, or text that is not UTF-8.")
		case given[name] && !slices.Contains(repeatable, name):
			return malformed("duplicate", "A parameter is given more than once.")
		}
		given[name] = true
		if value != "" {
			form[name] = append(form[name], value)
		}
	}
	return form, nil
}

// clean reports whether s is UTF-8 without control characters.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// checkQuery refuses parameters in the URL: they end up in logs, and they are not where this endpoint looks (RFC 6749
// §2.3.1).
func checkQuery(raw string) error {
	if raw == "" {
		return nil
	}
	return fault.New(fault.InvalidRequest, "request.query", "Send the parameters in the body; the URL must have no query.")
}
