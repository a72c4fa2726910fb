package token_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/clients/token"
)

var (
	ecKey, _    = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rsaKey, _   = rsa.GenerateKey(rand.Reader, 2048)
	_, edKey, _ = ed25519.GenerateKey(rand.Reader)
)

// published is the issuer's key set: one key for each algorithm, named "es", "rs" and "ed".
func published(t testing.TB) []byte {
	t.Helper()
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: ecKey.Public(), KeyID: "es", Algorithm: "ES256", Use: "sig"},
		{Key: rsaKey.Public(), KeyID: "rs", Algorithm: "RS256", Use: "sig"},
		{Key: edKey.Public(), KeyID: "ed", Algorithm: "EdDSA", Use: "sig"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func verifier(t testing.TB) token.Verifier {
	t.Helper()
	keys, err := token.KeySet(published(t))
	if err != nil {
		t.Fatal(err)
	}
	return token.Verifier{
		Issuer: full().Issuer, Audience: full().Audience, Keys: keys,
		Now:          func() time.Time { return time.Unix(full().IssuedAt, 0) },
		ProofChecked: true,
	}
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, payload []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func head(kid string) map[jose.HeaderKey]any {
	return map[jose.HeaderKey]any{"typ": token.Type, "kid": kid}
}

func goodES(t testing.TB) string { return sign(t, jose.ES256, ecKey, head("es"), full().Marshal()) }

func reason(err error) string {
	if e, ok := errors.AsType[*token.Error](err); ok && e.Code == token.CodeInvalidToken {
		return e.Reason
	}
	return ""
}

func TestVerifyAcceptsEachAlgorithm(t *testing.T) {
	payload := full().Marshal()
	for name, compact := range map[string]string{
		"ES256":                 sign(t, jose.ES256, ecKey, head("es"), payload),
		"RS256":                 sign(t, jose.RS256, rsaKey, head("rs"), payload),
		"EdDSA":                 sign(t, jose.EdDSA, edKey, head("ed"), payload),
		"a typ in another case": sign(t, jose.ES256, ecKey, map[jose.HeaderKey]any{"typ": "AT+JWT", "kid": "es"}, payload),
		"the typ in full": sign(t, jose.ES256, ecKey,
			map[jose.HeaderKey]any{"typ": "application/at+jwt", "kid": "es"}, payload),
	} {
		got, err := verifier(t).Verify(t.Context(), compact)
		if err != nil || !reflect.DeepEqual(got, full()) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaPublic, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*token.Claims)) []byte {
		c := full()
		change(&c)
		return c.Marshal()
	}
	es := func(header map[jose.HeaderKey]any, payload []byte) string {
		return sign(t, jose.ES256, ecKey, header, payload)
	}
	plus := func(name jose.HeaderKey, value any) map[jose.HeaderKey]any {
		header := head("es")
		header[name] = value
		return header
	}
	payload := full().Marshal()
	tests := []struct{ name, compact, reason string }{
		{"nothing", "", token.ReasonMalformed},
		{"a token without typ", es(map[jose.HeaderKey]any{"kid": "es"}, payload), token.ReasonType},
		{"an ID token's typ", es(plus("typ", "JWT"), payload), token.ReasonType},
		{"a logout token's typ", es(plus("typ", "logout+jwt"), payload), token.ReasonType},
		{"a security event's typ", es(plus("typ", "secevent+jwt"), payload), token.ReasonType},
		{"a typ that is an array", es(plus("typ", []string{"at+jwt"}), payload), token.ReasonMalformed},
		{"a critical extension", es(plus("crit", []string{"exp"}), payload), token.ReasonMalformed},
		{"an unencoded payload", es(plus("b64", true), payload) + "=", token.ReasonMalformed},
		{"a kid that is a number", es(plus("kid", 1), payload), token.ReasonMalformed},
		{"no kid", es(map[jose.HeaderKey]any{"typ": token.Type}, payload), token.ReasonKey},
		{"an unknown kid", es(plus("kid", "unknown"), payload), token.ReasonKey},
		{"a long kid", es(plus("kid", strings.Repeat("k", 257)), payload), token.ReasonKey},
		{"another tenant", es(head("es"), with(func(c *token.Claims) { c.Issuer = "https://sts.example/t/evil" })),
			token.ReasonIssuer},
		{"the issuer with a slash", es(head("es"), with(func(c *token.Claims) { c.Issuer += "/" })), token.ReasonIssuer},
		{"another tool", es(head("es"), with(func(c *token.Claims) { c.Audience = "https://tool.example/" })),
			token.ReasonAudience},
		{"an expired token", es(head("es"), with(func(c *token.Claims) { c.IssuedAt -= 300; c.Expiry = full().IssuedAt })),
			token.ReasonExpired},
		{"a token dated ahead", es(head("es"), with(func(c *token.Claims) { c.IssuedAt += 61 })), token.ReasonFuture},
		{"a token without sub", es(head("es"), with(func(c *token.Claims) { c.Subject = "" })), token.ReasonClaims},
		{"a stranger's key", sign(t, jose.ES256, stranger, head("es"), payload), token.ReasonSignature},
		{"a key of the header's own", es(plus("jwk", jose.JSONWebKey{Key: stranger.Public()}), payload)[:200],
			token.ReasonMalformed},
		{"a stranger's key that the header brings", sign(t, jose.ES256, stranger,
			plus("jwk", jose.JSONWebKey{Key: stranger.Public(), KeyID: "es", Algorithm: "ES256"}), payload),
			token.ReasonSignature},
		{"HS256 with the RSA public key", sign(t, jose.HS256, rsaPublic, head("rs"), payload), token.ReasonAlgorithm},
		{"HS256 with the key set", sign(t, jose.HS256, published(t), head("es"), payload), token.ReasonAlgorithm},
		{"PS256 with the RS256 key", sign(t, jose.PS256, rsaKey, head("rs"), payload), token.ReasonAlgorithm},
		{"ES384", sign(t, jose.ES384, p384, head("es"), payload), token.ReasonAlgorithm},
		{"RS256 under the kid of the ES256 key", sign(t, jose.RS256, rsaKey, head("es"), payload), token.ReasonAlgorithm},
		{"ES256 under the kid of the EdDSA key", es(plus("kid", "ed"), payload), token.ReasonAlgorithm},
		{"alg none", unsigned(`{"alg":"none","typ":"at+jwt","kid":"es"}`, payload, "AA"), token.ReasonAlgorithm},
		{"alg nOnE", unsigned(`{"alg":"nOnE","typ":"at+jwt","kid":"es"}`, payload, "AA"), token.ReasonAlgorithm},
		{"alg es256", unsigned(`{"alg":"es256","typ":"at+jwt","kid":"es"}`, payload, "AA"), token.ReasonAlgorithm},
		{"alg Ed25519", unsigned(`{"alg":"Ed25519","typ":"at+jwt","kid":"ed"}`, payload, "AA"), token.ReasonAlgorithm},
		{"no alg", unsigned(`{"typ":"at+jwt","kid":"es"}`, payload, "AA"), token.ReasonAlgorithm},
		{"alg none without a signature", unsigned(`{"alg":"none","typ":"at+jwt"}`, payload, ""), token.ReasonMalformed},
		{"an alg named twice", unsigned(`{"alg":"ES256","alg":"none","typ":"at+jwt"}`, payload, "AA"), token.ReasonMalformed},
		{"an ES256 signature of zeros", unsigned(`{"alg":"ES256","typ":"at+jwt","kid":"es"}`, payload,
			strings.Repeat("A", 86)), token.ReasonSignature},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := verifier(t).Verify(t.Context(), test.compact)
			if got := reason(err); got != test.reason {
				t.Errorf("got %v, want %s", err, test.reason)
			}
			if !reflect.DeepEqual(c, token.Claims{}) {
				t.Errorf("a refused token left claims: %+v", c)
			}
		})
	}
}

