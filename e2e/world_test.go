package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	payments = "https://tools.acme.example/payments"
	ledger   = "https://tools.acme.example/ledger"
	mail     = "https://tools.acme.example/mail"

	readRefunds = "payments:refunds.read"
)

// world is a server with the tenant of testdata/acme.yaml, and an issuer process of each kind.
type world struct {
	*harness.Server
	cluster, mesh, hub, corp *harness.Issuer
	vars                     map[string]string // what fills in tenant files
}

func newWorld(t *testing.T, s *harness.Server) *world {
	t.Helper()
	audience := s.Issuer("acme")
	w := &world{Server: s,
		cluster: harness.StartIssuer(t, "kubernetes", "-audience", audience),
		mesh:    harness.StartIssuer(t, "spiffe", "-audience", audience, "-trust-domain", "mesh.example"),
		hub:     harness.StartIssuer(t, "github", "-audience", audience),
		corp:    harness.StartIssuer(t, "oidc", "-audience", audience),
	}
	w.vars = map[string]string{"issuer": audience, "base": s.BaseURL,
		"cluster": w.cluster.URL, "mesh": w.mesh.URL, "hub": w.hub.URL, "corp": w.corp.URL}
	s.Apply(t, w.file(t, "acme.yaml"))
	return w
}

// eachWorld runs a test in a world of its own on each store.
func eachWorld(t *testing.T, run func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	harness.EachStore(t, func(t *testing.T, s *harness.Server) { run(t, newWorld(t, s)) })
}

// file returns a tenant file of testdata, filled in.
func (w *world) file(t *testing.T, name string) string {
	t.Helper()
	return fill(t, read(t, name), w.vars)
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fill replaces every ${name} of a text.
func fill(t *testing.T, text string, vars map[string]string) string {
	t.Helper()
	return os.Expand(text, func(name string) string {
		value, ok := vars[name]
		if !ok {
			t.Fatalf("nothing to fill in for ${%s}", name)
		}
		return value
	})
}

// acme returns a caller of the tenant without credentials.
func (w *world) acme() harness.Caller { return w.At("acme") }

// as returns a caller with a new secret of a client of acme.
func (w *world) as(t *testing.T, client string) harness.Caller {
	t.Helper()
	return withSecret(t, w.Server, "acme", client)
}

func withSecret(t *testing.T, s *harness.Server, tenant, client string) harness.Caller {
	t.Helper()
	out, err := s.Bursar(t, "client", "secret", tenant+"/"+client)
	if err != nil {
		t.Fatalf("bursar client secret: %v\n%s", err, out)
	}
	c := s.At(tenant)
	c.ID, c.Secret = client, strings.TrimSpace(out)
	return c
}

// workload returns a token of ap-bot in the cluster.
func (w *world) workload(t *testing.T) string { t.Helper(); return w.cluster.Mint(t, harness.Mint{}) }

// token returns a token for payments.
func (w *world) token(t *testing.T) string {
	t.Helper()
	return w.acme().MustExchange(t, harness.Form(w.workload(t), payments, readRefunds))
}

// run runs a command of the binary and fails the test if it does.
func (w *world) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.Bursar(t, args...)
	if err != nil {
		t.Fatalf("bursar %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}
