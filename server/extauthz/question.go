package extauthz

import (
	"net/http"
	"net/netip"
	"strings"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/bursar-sts/bursar/server/decide"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/shim"
)

// ResourceKey is the context extension of a route that names its tool, by the tool's resource URI.
const ResourceKey = "bursar_resource"

// read takes a question apart. The call is as far as it was read. Errors are *fault.Error.
func (s *Server) read(r *auth.CheckRequest) (c shim.Call, err error) {
	attributes := r.GetAttributes()
	if c, err = s.resources.Find(attributes.GetContextExtensions()[ResourceKey]); err != nil {
		return c, err
	}
	asked := attributes.GetRequest().GetHttp()
	headers := headersOf(asked)
	if c.Token, err = decide.Bearer(headers); err != nil {
		return c, err
	}
	if err := decide.CheckHeaders(headers); err != nil {
		return c, err
	}
	if asked.GetQuery() != "" || asked.GetFragment() != "" {
		// Envoy writes both into the path. Whoever does not is not understood.
		return c, fault.New(fault.InvalidRequest, "request.dialect", "The proxy must send the query within the path.")
	}
	c.Method = asked.GetMethod()
	c.Path, c.Query, err = decide.Target(asked.GetPath())
	// Without an address, or with one that is no IP address, it is not known who asks.
	c.IP, _ = netip.ParseAddr(attributes.GetSource().GetAddress().GetSocketAddress().GetAddress())
	c.IP = c.IP.Unmap()
	return c, err
}

// headersOf returns the headers of a call in the canonical spelling, each as often as Envoy shows it.
func headersOf(asked *auth.AttributeContext_HttpRequest) http.Header {
	h := http.Header{}
	for name, value := range asked.GetHeaders() {
		add(h, name, value)
	}
	for _, header := range asked.GetHeaderMap().GetHeaders() {
		value := header.GetValue()
		if raw := header.GetRawValue(); len(raw) > 0 {
			value = string(raw)
		}
		add(h, header.GetKey(), value)
	}
	return h
}

func add(h http.Header, name, value string) {
	if !strings.HasPrefix(name, ":") { // those of HTTP/2 are what the other fields say
		h.Add(name, value)
	}
}
