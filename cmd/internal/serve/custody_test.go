package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/cmd/internal/bao"
	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/storage/openbao/baotest"
)

// A server whose master key is in OpenBao makes tenants, signs, goes on when the key is rotated there and while OpenBao
// is away, and does not begin without it. OpenBao is among what is never dialled for a tenant.
func TestAServerWithItsMasterKeyInOpenBao(t *testing.T) {
	away := baotest.Start(t)
	b := &baotest.Bao{URL: away.URL, Token: away.Root, Fake: away}
	b.Must(t, http.MethodPost, "sys/mounts/transit", map[string]any{"type": "transit"})
	b.Must(t, http.MethodPost, "transit/keys/bursar", nil)
	dir := t.TempDir()
	token := filepath.Join(dir, "bao.token")
	if err := os.WriteFile(token, []byte(away.Root), 0o600); err != nil {
		t.Fatal(err)
	}
	change := func(c *config.Config) {
		c.MasterKey = config.MasterKey{Source: config.Source{Kind: config.SourceTransit, Name: "bursar"}}
		c.Vault.OpenBao = bao.Config{Address: away.URL,
			Auth: bao.Auth{Token: config.Source{Kind: strict.SourceFile, Name: token}}}
		c.Store, c.Audit.Anchors = "bolt:"+filepath.Join(dir, "bursar.db"), filepath.Join(dir, "anchors")
	}
	s := start(t, change)
	if !slices.Contains(*s.own.Load(), netip.MustParseAddrPort(strings.TrimPrefix(away.URL, "http://"))) {
		t.Errorf("OpenBao is not among %v", *s.own.Load())
	}
	apply := func(s running) error {
		_, err := s.Apply(t.Context(), "acme", []byte("apiVersion: bursar/v1\ntenant: acme\n"), operator.ApplyOptions{})
		return err
	}
	if err := apply(s); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Fatal(err)
	}
	b.Must(t, http.MethodPost, "transit/keys/bursar/rotate", nil)
	s = start(t, change)
	jwks := func() error {
		resp, err := http.Get("http://" + s.Address() + "/t/acme/jwks.json")
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	}
	if err := jwks(); err != nil {
		t.Errorf("after the key was rotated: %v", err)
	}
	if _, err := s.PlatformOperators(t.Context()); err != nil {
		t.Errorf("after the key was rotated: %v", err)
	}
	away.Seal(true)
	for range 2 {
		if err := jwks(); err != nil {
			t.Errorf("while OpenBao is away: %v", err)
		}
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Fatal(err)
	}
	if _, err := began(t, change); err == nil || !strings.Contains(err.Error(), "vault.openbao: ") ||
		!strings.Contains(err.Error(), "sealed") {
		t.Errorf("it begins: %v", err)
	}
	away.Seal(false)
	s = start(t, change)
	if err := jwks(); err != nil {
		t.Errorf("when OpenBao is back: %v", err)
	}
}

// began tries to start a server.
func began(t *testing.T, change func(*config.Config)) (*Server, error) {
	t.Helper()
	path, err := config.Init(t.TempDir(), config.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c.Listen = "127.0.0.1:0"
	change(c)
	secrets, found := c.Secrets()
	if len(found) > 0 {
		t.Fatal(found)
	}
	return Start(context.Background(), Config{Config: c, Secrets: secrets, Version: "v1.2.3",
		Logger: slog.New(slog.DiscardHandler)})
}
