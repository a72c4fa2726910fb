package openbao_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/storage/openbao"
	"github.com/bursar-sts/bursar/storage/openbao/baotest"
)

// logins is how many logins there were at a mount, and how many renewals.
func (w *world) logins(mount string) (n, renewals int) {
	for _, r := range w.Fake.Requests() {
		switch {
		case r.URI == "/v1/auth/"+mount+"/login":
			n++
		case r.URI == "/v1/auth/token/renew-self":
			renewals++
		}
	}
	return n, renewals
}

// issuer signs JWTs that a role of an auth mount takes.
type issuer struct {
	w     *world
	key   *ecdsa.PrivateKey
	mount string
	jwt   string // the current one
}

func newIssuer(w *world, policy string) *issuer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	i := &issuer{w: w, key: key, mount: w.Auth(w.t, "jwt")}
	w.Must(w.t, http.MethodPost, "auth/"+i.mount+"/config", map[string]any{"jwt_validation_pubkeys": []string{
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}})
	w.Must(w.t, http.MethodPost, "auth/"+i.mount+"/role/bursar", map[string]any{"role_type": "jwt", "user_claim": "sub",
		"bound_audiences": []string{"https://bao.example"}, "token_policies": []string{w.Policy(w.t, policy)},
		"token_ttl": "1h", "token_max_ttl": "2h"})
	i.renew("https://bao.example")
	return i
}

func (i *issuer) renew(audience string) {
	i.w.t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, nil)
	if err != nil {
		i.w.t.Fatal(err)
	}
	claims, _ := json.Marshal(map[string]any{"sub": "bursar", "aud": audience, "iat": i.w.now().Unix(),
		"exp": i.w.now().Add(10 * time.Minute).Unix()})
	signed, err := s.Sign(claims)
	if err == nil {
		i.jwt, err = signed.CompactSerialize()
	}
	if err != nil {
		i.w.t.Fatal(err)
	}
}

func (i *issuer) client() *openbao.Client {
	return i.w.client("", func(c *openbao.Config) {
		c.Login = openbao.Login{Method: openbao.JWT, Mount: i.mount, Role: "bursar",
			Credential: func() (string, error) { return i.jwt + "\n", nil }}
	})
}

// everywhere is a policy that allows all that a Backend does.
func (w *world) everywhere() string {
	return fmt.Sprintf(`path "%[1]s/data/*" { capabilities = ["create", "read"] }
path "%[1]s/destroy/*" { capabilities = ["update"] }`, w.mount)
}

func TestAJWTIsGivenForAToken(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		i := newIssuer(w, w.everywhere())
		c := i.client()
		b := w.backend(c, "acme", 0)
		ref := w.put(b)
		w.get(b, ref)
		if err := c.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.get(b, ref)
		i.renew("https://other.example")
		w.refused(i.client().Check(t.Context()), "openbao.refused")
	})
}

// A token is renewed while that gives it time, and replaced when it is at its end, with whatever JWT there is then.
func TestATokenIsKeptAlive(t *testing.T) {
	w := fake(t)
	i := newIssuer(w, w.everywhere())
	c := i.client()
	b := w.backend(c, "acme", 0)
	ref := w.put(b)
	expect := func(what string, logins, renewals int) {
		t.Helper()
		w.get(b, ref)
		if l, r := w.logins(i.mount); l != logins || r != renewals {
			t.Fatalf("%s: %d logins and %d renewals, want %d and %d", what, l, r, logins, renewals)
		}
	}
	expect("at first", 1, 0)
	w.advance(40 * time.Minute)
	i.renew("https://bao.example")
	if err := c.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("renewed", 1, 1)
	w.advance(55 * time.Minute) // of its two hours are 25 minutes left
	i.renew("https://bao.example")
	if err := c.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("at its end", 2, 2)
	w.advance(61 * time.Minute) // and nobody has looked after it
	i.renew("https://bao.example")
	expect("expired", 3, 2)
}

// A token that was revoked is replaced; what a good token may not do causes no login.
func TestARevokedTokenIsReplaced(t *testing.T) {
	w := fake(t)
	i := newIssuer(w, w.everywhere())
	c := i.client()
	b := w.backend(c, "acme", 0)
	ref := w.put(b)
	all := w.Fake.Requests()
	token := all[len(all)-1].Token
	if r := w.Do(t, baotest.Ask{Method: http.MethodPut, Path: "auth/token/revoke-self", Token: token}); r.Status != 204 {
		t.Fatal(r)
	}
	w.advance(time.Minute)
	w.get(b, ref)
	if n, _ := w.logins(i.mount); n != 2 {
		t.Errorf("%d logins", n)
	}
	w.advance(time.Minute)
	for range 3 {
		_, err := c.Master(t.Context(), openbao.TransitKey{Mount: "transit", Name: "k"})
		w.refused(errors.Unwrap(err), "openbao.refused")
	}
	if n, _ := w.logins(i.mount); n != 2 {
		t.Errorf("%d logins after what is not allowed", n)
	}
}

// A token from a login is given back at the end; one that was configured is not ours to revoke.
func TestATokenIsGivenBack(t *testing.T) {
	w := fake(t)
	i := newIssuer(w, w.everywhere())
	held := w.Holder(t, w.everywhere(), "1h")
	for _, c := range []*openbao.Client{i.client(), w.client(held)} {
		if err := c.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Close(t.Context())
	}
	revoked := 0
	for _, r := range w.Fake.Requests() {
		if r.URI == "/v1/auth/token/revoke-self" {
			revoked++
		}
	}
	if revoked != 1 {
		t.Errorf("%d tokens were given back", revoked)
	}
	if r := w.Do(t, baotest.Ask{Method: http.MethodGet, Path: "auth/token/lookup-self", Token: held}); r.Status != 200 {
		t.Error("the token that was configured is gone")
	}
}

