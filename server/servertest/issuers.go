package servertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
)

func asFault(err error) (*fault.Error, bool) { return errors.AsType[*fault.Error](err) }

// Issuer is a running issuer.
type Issuer struct {
	*demoissuer.Issuer
	URL  string
	kind demoissuer.Kind
}

// The issuers that all worlds of a test binary share.
var (
	Cluster = sync.OnceValue(func() *Issuer { return start(demoissuer.Kubernetes) })
	Mesh    = sync.OnceValue(func() *Issuer { return start(demoissuer.SPIFFE) })
	Corp    = sync.OnceValue(func() *Issuer { return start(demoissuer.OIDC) })
	Once    = sync.OnceValue(func() *Issuer { return start(demoissuer.OIDC) })
)

func start(kind demoissuer.Kind) *Issuer {
	s := httptest.NewUnstartedServer(nil)
	url := "http://" + s.Listener.Addr().String()
	i, err := demoissuer.New(demoissuer.Config{Kind: kind, URL: url, TrustDomain: "mesh.example"})
	if err != nil {
		panic(err)
	}
	s.Config.Handler = i
	s.Start() // until the test binary ends
	return &Issuer{Issuer: i, URL: url, kind: kind}
}

// Mint signs a token for acme that lives an hour in the world's time; claims replace the usual ones, nil removes one.
func (w *World) Mint(i *Issuer, claims map[string]any) string {
	w.T.Helper()
	now := w.Clock.Now()
	all := map[string]any{"aud": BaseURL + "/t/acme", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	if i.kind == demoissuer.Kubernetes {
		all["nbf"] = now.Unix()
	}
	maps.Copy(all, claims)
	compact, err := i.Issuer.Mint(demoissuer.Request{Claims: all, Alg: "ES256"})
	if err != nil {
		w.T.Fatal(err)
	}
	return compact
}

// Workload returns a fresh token of a service account in the cluster.
func (w *World) Workload(account string) string {
	w.T.Helper()
	return w.Mint(Cluster(), map[string]any{"sub": "system:serviceaccount:prod:" + account})
}

// User returns a fresh token of somebody whom an agent may act for.
func (w *World) User(name string) string {
	w.T.Helper()
	return w.Mint(Corp(), map[string]any{"sub": name})
}

// Secret gives a client of acme a new secret.
func (w *World) Secret(client string) string {
	w.T.Helper()
	return w.SecretOf("acme", client)
}

// SecretOf gives a client of a tenant a new secret.
func (w *World) SecretOf(slug, client string) string {
	w.T.Helper()
	v, err := w.Directory.Fresh(w.T.Context(), slug)
	if err != nil {
		w.T.Fatal(err)
	}
	set := clients.SecretSet{Client: client}
	if value, ok := v.Row(tenant.KindSecret, client); ok {
		if err := json.Unmarshal(value, &set); err != nil {
			w.T.Fatal(err)
		}
	}
	plain, secret := clients.NewSecret(w.Clock.Now())
	value, err := json.Marshal(set.Add(secret))
	if err != nil {
		w.T.Fatal(err)
	}
	w.Commit(slug, ledger.Change{Expect: v.Revision,
		Put: []ledger.Row{{Kind: tenant.KindSecret, ID: client, Value: value}}})
	return plain
}

// Basic are credentials of a client in the Authorization header.
func Basic(client, secret string) clients.Credentials {
	return clients.Credentials{Basic: &clients.IDSecret{ID: client, Secret: secret}}
}

var botKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// Assertion signs a private_key_jwt assertion of key-bot; claims replace the usual ones, nil removes one.
func (w *World) Assertion(claims map[string]any) clients.Credentials {
	w.T.Helper()
	now := w.Clock.Now()
	all := map[string]any{"iss": "key-bot", "sub": "key-bot", "aud": BaseURL + "/t/acme", "iat": now.Unix(),
		"exp": now.Add(time.Minute).Unix(), "jti": rand.Text()}
	for name, value := range claims {
		all[name] = value
		if value == nil {
			delete(all, name)
		}
	}
	payload, err := json.Marshal(all)
	if err != nil {
		w.T.Fatal(err)
	}
	return clients.Credentials{AssertionType: clients.TypeJWTBearer, Assertion: sign(w.T, payload)}
}

func sign(t testing.TB, payload []byte) string {
	t.Helper()
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: botKey(), KeyID: "k1"}}
	signer, err := jose.NewSigner(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// Signed returns a token with the signature of acme and the given claims, as no version of the server makes it.
func (w *World) Signed(claims map[string]any) string {
	w.T.Helper()
	view, err := w.Directory.Fresh(w.T.Context(), "acme")
	if err != nil {
		w.T.Fatal(err)
	}
	signer, err := view.Ring.Signer(keys.ES256, w.Clock.Now())
	if err != nil {
		w.T.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		w.T.Fatal(err)
	}
	compact, err := signer.Sign(token.Type, payload)
	if err != nil {
		w.T.Fatal(err)
	}
	return compact
}

// Acme is the file of the tenant acme, with the given changes: pairs of what stands there and what replaces it.
func Acme(changes ...string) string {
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: botKey().Public(), KeyID: "k1",
		Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		panic(err)
	}
	file := strings.NewReplacer(
		"${cluster}", Cluster().URL, "${clusterkeys}", Cluster().JWKSURI(), "${mesh}", Mesh().JWKSURI(),
		"${corp}", Corp().URL, "${once}", Once().URL, "${key}", string(public)).Replace(acme)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(file, changes[i]) {
			panic("the file of acme does not hold: " + changes[i])
		}
		file = strings.ReplaceAll(file, changes[i], changes[i+1])
	}
	return file
}

