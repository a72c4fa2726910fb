package decide

import (
	"net/http"
	"strings"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/peer"
	"github.com/bursar-sts/bursar/server/shim"
)

// Resources finds the tenant and the tool of a resource URI. The zero value finds none.
type Resources struct {
	prefix string // of every resource URI, with the slash before the tenant
}

// NewResources returns the Resources of a shim's URL.
func NewResources(shimURL string) Resources { return Resources{shimURL + "/t/"} }

var errTool = fault.New(fault.InvalidRequest, "request.resource",
	"The proxy must name the tool by its resource URI, below the shim's URL.")

// Find returns the call of a tool of which nothing but the tool is known. The URI must be the tool's resource, to the
// byte. Whether there is such a tool is not known. Errors are *fault.Error.
func (r Resources) Find(resource string) (c shim.Call, err error) {
	below, ok := strings.CutPrefix(resource, r.prefix)
	slug, tool, two := strings.Cut(below, "/")
	if r.prefix == "" || !ok || !two || scopes.CheckSlug(slug) != nil || scopes.CheckSlug(tool) != nil {
		return c, errTool
	}
	return shim.Call{Slug: slug, Tool: tool, Mode: audit.UseDecision}, nil
}

// Where proxies ask over HTTP. What follows as a query is not looked at: Caddy puts the call's own there.
const (
	// Path is for proxies that can put a header of the answer on the call under another name. A slash and the path of
	// the call may follow it, as Envoy writes it, who cannot rename headers.
	Path = "/v1/decide"
	// OwnPath is for those others that cannot, such as Traefik.
	OwnPath = "/v1/decide-own"
)

// The headers of a question.
const (
	// ResourceHeader names the tool. The proxy must set it, whatever the agent sent.
	ResourceHeader = "X-Bursar-Resource"

	originalMethod  = "X-Original-Method" // as nginx users write them
	originalURI     = "X-Original-Uri"
	forwardedMethod = "X-Forwarded-Method" // as Caddy and Traefik write them
	forwardedURI    = "X-Forwarded-Uri"
)

// question is what a proxy asks.
type question struct {
	shim.Call
	own bool // the key's headers are wanted under their own names
}

// read takes a question apart. There are three ways to ask, and a question must be in one of them: an agent adds the
// headers of another one to a call that a proxy passes on with all of them. The call is as far as it was read.
func (h *Handler) read(r *http.Request) (q question, err error) {
	q.Mode = audit.UseDecision
	resource, _, err := single(r.Header, ResourceHeader)
	if err != nil {
		return q, err
	}
	if q.Call, err = h.resources.Find(resource); err != nil {
		return q, err
	}
	q.IP = peer.Said(r.Header)
	if q.Token, err = Bearer(r.Header); err != nil {
		return q, err
	}
	agents := r.Header.Clone()
	delete(agents, ResourceHeader)
	if err := CheckHeaders(agents); err != nil {
		return q, err
	}
	var uri string
	if q.Method, uri, q.own, err = call(r); err != nil {
		return q, err
	}
	q.Path, q.Query, err = Target(uri)
	return q, err
}

// call returns the method and the URI of the call that a question is about.
func call(r *http.Request) (method, uri string, own bool, err error) {
	original, isOriginal, err := pair(r.Header, originalMethod, originalURI)
	if err != nil {
		return "", "", false, err
	}
	forwarded, isForwarded, err := pair(r.Header, forwardedMethod, forwardedURI)
	if err != nil {
		return "", "", false, err
	}
	if below, ok := strings.CutPrefix(r.RequestURI, Path+"/"); ok && !isOriginal && !isForwarded {
		return r.Method, "/" + below, true, nil
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	own = path == OwnPath
	switch {
	case !own && path != Path || isOriginal == isForwarded:
		return "", "", false, malformed("request.dialect",
			"The proxy must ask at "+Path+" and say in one way what the call is.")
	case isOriginal:
		return original[0], original[1], own, nil
	}
	return forwarded[0], forwarded[1], own, nil
}

// pair returns the values of two headers that come together, and once each.
func pair(h http.Header, first, second string) (values [2]string, given bool, err error) {
	for i, name := range []string{first, second} {
		value, has, err := single(h, name)
		switch {
		case err != nil:
			return values, true, err
		case i > 0 && has != given:
			return values, true, malformed("request.dialect", "The proxy must send "+first+" and "+second+" together.")
		}
		values[i], given = value, has
	}
	return values, given, nil
}

// Target splits the URI of a call, in the bytes of the wire, into the path that the upstream is to see and the query
// without the question mark.
func Target(uri string) (path, query string, err error) {
	path, query, _ = strings.Cut(uri, "?")
	if !strings.HasPrefix(path, "/") {
		return "", "", malformed("request.target", "The proxy must give the URI of the call as a path, and maybe a query.")
	}
	return path, query, nil
}
