package clients_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/scopes/policy"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/bolt"
	"github.com/go-jose/go-jose/v4"
)

const (
	issuer  = "https://sts.example/t/acme"
	cluster = "https://k8s.acme.example"
	keysURI = "https://remote.example/jwks.json"
	bearer  = clients.TypeJWTBearer
	spiffe  = clients.TypeJWTSPIFFE
)

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// signer is a key pair and the kid under which the public half is registered.
type signer struct {
	alg jose.SignatureAlgorithm
	kid string
	key crypto.Signer
}

func (s signer) public() jose.JSONWebKey { return jose.JSONWebKey{Key: s.key.Public(), KeyID: s.kid} }

// keys of everybody in the tests, made once.
var keys = sync.OnceValue(func() map[string]signer {
	all := map[string]signer{}
	for _, name := range []string{"es256", "other", "remote", "cluster", "mesh", "unregistered"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		all[name] = signer{jose.ES256, name, key}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	all["es384"] = signer{jose.ES384, "es384", p384}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	all["rs256"] = signer{jose.RS256, "rs256", rsaKey}
	all["ps256"] = signer{jose.PS256, "rs256", rsaKey}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	all["eddsa"] = signer{jose.EdDSA, "eddsa", edKey}
	return all
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func jwks(names ...string) json.RawMessage {
	var set jose.JSONWebKeySet
	for _, name := range names {
		set.Keys = append(set.Keys, keys()[name].public())
	}
	text, err := json.Marshal(set)
	must(err)
	return text
}

type object = map[string]any

// sign signs what the library would refuse to make, too. A nil member is left out.
func (s signer) sign(header, claims object) string {
	all := object{"alg": s.alg, "kid": s.kid}
	maps.Copy(all, header)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	claims = maps.Clone(claims)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return s.signBytes(mustJSON(all), mustJSON(claims))
}

func (s signer) signBytes(header, payload []byte) string {
	input := encode(header) + "." + encode(payload)
	return input + "." + encode(s.raw([]byte(input)))
}

func (s signer) raw(input []byte) []byte {
	switch key := s.key.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(key, input)
	case *ecdsa.PrivateKey:
		hash := crypto.SHA256
		if s.alg == jose.ES384 {
			hash = crypto.SHA384
		}
		a, b, err := ecdsa.Sign(rand.Reader, key, digest(hash, input))
		must(err)
		size := (key.Params().BitSize + 7) / 8
		return append(a.FillBytes(make([]byte, size)), b.FillBytes(make([]byte, size))...)
	case *rsa.PrivateKey:
		var sig []byte
		var err error
		if s.alg == jose.PS256 {
			sig, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest(crypto.SHA256, input),
				&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest(crypto.SHA256, input))
		}
		must(err)
		return sig
	}
	panic("unknown key")
}

func digest(h crypto.Hash, input []byte) []byte {
	d := h.New()
	d.Write(input)
	return d.Sum(nil)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	must(err)
	return text
}

var serial atomic.Int64

// claimsOf are good claims of a client's own assertion, with changes; nil removes a claim.
func claimsOf(client string, changes object) object {
	c := object{
		"iss": client, "sub": client, "aud": issuer, "jti": "jti-" + encode(mustJSON(serial.Add(1))),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	maps.Copy(c, changes)
	return c
}

// own is a credential that the client "own" signs with the named key, with changes to header and claims.
func own(key string, header, claims object) clients.Credentials {
	return asserts(bearer, keys()[key].sign(header, claimsOf("own", claims)))
}

func asserts(typ, assertion string) clients.Credentials {
	return clients.Credentials{AssertionType: typ, Assertion: assertion}
}

func workloadToken(key string, changes object) string {
	c := object{"iss": cluster, "sub": "system:serviceaccount:prod:worker", "aud": issuer,
		"exp": now.Add(time.Hour).Unix(), "namespace": "prod"}
	maps.Copy(c, changes)
	return keys()[key].sign(nil, c)
}

// principal is what the tests' workload verifier remembers of a token.
type principal struct{ subject string }

// trust verifies workload tokens of two issuers: cluster (a JWT with iss) and mesh (a JWT-SVID without).
type trust struct{ down atomic.Bool }

func (v *trust) Verify(_ context.Context, raw string, spiffe bool) (clients.Identity, *principal, error) {
	fail := func(err error) (clients.Identity, *principal, error) {
		return clients.Identity{}, nil, fault.Wrap(fault.InvalidRequest, "token.bad", "The token is not acceptable.", err)
	}
	if v.down.Load() {
		return clients.Identity{}, nil, fault.New(fault.Unavailable, "issuer.unreachable", "Try again.")
	}
	name, key := "cluster", "cluster"
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return fail(err)
	}
	var claims map[string]any
	must(json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims))
	subject, _ := claims["sub"].(string)
	if strings.HasPrefix(subject, "spiffe://mesh/") {
		name, key = "mesh", "mesh"
	}
	if spiffe && name != "mesh" || name == "cluster" && claims["iss"] != cluster || claims["aud"] != issuer {
		return fail(errors.New("not trusted"))
	}
	if _, err := jws.Verify(keys()[key].key.Public()); err != nil {
		return fail(err)
	}
	if exp, _ := claims["exp"].(float64); int64(exp) <= now.Unix() {
		return fail(errors.New("expired"))
	}
	return clients.Identity{Issuer: name, Subject: subject, Claims: claims}, &principal{subject}, nil
}

// published is the key set of the client "remote", and counts how often somebody asks for it.
type published struct {
	asked atomic.Int64
	down  atomic.Bool
}