const acme = `apiVersion: bursar/v1
tenant: acme
issuers:
  - {name: cluster, kind: kubernetes, issuer: "${cluster}", jwks_uri: "${clusterkeys}", algorithms: [ES256],
     audiences: ["https://sts.example/t/acme"], network: {allow_private: true}}
  - {name: mesh, kind: spiffe, trust_domain: mesh.example, jwks_uri: "${mesh}",
     audiences: ["https://sts.example/t/acme"], network: {allow_private: true}}
  - {name: corp, issuer: "${corp}", use: [subject], audiences: ["https://sts.example/t/acme"],
     network: {allow_private: true}}
  - {name: once, issuer: "${once}", use: [workload, subject], replay: once, audiences: ["https://sts.example/t/acme"],
     network: {allow_private: true}}
clients:
  - id: ap-bot
    kind: agent
    identities:
      - {issuer: cluster, subject: "system:serviceaccount:prod:ap-bot"}
      - {issuer: mesh, subject: "spiffe://mesh.example/ns/prod/sa/ap-bot"}
      - {issuer: once, subject: ap-bot}
  - {id: other-bot, kind: agent, identities: [{issuer: cluster, subject: "system:serviceaccount:prod:other-bot"}]}
  - id: secret-bot
    kind: agent
    identities: [{issuer: cluster, subject: "system:serviceaccount:prod:secret-bot"}]
    auth: {method: client_secret_basic}
  - id: post-bot
    kind: agent
    identities: [{issuer: cluster, subject: "system:serviceaccount:prod:post-bot"}]
    auth: {method: client_secret_post}
  - id: key-bot
    kind: agent
    identities: [{issuer: cluster, subject: "system:serviceaccount:prod:key-bot"}]
    auth: {method: private_key_jwt, jwks: ${key}}
  - {id: payments-api, kind: resource_server, tools: [payments], auth: {method: client_secret_basic}}
  - {id: ledger-api, kind: resource_server, tools: [ledger], auth: {method: client_secret_basic}}
  - {id: mesh-api, kind: resource_server, tools: [payments], identities: [{issuer: once, subject: mesh-api}]}
tools:
  - {name: payments, resource: "https://tools.example/payments",
     actions: [refunds.read, refunds.create, refunds.delete]}
  - {name: ledger, resource: "https://tools.example/ledger", actions: [read, write], scope_format: bare, max_ttl: 1m}
  - {name: mail, resource: "https://tools.example/mail", actions: [send]}
  - {name: attic, resource: "https://tools.example/attic", actions: [open], disabled: true}
policies:
  - id: payments-self
    clients: [ap-bot, secret-bot, post-bot, key-bot]
    tool: payments
    actions: [refunds.read, refunds.create]
    default_actions: [refunds.read]
    ttl: 2m
  - id: payments-for
    clients: [ap-bot, secret-bot, key-bot]
    tool: payments
    actions: [refunds.read]
    on_behalf_of: [{issuer: corp, subject_glob: "*"}, {issuer: once, subject_glob: "*"}]
  - {id: ledger-self, clients: [ap-bot, other-bot], tool: ledger, actions: [read]}
  - {id: mail-night, clients: [ap-bot], tool: mail, actions: [send], condition: "request.hour_utc > 24"}
  - {id: attic-self, clients: [ap-bot], tool: attic, actions: [open]}
`

// Globex is another tenant, which trusts the same cluster.
func Globex() string {
	return strings.NewReplacer("${cluster}", Cluster().URL, "${clusterkeys}", Cluster().JWKSURI()).Replace(globex)
}

const globex = `apiVersion: bursar/v1
tenant: globex
issuers:
  - {name: cluster, kind: kubernetes, issuer: "${cluster}", jwks_uri: "${clusterkeys}", algorithms: [ES256],
     audiences: ["https://sts.example/t/globex"], network: {allow_private: true}}
clients:
  - {id: ap-bot, kind: agent, identities: [{issuer: cluster, subject: "system:serviceaccount:prod:ap-bot"}]}
  - {id: payments-api, kind: resource_server, tools: [payments], auth: {method: client_secret_basic}}
tools:
  - {name: payments, resource: "https://tools.globex.example/payments", actions: [refunds.read]}
policies:
  - {id: payments-self, clients: [ap-bot], tool: payments, actions: [refunds.read]}
`
