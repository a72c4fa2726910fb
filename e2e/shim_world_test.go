package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/leak"
	"github.com/bursar-sts/bursar/e2e/harness/raw"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

// The keys of the upstreams, which no agent may ever see. Their characters are such as encodings change.
const (
	acmeKey     = "sk-Live/7Jq+9Zr2&Xw=4Tb8~Ny6Kd3.Pq5"
	nextKey     = "sk-Next/3Wd+5Kf8&Gh=1Rv6~Mc2Lx9.Zt7"
	globexKey   = "gx-Live/8Hn+2Vc6&Bt=5Rf1~Jm4Wp7.Sd9"
	awsID       = "AKIAQ7W2E5R8T1Y4U6I3"
	awsSecret   = "wJalr/K7MDENG+bPxRfiCY9EXAMPLEkey4Zq"
	clientID    = "legacy-client-41"
	clientKey   = "cs-8Dk2/Lm5+Wq9~Xe3Rt7Yb1Nv6"
	accessToken = "at-5Gh8/Jk1+Lp4~Qw7Er0Ty3Ui6"
	password    = "pw-3Fg6/Hj9+Kl2~Zx5Cv8Bn1Mq4"
)

// shimWorld is a server with two tenants whose tools stand behind a shim. Those of acme inject a key in every way:
//
//	legacy  in a header     query   in the query     seg   in the path       aws     AWS Signature Version 4
//	bearer  as a bearer     cookie  in a cookie      body  in a JSON body    signed  an HMAC
//	basic   as a password   form    in a form        oauth as a client       cert    a client certificate
//
// globex has a tool legacy too, with a key of its own.
type shimWorld struct {
	*harness.Server
	apart   *harness.Outpost   // the shim, if it is a process of its own
	up      *upstream.Upstream // of every tool but cert
	mutual  *upstream.Upstream // of cert
	evil    *upstream.Upstream // where no key may go
	cluster *harness.Issuer
	oracle  *leak.Oracle
	certKey string // PEM of the client certificate's key
	tokens  map[string]string
}

// eachShim runs a test with each form of the shim: within the server on the embedded store, and as a process of its own
// on Redis. Unless harness.Full, one has to do, as with harness.EachStore.
func eachShim(t *testing.T, run func(t *testing.T, w *shimWorld)) {
	t.Helper()
	t.Parallel()
	harness.EachStore(t, func(t *testing.T, s *harness.Server) { run(t, newShimWorld(t, s)) })
}

func newShimWorld(t *testing.T, s *harness.Server) *shimWorld {
	t.Helper()
	keys := []string{acmeKey, nextKey, globexKey, accessToken, password}
	w := &shimWorld{Server: s, tokens: map[string]string{},
		mutual:  upstream.Start(t, upstream.Options{Client: true}),
		evil:    upstream.Start(t, upstream.Options{Plain: true}),
		cluster: harness.StartIssuer(t, "kubernetes", "-audience", s.Issuer("acme")),
		oracle:  leak.Of(acmeKey, nextKey, globexKey, awsSecret, clientKey, accessToken, password),
	}
	w.up = upstream.Start(t, upstream.Options{Keys: keys, Answer: w.legacy})
	if s.Redis == nil {
		s.ServeShim(t)
	} else {
		s.ApartShim(t)
	}
	w.within(t)
	w.Apply(t, w.tenant("acme", ""))
	w.Apply(t, w.tenant("globex", ""))
	w.put(t, "acme/legacy-key", acmeKey, everyPlain...)
	w.put(t, "acme/login", "username=robot password="+password)
	w.put(t, "acme/aws-key", "access_key_id="+awsID+" secret_access_key="+awsSecret)
	w.putClient(t, clientKey)
	certificate, key := upstream.ClientPEM(t, "the client of acme")
	w.certKey = key
	w.putAt(t, w.mutual, "acme/cert", operator.SecretRequest{Fields: map[string]string{"certificate": certificate,
		"key": key}})
	w.put(t, "globex/legacy-key", globexKey, "header")
	if s.Redis != nil {
		w.apart = s.StartOutpost(t, "", "acme", "globex")
	}
	t.Cleanup(func() { w.leavesNothing(t) })
	return w
}

