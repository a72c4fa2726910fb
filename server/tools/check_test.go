package tools_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/tools"
)

// certificate returns a self-signed certificate, PEM.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// upstream is a change of the payments tool's upstream.
func upstream(change func(*tools.Upstream)) tools.Tool {
	return with(func(tool *tools.Tool) { change(tool.Upstream) })
}

func inject(all ...tools.Injection) tools.Tool {
	return upstream(func(u *tools.Upstream) { u.Inject = all })
}

func TestToolsWithoutMistakes(t *testing.T) {
	ca := certificate(t)
	post := func(media string) []tools.Rule {
		return []tools.Rule{{Action: "refunds.create", Methods: []string{"POST", "PUT"}, Path: "/",
			ContentTypes: []string{media}}}
	}
	hmac := &tools.HMAC{Header: "X-Signature", Template: "{timestamp}.{nonce}\n{method} {path}?{query} {body_sha256}",
		Hash:     "sha512",
		Encoding: "base64", Prefix: "v1 ", TimestampHeader: "X-Timestamp", NonceHeader: "X-Nonce"}
	for name, tool := range map[string]tools.Tool{
		"as it is":  payments(),
		"plaintext": upstream(func(u *tools.Upstream) { u.URL, u.AllowPlaintext = "http://10.1.2.3:8080", true }),
		"loopback":  upstream(func(u *tools.Upstream) { u.URL, u.AllowPlaintext = "http://127.0.0.1:8083", true }),
		"IPv6":      upstream(func(u *tools.Upstream) { u.URL = "https://[2001:db8::1]" }),
		"a CA":      upstream(func(u *tools.Upstream) { u.Network.CA = "our own:\n" + ca + ca }),
		"a pin": upstream(func(u *tools.Upstream) {
			u.Network.Pins = []string{"sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}
		}),
		"headers": upstream(func(u *tools.Upstream) {
			u.Headers, u.Response.Strip = []string{"X-Request-Id", "SOAPAction"}, []string{"Server"}
		}),
		"ranges": upstream(func(u *tools.Upstream) { u.Headers, u.Response.Scrub = []string{"Range"}, tools.ScrubHeaders }),
		"bounds": upstream(func(u *tools.Upstream) {
			u.Retries, u.Stream.OnExpiry, u.Response.Scrub = 2, tools.ExpiryCut, tools.ScrubStrict
			u.Limits.Concurrent, u.Timeouts.Total = 10, scopes.Duration(time.Hour)
		}),
		"a probe": upstream(func(u *tools.Upstream) {
			u.Probe = &tools.Probe{Method: "GET", Path: "/v1/me?a=1", Expect: []int{200, 403}}
		}),
		"a probe by rule": upstream(func(u *tools.Upstream) {
			u.Probe = &tools.Probe{Method: "DELETE",
				Path: "/v1/refunds/0"}
		}),
		"decision mode": upstream(func(u *tools.Upstream) { u.AllowDecisionMode = true }),
		"all in headers": inject(tools.Injection{In: tools.InBearer, Secret: "a"}, tools.Injection{In: tools.InCookie,
			Name: "sid", Secret: "b"},
			tools.Injection{In: tools.InCookie, Name: "SID", Secret: "b"},
			tools.Injection{In: tools.InHeader, Name: "api_key", Format: "Token token={value}, x", Secret: "a"},
			tools.Injection{In: tools.InQuery, Name: "key", Secret: "c"}, tools.Injection{In: tools.InMTLS, Secret: "d"}),
		"authorization": inject(tools.Injection{In: tools.InHeader, Name: "Authorization", Format: "token {value}",
			Secret: "a"}),
		"basic": inject(tools.Injection{In: tools.InBasic, Secret: "a"}),
		"sigv4": inject(tools.Injection{In: tools.InSigV4, Secret: "a", SigV4: &tools.SigV4{Region: "eu-central-1",
			Service: "s3", UnsignedPayload: true}}),
		"hmac": inject(tools.Injection{In: tools.InHMAC, Secret: "a", HMAC: hmac}),
		"oauth2": inject(tools.Injection{In: tools.InOAuth2, Secret: "a",
			OAuth2: &tools.OAuth2{TokenURL: "https://idp.example/token?v=2",
				Scope: "a b", Audience: "x", Resource: "https://y.example", Auth: "post",
				Params: map[string]string{"tenant": "7"}}}),
		"path": upstream(func(u *tools.Upstream) {
			u.Inject = []tools.Injection{{In: tools.InPath, Name: "bot-token", Secret: "a"}}
			u.Allow = []tools.Rule{{Action: "refunds.read", Methods: []string{"GET"}, Path: "/{bot-token}/getMe"}}
			u.Probe = &tools.Probe{Method: "GET", Path: "/bot-token/getMe"}
		}),
		"json": upstream(func(u *tools.Upstream) {
			u.Inject = []tools.Injection{{In: tools.InJSON, Name: "/auth/key", Secret: "a"}, {In: tools.InJSON, Name: "/auth/id",
				Secret: "a"}}
			u.Allow = post(jsonType)
		}),
		"form": upstream(func(u *tools.Upstream) {
			u.Inject, u.Allow = []tools.Injection{{In: tools.InForm, Name: "key", Secret: "a"}}, post(formType)
		}),
		"without a shim":         {Name: "payments", Resource: "https://payments.example", Actions: []string{"a"}},
		"at the shim, for later": with(func(tool *tools.Tool) { tool.Upstream = nil }),
		"discoverable":           with(func(tool *tools.Tool) { tool.Discoverable = true }),
	} {
		if got := mistakes(tool); len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestMistakesOfAnUpstream(t *testing.T) {
	ca := certificate(t)
	rule := func(change func(*tools.Rule)) tools.Tool {
		return upstream(func(u *tools.Upstream) { change(&u.Allow[1]) })
	}
	hmac := func(change func(*tools.HMAC)) tools.Tool {
		h := &tools.HMAC{Header: "X-Signature", Template: "{body}"}
		change(h)
		return inject(tools.Injection{In: tools.InHMAC, Secret: "a", HMAC: h})
	}
	oauth := func(change func(*tools.OAuth2)) tools.Tool {
		o := &tools.OAuth2{TokenURL: "https://idp.example/token"}
		change(o)
		return inject(tools.Injection{In: tools.InOAuth2, Secret: "a", OAuth2: o})
	}
	probe := func(method, path string) tools.Tool {
		return upstream(func(u *tools.Upstream) { u.Probe = &tools.Probe{Method: method, Path: path} })
	}
	header := func(name string) tools.Injection { return tools.Injection{In: tools.InHeader, Name: name, Secret: "a"} }
	in := func(kind tools.Kind, name string) tools.Injection {
		return tools.Injection{In: kind, Name: name, Secret: "a"}
	}
	bearer := in(tools.InBearer, "")

	for _, row := range []struct {
		tool tools.Tool
		want []string // each "path: part of the sentence", below tools[0].upstream; all of them
	}{
		// A10
		{upstream(func(u *tools.Upstream) { u.URL = "http://legacy.example" }), []string{"url: must be https"}},
		{upstream(func(u *tools.Upstream) { u.URL = "http://127.0.0.1:80" }), []string{"url: must be https"}},
		{upstream(func(u *tools.Upstream) { u.URL, u.AllowPlaintext = "http://10.1.2.3/x", true }),
			[]string{"url: must be an origin"}},
		{upstream(func(u *tools.Upstream) { u.URL = "" }), []string{"url: must be an absolute URL"}},
		{upstream(func(u *tools.Upstream) { u.URL = "https://legacy.example/" }), []string{"url: must be an origin"}},
		{upstream(func(u *tools.Upstream) { u.URL = "https://legacy.example?a" }), []string{"url: must not hold a query"}},
		{upstream(func(u *tools.Upstream) { u.URL = "https://a@legacy.example" }), []string{"url: must not hold a user"}},
		{upstream(func(u *tools.Upstream) { u.URL = "https://legacy.example:443" }), []string{"url: must not name the port"}},
		{upstream(func(u *tools.Upstream) { u.URL = "https://Legacy.example" }),
			[]string{"url: must have its scheme and host in lower"}},
		{upstream(func(u *tools.Upstream) { u.URL = "https://legacy.example." }),
			[]string{"url: must hold a host name without a trailing"}},
		{upstream(func(u *tools.Upstream) { u.URL = "https://0x7f000001" }), []string{"url: must hold a host name"}},
		{upstream(func(u *tools.Upstream) { u.URL = "ftp://legacy.example" }), []string{"url: must be https"}},
		{upstream(func(u *tools.Upstream) { u.URL = "https://sts.example" }), []string{"url: is this server's own address"}},
		{upstream(func(u *tools.Upstream) { *u = tools.Upstream{} }), []string{"url: must be an absolute",
			"inject: must list",
			"allow: lists nothing"}},

		{inject(), []string{"inject: must list"}},
		{inject(tools.Injection{}), []string{"inject[0].in: must be one of header, bearer"}},
		{inject(tools.Injection{In: "Header", Name: "A", Secret: "a"}), []string{"inject[0].in: must be one of"}},
		{inject(tools.Injection{In: tools.InHeader, Name: "A"}), []string{"inject[0].secret: is empty"}},
		// E2
		{inject(tools.Injection{In: tools.InBearer, Secret: "a/../b"}), []string{"inject[0].secret: may hold only"}},
		{inject(tools.Injection{In: tools.InBearer, Secret: "%2e%2e"}), []string{"inject[0].secret: may hold only"}},
		{inject(tools.Injection{In: tools.InBearer, Secret: "\u0430cme"}), []string{"inject[0].secret: may hold only"}},
		// two into one place
		{inject(header("X-Api-Key"), header("x-api-key")),
			[]string{"inject[1]: puts a secret where inject[0] does: header x-api-key"}},
		{inject(bearer, in(tools.InBasic, "")),
			[]string{"inject[1]: puts a secret where inject[0] does: header authorization"}},
		{inject(bearer, header("authorization")), []string{"inject[1]: puts a secret where"}},
		{inject(in(tools.InQuery, "k"), in(tools.InQuery, "k")),
			[]string{"inject[1]: puts a secret where inject[0] does: query k"}},
		{inject(in(tools.InCookie, "k"), in(tools.InCookie, "k")),
			[]string{"inject[1]: puts a secret where inject[0] does: cookie k"}},
		{inject(in(tools.InMTLS, ""), in(tools.InMTLS, "")),
			[]string{"inject[1]: puts a secret where inject[0] does: the client"}},
		{upstream(func(u *tools.Upstream) {
			u.Inject = []tools.Injection{in(tools.InJSON, "/a/b"), in(tools.InJSON, "/a")}
			u.Allow = []tools.Rule{{Action: "refunds.create", Methods: []string{"POST"}, Path: "/",
				ContentTypes: []string{jsonType}}}
		}), []string{"inject[1]: puts a secret where inject[0] does: json /a/b"}},
		{inject(in(tools.InBearer, ""), tools.Injection{In: tools.InSigV4, Secret: "a", SigV4: &tools.SigV4{Region: "r",
			Service: "s"}}),
			[]string{"inject[1]: puts a secret where inject[0] does: header authorization"}},
		{inject(tools.Injection{In: tools.InSigV4, Secret: "a", SigV4: &tools.SigV4{Region: "r", Service: "s"}},
			tools.Injection{In: tools.InHMAC, Secret: "a", HMAC: &tools.HMAC{Header: "S", Template: "{body}"}}),
			[]string{"inject[1]: puts a secret where inject[0] does: the signature"}},
		{hmac(func(h *tools.HMAC) { h.Template, h.TimestampHeader = "{timestamp}", "x-signature" }),
			[]string{"inject[0]: puts two things in header x-signature"}},
		// names of places
		{inject(header("Host")), []string{"inject[0].name: must be a header that does not frame"}},
		{inject(header("content-length")), []string{"inject[0].name: must be a header that"}},
		{inject(header("Transfer-Encoding")), []string{"inject[0].name: must be a header that"}},
		{inject(header("Transfer_Encoding")), []string{"inject[0].name: must be a header that"}},
		{inject(header("Connection")), []string{"inject[0].name: must be a header that"}},
		{inject(header("Proxy-Authorization")), []string{"inject[0].name: must be a header that"}},
		{inject(header("X-Forwarded-For")), []string{"inject[0].name: must be a header that"}},
		{inject(header("Cookie")), []string{"inject[0].name: must be a header that"}},
		{inject(header("a b")), []string{"inject[0].name: must be a header that"}},
		{inject(header("A:\r\nB")), []string{"inject[0].name: must be a header that"}},
		{inject(header("")), []string{"inject[0].name: must be a header that"}},
		{inject(in(tools.InBearer, "X")), []string{"inject[0].name: is not for this kind"}},
		{inject(in(tools.InQuery, "a&b")), []string{"inject[0].name: must be the name of a parameter"}},
		{inject(in(tools.InQuery, "")), []string{"inject[0].name: must be the name of a parameter"}},
		{inject(in(tools.InCookie, "a=b")), []string{"inject[0].name: must be the name of a cookie"}},
		{inject(in(tools.InCookie, "a;b")), []string{"inject[0].name: must be the name of a cookie"}},
		{inject(tools.Injection{In: tools.InHeader, Name: "A", Format: "Token", Secret: "a"}),
			[]string{"inject[0].format: must be printable"}},
		{inject(tools.Injection{In: tools.InHeader, Name: "A", Format: "{value}{value}", Secret: "a"}),
			[]string{"inject[0].format: must be"}},
		{inject(tools.Injection{In: tools.InHeader, Name: "A", Format: "a\r\n{value}", Secret: "a"}),
			[]string{"inject[0].format: must be"}},
		{inject(tools.Injection{In: tools.InBearer, Format: "{value}", Secret: "a"}),
			[]string{"inject[0].format: is for header"}},
		{inject(tools.Injection{In: tools.InBearer, Secret: "a", HMAC: &tools.HMAC{}}),
			[]string{"inject[0].hmac: is for in: hmac"}},
		{inject(tools.Injection{In: tools.InSigV4, Secret: "a"}), []string{"inject[0].sigv4: is required"}},
		{inject(tools.Injection{In: tools.InSigV4, Secret: "a", SigV4: &tools.SigV4{Region: "EU"}}),
			[]string{"inject[0].sigv4.region: may hold", "inject[0].sigv4.service: is empty"}},
		// bodies and paths for secrets
		{inject(in(tools.InJSON, "/a")),
			[]string{"allow[0]: must be for POST, PUT or PATCH and for content_types [application/json]",
				"allow[1]: must be for POST", "allow[2]: must be for POST"}},
		{inject(in(tools.InForm, "a")), []string{"allow[0]: must be for POST", "allow[1]: must be for POST",
			"allow[2]: must be for POST"}},
		{inject(in(tools.InPath, "key")), []string{"allow[0].path: must have the segment {key}", "allow[1].path: must have",
			"allow[2].path: must have"}},
		// templates
		{hmac(func(h *tools.HMAC) { h.Template = "fixed" }), []string{"inject[0].hmac.template: holds nothing of the call"}},
		{hmac(func(h *tools.HMAC) { h.Template = "{msg}" }), []string{"inject[0].hmac.template: must be text"}},
		{hmac(func(h *tools.HMAC) { h.Template = "{body" }), []string{"inject[0].hmac.template: must be text"}},
		{hmac(func(h *tools.HMAC) { h.Template = "{body}}" }), []string{"inject[0].hmac.template: must be text"}},
		{hmac(func(h *tools.HMAC) { h.Template = "{body}{timestamp}{nonce}" }),
			[]string{"inject[0].hmac.timestamp_header: must be a header", "inject[0].hmac.nonce_header: must be a header"}},
		{hmac(func(h *tools.HMAC) { h.NonceHeader = "X-Nonce" }),
			[]string{"inject[0].hmac.nonce_header: would not be signed"}},
		{hmac(func(h *tools.HMAC) { h.Hash, h.Encoding, h.Header, h.Prefix = "md5", "raw", "Host", "\n" }),
			[]string{"inject[0].hmac.hash", "inject[0].hmac.encoding", "inject[0].hmac.header", "inject[0].hmac.prefix"}},
		{oauth(func(o *tools.OAuth2) { o.TokenURL = "http://idp.example" }),
			[]string{"inject[0].oauth2.token_url: must be https; http",
				"inject[0].oauth2.token_url: must be https, or"}},
		{oauth(func(o *tools.OAuth2) { o.TokenURL = "http://127.0.0.1:1" }),
			[]string{"inject[0].oauth2.token_url: must be https, or"}},
		{oauth(func(o *tools.OAuth2) { o.Scope, o.Auth, o.Audience = "a  b", "jwt", "ü" }),
			[]string{"inject[0].oauth2.scope", "inject[0].oauth2.auth", "inject[0].oauth2.audience"}},
		{oauth(func(o *tools.OAuth2) { o.Params = map[string]string{"client_secret": "x", "grant_type": "y", "ok": ""} }),
			[]string{`inject[0].oauth2.params["client_secret"]`, `inject[0].oauth2.params["grant_type"]`}},

		// rules
		{rule(func(r *tools.Rule) { r.Action = "refunds.approve" }),
			[]string{"allow[1].action: is not an action of tool payments"}},
		{rule(func(r *tools.Rule) { r.Methods = nil }), []string{"allow[1].methods: lists nothing",
			"allow[1].max_body: is for"}},
		{rule(func(r *tools.Rule) { r.Methods = []string{"POST", "post", "CONNECT", "TRACE", "POST"} }),
			[]string{"allow[1].methods[1]: must be one of", "allow[1].methods[2]: must be", "allow[1].methods[3]: must be",
				"allow[1].methods[4]: is listed twice"}},
		{rule(func(r *tools.Rule) { r.Path = "v1" }), []string{"allow[1].path: must begin with a slash"}},
		{rule(func(r *tools.Rule) { r.Path = "/a/../b" }), []string{"allow[1].path: holds a segment of dots"}},
		{rule(func(r *tools.Rule) { r.Path = "/a//b" }), []string{"allow[1].path: holds an empty segment"}},
		{rule(func(r *tools.Rule) { r.Path = "/a%2Fb" }), []string{"allow[1].path: escapes a character that another reader"}},
		{rule(func(r *tools.Rule) { r.Path = "/a/{x}y" }), []string{"allow[1].path: may have a parameter only as a whole"}},
		{rule(func(r *tools.Rule) { r.Path = "/a/{x...}/y" }), []string{"allow[1].path: may have {name...} only at its end"}},
		{rule(func(r *tools.Rule) { r.Path = "/a/{x}/{x}" }), []string{"allow[1].path: has two parameters of one name"}},
		{rule(func(r *tools.Rule) { r.Path = "/a/{}" }), []string{"allow[1].path: has a parameter whose name"}},
		{rule(func(r *tools.Rule) { r.Path = "/" + strings.Repeat("a", 5000) }), []string{"allow[1].path: is longer than"}},
		{rule(func(r *tools.Rule) { r.Query = []string{"_method", "a", "a...", "b&c", ""} }),
			[]string{"allow[1].query[0]: would let", "allow[1].query[2]: is listed twice", "allow[1].query[3]: must be",
				"allow[1].query[4]: must be"}},
		{upstream(func(u *tools.Upstream) { u.Inject[0] = in(tools.InQuery, "Key"); u.Allow[0].Query = []string{"key"} }),
			[]string{"allow[0].query[0]: is a parameter that a secret is put in"}},
		{rule(func(r *tools.Rule) { r.Methods = []string{"GET"} }), []string{"allow[1].max_body: is for calls with a body"}},
		{rule(func(r *tools.Rule) { r.Methods, r.MaxBody, r.ContentTypes = []string{"DELETE"}, 0, []string{jsonType} }),
			[]string{"allow[1].content_types: is for calls with a body"}},
		{rule(func(r *tools.Rule) {
			r.ContentTypes = []string{"json", "application/*", "a/b; c=d", "Text/Plain", "a/b", "a/b"}
		}),
			[]string{"allow[1].content_types[0]", "allow[1].content_types[1]", "allow[1].content_types[2]",
				"allow[1].content_types[3]",
				"allow[1].content_types[5]: is listed twice"}},
		{rule(func(r *tools.Rule) {
			r.JSON = map[string][]any{"": {1}, "a": {1}, "/a/-": {1}, "/~2": {1}, "/b": {}, "/c": {[]any{}}, "/d": {1e17}}
		}),
			[]string{`allow[1].json[""]: must be a JSON pointer`, `allow[1].json["/a/-"]: must be a JSON pointer`,
				`allow[1].json["/b"]: must list`,
				`allow[1].json["/c"][0]: must be a string`, `allow[1].json["/d"][0]: must be`, `allow[1].json["/~2"]`,
				`allow[1].json["a"]`}},
		{rule(func(r *tools.Rule) { r.JSON, r.ContentTypes = map[string][]any{"/a": {1}}, []string{formType} }),
			[]string{"allow[1].json: is for calls with a JSON body"}},
		{rule(func(r *tools.Rule) { r.JSON, r.Methods = map[string][]any{"/a": {1}}, []string{"POST", "GET"} }),
			[]string{"allow[1].json: is for calls with a body, and GET"}},

		// headers
		{upstream(func(u *tools.Upstream) {
			u.Headers = []string{"Accept", "Authorization", "X_A", "X-Forwarded-For", "A", "a", "x-api-key", "Range",
				"Connection", "X-HTTP-Method-Override"}
		}), []string{"headers[0]: is passed on anyway", "headers[1]: is never", "headers[2]: must be the name",
			"headers[3]: is never",
			"headers[5]: is listed twice", "headers[6]: is a header that a secret", "headers[7]: would let",
			"headers[8]: is never",
			"headers[9]: is never"}},
		{upstream(func(u *tools.Upstream) { u.Response.Strip = []string{"a b"} }), []string{"response.strip[0]: must be"}},
		{upstream(func(u *tools.Upstream) { u.Response.Scrub, u.Stream.OnExpiry = "none", "later" }),
			[]string{"response.scrub: must be strict or headers", "stream.on_expiry: must be finish or cut"}},

		// network
		{upstream(func(u *tools.Upstream) { u.Network.CA = "file:///etc/passwd" }),
			[]string{"network.ca: must be certificates in PEM"}},
		{upstream(func(u *tools.Upstream) { u.Network.CA = ca + "-----BEGIN CERTIFICATE-----\nx" }),
			[]string{"network.ca: must be certificates"}},
		{upstream(func(u *tools.Upstream) { u.Network.CA = strings.ReplaceAll(ca, "CERTIFICATE", "PRIVATE KEY") }),
			[]string{"network.ca: must hold nothing but certificates"}},
		{upstream(func(u *tools.Upstream) {
			u.Network.CA = ca + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
		}),
			[]string{"network.ca: holds a certificate that cannot be read (number 2)"}},
		{upstream(func(u *tools.Upstream) {
			u.Network.Pins = []string{"sha256/AAAA", "md5/x", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}
		}),
			[]string{"network.pins[0]", "network.pins[1]", "network.pins[2]"}},
		{upstream(func(u *tools.Upstream) { u.URL, u.AllowPlaintext, u.Network.CA = "http://a.example", true, ca }),
			[]string{"network: has certificates for an http URL"}},
		{upstream(func(u *tools.Upstream) {
			u.URL, u.AllowPlaintext, u.Inject[0] = "http://a.example", true, in(tools.InMTLS, "")
		}),
			[]string{"inject[0].in: is mtls, which needs"}},

		// bounds
		{upstream(func(u *tools.Upstream) {
			u.Retries, u.Limits.Concurrent, u.Limits.AgentConcurrent, u.Timeouts.Connect, u.Timeouts.Idle = 3, -1, 2_000_000, -1,
				scopes.Duration(25*time.Hour)
		}), []string{"retries: must be from 0 to 2", "limits.concurrent", "limits.agent_concurrent", "timeouts.connect",
			"timeouts.idle"}},

		// probe
		{probe("POST", "/v1/other"), []string{"probe: must be GET or HEAD, or"}},
		{probe("get", "/v1/x"), []string{"probe.method: must be one of"}},
		{probe("GET", "/v1/../x"), []string{"probe.path: holds a segment of dots"}},
		{probe("GET", "v1"), []string{"probe.path: must begin"}},
		{probe("GET", "/v1?a=%"), []string{"probe.path: has a query that cannot be read"}},
		{upstream(func(u *tools.Upstream) { u.Probe = &tools.Probe{Method: "GET", Path: "/", Expect: []int{99}} }),
			[]string{"probe.expect[0]"}},
		{upstream(func(u *tools.Upstream) {
			u.Inject = []tools.Injection{in(tools.InPath, "key")}
			u.Allow = []tools.Rule{{Action: "refunds.read", Methods: []string{"GET"}, Path: "/a/{key}"}}
			u.Probe = &tools.Probe{Method: "GET", Path: "/me"}
		}), []string{"probe.path: must be that of a rule"}},

		// F7
		{upstream(func(u *tools.Upstream) { u.AllowDecisionMode, u.Inject[0] = true, in(tools.InQuery, "k") }),
			[]string{"inject[0].in: is query: front proxies write"}},
		{upstream(func(u *tools.Upstream) {
			u.AllowDecisionMode, u.Inject[0], u.Allow[1].JSON = true, in(tools.InMTLS, ""), map[string][]any{"/a": {1}}
		}), []string{"inject[0].in: is mtls: a front proxy cannot", "allow[1].json: is about bodies"}},
	} {
		got := mistakes(row.tool)
		ok := len(got) == len(row.want)
		for _, want := range row.want {
			ok = ok && slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, "tools[0].upstream."+want) })
		}
		if !ok {
			t.Errorf("mistakes\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(row.want, "\n  "))
		}
	}
}

func TestAToolBehindTheShimIsWhereTheShimHasIt(t *testing.T) {
	none := tools.Place{BaseURL: "https://sts.example", Tenant: "acme"}
	far := tools.Place{BaseURL: "https://sts.example", ShimURL: "https://shim.example", Tenant: "acme"}
	stored := acme
	stored.Stored = true
	for _, row := range []struct {
		at       tools.Place
		resource string
		behind   bool // it has an upstream
		want     string
	}{
		{acme, "https://sts.example/shim/t/acme/payments", true, ""},
		{acme, "https://sts.example/shim/t/acme/payments/", true, "must be https://sts.example/shim/t/acme/payments, where"},
		{acme, "https://STS.example/shim/t/acme/payments", true, "must be https://sts.example/shim/t/acme/payments, where"},
		{acme, "https://sts.example/shim/t/globex/payments", true, "must be"},
		{acme, "https://sts.example/shim/t/acme/other", true, "must be"},
		{acme, "https://payments.example", true, "must be"},
		{acme, "https://sts.example/t/acme/payments", true, "must be"},
		{far, "https://shim.example/t/acme/payments", true, ""},
		{far, "https://sts.example/shim/t/acme/payments", true, "must be"},
		{none, "https://sts.example/shim/t/acme/payments", true, "the platform has none (shim.url in bursar.yaml)"},
		{none, "/t/acme/payments", true, "absolute"},
		{stored, "https://sts.example/old/t/acme/payments", true, ""}, // it is read, so that it can be mended

		{acme, "https://sts.example/shim/t/acme/payments", false, ""},
		{acme, "https://sts.example/shim/t/globex/payments", false, "lies under the shim's address"},
		{acme, "https://sts.example/shim/t/acme/other", false, "lies under the shim's address"},
		{acme, "https://sts.example/shim", false, "lies under the shim's address"},
		{acme, "https://sts.example/shims/t/acme/payments", false, "lies under this server's own address"},
		{acme, "https://sts.example/t/acme/payments", false, ""},
		{far, "https://shim.example/t/globex/payments", false, "lies under the shim's address"},
		{none, "https://shim.example/t/globex/payments", false, ""},
	} {
		tool := payments()
		tool.Resource = row.resource
		if !row.behind {
			tool.Upstream = nil
		}
		_, got := tools.New([]tools.Tool{tool}, row.at)
		if row.want == "" && len(got) > 0 ||
			row.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], "tools[0].resource: ") || !strings.Contains(got[0],
				row.want)) {
			t.Errorf("%s at %+v: %q, want %q", row.resource, row.at, got, row.want)
		}
	}
	lone := payments()
	lone.Upstream, lone.Discoverable = nil, true
	if got := mistakes(lone); len(got) != 1 || !strings.HasPrefix(got[0], "tools[0].discoverable: ") {
		t.Errorf("a tool that is not behind the shim is discoverable there: %q", got)
	}
}
