package clients_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/ledger"
)

func TestAssertions(t *testing.T) {
	w := newWorld(t)
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	good := keys()["es256"].sign(nil, claimsOf("own", nil))
	cut := good[:strings.LastIndexByte(good, '.')+1]
	public := keys()["es256"].public()
	der, err := x509.MarshalPKIXPublicKey(public.Key)
	must(err)
	rows := []struct {
		name string
		give clients.Credentials
		want string
	}{
		{"ES256 is accepted", own("es256", nil, nil), "own"},
		{"ES384 is accepted", own("es384", nil, nil), "own"},
		{"RS256 is accepted", own("rs256", nil, nil), "own"},
		{"PS256 is accepted", own("ps256", nil, nil), "own"},
		{"EdDSA is accepted", own("eddsa", nil, nil), "own"},
		{"no kid, one key fits", own("eddsa", object{"kid": nil}, nil), "own"},
		{"typ JWT", own("es256", object{"typ": "JWT"}, nil), "own"},
		{"typ client-authentication+jwt", own("es256", object{"typ": "client-authentication+jwt"}, nil), "own"},
		{"aud is an array of our issuer", own("es256", nil, object{"aud": []string{issuer}}), "own"},
		{"iat and nbf 8 s ahead", own("es256", nil, object{"iat": in(8 * time.Second), "nbf": in(8 * time.Second)}), "own"},
		{"no iat", own("es256", nil, object{"iat": nil}), "own"},
		{"exp with a fraction", own("es256", nil, object{"exp": float64(in(time.Minute)) + 0.5}), "own"},
		{"exp one hour ahead", own("es256", nil, object{"exp": in(time.Hour)}), "own"},
		{"a jti of 256 bytes", own("es256", nil, object{"jti": strings.Repeat("j", 256)}), "own"},
		{"keys published by the client", asserts(bearer, keys()["remote"].sign(nil, claimsOf("remote", nil))), "remote"},

		{"B8 assertion without type", asserts("", good), "invalid_client client.assertion.type"},
		{"B8 type without assertion", asserts(bearer, ""), "invalid_client client.assertion.type"},
		{"B8 unknown type", asserts("urn:ietf:params:oauth:client-assertion-type:saml2-bearer", good),
			"invalid_client client.assertion.type"},
		{"B8 type in upper case", asserts(strings.ToUpper(bearer), good), "invalid_client client.assertion.type"},
		{"B9 expired this second", own("es256", nil, object{"exp": in(0)}), "invalid_client client.assertion.expired"},
		{"B9 expired long ago", own("es256", nil, object{"exp": 1}), "invalid_client client.assertion.expired"},
		{"B10 no exp", own("es256", nil, object{"exp": nil}), "invalid_client client.assertion.lifetime"},
		{"B10 exp over an hour ahead", own("es256", nil, object{"exp": in(time.Hour + time.Second)}),
			"invalid_client client.assertion.lifetime"},
		{"B10 exp ten years ahead of an iat as far ahead", own("es256", nil,
			object{"iat": in(87600 * time.Hour), "exp": in(87601 * time.Hour)}), "invalid_client client.assertion.lifetime"},
		{"exp is a string", own("es256", nil, object{"exp": "1"}), "invalid_client client.assertion.malformed"},
		{"exp is 1e300", own("es256", nil, object{"exp": 1e300}), "invalid_client client.assertion.malformed"},
		{"exp is negative", own("es256", nil, object{"exp": -1}), "invalid_client client.assertion.malformed"},
		{"iat is an object", own("es256", nil, object{"iat": object{}}), "invalid_client client.assertion.malformed"},
		{"B11 iat 61 s ahead", own("es256", nil, object{"iat": in(61 * time.Second)}),
			"invalid_client client.assertion.future"},
		{"B11 nbf 61 s ahead", own("es256", nil, object{"nbf": in(61 * time.Second)}),
			"invalid_client client.assertion.future"},
		{"B12 aud is another server", own("es256", nil, object{"aud": "https://as.example"}),
			"invalid_client client.assertion.audience"},
		{"B12 aud is another tenant", own("es256", nil, object{"aud": "https://sts.example/t/acme2"}),
			"invalid_client client.assertion.audience"},
		{"no aud", own("es256", nil, object{"aud": nil}), "invalid_client client.assertion.audience"},
		{"aud is empty", own("es256", nil, object{"aud": ""}), "invalid_client client.assertion.audience"},
		{"aud is an empty array", own("es256", nil, object{"aud": []string{}}), "invalid_client client.assertion.audience"},
		{"aud with a slash more", own("es256", nil, object{"aud": issuer + "/"}), "invalid_client client.assertion.audience"},
		{"B13 aud is the token endpoint", own("es256", nil, object{"aud": issuer + "/token"}),
			"invalid_client client.assertion.audience"},
		{"B14 aud is our issuer and another", own("es256", nil, object{"aud": []string{issuer, "https://as.example"}}),
			"invalid_client client.assertion.audience"},
		{"B14 aud is our issuer twice", own("es256", nil, object{"aud": []string{issuer, issuer}}),
			"invalid_client client.assertion.audience"},
		{"B15 iss is another client", own("es256", nil, object{"iss": "other"}), "invalid_client client.assertion.workload"},
		{"B15 sub is another client", own("es256", nil, object{"sub": "other"}), "invalid_client client.assertion.workload"},
		{"B15 no sub", own("es256", nil, object{"sub": nil}), "invalid_client client.assertion.workload"},
		{"B15 neither iss nor sub", own("es256", nil, object{"sub": nil, "iss": nil}),
			"invalid_client client.assertion.workload"},
		{"B17 alg none", asserts(bearer, encode([]byte(`{"alg":"none"}`))+"."+encode(mustJSON(claimsOf("own", nil)))+".AA"),
			"invalid_client client.assertion.header"},
		{"B17 alg nOnE", own("es256", object{"alg": "nOnE"}, nil), "invalid_client client.assertion.header"},
		{"B17 no alg", own("es256", object{"alg": nil}, nil), "invalid_client client.assertion.header"},
		{"B17 empty signature", asserts(bearer, cut), "invalid_client client.assertion.malformed"},
		{"B17 short signature", asserts(bearer, cut+"AA"), "invalid_client client.assertion.signature"},
		{"B18 HS256 with the public key in PEM", asserts(bearer,
			hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))), "invalid_client client.assertion.header"},
		{"B18 HS256 with the public key as JWK", asserts(bearer, hs256(mustJSON(public))),
			"invalid_client client.assertion.header"},
		{"B19 another client's key", own("other", nil, nil), "invalid_client client.assertion.signature"},
		{"B19 another client's key under our kid", own("other", object{"kid": "es256"}, nil),
			"invalid_client client.assertion.signature"},
		{"B19 an unknown client", asserts(bearer, keys()["es256"].sign(nil, claimsOf("nobody", nil))),
			"invalid_client client.assertion.workload"},
		{"B20 unknown kid", own("es256", object{"kid": "nope"}, nil), "invalid_client client.assertion.signature"},
		{"B20 kid is a path", own("es256", object{"kid": "../../es256"}, nil), "invalid_client client.assertion.signature"},
		{"B20 kid is SQL", own("es256", object{"kid": "'; --"}, nil), "invalid_client client.assertion.signature"},
		{"B20 kid of 10 KB", own("es256", object{"kid": strings.Repeat("k", 10<<10)}, nil),
			"invalid_client client.assertion.header"},
		{"no kid, two keys fit", asserts(bearer, keys()["es256"].sign(object{"kid": nil}, claimsOf("pair", nil))),
			"invalid_client client.assertion.signature"},
		{"kid says which of two keys", asserts(bearer, keys()["es256"].sign(nil, claimsOf("pair", nil))), "pair"},
		{"alg of another key type", own("es256", object{"alg": "RS256"}, nil), "invalid_client client.assertion.signature"},
		{"B21 jku", own("es256", object{"jku": "http://169.254.169.254/"}, nil), "invalid_client client.assertion.header"},
		{"B21 x5u", own("es256", object{"x5u": "https://evil.example/"}, nil), "invalid_client client.assertion.header"},
		{"B21 jwk", own("unregistered", object{"jwk": keys()["unregistered"].public()}, nil),
			"invalid_client client.assertion.header"},
		{"B21 jku that is null", asserts(bearer, keys()["es256"].signBytes([]byte(`{"alg":"ES256","jku":null}`),
			mustJSON(claimsOf("own", nil)))), "invalid_client client.assertion.header"},
		{"crit", own("es256", object{"crit": []string{"b64"}, "b64": true}, nil), "invalid_client client.assertion.header"},
		{"B25 an access token", own("es256", object{"typ": "at+jwt"}, nil), "invalid_client client.assertion.header"},
		{"B25 a DPoP proof", own("es256", object{"typ": "dpop+jwt"}, nil), "invalid_client client.assertion.header"},
		{"typ is a number", own("es256", object{"typ": 1}, nil), "invalid_client client.assertion.header"},
		{"B26 disabled client", asserts(bearer, keys()["es256"].sign(nil, claimsOf("off", nil))),
			"invalid_client client.disabled"},
		{"no jti", own("es256", nil, object{"jti": nil}), "invalid_client client.assertion.jti"},
		{"an empty jti", own("es256", nil, object{"jti": ""}), "invalid_client client.assertion.jti"},
		{"a jti of 257 bytes", own("es256", nil, object{"jti": strings.Repeat("j", 257)}),
			"invalid_client client.assertion.jti"},
		{"jti is a number", own("es256", nil, object{"jti": 1}), "invalid_client client.assertion.malformed"},
		{"aud given twice", asserts(bearer, keys()["es256"].signBytes([]byte(`{"alg":"ES256"}`),
			fmt.Appendf(nil, `{"iss":"own","sub":"own","aud":"x","aud":%q,"jti":"1","exp":%d}`, issuer, in(time.Minute)))),
			"invalid_client client.assertion.malformed"},
		{"claims in another case do not count", asserts(bearer, keys()["es256"].signBytes([]byte(`{"alg":"ES256"}`),
			fmt.Appendf(nil, `{"iss":"own","sub":"own","AUD":%q,"jti":"1","exp":%d}`, issuer, in(time.Minute)))),
			"invalid_client client.assertion.audience"},
		{"padding", asserts(bearer, good+"="), "invalid_client client.assertion.malformed"},
		{"a line break inside", asserts(bearer, good[:30]+"\n"+good[30:]), "invalid_client client.assertion.malformed"},
		{"a JWE", asserts(bearer, "a.b.c.d.e"), "invalid_client client.assertion.malformed"},
		{"17 KiB", own("es256", nil, object{"more": strings.Repeat("x", 17<<10)}),
			"invalid_client client.assertion.malformed"},
		{"not a client's published key", asserts(bearer, keys()["es256"].sign(nil, claimsOf("remote", nil))),
			"invalid_client client.assertion.signature"},
		{"a client's own assertion as SVID", asserts(spiffe, keys()["es256"].sign(nil, claimsOf("own", nil))),
			"invalid_client client.assertion.workload"},
		{"a secret's client signs for itself", asserts(bearer, keys()["es256"].sign(nil, claimsOf("basic", nil))),
			"invalid_client client.assertion.workload"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := w.outcome(t.Context(), row.give); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func hs256(key []byte) string {
	input := encode([]byte(`{"alg":"HS256","kid":"es256"}`)) + "." + encode(mustJSON(claimsOf("own", nil)))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

func TestWorkloadAssertions(t *testing.T) {
	w := newWorld(t)
	svid := func(changes object) string {
		c := object{"iss": nil, "sub": "spiffe://mesh/ns/bot"}
		for k, v := range changes {
			c[k] = v
		}
		return workloadToken("mesh", c)
	}
	rows := []struct {
		name string
		give clients.Credentials
		want string
	}{
		{"a bound workload", asserts(bearer, workloadToken("cluster", nil)), "worker"},
		{"a bound SVID", asserts(spiffe, svid(nil)), "meshed"},
		{"an SVID as an ordinary JWT", asserts(bearer, svid(nil)), "meshed"},
		{"several audiences are the issuer's affair, not ours", asserts(bearer, workloadToken("cluster",
			object{"aud": []string{issuer, "x"}})), "invalid_client client.assertion.workload"},
		{"B30 an ordinary JWT as SVID", asserts(spiffe, workloadToken("cluster", nil)),
			"invalid_client client.assertion.workload"},
		{"B30 an SVID signed by another trust domain", asserts(spiffe, workloadToken("cluster",
			object{"iss": nil, "sub": "spiffe://mesh/ns/bot"})), "invalid_client client.assertion.workload"},
		{"an SVID outside the glob", asserts(spiffe, svid(object{"sub": "spiffe://mesh/other/bot"})),
			"invalid_client client.unbound"},
		{"a condition that does not hold", asserts(bearer, workloadToken("cluster", object{"namespace": "dev"})),
			"invalid_client client.unbound"},
		{"a claim that the condition needs is absent", asserts(bearer, workloadToken("cluster", object{"namespace": nil})),
			"invalid_client client.unbound"},
		{"an unbound workload", asserts(bearer, workloadToken("cluster", object{"sub": "somebody"})),
			"invalid_client client.unbound"},
		{"a workload of two clients", asserts(bearer, workloadToken("cluster", object{"sub": "twin"})),
			"invalid_client client.ambiguous"},
		{"a workload whose client must use its key", asserts(bearer, workloadToken("cluster",
			object{"sub": "system:serviceaccount:prod:keyed"})), "invalid_client client.method"},
		{"expired", asserts(bearer, workloadToken("cluster", object{"exp": now.Unix()})),
			"invalid_client client.assertion.workload"},
		{"forged", asserts(bearer, workloadToken("unregistered", nil)), "invalid_client client.assertion.workload"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := w.outcome(t.Context(), row.give); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
	_, proof, err := w.Authenticate(t.Context(), rows[0].give)
	if err != nil || proof.Principal == nil || proof.Principal.subject != "system:serviceaccount:prod:worker" {
		t.Errorf("the proof does not carry the verified token: %v, %v", proof, err)
	}
	if got := w.outcome(t.Context(), rows[0].give); got != "worker" {
		t.Errorf("a workload token is not used up here, got %s", got)
	}
	w.disabled["worker"] = true
	if got := w.outcome(t.Context(), rows[0].give); got != "invalid_client client.disabled" {
		t.Errorf("disabled: got %s", got)
	}
}

func TestOneAssertionIsAcceptedOnce(t *testing.T) {
	w := newWorld(t)
	c := own("es256", nil, nil)
	var accepted sync.Map
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() { accepted.Store(i, w.outcome(context.Background(), c)) })
	}
	all.Wait()
	count := map[string]int{}
	accepted.Range(func(_, got any) bool { count[got.(string)]++; return true })
	if count["own"] != 1 || count["invalid_client client.assertion.replayed"] != 49 {
		t.Errorf("B22: of 50 parallel uses: %v", count)
	}
	if got := w.outcome(t.Context(), c); got != "invalid_client client.assertion.replayed" {
		t.Errorf("B22: once more: %s", got)
	}
}

// TestWhatUsesUpAJTI (T-47): an assertion that is accepted, in its tenant, of its client; and nothing else.
func TestWhatUsesUpAJTI(t *testing.T) {
	w := newWorld(t)
	same := object{"jti": "the-same"}
	w.published.down.Store(true)
	for _, failing := range []clients.Credentials{
		own("es256", nil, object{"jti": "the-same", "aud": "https://as.example"}), // B23
		own("es256", nil, object{"jti": "the-same", "exp": 1}),
		own("other", nil, same),
		own("es256", object{"typ": "at+jwt"}, same),
		{ClientID: "other", AssertionType: bearer, Assertion: keys()["es256"].sign(nil, claimsOf("own", same))},
	} {
		if got := w.outcome(t.Context(), failing); !strings.HasPrefix(got, "invalid_client") {
			t.Errorf("got %s, want a refusal", got)
		}
	}
	remote := asserts(bearer, keys()["remote"].sign(nil, claimsOf("remote", same)))
	if got := w.outcome(t.Context(), remote); got != "unavailable issuer.unreachable" {
		t.Errorf("keys out of reach: got %s", got)
	}
	w.published.down.Store(false)

	if got := w.outcome(t.Context(), own("es256", nil, same)); got != "own" {
		t.Errorf("B23: a failed assertion spent the jti: %s", got)
	}
	if got := w.outcome(t.Context(), own("eddsa", nil, same)); got != "invalid_client client.assertion.replayed" {
		t.Errorf("another assertion with a used jti: got %s", got)
	}
	other := asserts(bearer, keys()["other"].sign(nil, claimsOf("other", same)))
	if got := w.outcome(t.Context(), other); got != "other" {
		t.Errorf("B24: the same jti of another client: %s", got)
	}
	if got := w.outcome(t.Context(), remote); got != "remote" {
		t.Errorf("an outage spent the jti: %s", got)
	}
	w.Tenant = ledger.NewTenant()
	if got := w.outcome(t.Context(), own("es256", nil, same)); got != "own" {
		t.Errorf("the same jti in another tenant: %s", got)
	}
}

// recorder passes claims on and keeps how long the last one is to be remembered.
type recorder struct {
	clients.Claims
	until time.Time
}

func (r *recorder) Claim(ctx context.Context, t ledger.Tenant, key string, until time.Time) (bool, error) {
	r.until = until
	return r.Claims.Claim(ctx, t, key, until)
}

func TestAJTIIsRememberedLongerThanItsAssertionLives(t *testing.T) {
	w := newWorld(t)
	r := &recorder{Claims: w.db}
	w.Claims = r
	exp := now.Add(7 * time.Minute)
	if got := w.outcome(t.Context(), own("es256", nil, object{"exp": exp.Unix()})); got != "own" {
		t.Fatalf("got %s", got)
	}
	if !r.until.Equal(exp.Add(clients.ReplayMargin)) {
		t.Errorf("remembered until %v, want %v", r.until, exp.Add(clients.ReplayMargin))
	}
}

// No assertion that fails before the signature makes anybody fetch keys (B20, B21).
func TestHopelessAssertionsFetchNothing(t *testing.T) {
	w := newWorld(t)
	for _, header := range []object{{"jku": "https://evil.example"}, {"alg": "none"}, {"kid": strings.Repeat("k", 300)}} {
		w.outcome(t.Context(), asserts(bearer, keys()["remote"].sign(header, claimsOf("remote", nil))))
	}
	w.outcome(t.Context(), asserts(bearer, keys()["remote"].sign(nil, claimsOf("remote", object{"aud": "x"}))))
	if n := w.published.asked.Load(); n != 0 {
		t.Errorf("keys were asked for %d times", n)
	}
}

func TestOutagesAreNotRefusals(t *testing.T) {
	w := newWorld(t)
	w.trust.down.Store(true)
	got := w.outcome(t.Context(), asserts(bearer, workloadToken("cluster", nil)))
	if got != "unavailable issuer.unreachable" {
		t.Errorf("trusted issuer away: got %s", got)
	}
	must(w.db.Close())
	if got := w.outcome(t.Context(), own("es256", nil, nil)); got != "unavailable store.unavailable" {
		t.Errorf("store away: got %s", got)
	}
}

func FuzzAssertion(f *testing.F) {
	w := newWorld(f)
	w.Claims = always{}
	signed := keys()["eddsa"].sign(nil, claimsOf("own", nil))
	f.Add(bearer, signed)
	f.Add(spiffe, signed)
	f.Add(bearer, signed+"=")
	f.Add(bearer, workloadToken("cluster", nil))
	f.Add(bearer, "a.b.c")
	for _, payload := range []string{`{"iss":"own","sub":"own","aud":[null],"exp":1e5}`, `{"iss":null,"sub":{"a":[]}}`} {
		f.Add(bearer, encode([]byte(`{"alg":"EdDSA"}`))+"."+encode([]byte(payload))+".AA")
	}
	worker := workloadToken("cluster", nil)
	worker = worker[:strings.LastIndexByte(worker, '.')]
	f.Fuzz(func(t *testing.T, typ, assertion string) {
		// A signature by EdDSA has one spelling; one by ES256 has two.
		switch got := w.outcome(t.Context(), asserts(typ, assertion)); {
		case got == "own" && assertion == signed, strings.HasPrefix(got, "invalid_client "):
		case got == "worker" && strings.HasPrefix(assertion, worker):
		default:
			t.Errorf("got %s", got)
		}
	})
}

// always lets everything be used again.
type always struct{}

func (always) Claim(context.Context, ledger.Tenant, string, time.Time) (bool, error) {
	return true, nil
}