// legacy answers as upstream.Paths does, and is the token endpoint of the tool oauth, and one that sends elsewhere.
func (w *shimWorld) legacy(x *upstream.Exchange) {
	status := 0
	switch _, _ = fmt.Sscanf(x.Path(), "/moved/%d", &status); {
	case x.Path() == "/token":
		x.Send(upstream.Response{Header: []upstream.Field{{Name: "Content-Type", Value: "application/json"}},
			Body: []byte(`{"access_token":"` + accessToken + `","token_type":"Bearer","expires_in":3600}`)})
	case status != 0:
		x.Send(upstream.Response{Status: status, Header: []upstream.Field{{Name: "Location", Value: w.evil.URL + "/token"}}})
	default:
		upstream.Paths(x)
	}
}

// within serves again, run by another program. What it trusts beside the certificates of upstreams is the authority of
// the token endpoint.
func (w *shimWorld) within(t *testing.T, program ...string) {
	t.Helper()
	w.Within(t, append([]string{"env", "SSL_CERT_FILE=" + w.caFile(t, w.up)}, program...)...)
}

// everyPlain are the kinds of injection of one value.
var everyPlain = strings.Fields("header bearer query cookie path json form hmac")

// put puts a secret bound to the upstream, for kinds of injection or the usual ones, and activates it. Its value is
// one, or fields as name=value.
func (w *shimWorld) put(t *testing.T, name, value string, kinds ...string) {
	t.Helper()
	fields := map[string]string{"value": value}
	if strings.Contains(value, " ") {
		delete(fields, "value")
		for field := range strings.FieldsSeq(value) {
			key, text, _ := strings.Cut(field, "=")
			fields[key] = text
		}
	}
	w.putAt(t, w.up, name, operator.SecretRequest{Fields: fields, Inject: kinds})
}

// putClient puts the secret of the tool oauth.
func (w *shimWorld) putClient(t *testing.T, secret string) {
	t.Helper()
	w.putAt(t, w.up, "acme/client", operator.SecretRequest{TokenURL: w.up.URL + "/token",
		Fields: map[string]string{"client_id": clientID, "client_secret": secret}})
}