func (p *published) VerifySignature(_ context.Context, uri string, allowPrivate bool, compact string) error {
	p.asked.Add(1)
	if p.down.Load() {
		return fault.New(fault.Unavailable, "issuer.unreachable", "Try again.")
	}
	jws, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.ES256})
	if err == nil && uri == keysURI && allowPrivate {
		_, err = jws.Verify(keys()["remote"].key.Public())
	}
	if err != nil {
		return fault.Wrap(fault.InvalidRequest, "token.signature", "", err)
	}
	return nil
}

// guard notes what it is told, as "id right" or "id wrong", and refuses everything when it is shut.
type guard struct {
	shut bool
	told []string
}

func (g *guard) Try(string, string) error {
	if g.shut {
		return fault.New(fault.TooMany, "limit.secret", "Wait.")
	}
	return nil
}

func (g *guard) Tried(id, _ string, right bool) {
	g.told = append(g.told, id+map[bool]string{true: " right", false: " wrong"}[right])
}

// world is a tenant with clients of every kind, on a real store.
type world struct {
	clients.Authenticator[*principal]
	trust     *trust
	published *published
	guard     *guard
	db        *bolt.DB
	secrets   map[string]string // by client
	disabled  map[string]bool
}

func registered() []clients.Client {
	worker := clients.Binding{Issuer: "cluster", Subject: "system:serviceaccount:prod:worker",
		Condition: `claims.namespace == "prod"`}
	return []clients.Client{
		{ID: "own", Kind: clients.Agent, Auth: clients.Auth{Method: clients.MethodPrivateKeyJWT,
			JWKS: jwks("es256", "es384", "rs256", "eddsa")}},
		{ID: "other", Kind: clients.Agent, Auth: clients.Auth{Method: clients.MethodPrivateKeyJWT, JWKS: jwks("other")}},
		{ID: "remote", Kind: clients.Agent, Auth: clients.Auth{Method: clients.MethodPrivateKeyJWT, JWKSURI: keysURI,
			Network: clients.Network{AllowPrivate: true}}},
		{ID: "basic", Kind: clients.ResourceServer, Tools: []string{"payments"},
			Auth: clients.Auth{Method: clients.MethodSecretBasic}},
		{ID: "post", Kind: clients.ResourceServer, Tools: []string{"refunds"},
			Auth: clients.Auth{Method: clients.MethodSecretPost}},
		{ID: "worker", Kind: clients.Agent, Identities: []clients.Binding{worker}},
		{ID: "meshed", Kind: clients.Agent,
			Identities: []clients.Binding{{Issuer: "mesh", SubjectGlob: "spiffe://mesh/ns/*"}}},
		{ID: "keyed", Kind: clients.Agent,
			Identities: []clients.Binding{{Issuer: "cluster", Subject: "system:serviceaccount:prod:keyed"}},
			Auth:       clients.Auth{Method: clients.MethodPrivateKeyJWT, JWKS: jwks("other")}},
		{ID: "twin-a", Kind: clients.Agent, Identities: []clients.Binding{{Issuer: "cluster", Subject: "twin"}}},
		{ID: "twin-b", Kind: clients.Agent, Identities: []clients.Binding{{Issuer: "cluster", SubjectGlob: "tw*"}}},
		{ID: "pair", Kind: clients.Agent, Auth: clients.Auth{Method: clients.MethodPrivateKeyJWT,
			JWKS: jwks("es256", "other")}},
		{ID: "off", Kind: clients.Agent, Auth: clients.Auth{Method: clients.MethodPrivateKeyJWT, JWKS: jwks("es256")}},
	}
}

func config(all ...clients.Client) clients.Config {
	return clients.Config{
		Clients: all, Glob: policy.Glob, CheckGlob: policy.CheckGlob,
		Condition: func(expr string) (clients.Condition, error) { return policy.NewCondition(expr) },
	}
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{
		trust: new(trust), published: new(published), guard: new(guard),
		secrets: map[string]string{}, disabled: map[string]bool{"off": true},
	}
	c := config(registered()...)
	for _, id := range []string{"basic", "post", "worker"} {
		plain, secret := clients.NewSecret(now)
		w.secrets[id] = plain
		c.Secrets = append(c.Secrets, clients.SecretSet{Client: id}.Add(secret))
	}
	registry, mistakes := clients.NewRegistry(c)
	if len(mistakes) > 0 {
		tb.Fatalf("mistakes: %q", mistakes)
	}
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(tb.TempDir(), "bursar.db"), Now: func() time.Time { return now }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	w.db = db
	w.Authenticator = clients.Authenticator[*principal]{
		Issuer: issuer, Tenant: ledger.NewTenant(), Registry: registry, Keys: w.published, Workload: w.trust, Claims: db,
		Guard:    w.guard,
		Disabled: func(id string) bool { return w.disabled[id] },
		Now:      func() time.Time { return now },
	}
	return w
}

// outcome is the id of the client, or the kind and reason of the refusal.
func (w *world) outcome(ctx context.Context, c clients.Credentials) string {
	client, proof, err := w.Authenticate(ctx, c)
	if err == nil {
		if client == nil || proof.Method == "" || proof.Method != client.Auth.Method {
			return "success without proof"
		}
		return client.ID
	}
	if client != nil || proof != (clients.Proof[*principal]{}) {
		return "refusal with proof"
	}
	f := fault.As(err)
	if f.Public == "" || strings.ContainsAny(f.Public, `"\`) {
		return "refusal without a lawful sentence: " + f.Reason
	}
	return f.Kind.String() + " " + f.Reason
}
