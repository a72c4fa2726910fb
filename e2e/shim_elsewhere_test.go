package e2e_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

// TestTheKeyGoesNowhereElse: rows A of the attacks.
func TestTheKeyGoesNowhereElse(t *testing.T) {
	eachShim(t, func(t *testing.T, w *shimWorld) {
		against(t, "A1", "redirects to another host", func(t *testing.T) { w.redirects(t, w.evil.URL+"/landing") })
		against(t, "A2", "redirects to another scheme or port", func(t *testing.T) {
			_, port, _ := strings.Cut(strings.TrimPrefix(w.evil.URL, "http://"), ":")
			w.redirects(t, "http://127.0.0.1:"+port+"/landing")
		})
		against(t, "A3", "the key in headers that lead somewhere", w.leadingHeaders)
		against(t, "A4", "another host is named", w.otherHosts)
		against(t, "A5", "the upstream is moved", w.movedUpstream)
		against(t, "A8", "a proxy in the environment", w.environmentProxy)
		against(t, "A9", "a bad certificate", w.badCertificates)
		against(t, "A10", "an upstream without TLS", w.plainUpstream)
		against(t, "A11", "methods that mean the proxy", w.proxyMethods)
		against(t, "A12", "an agent that asks as a proxy does", w.agentAsksAsProxy)
		against(t, "A13", "other protocols", w.otherProtocols)
		against(t, "A14", "an alternative service", func(t *testing.T) {
			reply := w.get(t, "legacy", "/echo/alt-svc/raw")
			if reply.Status != 200 || reply.Get("Alt-Svc") != "" {
				t.Errorf("%d, Alt-Svc %q", reply.Status, reply.Get("Alt-Svc"))
			}
		})
		against(t, "A15", "a token endpoint that sends elsewhere", w.movedTokenEndpoint)
	})
}

// redirects fails the test unless redirects are handed back and not followed.
func (w *shimWorld) redirects(t *testing.T, target string) {
	t.Helper()
	moved := w.more(t, "moved", upstream.Options{Answer: func(x *upstream.Exchange) {
		status := 0
		_, _ = fmt.Sscanf(x.Path(), "/status/%d", &status)
		x.Send(upstream.Response{Status: status, Header: []upstream.Field{{Name: "Location", Value: target}}})
	}})
	for _, status := range []int{301, 302, 303, 307, 308} {
		reply := w.get(t, "moved", fmt.Sprintf("/status/%d", status))
		if reply.Status != status || reply.Get("Location") != target {
			t.Errorf("%d became %d to %q", status, reply.Status, reply.Get("Location"))
		}
	}
	if n := moved.Count().Requests; n != 5 {
		t.Errorf("%d requests", n)
	}
	if n := w.evil.Count().Connections; n != 0 {
		t.Errorf("%d connections to where the redirect leads", n)
	}
}

// more gives acme another tool, with the rules of all, before an upstream of its own that accepts the key of acme.
func (w *shimWorld) more(t *testing.T, name string, o upstream.Options) *upstream.Upstream {
	t.Helper()
	o.Keys = []string{acmeKey}
	up := upstream.Start(t, o)
	w.Apply(t, w.tenant("acme", w.tool("acme", name, up.URL, `{in: header, name: X-Api-Key, secret: `+name+`-key}`, up.CA,
		rules+"      allow_plaintext: "+fmt.Sprint(o.Plain)+"\n")))
	w.putAt(t, up, "acme/"+name+"-key", operator.SecretRequest{Fields: map[string]string{"value": acmeKey}})
	delete(w.tokens, name)
	return up
}

func (w *shimWorld) leadingHeaders(t *testing.T) {
	for _, tool := range []string{"query", "legacy"} {
		for _, place := range strings.Fields("location see-other temporary permanent created content-location link refresh") {
			for _, form := range upstream.Forms() {
				reply := w.get(t, tool, "/echo/"+place+"/"+form.Name)
				if reply.Status >= 400 {
					t.Errorf("%s in %s: %d %s", form.Name, place, reply.Status, reply.Body)
				}
			}
		}
	}
	if target := w.up.Last(t).Target; w.sent(t, "X-Api-Key") == nil {
		t.Errorf("the key was not sent: %s", target)
	}
}

