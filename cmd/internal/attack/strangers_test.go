package attack_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// mesh is an issuer whose tokens have one audience.
const mesh = "https://mesh.example"

// stranger reports whether a subject is nobody whose tokens the client may exchange.
func (v *victim) stranger(subject map[string]any) bool {
	sub, _ := subject["sub"].(string)
	return sub == "nobody" && !v.has("knows everybody") || sub == "banned" && !v.has("forgets who is banned") ||
		sub == "stranger" && !v.has("anybody for anybody") || subject["verified"] == false && !v.has("sets no conditions")
}

// trusts reports whether an issuer that is no longer trusted, or elsewhere, is believed.
func (v *victim) trusts(iss any) bool {
	return v.has("any iss") || iss == "https://dropped.example" && v.has("believes dropped issuers") ||
		iss == "https://elsewhere.example" && v.has("one list of issuers") || iss == mesh
}

// ours reports whether a token says that this tenant issued it.
func (v *victim) ours(claims map[string]any) bool {
	return claims["iss"] == v.URL || claims["iss"] == v.URL+"/elsewhere" && v.has("one list of tokens")
}

// elsewhere issues tokens of another tenant.
func (v *victim) elsewhere(w http.ResponseWriter, _ *http.Request) {
	now := time.Now().Unix()
	claims := map[string]any{"iss": v.URL + "/elsewhere", "sub": "client:foreign", "aud": target, "client_id": "client",
		"scope": "read write", "iat": now, "exp": now + 300, "jti": "elsewhere"}
	head := forge.With(v.own.Head(), map[string]any{"typ": "at+jwt"})
	v.answer(w, map[string]any{"access_token": v.own.Sign(forge.Text(head), forge.Text(claims))}, nil)
}

// sameHash verifies a token by ES256, whatever its header says.
func sameHash(compact string, key *forge.Key) bool {
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(key.Public().JWK()) != nil {
		return false
	}
	public, ok := jwk.Key.(*ecdsa.PublicKey)
	at := strings.LastIndexByte(compact, '.')
	signature, err := base64.RawURLEncoding.DecodeString(compact[at+1:])
	if !ok || err != nil || len(signature) != 64 {
		return false
	}
	digest := sha256.Sum256([]byte(compact[:at]))
	return ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}
