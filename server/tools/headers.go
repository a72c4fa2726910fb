package tools

import (
	"net/textproto"
	"slices"
	"strings"
)

// passed are the request headers of an agent that are passed on, in their canonical spelling: those that say what is
// wanted and what the body is. traceparent and tracestate are among them, so that a call can be followed to its end;
// baggage, which carries data, is not.
var passed = canonicalNames("accept accept-language cache-control content-disposition " +
	"content-language content-type idempotency-key if-match if-modified-since if-none-match if-unmodified-since " +
	"last-event-id mcp-protocol-version mcp-session-id pragma prefer traceparent tracestate user-agent")

// withheld are the request headers that are never passed on, whatever a tool lists: credentials, framing and what
// belongs to one connection (RFC 9110 §7.6.1), what says that the request is another one than was judged, and what
// only a proxy may say.
var withheld = canonicalNames("authorization cookie cookie2 dpop signature signature-input " +
	"x-amz-date x-amz-content-sha256 x-amz-security-token " +
	"host connection keep-alive te trailer trailers transfer-encoding upgrade content-length content-encoding expect " +
	"http2-settings early-data max-forwards accept-encoding accept-charset alt-used proxy " +
	"x-http-method x-http-method-override x-method-override x-original-url x-original-uri x-original-method " +
	"x-original-host x-rewrite-url x-rewrite-uri x-host x-url-scheme x-script-name " +
	"forwarded via x-real-ip x-client-ip x-cluster-client-ip x-originating-ip x-remote-ip x-remote-addr x-remote-user " +
	"remote-user true-client-ip cf-connecting-ip fastly-client-ip client-ip x-azure-clientip x-azure-socketip " +
	"x-client-cert x-ssl-client-cert ssl-client-cert client-cert client-cert-chain baggage")

// withheldPrefixes begin further names that are never passed on.
var withheldPrefixes = []string{"Proxy-", "X-Forwarded-", "X-Bursar-", "Bursar-", "Sec-", "X-Accel-", "X-Envoy-",
	"X-Auth-", "X-Authenticated-", "X-Ssl-", "X-Sendfile", "X-Middleware-"}

func canonicalName(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

func canonicalNames(list string) map[string]bool {
	names := map[string]bool{}
	for name := range strings.FieldsSeq(list) {
		names[canonicalName(name)] = true
	}
	return names
}

// PassedOn reports whether a request header of the agent is passed on to the upstream; extra is Upstream.Headers. What
// is not listed is not, and so is a name with anything but letters, digits and hyphens in it: servers that turn
// underscores and dots into hyphens would take X_Forwarded_For for the header of a proxy.
func PassedOn(name string, extra []string) bool {
	name = canonicalName(name)
	return passed[name] || mayPass(name) && slices.ContainsFunc(extra, func(x string) bool {
		return strings.EqualFold(x,
			name)
	})
}

// mayPass reports whether a tool may list a header, which is in its canonical spelling.
func mayPass(name string) bool {
	return isPlainName(name) && !withheld[name] &&
		!slices.ContainsFunc(withheldPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// isPlainName reports whether s is a header's name of letters, digits and hyphens.
func isPlainName(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	})
}

// isToken reports whether s is a token of RFC 9110 §5.6.2, as the names of headers, cookies and methods are.
func isToken(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// structural are headers that a secret cannot be put in, because they frame the message, belong to the connection, name
// its receiver, or say what the body is.
var structural = canonicalNames("host connection keep-alive te trailer trailers transfer-encoding upgrade " +
	"content-length content-type content-encoding content-range expect http2-settings max-forwards accept-encoding " +
	"range cookie cookie2 proxy date forwarded via x-http-method x-http-method-override x-method-override " +
	"x-original-url x-rewrite-url")

// mayInject reports whether a secret can be put in a header of that name.
func mayInject(name string) bool {
	canonical := canonicalName(strings.ReplaceAll(name, "_", "-"))
	return isToken(name) && !structural[canonical] &&
		!slices.ContainsFunc([]string{"Proxy-", "X-Forwarded-", "Bursar-", "X-Bursar-", "Sec-"}, func(p string) bool {
			return strings.HasPrefix(canonical, p)
		})
}