func (w *shimWorld) otherHosts(t *testing.T) {
	evil := strings.TrimPrefix(w.evil.URL, "http://")
	own := strings.TrimPrefix(w.up.URL, "https://")
	token := w.token(t, "legacy")
	for _, header := range []string{"X-Forwarded-Host: " + evil, "Forwarded: host=" + evil, "X-Host: " + evil,
		"X-Original-Host: " + evil, "X-Forwarded-Server: " + evil, "X-Forwarded-Proto: http", "X-Real-Host: " + evil} {
		if reply := w.get(t, "legacy", "/v1/items/1", header); reply.Status != 200 {
			t.Errorf("%s: %d", header, reply.Status)
		}
		name, value, _ := strings.Cut(header, ": ")
		if r := w.up.Last(t); !slices.Equal(r.Get("Host"), []string{own}) || len(r.Get(name)) > 0 && value != "" {
			t.Errorf("%s: the upstream got %s", header, r.Head())
		}
	}
	text := strings.Replace(w.request(token, "legacy", "GET", "/v1/items/1", ""), "Host: "+w.host(), "Host: "+evil, 1)
	if w.ask(t, text); !slices.Equal(w.sent(t, "Host"), []string{own}) {
		t.Errorf("the upstream got %s", w.up.Last(t).Head())
	}
	for _, target := range []string{"http://" + evil, "https://" + evil, "http://" + w.host(), "//" + evil, evil} {
		text := strings.Replace(w.request(token, "legacy", "GET", "/v1/items/1", ""), "GET /", "GET "+target+"/", 1)
		w.silent(t, target, func() {
			if reply := w.ask(t, text); reply.Status != 400 && reply.Status != 404 {
				t.Errorf("%s: %d", target, reply.Status)
			}
		})
	}
}

// movedUpstream moves a tool's upstream in the tenant's file: the secret stays bound to where it was put for.
func (w *shimWorld) movedUpstream(t *testing.T) {
	before := w.size(t)
	file := w.tenant("acme", "")
	elsewhere := upstream.Start(t, upstream.Options{})
	for name, change := range map[string][2]string{
		"host and port":  {"url: " + w.up.URL, "url: " + elsewhere.URL},
		"certificate":    {fmt.Sprintf("ca: %q", w.up.CA), fmt.Sprintf("ca: %q", elsewhere.CA)},
		"no certificate": {fmt.Sprintf(", ca: %q", w.up.CA), ""},
		"kind":           {injections["legacy"], `{in: sigv4, secret: legacy-key, sigv4: {region: a, service: b}}`},
		"another name":   {"url: " + w.up.URL, "url: " + strings.Replace(w.up.URL, "127.0.0.1", "localhost", 1)},
	} {
		moved := strings.ReplaceAll(file, change[0], change[1])
		if moved == file {
			t.Fatalf("%s: nothing changes", name)
		}
		w.Apply(t, moved)
		w.silent(t, name, func() {
			problem(t, name, w.get(t, "legacy", "/v1/items/1"), http.StatusBadGateway, "host_not_bound")
		})
	}
	w.Apply(t, file)
	if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
		t.Errorf("moved back: %d %s", reply.Status, reply.Body)
	}
	if n := elsewhere.Count().Connections; n != 0 {
		t.Errorf("%d connections", n)
	}
	told := map[string]int{}
	for _, e := range w.uses(t, before, 6) {
		told[e.Reason]++
	}
	if told["secret.host_not_bound"] < 3 || told["secret.kind_not_bound"] != 1 {
		t.Errorf("the log tells %v", told)
	}
}

