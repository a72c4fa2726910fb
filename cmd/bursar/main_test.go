package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bursar-sts/bursar/clients/token"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bursar": main})
}

// TestScripts runs testdata/*.txtar. Each script has a directory http/ of answers, which a server at $SERVER gives:
// http/METHOD/path.http, whose first line is the status. The requests are written to the file requests. jwks.json is
// that of the issuer $SERVER/t/acme; good.jwt and expired.jwt are its tokens, forged.jwt is not.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a command and checks its exit code: exits 2 bursar …
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if exited, ok := err.(interface{ ExitCode() int }); ok {
		code = strconv.Itoa(exited.ExitCode())
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

func setup(env *testscript.Env) error {
	a := &answers{dir: env.WorkDir}
	srv := httptest.NewServer(a)
	env.Defer(srv.Close)
	a.url = srv.URL
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	env.Setenv("SERVER", srv.URL)
	env.Setenv("TLS", "https"+strings.TrimPrefix(srv.URL, "http")) // which it does not speak
	env.Setenv("NOBODY", gone.URL)
	return mintTokens(env.WorkDir, srv.URL+"/t/acme")
}

// answers is the server of a script.
type answers struct {
	dir, url string
	mu       sync.Mutex // guards the file requests
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.record(fmt.Sprintf("%s %s [%s] %s\n", r.Method, r.URL, r.Header.Get("Authorization"), body))
	data, err := os.ReadFile(filepath.Join(a.dir, "http", r.Method, filepath.FromSlash(r.URL.Path)+".http"))
	if err != nil {
		data = []byte(`404` + "\n" + `{"type":"urn:bursar:problem:not_found","detail":"There is no such thing."}`)
	}
	line, answer, _ := strings.Cut(string(data), "\n")
	status, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "/log/events") {
		w.Header().Set("Content-Type", "application/x-ndjson")
	}
	if strings.HasSuffix(r.URL.Path, "/backup") {
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	if status >= 400 && strings.HasPrefix(r.URL.Path, "/admin/") {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "2")
	}
	if status/100 == 3 {
		w.Header().Set("Location", a.url+"/elsewhere")
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, strings.ReplaceAll(answer, "SERVER", a.url))
}

func (a *answers) record(line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, err := os.OpenFile(filepath.Join(a.dir, "requests"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	_, _ = f.WriteString(line)
}

// mintTokens writes the JWKS of an issuer and tokens that it signed, one good and one expired, and one that it did not.
func mintTokens(dir, issuer string) error {
	keys := make([]*ecdsa.PrivateKey, 2)
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
	}
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: keys[0].Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"},
	}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "jwks.json"), jwks, 0o600); err != nil {
		return err
	}
	now := time.Now().Unix()
	for name, t := range map[string]struct {
		key    *ecdsa.PrivateKey
		expiry int64
	}{
		"good.jwt": {keys[0], now + 600}, "expired.jwt": {keys[0], now - 60}, "forged.jwt": {keys[1], now + 600},
	} {
		c := token.Claims{
			Issuer: issuer, Subject: "client:ap-bot", Audience: "https://pay.example", ClientID: "ap-bot",
			Scope: "payments:refunds.read", IssuedAt: now - 120, Expiry: t.expiry, ID: "j1", Txn: "t1",
		}
		compact, err := sign(t.key, c.Marshal())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(compact+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func sign(key crypto.Signer, payload []byte) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}},
		(&jose.SignerOptions{}).WithType(token.Type))
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}
