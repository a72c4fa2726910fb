package token_test

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"math/big"
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

func TestKeySetRefuses(t *testing.T) {
	private, err := json.Marshal(jose.JSONWebKey{Key: ecKey, KeyID: "es", Algorithm: "ES256", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	good, es := string(published(t)), jose.JSONWebKey{Key: ecKey.Public(), KeyID: "k", Algorithm: "ES256"}
	small := jose.JSONWebKey{Key: &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}, KeyID: "k",
		Algorithm: "RS256"}
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