func (w *shimWorld) environmentProxy(t *testing.T) {
	args := []string{"env"}
	for _, name := range []string{"http_proxy", "https_proxy", "all_proxy"} {
		args = append(args, name+"="+w.evil.URL, strings.ToUpper(name)+"="+w.evil.URL)
	}
	w.within(t, append(args, "no_proxy=", "NO_PROXY=")...)
	defer w.within(t)
	for _, tool := range []string{"legacy", "oauth", "cert"} {
		if reply := w.get(t, tool, "/status/200"); reply.Status != 200 {
			t.Errorf("%s: %d %s", tool, reply.Status, reply.Body)
		}
	}
	if n := w.evil.Count().Connections; n != 0 {
		t.Errorf("%d connections to the proxy", n)
	}
}

func (w *shimWorld) badCertificates(t *testing.T) {
	for _, cert := range upstream.Certs() {
		up := w.more(t, "shady", upstream.Options{Cert: cert})
		reply := w.get(t, "shady", "/v1/items/1")
		if cert == upstream.CertGood {
			if reply.Status != 200 {
				t.Errorf("a good one: %d %s", reply.Status, reply.Body)
			}
			continue
		}
		problem(t, string(cert), reply, http.StatusBadGateway, "upstream_unreachable")
		if n := up.Count(); n.Bytes != 0 || n.Connections == 0 {
			t.Errorf("%s: %+v", cert, n)
		}
	}
	plain := upstream.Start(t, upstream.Options{Plain: true}) // where TLS is expected
	w.Apply(t, w.tenant("acme", w.tool("acme", "shady", strings.Replace(plain.URL, "http", "https", 1),
		`{in: header, name: X-Api-Key, secret: shady-key}`, w.up.CA, rules)))
	if reply := w.get(t, "shady", "/v1/items/1"); reply.Status != http.StatusBadGateway {
		t.Errorf("without TLS: %d", reply.Status)
	}
	if plain.Received(acmeKey) {
		t.Error("the key went over an open line")
	}
}

func (w *shimWorld) plainUpstream(t *testing.T) {
	tool := func(rest string) string {
		return w.tenant("acme", w.tool("acme", "open", w.evil.URL, `{in: header, name: X-Api-Key, secret: open-key}`, "",
			rules+rest))
	}
	if out, err := w.TryApply(t, tool("")); err == nil || !strings.Contains(out, "upstream.url") {
		t.Errorf("%v\n%s", err, out)
	}
	up := w.more(t, "open", upstream.Options{Plain: true}) // with allow_plaintext
	if reply := w.get(t, "open", "/v1/items/1"); reply.Status != 200 || !up.Received(acmeKey) {
		t.Errorf("%d %s", reply.Status, reply.Body)
	}
}

func (w *shimWorld) proxyMethods(t *testing.T) {
	token := w.token(t, "legacy")
	evil := strings.TrimPrefix(w.evil.URL, "http://")
	head := "\r\nHost: " + w.host() + "\r\nAuthorization: Bearer " + token + "\r\n\r\n"
	for _, line := range []string{
		"CONNECT " + evil + " HTTP/1.1", "CONNECT /shim/t/acme/legacy/v1/items/1 HTTP/1.1",
		"CONNECT " + strings.TrimPrefix(w.up.URL, "https://") + " HTTP/1.1",
		"OPTIONS * HTTP/1.1", "TRACE /shim/t/acme/legacy/v1/items/1 HTTP/1.1", "TRACE * HTTP/1.1",
	} {
		w.silent(t, line, func() {
			reply := w.ask(t, line+head)
			if reply.Status < 400 && !strings.HasPrefix(line, "OPTIONS *") || reply.Status >= 500 {
				t.Errorf("%s: %d", line, reply.Status)
			}
		})
	}
	if n := w.evil.Count().Connections; n != 0 {
		t.Errorf("%d connections", n)
	}
}

