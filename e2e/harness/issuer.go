package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Issuer is a process that issues identity tokens.
type Issuer struct {
	URL     string // its base URL, and the iss of its tokens unless an argument said otherwise
	process *process
}

// Mint asks an issuer for a token; zero fields mean the kind's usual ones.
type Mint struct {
	Claims   map[string]any `json:"claims,omitempty" yaml:"claims"` // null removes one
	Header   map[string]any `json:"header,omitempty" yaml:"header"`
	Alg      string         `json:"alg,omitempty" yaml:"alg"`
	Lifetime string         `json:"lifetime,omitempty" yaml:"lifetime"`
}

// StartIssuer starts an issuer of the given kind; args are further flags of its program.
func StartIssuer(t testing.TB, kind string, args ...string) *Issuer {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{process: start(t, os.Stderr, w, binary(t, "issuer"), append([]string{"-kind", kind}, args...)...)}
	t.Cleanup(i.Kill)
	_ = w.Close()
	defer func() { _ = r.Close() }()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("start the %s issuer: %v", kind, err)
	}
	i.URL = strings.TrimSpace(line)
	return i
}

// Kill ends the issuer.
func (i *Issuer) Kill() { i.process.end(syscall.SIGKILL) }

// Mint returns a token.
func (i *Issuer) Mint(t testing.TB, m Mint) string {
	t.Helper()
	return strings.TrimSpace(string(i.call(t, http.MethodPost, "/mint", m)))
}

// Rotate makes new keys sign from now on.
func (i *Issuer) Rotate(t testing.TB) { t.Helper(); i.call(t, http.MethodPost, "/rotate", nil) }

// Mode says how the key document is served from now on: ok, 500, slow, huge, html, gzipbomb, redirect:<url>.
func (i *Issuer) Mode(t testing.TB, mode string) {
	t.Helper()
	i.call(t, http.MethodPost, "/mode", map[string]string{"jwks": mode})
}

// Fetches returns how often the key document was asked for.
func (i *Issuer) Fetches(t testing.TB) int {
	t.Helper()
	var stats struct{ Fetches int }
	if err := json.Unmarshal(i.call(t, http.MethodGet, "/stats", nil), &stats); err != nil {
		t.Fatal(err)
	}
	return stats.Fetches
}

func (i *Issuer) call(t testing.TB, method, path string, body any) []byte {
	t.Helper()
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, i.URL+path, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("issuer %s: status %d, %v\n%s", path, resp.StatusCode, err, answer)
	}
	return answer
}
