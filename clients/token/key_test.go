package token_test

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/clients/token"
)

func TestCheckSignatureOnPublishedVectors(t *testing.T) {
	for _, test := range []struct{ name, jwk, alg, compact string }{
		{"RFC 7515 A.3", `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",` +
			`"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","alg":"ES256"}`, "ES256",
			"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290" +
				"Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
		{"RFC 8037 A.4", `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"EdDSA"}`,
			"EdDSA", "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6d" +
				"WbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"},
	} {
		var key jose.JSONWebKey
		if err := json.Unmarshal([]byte(test.jwk), &key); err != nil {
			t.Fatal(err)
		}
		if err := token.CheckSignature(test.compact, token.Header{Algorithm: test.alg}, key); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		key.Algorithm = ""
		err := token.CheckSignature(test.compact, token.Header{Algorithm: test.alg}, key)
		if reason(err) != token.ReasonAlgorithm {
			t.Errorf("%s with a key without alg: got %v", test.name, err)
		}
	}
}

// The library looks at none of this.
func TestCheckSignatureRefusesAKeyThatIsNotForIt(t *testing.T) {
	compact, h := goodES(t), token.Header{Type: token.Type, Algorithm: "ES256", KeyID: "es"}
	good := jose.JSONWebKey{Key: ecKey.Public(), KeyID: "es", Algorithm: "ES256", Use: "sig"}
	if err := token.CheckSignature(compact, h, good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(k *jose.JSONWebKey){
		"the zero key":                func(k *jose.JSONWebKey) { *k = jose.JSONWebKey{} },
		"a key to encrypt with":       func(k *jose.JSONWebKey) { k.Use = "enc" },
		"a key without alg":           func(k *jose.JSONWebKey) { k.Algorithm = "" },
		"a key for another alg":       func(k *jose.JSONWebKey) { k.Algorithm = "ES384" },
		"an RSA key that says ES256":  func(k *jose.JSONWebKey) { k.Key = rsaKey.Public() },
		"a private key":               func(k *jose.JSONWebKey) { k.Key = ecKey },
		"a shared secret":             func(k *jose.JSONWebKey) { k.Key = []byte("secret") },
		"a nested key":                func(k *jose.JSONWebKey) { k.Key = good },
		"a set of keys that holds it": func(k *jose.JSONWebKey) { k.Key = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{good}} },
	} {
		key := good
		change(&key)
		if err := token.CheckSignature(compact, h, key); reason(err) != token.ReasonAlgorithm {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// member returns a JWK with one member set.
func member(t testing.TB, key any, name string, value any) []byte {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: "k"})
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	all[name] = value
	if text, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	return text
}

// rsaOf returns an RSA key of so many bits, which nobody can sign with.
func rsaOf(bits uint) *rsa.PublicKey {
	return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}
}

func TestParseKey(t *testing.T) {
	es, ed := ecKey.Public(), edKey.Public()
	for name, test := range map[string]struct {
		raw      []byte
		verifies bool
		algs     string // that it fits
	}{
		"P-256":                        {member(t, es, "x5t", nil), true, "ES256"},
		"Ed25519":                      {member(t, ed, "use", "sig"), true, "EdDSA"},
		"RSA of 2048 bits":             {member(t, rsaOf(2048), "use", "sig"), true, "RS256 RS384 RS512 PS256 PS384 PS512"},
		"RSA of 4096 bits for PS384":   {member(t, rsaOf(4096), "alg", "PS384"), true, "PS384"},
		"for an alg of another type":   {member(t, es, "alg", "RS256"), true, ""},
		"for a symmetric alg":          {member(t, es, "alg", "HS256"), true, ""},
		"for alg in lower case":        {member(t, es, "alg", "es256"), true, ""},
		"for encryption":               {member(t, es, "use", "enc"), true, ""},
		"key_ops that verify":          {member(t, es, "key_ops", []string{"x", "verify"}), true, "ES256"},
		"key_ops that do not":          {member(t, es, "key_ops", []string{"encrypt"}), false, "ES256"},
		"key_ops without any":          {member(t, es, "key_ops", []string{}), false, "ES256"},
		"a member that nobody reads":   {member(t, es, "more", []int{1}), true, "ES256"},
		"a private member in capitals": {member(t, es, "D", "AAAA"), true, "ES256"},
		"key_ops in capitals":          {member(t, es, "KEY_OPS", "x"), true, "ES256"},
	} {
		key, verifies, err := token.ParseKey(test.raw)
		if err != nil || verifies != test.verifies || key.KeyID != "k" {
			t.Errorf("%s: %v, %v, kid %q", name, verifies, err, key.KeyID)
		}
		for _, alg := range append(token.Algorithms(), "", "none", "HS256", "RS1", "PS", "Ed25519") {
			if got := token.Fits(key, alg); got != slices.Contains(strings.Fields(test.algs), alg) {
				t.Errorf("%s: fits %q: %v", name, alg, got)
			}
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	es := ecKey.Public()
	rows := map[string][]byte{
		"nothing":                    nil,
		"no object":                  []byte(`"k"`),
		"an object without members":  []byte(`{}`),
		"a type of the future":       []byte(`{"kty":"future","kid":"k"}`),
		"a post-quantum key":         []byte(`{"kty":"AKP","kid":"k","alg":"ML-DSA-44","pub":"AAAA"}`),
		"a kid that is a number":     member(t, es, "kid", 7),
		"key_ops that are no list":   member(t, es, "key_ops", "verify"),
		"a point off the curve":      member(t, es, "x", strings.Repeat("A", 43)),
		"a curve of somebody's own":  member(t, es, "crv", "P-255"),
		"RSA of 2047 bits":           member(t, rsaOf(2047), "use", "sig"),
		"RSA of more than 4096 bits": member(t, rsaOf(4097), "use", "sig"),
		"RSA of 8192 bits":           member(t, rsaOf(8192), "use", "sig"),
	}
	rows["a kid twice"] = []byte(strings.Replace(string(member(t, es, "a", 1)), `"a":1`, `"kid":"a"`, 1))
	for name, raw := range rows {
		key, verifies, err := token.ParseKey(raw)
		if err == nil || errors.Is(err, token.ErrPrivateKey) || verifies || key.Key != nil {
			t.Errorf("%s: %v, %v, %v", name, key.Key, verifies, err)
		}
	}
	for _, name := range strings.Fields("d p q dp dq qi oth k priv") {
		for _, public := range []any{es, rsaKey.Public(), edKey.Public(), rsaOf(8192)} {
			for _, value := range []any{"AAAA", "", nil, 7} {
				if _, _, err := token.ParseKey(member(t, public, name, value)); !errors.Is(err, token.ErrPrivateKey) {
					t.Errorf("%T with %s %v: %v", public, name, value, err)
				}
			}
		}
	}
	broken := []byte(`{"key_ops":7,"d":"AAAA"}`)
	if _, _, err := token.ParseKey(broken); !errors.Is(err, token.ErrPrivateKey) {
		t.Errorf("a private key behind key_ops that are no list: %v", err)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, name := range strings.Fields("d use key_ops alg kid") {
		f.Add(member(f, ecKey.Public(), name, "sig"))
		f.Add(member(f, rsaKey.Public(), name, []string{"verify"}))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		key, verifies, err := token.ParseKey(raw)
		if err == nil && !key.IsPublic() || err != nil && (verifies || key.Key != nil) {
			t.Errorf("%T, %v, %v", key.Key, verifies, err)
		}
	})
}

func TestKeySetRefuses(t *testing.T) {
	private, err := json.Marshal(jose.JSONWebKey{Key: ecKey, KeyID: "es", Algorithm: "ES256", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	good, es := string(published(t)), jose.JSONWebKey{Key: ecKey.Public(), KeyID: "k", Algorithm: "ES256"}
	small := jose.JSONWebKey{Key: rsaOf(1024), KeyID: "k", Algorithm: "RS256"}
	for name, document := range map[string]string{
		"nothing":              "",
		"no keys":              `{"keys":[]}`,
		"keys in another case": strings.Replace(good, `"keys"`, `"KEYS"`, 1),
		"keys named twice":     good[:len(good)-1] + `,"keys":[]}`,
		"a kid named twice":    strings.Replace(good, `"kid":"rs"`, `"kid":"es"`, 1),
		"a private key":        `{"keys":[` + string(private) + `]}`,
		"a symmetric key":      good[:len(good)-2] + `,{"kty":"oct","k":"AAAA","kid":"x","alg":"HS256"}]}`,
		"a string for a key":   `{"keys":["k"]}`,
		"only a key to encrypt": one(t, jose.JSONWebKey{
			Key: ecKey.Public(), KeyID: "k", Algorithm: "ES256", Use: "enc"}),
		"only a key without alg":        one(t, jose.JSONWebKey{Key: ecKey.Public(), KeyID: "k"}),
		"only a key without kid":        one(t, jose.JSONWebKey{Key: ecKey.Public(), Algorithm: "ES256"}),
		"only a key for PS256":          one(t, jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "k", Algorithm: "PS256"}),
		"only an RSA key called ES256":  one(t, jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "k", Algorithm: "ES256"}),
		"only a small RSA key":          one(t, small),
		"only a key with other key_ops": strings.Replace(one(t, es), `{"kty"`, `{"key_ops":["encrypt"],"kty"`, 1),
	} {
		if _, err := token.KeySet([]byte(document)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func one(t *testing.T, key jose.JSONWebKey) string {
	t.Helper()
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}})
	if err != nil {
		t.Fatal(err)
	}
	return string(set)
}

func TestKeySetPassesOverWhatItDoesNotKnow(t *testing.T) {
	set := strings.Replace(string(published(t)), `{"keys":[`,
		`{"keys":[{"kty":"future","kid":"f","alg":"X"},{"kty":"EC","crv":"P-521","kid":"g","alg":"ES512"},`, 1)
	keys, err := token.KeySet([]byte(set))
	if err != nil {
		t.Fatal(err)
	}
	if key, err := keys(t.Context(), "es"); err != nil || !ecKey.PublicKey.Equal(key.Key) {
		t.Errorf("got %v, %v", key, err)
	}
	if _, err := keys(t.Context(), "f"); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("got %v", err)
	}
}
