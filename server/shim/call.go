package shim

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/fault"
)

// Call is what is judged of a request to an upstream.
type Call struct {
	Slug, Tool string // of the path; whether there are such is not known
	Token      string // the compact access token; empty if there is none
	Method     string
	Path       string // below the tool, in the bytes of the wire, beginning with a slash
	Query      string // in the bytes of the wire, without the question mark
	IP         netip.Addr
	Trace      string // W3C trace id, hexadecimal; optional
	Mode       string // of audit.Use
}

// read takes a request apart. It looks at form alone: what is refused here is so for every tenant and tool. ok is false
// where there is no such path at all.
func (s *Shim) read(r *http.Request) (c Call, ok bool, err error) {
	target, query, _ := strings.Cut(r.RequestURI, "?")
	below, ok := strings.CutPrefix(target, s.prefix+"/t/")
	if !ok {
		if !strings.HasPrefix(target, "/") { // a whole URL, an authority or an asterisk (RFC 9112 §3.2)
			return c, true, malformedRequest("request.target", "The request must name a path on this server alone.")
		}
		return c, false, nil
	}
	slug, rest, _ := strings.Cut(below, "/")
	tool, path, _ := strings.Cut(rest, "/")
	if scopes.CheckSlug(slug) != nil || scopes.CheckSlug(tool) != nil {
		return c, false, nil
	}
	c = Call{Slug: slug, Tool: tool, Method: r.Method, Path: "/" + path, Query: query}
	if len(r.Header["Authorization"]) > 1 {
		return c, true, malformedRequest("request.authorization", "There must be one Authorization header.")
	}
	c.Token = Bearer(r.Header.Get("Authorization"))
	return c, true, nil
}

// Bearer returns the token of an Authorization header (RFC 6750 §2.1), or "" if it is none.
func Bearer(value string) string {
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}

// maxHeaders bounds the fields of a request; their bytes are bounded by the listener.
const maxHeaders = 100

// CheckFields refuses headers of which some servers could read others, and too many of them. Errors are *fault.Error.
func CheckFields(h http.Header) error {
	fields := 0
	for name, values := range h {
		fields += len(values)
		if strings.ContainsAny(name, "_.") { // which some servers take for a hyphen
			return malformedRequest("request.header", "A header's name holds an underscore or a dot.")
		}
	}
	if fields > maxHeaders {
		return malformedRequest("request.headers", "There are too many headers.")
	}
	return nil
}

// framing refuses what could be read in two ways, or what asks for another protocol. A WebSocket may be asked for; the
// tool decides.
func framing(r *http.Request) error {
	if err := CheckFields(r.Header); err != nil {
		return err
	}
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return fault.New(fault.MethodNotAllowed, "method.not_allowed", "This method is never passed on.")
	case len(r.Header["Upgrade"]) > 0 && !asksForWebSocket(r):
		return malformedRequest("upgrade.not_allowed", "Only a WebSocket can be asked for.")
	}
	return nil
}

func malformedRequest(reason, public string) error {
	return fault.New(fault.InvalidRequest, reason, public)
}