// putAt puts a secret bound to an upstream, and activates it.
func (w *shimWorld) putAt(t *testing.T, up *upstream.Upstream, name string, r operator.SecretRequest) {
	t.Helper()
	slug, secret, _ := strings.Cut(name, "/")
	if r.CA = up.CA; r.Host == "" {
		r.Host = up.URL
	}
	r.Activate = true
	if _, err := w.Operator.PutSecret(t.Context(), slug, secret, r); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

func (w *shimWorld) caFile(t *testing.T, up *upstream.Upstream) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte(up.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tokenFile writes an operator's token where the binary takes it from.
func (w *shimWorld) tokenFile(t *testing.T, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "operator.token")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// with gives acme another tool before the upstream, in the place of any other that it was given.
func (w *shimWorld) with(t *testing.T, name, injection, rest string) {
	t.Helper()
	if out, err := w.tryWith(t, name, injection, rest); err != nil {
		t.Fatalf("bursar apply: %v\n%s", err, out)
	}
}

// tryWith is with, and returns what the binary says.
func (w *shimWorld) tryWith(t *testing.T, name, injection, rest string) (string, error) {
	t.Helper()
	return w.TryApply(t, w.tenant("acme", w.tool("acme", name, w.up.URL, injection, w.up.CA, rest)))
}

// sent returns the values of a header of the last request that the upstream got.
func (w *shimWorld) sent(t *testing.T, header string) []string {
	t.Helper()
	return w.up.Last(t).Get(header)
}

// run runs a command of the binary and fails the test if it does.
func (w *shimWorld) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.Bursar(t, args...)
	if err != nil {
		t.Fatalf("bursar %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// token returns an access token of ap-bot for a tool of acme, with the actions to read and to write.
func (w *shimWorld) token(t *testing.T, tool string) string {
	t.Helper()
	if w.tokens[tool] == "" {
		w.tokens[tool] = w.fresh(t, "acme", tool, "items.read", "items.write")
	}
	return w.tokens[tool]
}

// fresh returns a new access token of ap-bot for actions of a tool.
func (w *shimWorld) fresh(t *testing.T, slug, tool string, actions ...string) string {
	t.Helper()
	workload := w.cluster.Mint(t, harness.Mint{Claims: map[string]any{"aud": []string{w.Issuer(slug)}}})
	var scope []string
	for _, a := range actions {
		scope = append(scope, tool+":"+a)
	}
	return w.At(slug).MustExchange(t, harness.Form(workload, w.resource(slug, tool), strings.Join(scope, " ")))
}

// request writes a request to a tool of acme, with a token unless it is empty. Headers are whole lines.
func (w *shimWorld) request(token, tool, method, target, body string, headers ...string) string {
	text := method + " /shim/t/acme/" + tool + target + " HTTP/1.1\r\nHost: " + w.host() + "\r\n"
	if token != "" {
		text += "Authorization: Bearer " + token + "\r\n"
	}
	for _, line := range headers {
		text += line + "\r\n"
	}
	if body != "" {
		text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return text + "\r\n" + body
}

func (w *shimWorld) host() string {
	return strings.TrimSuffix(strings.TrimPrefix(w.Shim, "http://"), "/shim")
}

// get calls a tool of acme, and holds every byte of the answer against the oracle.
func (w *shimWorld) get(t *testing.T, tool, target string, headers ...string) *raw.Reply {
	t.Helper()
	return w.ask(t, w.request(w.token(t, tool), tool, "GET", target, "", headers...))
}

// send is get with a body.
func (w *shimWorld) send(t *testing.T, tool, method, target, body string, headers ...string) *raw.Reply {
	t.Helper()
	return w.ask(t, w.request(w.token(t, tool), tool, method, target, body, headers...))
}

// ask sends bytes to the shim, and holds every byte of the answer against the oracle.
func (w *shimWorld) ask(t *testing.T, text string) *raw.Reply {
	t.Helper()
	reply := raw.Ask(t, w.Shim, text)
	w.clean(t, text, reply)
	return reply
}

// clean holds an answer against the oracle, as it came and without its framing.
func (w *shimWorld) clean(t *testing.T, what string, reply *raw.Reply) {
	t.Helper()
	line, _, _ := strings.Cut(what, "\r\n")
	w.oracle.Check(t, "the answer to "+line, reply.Raw)
	w.oracle.Check(t, "the body of the answer to "+line, reply.Body)
}

// problem fails the test unless an answer is the shim's own refusal.
func problem(t *testing.T, what string, reply *raw.Reply, status int, code string) {
	t.Helper()
	if reply.Status != status || code != "" && reply.Get("Bursar-Error") != code {
		t.Errorf("%s: answered %d %s, want %d %s: %s", what, reply.Status, reply.Get("Bursar-Error"), status, code,
			reply.Body)
	}
}

// silent fails the test if the upstream got any byte while f ran.
func (w *shimWorld) silent(t *testing.T, what string, f func()) {
	t.Helper()
	before := w.up.Count()
	f()
	if after := w.up.Count(); after.Bytes != before.Bytes {
		t.Errorf("%s: the upstream got %d bytes", what, after.Bytes-before.Bytes)
	}
}

// uses returns what the log of acme says of calls after an index, once there are so many outcomes and refusals.
func (w *shimWorld) uses(t *testing.T, after int64, ended int) []harness.Event {
	t.Helper()
	isUse := func(e harness.Event) bool { return e.Name == "key.use" }
	log := w.Await(t, "acme", after, "calls have ended", func(all []harness.Event) bool {
		n := 0
		for _, e := range all {
			if isUse(e) && e.Use.Phase != "intent" {
				n++
			}
		}
		return n >= ended
	})
	return slices.DeleteFunc(log, func(e harness.Event) bool { return !isUse(e) })
}

// size is the number of events in the log of acme.
func (w *shimWorld) size(t *testing.T) int64 {
	t.Helper()
	return int64(len(w.Events(t, "acme", 0)))
}

// leavesNothing looks for the keys in everything that the server has written.
func (w *shimWorld) leavesNothing(t *testing.T) {
	t.Helper()
	if req, err := http.NewRequest(http.MethodGet, w.Metrics, nil); err == nil {
		if a, err := harness.Do(req); err == nil {
			w.oracle.Check(t, "the metrics", []byte(a.Body))
		}
	}
	dirs := []string{w.Dir}
	if w.Redis != nil {
		dirs = append(dirs, w.Redis.Dir)
	}
	for _, dir := range dirs {
		w.oracle.Folder(t, dir)
	}
	if n := w.evil.Count(); n.Connections > 0 {
		t.Errorf("%d connections to where none may go, with %d bytes", n.Connections, n.Bytes)
	}
}

// against runs the test of a row of the list of attacks; docs/attacks.md has them all.
func against(t *testing.T, id, what string, test func(t *testing.T)) {
	t.Helper()
	t.Run(id+" "+what, test)
}