func unsigned(header string, payload []byte, signature string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." +
		base64.RawURLEncoding.EncodeToString(payload) + "." + signature
}

func TestVerifyTakesTimeLiterally(t *testing.T) {
	compact, exp := goodES(t), time.Unix(full().Expiry, 0)
	for _, test := range []struct {
		name    string
		at      time.Time
		leeway  time.Duration
		refused string
	}{
		{"a nanosecond before exp", exp.Add(-1), 0, ""},
		{"at exp", exp, 0, token.ReasonExpired},
		{"at exp with leeway", exp, time.Second, ""},
		{"a nanosecond before the leeway ends", exp.Add(time.Minute - 1), time.Minute, ""},
		{"when the leeway ends", exp.Add(time.Minute), time.Minute, token.ReasonExpired},
		{"a minute before iat", time.Unix(full().IssuedAt-60, 0), 0, ""},
		{"more than a minute before iat", time.Unix(full().IssuedAt-60, 0).Add(-1), time.Minute, token.ReasonFuture},
	} {
		v := verifier(t)
		v.Now, v.Leeway = func() time.Time { return test.at }, test.leeway
		if _, err := v.Verify(t.Context(), compact); reason(err) != test.refused || (err == nil) != (test.refused == "") {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
}

func TestATokenBoundToAKeyNeedsACallerThatChecksIt(t *testing.T) {
	v := verifier(t)
	v.ProofChecked = false
	for cnf, want := range map[string]string{`{"jkt":"abc"}`: token.ReasonBound, `{}`: token.ReasonBound, "": ""} {
		claims := full()
		claims.Confirmation = json.RawMessage(cnf)
		compact := sign(t, jose.ES256, ecKey, head("es"), claims.Marshal())
		if _, err := v.Verify(t.Context(), compact); reason(err) != want || (err == nil) != (want == "") {
			t.Errorf("cnf %q: got %v", cnf, err)
		}
	}
}

func TestAnIncompleteVerifierRefuses(t *testing.T) {
	compact := goodES(t)
	for name, change := range map[string]func(*token.Verifier){
		"the zero value":      func(v *token.Verifier) { *v = token.Verifier{} },
		"no issuer":           func(v *token.Verifier) { v.Issuer = "" },
		"no audience":         func(v *token.Verifier) { v.Audience = "" },
		"no keys":             func(v *token.Verifier) { v.Keys = nil },
		"a leeway of 61 s":    func(v *token.Verifier) { v.Leeway = 61 * time.Second },
		"a leeway below zero": func(v *token.Verifier) { v.Leeway = -1 },
	} {
		v := verifier(t)
		change(&v)
		if _, err := v.Verify(t.Context(), compact); err == nil || reason(err) != "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestKeysThatCannotBeReadAreNotARefusal(t *testing.T) {
	away := errors.New("key server away")
	v := verifier(t)
	v.Keys = func(context.Context, string) (jose.JSONWebKey, error) { return jose.JSONWebKey{}, away }
	if _, err := v.Verify(t.Context(), goodES(t)); !errors.Is(err, away) || reason(err) != "" {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsRefusedAnywayAsksForNoKey(t *testing.T) {
	v := verifier(t)
	v.Keys = func(context.Context, string) (jose.JSONWebKey, error) {
		t.Error("a key was asked for")
		return jose.JSONWebKey{}, token.ErrUnknownKey
	}
	for _, alg := range []string{"none", "HS256", "PS256", "ES384"} {
		compact := unsigned(`{"alg":"`+alg+`","typ":"at+jwt","kid":"es"}`, full().Marshal(), "AA")
		if _, err := v.Verify(t.Context(), compact); reason(err) != token.ReasonAlgorithm {
			t.Errorf("%s: got %v", alg, err)
		}
	}
	other := full()
	other.Issuer = "https://evil.example"
	if _, err := v.Verify(t.Context(), sign(t, jose.ES256, ecKey, head("es"), other.Marshal())); err == nil {
		t.Error("another issuer's token passes")
	}
}

// Every character of a token counts: none can be exchanged for another.
func TestEveryFlippedCharacterIsRefused(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	v, payload := verifier(t), minimal()
	payload.Issuer, payload.Audience = v.Issuer, v.Audience
	for name, compact := range map[string]string{
		"ES256": sign(t, jose.ES256, ecKey, head("es"), payload.Marshal()),
		"RS256": sign(t, jose.RS256, rsaKey, head("rs"), payload.Marshal()),
		"EdDSA": sign(t, jose.EdDSA, edKey, head("ed"), payload.Marshal()),
	} {
		if _, err := v.Verify(t.Context(), compact); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range len(compact) {
			at := strings.IndexByte(alphabet, compact[i])
			for _, c := range []byte{alphabet[(at+1)%64], alphabet[(at+33)%64], '.', '\n', '=', 0} {
				if c == compact[i] {
					continue
				}
				if _, err := v.Verify(t.Context(), compact[:i]+string(c)+compact[i+1:]); reason(err) == "" {
					t.Fatalf("%s: character %d changed to %q: got %v", name, i, c, err)
				}
			}
		}
		last := len(compact) - 1
		for _, c := range []byte(alphabet) { // the unused bits of the last character
			_, err := v.Verify(t.Context(), compact[:last]+string(c))
			if (err == nil) != (c == compact[last]) {
				t.Errorf("%s: last character %q: got %v", name, c, err)
			}
		}
	}
}

// The other ECDSA signature of the same message is valid and canonical. This is why nothing may be keyed by the text of
// a token; what it says is the same.
func TestTheOtherECDSASignatureSaysTheSame(t *testing.T) {
	compact := goodES(t)
	cut := strings.LastIndexByte(compact, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(compact[cut:])
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	got, err := verifier(t).Verify(t.Context(), compact[:cut]+base64.RawURLEncoding.EncodeToString(signature))
	if err != nil || !reflect.DeepEqual(got, full()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func BenchmarkVerify(b *testing.B) {
	compact, v := goodES(b), verifier(b)
	for b.Loop() {
		if _, err := v.Verify(b.Context(), compact); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBareSignature is what BenchmarkVerify is compared with.
func BenchmarkBareSignature(b *testing.B) {
	digest := sha256.Sum256([]byte("message"))
	signature, err := ecdsa.SignASN1(rand.Reader, ecKey, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.VerifyASN1(&ecKey.PublicKey, digest[:], signature) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkMarshal(b *testing.B) {
	for b.Loop() {
		full().Marshal()
	}
}

func BenchmarkParse(b *testing.B) {
	payload := full().Marshal()
	for b.Loop() {
		if _, err := token.Parse(payload); err != nil {
			b.Fatal(err)
		}
	}
}