// agentAsksAsProxy: the key is handed to proxies, who prove to be one; a token alone is not enough.
func (w *shimWorld) agentAsksAsProxy(t *testing.T) {
	w.with(t, "handed", strings.Replace(injections["legacy"], "legacy-key", "handed-key", 1),
		strings.NewReplacer(", json: {/visibility: [internal]}", "", "/v1/items/{id}",
			"/v1/refunds/{id}").Replace(rules)+"      allow_decision_mode: true\n")
	w.putAt(t, w.up, "acme/handed-key", operator.SecretRequest{Fields: map[string]string{"value": acmeKey},
		Decision: true})
	token := w.fresh(t, "acme", "handed", "items.read")
	pair := func(authority *upstream.Authority) *tls.Certificate {
		certificate, key := authority.Issue(t, "proxy.acme.example")
		shown, err := tls.X509KeyPair([]byte(certificate), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		return &shown
	}
	for name, row := range map[string]struct {
		shown  *tls.Certificate
		status int
	}{"a proxy": {pair(w.proxies), 200}, "without a certificate": {nil, 0},
		"with one that signs itself":    {pair(&upstream.Authority{}), 0},
		"with one of another authority": {pair(upstream.NewAuthority(t)), 0}} {
		if got := decideOverTLS(t, w.decide, w.resource("acme", "handed"), token, row.shown); got != row.status {
			t.Errorf("%s: answered %d", name, got)
		}
	}
	// At the shim's own address there is no such endpoint.
	for _, path := range []string{"/v1/decide", "/shim/v1/decide", "/shim/t/acme/handed/v1/decide"} {
		w.silent(t, path, func() {
			reply := w.ask(t, "GET "+path+" HTTP/1.1\r\nHost: "+w.host()+"\r\nAuthorization: Bearer "+token+
				"\r\nX-Bursar-Resource: "+w.resource("acme",
				"handed")+"\r\nX-Original-Method: GET\r\nX-Original-URI: /v1/items/1\r\n\r\n")
			if reply.Status != 404 && reply.Status != 403 || reply.Get("X-Bursar-Inject-X-Api-Key") != "" {
				t.Errorf("%s: %d", path, reply.Status)
			}
		})
	}
}

func (w *shimWorld) otherProtocols(t *testing.T) {
	for _, protocol := range []string{"h2c", "foo/1", "TLS/1.0", "websocket, h2c", "HTTP/2.0"} {
		w.silent(t, protocol, func() {
			reply := w.get(t, "legacy", "/v1/items/1", "Connection: Upgrade", "Upgrade: "+protocol, "HTTP2-Settings: AAMAAABk")
			problem(t, protocol, reply, http.StatusBadRequest, "malformed_request")
		})
	}
	for _, end := range []string{"forged-upgrade", "foo-upgrade", "h2c-upgrade"} {
		reply := w.get(t, "legacy", "/end/"+end)
		if reply.Status != http.StatusBadGateway {
			t.Errorf("%s: %d", end, reply.Status)
		}
	}
}

func (w *shimWorld) movedTokenEndpoint(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		endpoint := fmt.Sprintf("%s/moved/%d", w.up.URL, status)
		injection := `{in: oauth2, secret: sent-away, oauth2: {token_url: "` + endpoint + `"}}`
		w.with(t, "sent", injection, rules)
		w.putAt(t, w.up, "acme/sent-away", operator.SecretRequest{TokenURL: endpoint,
			Fields: map[string]string{"client_id": clientID, "client_secret": clientKey}})
		delete(w.tokens, "sent")
		before := w.up.Count().Requests
		reply := w.get(t, "sent", "/v1/items/1")
		if reply.Status < 500 {
			t.Errorf("%d: %d %s", status, reply.Status, reply.Body)
		}
		for _, r := range w.up.Requests()[before:] {
			if !strings.HasPrefix(r.Path(), "/moved/") {
				t.Errorf("%d: the call was sent: %s", status, r.Head())
			}
		}
		if n := w.up.Count().Requests; n == before {
			t.Errorf("the token endpoint was not asked: %s", reply.Body)
		}
	}
	if n := w.evil.Count().Connections; n != 0 {
		t.Errorf("%d connections", n)
	}
}
