package tools_test

import (
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/tools"
)

func TestOnlyListedHeadersArePassedOn(t *testing.T) {
	extra := []string{"X-Request-Id", "Soapaction", "Authorization", "X_Api_Key", "Host", "X-Forwarded-For", "Baggage"}
	for _, row := range []struct {
		what, names string
		want        bool
	}{
		{"what every call may say", "Accept accept-language CONTENT-TYPE If-Match if-none-match Cache-Control Prefer " +
			"Idempotency-Key User-Agent Last-Event-ID traceparent tracestate Mcp-Session-Id MCP-Protocol-Version", true},
		{"what the tool lists", "X-Request-Id x-request-id SOAPAction", true},
		{"what nobody lists", "X-Custom X-Api-Key Origin Referer Range If-Range", false},
		{"B5 other methods", "X-HTTP-Method-Override X-Method-Override X-HTTP-Method", false},
		{"B6 other paths", "X-Original-URL X-Rewrite-URL X-Forwarded-Prefix X-Forwarded-Uri X-Forwarded-For Forwarded",
			false},
		{"B6 aliases", "X_Original_URL X.Original.URL X_Api_Key x_request_id X-Request.Id Content_Type", false},
		{"C3 C4 of the connection",
			"Connection Keep-Alive Proxy-Authorization Proxy-Connection TE Trailer Transfer-Encoding " +
				"Upgrade Content-Length Host Expect HTTP2-Settings", false},
		{"C6 credentials", "Authorization Cookie DPoP X-Bursar-Inject-Authorization X-Bursar-Txn Bursar-Error Proxy", false},
		{"D4 encodings", "Accept-Encoding Content-Encoding", false},
		{"who the caller is", "X-Real-IP True-Client-IP CF-Connecting-IP Via X-Client-Cert X-Auth-User Remote-User", false},
		{"WebSocket", "Sec-WebSocket-Key Sec-Fetch-Site", false},
		{"baggage", "baggage", false},
		{"no names", "x:y ü", false},
	} {
		for name := range strings.FieldsSeq(row.names) {
			if tools.PassedOn(name, extra) != row.want {
				t.Errorf("%s: %s is passed on: %v", row.what, name, !row.want)
			}
		}
	}
	if tools.PassedOn("X-Request-Id", nil) || tools.PassedOn("", extra) || tools.PassedOn("Accept\r\nX", extra) {
		t.Error("something is passed on that nobody listed, or that is no name")
	}
}
