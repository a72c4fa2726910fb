package e2e_test

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/leak"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
	"github.com/bursar-sts/bursar/storage/storagetest"
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
	front   swapper            // where the shim is: the server, or outpost
	outpost *harness.Outpost   // nil where the shim is within the server
	up      *upstream.Upstream // of every tool but cert
	mutual  *upstream.Upstream // of cert
	evil    *upstream.Upstream // where no key may go
	cluster *harness.Issuer
	oracle  *leak.Oracle
	roots   string // file of the authority of up
	decide  string // address where proxies ask
	proxies *upstream.Authority
	tokens  map[string]string
}

// swapper is the process that the shim runs in: a server, or a bursar-shim.
type swapper interface {
	Within(t testing.TB, program ...string)
	Restart(t testing.TB)
	Abort()
	PID() int
	Output() string
}

// eachShim runs a test with each form of the shim: within the server on the embedded store, and as a process of its own
// on Redis; with harness.Full, within the server on Redis, too. Unless harness.Full, one form has to do, to which the
// test is told off by its name.
func eachShim(t *testing.T, run func(t *testing.T, w *shimWorld)) {
	t.Helper()
	t.Parallel()
	forms := []string{"embedded", "standalone", "redis"}
	if !harness.Full() {
		i := crc32.ChecksumIEEE([]byte(t.Name())) % 2
		forms = forms[i : i+1]
	}
	for _, form := range forms {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			run(t, newShimWorld(t, form))
		})
	}
}

func newShimWorld(t *testing.T, form string) *shimWorld {
	t.Helper()
	store := map[string]string{"embedded": "bolt"}[form]
	s := harness.Start(t, cmp.Or(store, "redis"))
	w := &shimWorld{Server: s, front: s, tokens: map[string]string{},
		mutual:  upstream.Start(t, upstream.Options{Client: true}),
		evil:    upstream.Start(t, upstream.Options{Plain: true}),
		cluster: harness.StartIssuer(t, "kubernetes", "-audience", s.Issuer("acme")),
		oracle:  leak.Of(acmeKey, nextKey, globexKey, awsSecret, clientKey, accessToken, password),
	}
	w.up = upstream.Start(t, upstream.Options{Keys: acceptedKeys, Answer: w.legacy})
	w.roots = w.caFile(t, w.up)
	decide := w.door(t)
	if form == "standalone" {
		s.ApartShim(t)
	} else {
		s.ServeShim(t, decide)
	}
	w.Apply(t, w.tenant("acme", ""))
	w.Apply(t, w.tenant("globex", ""))
	w.putAll(t)
	if form == "standalone" {
		w.outpost = s.StartOutpost(t, decide+"\n", "acme", "globex")
		w.front = w.outpost
	}
	w.within(t)
	t.Cleanup(func() { w.leavesNothing(t) })
	return w
}

// door returns the line of a configuration that opens a door for proxies whose certificate is of an authority.
func (w *shimWorld) door(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	w.proxies, w.decide = upstream.NewAuthority(t), fmt.Sprintf("127.0.0.1:%d", storagetest.FreePort(t))
	certificate, key := w.proxies.Issue(t, "127.0.0.1")
	for name, content := range map[string]string{"ca.pem": w.proxies.PEM, "cert.pem": certificate, "key.pem": key} {
		write(t, filepath.Join(dir, name), content)
	}
	return fmt.Sprintf("decide: {listen: %q, tls: {cert: %q, key: %q}, client_ca: %q}", w.decide,
		filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem"))
}

// acceptedKeys are those that the upstream of the tools accepts.
var acceptedKeys = []string{acmeKey, nextKey, globexKey, accessToken, password}

// putAll puts the secrets of both tenants.
func (w *shimWorld) putAll(t *testing.T) {
	t.Helper()
	w.put(t, "acme/legacy-key", acmeKey, everyPlain...)
	w.put(t, "acme/login", "username=robot password="+password)
	w.put(t, "acme/aws-key", "access_key_id="+awsID+" secret_access_key="+awsSecret)
	w.putClient(t, clientKey)
	certificate, key := upstream.ClientPEM(t, "client.acme.example")
	w.putAt(t, w.mutual, "acme/cert",
		operator.SecretRequest{Fields: map[string]string{"certificate": certificate, "key": key}})
	w.put(t, "globex/legacy-key", globexKey, "header")
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
	w.front.Within(t, append([]string{"env", "SSL_CERT_FILE=" + w.roots}, program...)...)
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
	harness.Eventually(t, "the store takes "+name, func() bool {
		_, err := w.Operator.PutSecret(t.Context(), slug, secret, r)
		if err != nil && problemCode(err) != operator.CodeUnavailable {
			t.Fatalf("put %s: %v", name, err)
		}
		return err == nil
	})
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
	harness.Eventually(t, "the store takes "+name, func() bool {
		out, err := w.tryWith(t, name, injection, rest)
		if err != nil && !strings.Contains(out, "try again") {
			t.Fatalf("bursar apply: %v\n%s", err, out)
		}
		return err == nil
	})
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

// leavesNothing looks for the keys in everything that the server has written.
func (w *shimWorld) leavesNothing(t *testing.T) {
	t.Helper()
	for _, metrics := range w.metrics() {
		if req, err := http.NewRequest(http.MethodGet, metrics, nil); err == nil {
			if a, err := harness.Do(req); err == nil {
				w.oracle.Check(t, "the metrics", []byte(a.Body))
			}
		}
	}
	for _, dir := range w.folders() {
		w.oracle.Folder(t, dir)
	}
	if n := w.evil.Count(); n.Connections > 0 {
		t.Errorf("%d connections to where none may go, with %d bytes", n.Connections, n.Bytes)
	}
}

// metrics are the URLs of those of each process.
func (w *shimWorld) metrics() []string {
	if w.outpost != nil {
		return []string{w.Metrics, w.outpost.Metrics}
	}
	return []string{w.Metrics}
}

// folders are where the processes and the store write.
func (w *shimWorld) folders() []string {
	dirs := []string{w.Dir}
	if w.outpost != nil {
		dirs = append(dirs, w.outpost.Dir)
	}
	if w.Redis != nil {
		dirs = append(dirs, w.Redis.Dir)
	}
	return dirs
}

// said returns what the shim's process has printed.
func (w *shimWorld) said(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(w.front.Output())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// restart stops all processes, and starts them again.
func (w *shimWorld) restart(t *testing.T) {
	t.Helper()
	w.Stop()
	w.Restart(t)
	if w.outpost != nil {
		w.outpost.Stop()
		w.outpost.Restart(t)
	}
}

// against runs the test of a row of the list of attacks; docs/attacks.md has them all.
func against(t *testing.T, id, what string, test func(t *testing.T)) {
	t.Helper()
	t.Run(id+" "+what, test)
}
