package outpost_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/outpost"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/redis"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// file is a tenant's with a tool behind the shim.
func file(slug string) string {
	return strings.ReplaceAll(`apiVersion: bursar/v1
tenant: SLUG
clients:
  - {id: ap-bot, kind: agent, auth: {method: client_secret_basic}}
tools:
  - name: legacy
    resource: https://sts.example/shim/t/SLUG/legacy
    actions: [read]
    upstream:
      url: https://legacy.example
      inject: [{in: header, name: X-Api-Key, secret: legacy-key}]
      allow: [{action: read, methods: [GET], path: "/v1/{id}"}]
`, "SLUG", slug)
}

const (
	origin   = "https://legacy.example"
	secretOf = "sk-live-of-the-upstream-of-"
)

// world is a server over a Redis, two tenants, and a shim that one of them trusts, with its own user of the Redis.
type world struct {
	*servertest.World
	t      *testing.T
	key    *keys.ShimKey
	guest  *redis.DB
	dir    *outpost.Directory
	front  *httptest.Server // the server, as the shim reaches it
	roots  *x509.CertPool   // by whom its certificate is trusted
	logs   *bytes.Buffer    // of the shim
	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int64 // requests to the server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	node := storagetest.StartRedis(t)
	w := &world{World: servertest.New(t, servertest.Options{StoreURL: node.URL()}), t: t, logs: new(bytes.Buffer)}
	w.Create(file("acme"))
	w.Create(file("globex"))
	for _, slug := range []string{"acme", "globex"} {
		w.PutSecret(slug, "legacy-key", origin, "", secretOf+slug)
	}
	w.key = w.trust("acme")
	w.guest = w.open(node)
	w.roots = w.serve()
	w.dir = w.over(w.guest)
	return w
}

// over returns a directory over a store.
func (w *world) over(store outpost.Store) *outpost.Directory {
	dir := outpost.New(outpost.Config{Store: store, Key: w.key, BaseURL: servertest.BaseURL, URL: servertest.ShimURL,
		Private: map[string][]netip.Prefix{"acme": servertest.Loopback}, Roots: w.roots,
		Logger: slog.New(slog.NewTextHandler(w.logs, nil))})
	dir.DialTo(w.front.Listener.Addr().String())
	w.t.Cleanup(dir.Close)
	return dir
}

// trust makes a tenant trust a new shim, and returns its key.
func (w *world) trust(slug string) *keys.ShimKey {
	w.t.Helper()
	key, err := keys.NewShimKey()
	if err != nil {
		w.t.Fatal(err)
	}
	shims, at := w.shims(slug)
	put, grantor, err := shims.Trust(key.Public(), "edge", time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	w.Commit(slug, ledger.Change{Expect: at.Revision, Put: put})
	return key.Trusted(keys.ShimTenant{Slug: slug, ID: w.ID(slug), Grantor: grantor})
}

func (w *world) shims(slug string) (*keys.Shims, ledger.Position) {
	w.t.Helper()
	rows, at, err := w.Store.Rows(w.t.Context(), w.ID(slug))
	if err != nil {
		w.t.Fatal(err)
	}
	shims, err := keys.OpenShims(w.Master, w.ID(slug), rows)
	if err != nil {
		w.t.Fatal(err)
	}
	return shims, at
}

// open opens the store as the user of a shim of acme.
func (w *world) open(node *storagetest.RedisServer) *redis.DB {
	w.t.Helper()
	raw := goredis.NewClient(&goredis.Options{Addr: node.Addr})
	defer func() { _ = raw.Close() }()
	words := []any{"ACL", "SETUSER", "shim", "reset", "on", ">password-of-the-shim"}
	for _, word := range redis.GuestRights([]ledger.Tenant{w.ID("acme")}, outpost.Kinds()...) {
		words = append(words, word)
	}
	if err := raw.Do(w.t.Context(), words...).Err(); err != nil {
		w.t.Fatal(err)
	}
	u := url.URL{Scheme: "redis", User: url.UserPassword("shim", "password-of-the-shim"), Host: node.Addr}
	db, err := redis.Open(w.t.Context(), redis.Config{URL: u.String(), Guest: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

// serve serves the server over TLS, and returns whom its certificate is trusted by.
func (w *world) serve() *x509.CertPool {
	w.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"sts.example"},
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		w.t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	w.front = httptest.NewUnstartedServer(http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		if handle := w.answer.Load(); handle != nil {
			(*handle)(to, r)
			return
		}
		w.Server.ServeHTTP(to, r)
	}))
	w.front.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
	w.front.StartTLS()
	w.t.Cleanup(w.front.Close)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return roots
}

// answers sets how the server answers; nil is as it does.
func (w *world) answers(handle http.HandlerFunc) {
	if handle == nil {
		w.answer.Store(nil)
		return
	}
	w.answer.Store(&handle)
}

// token is one of ap-bot for the tool.
func (w *world) token() string {
	now := w.Directory.Now()
	return w.Signed(map[string]any{"iss": "https://sts.example/t/acme", "sub": "client:ap-bot", "client_id": "ap-bot",
		"aud": "https://sts.example/shim/t/acme/legacy", "scope": "legacy:read", "iat": now.Unix(),
		"exp": now.Add(5 * time.Minute).Unix(), "jti": ledger.NewID(now), "txn": ledger.NewID(now)})
}