// A configured token is renewed as long as it can be; another one in its place is found when it is at its end.
func TestAConfiguredTokenIsReadAgain(t *testing.T) {
	w := fake(t)
	token := w.Holder(t, w.everywhere(), "1h")
	c := w.client("", func(c *openbao.Config) { c.Login.Credential = func() (string, error) { return token, nil } })
	b := w.backend(c, "acme", 0)
	ref := w.put(b)
	w.advance(40 * time.Minute)
	if err := c.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.advance(40 * time.Minute)
	w.get(b, ref)
	w.advance(30 * time.Minute)
	_, err := b.Get(t.Context(), tenants["acme"], ref)
	w.refused(err, "openbao.refused")
	token = w.Holder(t, w.everywhere(), "1h")
	w.get(b, ref)
}

func TestACredentialThatIsNoneIsSaid(t *testing.T) {
	w := fake(t)
	for _, text := range []string{"", "  \n", "two words", "a\x00b", "ключ"} {
		err := w.client(text).Check(t.Context())
		w.refused(err, "openbao.refused")
	}
	err := w.client("", func(c *openbao.Config) {
		c.Login.Credential = func() (string, error) { return "", errors.New("no such file") }
	}).Check(t.Context())
	w.refused(err, "openbao.refused")
	if !strings.Contains(err.Error(), "no such file") {
		t.Errorf("the error is %v", err)
	}
	for _, l := range []openbao.Login{{}, {Method: "userpass", Credential: func() (string, error) { return "x", nil }},
		{Method: openbao.JWT, Mount: "jwt", Credential: func() (string, error) { return "x", nil }},
		{Method: openbao.JWT, Mount: "../token", Role: "r", Credential: func() (string, error) { return "x", nil }}} {
		if _, err := openbao.New(openbao.Config{Address: w.URL, Login: l}); err == nil {
			t.Errorf("%+v is taken", l.Method)
		}
	}
}

// cluster is the API server of a Kubernetes cluster, which knows the token of one service account.
func cluster(t *testing.T, known string) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct{ Spec struct{ Token string } }
		_ = json.NewDecoder(r.Body).Decode(&review)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":%t,`+
			`"user":{"username":"system:serviceaccount:prod:bursar","uid":"7"}}}`, review.Spec.Token == known)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// account returns the token of a service account, signed by a key that only the cluster knows.
func account(t *testing.T, id string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	claims, _ := json.Marshal(map[string]any{"iss": "https://kubernetes.default.svc", "jti": id, "iat": now - 60,
		"nbf": now - 60, "exp": now + 600, "sub": "system:serviceaccount:prod:bursar",
		"kubernetes.io": map[string]any{"namespace": "prod", "serviceaccount": map[string]any{"name": "bursar", "uid": "7"}}})
	signed, err := s.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A service account's token is given for one of OpenBao's, which asks the cluster whose it is.
func TestAServiceAccountLogsIn(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		token, mount := account(t, "a"), w.Auth(t, "kubernetes")
		w.Must(t, http.MethodPost, "auth/"+mount+"/config", map[string]any{"kubernetes_host": cluster(t, token),
			"kubernetes_ca_cert":   string(baotest.StartTLS(t).CA), // the cluster is on loopback, and needs none
			"disable_local_ca_jwt": true, "token_reviewer_jwt": account(t, "reviewer")})
		w.Must(t, http.MethodPost, "auth/"+mount+"/role/bursar", map[string]any{
			"bound_service_account_names": []string{"bursar"}, "bound_service_account_namespaces": []string{"prod"},
			"token_policies": []string{w.Policy(t, w.everywhere())}})
		as := func(role, token string) *openbao.Client {
			return w.client("", func(c *openbao.Config) {
				c.Login = openbao.Login{Method: openbao.Kubernetes, Mount: mount, Role: role,
					Credential: func() (string, error) { return token, nil }}
			})
		}
		b := w.backend(as("bursar", token), "acme", 0)
		w.get(b, w.put(b))
		w.refused(as("bursar", account(t, "b")).Check(t.Context()), "openbao.refused")
		w.refused(as("other", token).Check(t.Context()), "openbao.refused")
	})
}

// Many who find the token expired cause one login.
func TestALoginIsMadeOnceForAll(t *testing.T) {
	w := fake(t)
	i := newIssuer(w, w.everywhere())
	b := w.backend(i.client(), "acme", 0)
	ref := w.put(b)
	w.advance(2 * time.Hour)
	i.renew("https://bao.example")
	errs := make(chan error)
	for range 20 {
		go func() {
			_, err := b.Get(t.Context(), tenants["acme"], ref)
			errs <- err
		}()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n, _ := w.logins(i.mount); n != 2 {
		t.Errorf("%d logins", n)
	}
}

// While OpenBao is away, nothing is believed to be wrong with the credential.
func TestAwayIsNoRefusal(t *testing.T) {
	w := fake(t)
	c := w.client(w.Token, func(c *openbao.Config) { c.Address = "http://127.0.0.1:1" })
	if err := c.Check(t.Context()); !openbao.Away(err) {
		t.Errorf("the error is %v", err)
	}
	w.Fake.Seal(true)
	if err := w.client(w.Token).Check(t.Context()); !openbao.Away(err) {
		t.Errorf("sealed, the error is %v", err)
	}
	w.Fake.Seal(false)
	if err := w.client("s.wrong").Check(t.Context()); err == nil || openbao.Away(err) {
		t.Errorf("with a wrong token, the error is %v", err)
	}
}
