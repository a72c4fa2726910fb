package keys_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/keys"
)

// One number in 256 begins with a zero byte, which ASN.1 leaves out and JOSE does not.
func TestASignatureWithShortNumbersVerifies(t *testing.T) {
	r := newStore(t, keys.ES256).ring()
	signer, err := r.Signer(keys.ES256, start)
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(r.JWKS(start), &set); err != nil {
		t.Fatal(err)
	}
	public := set.Key(signer.KeyID)[0]
	short := map[string]bool{}
	for i := 0; len(short) < 2 && i < 20000; i++ {
		compact, err := signer.Sign(token.Type, fmt.Appendf(nil, `{"jti":"%d"}`, i))
		if err != nil {
			t.Fatal(err)
		}
		signature, err := base64.RawURLEncoding.DecodeString(compact[strings.LastIndexByte(compact, '.')+1:])
		if err != nil || len(signature) != 64 {
			t.Fatalf("%d bytes, %v", len(signature), err)
		}
		switch {
		case signature[0] == 0:
			short["r"] = true
		case signature[32] == 0:
			short["s"] = true
		default:
			continue
		}
		jws, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jws.Verify(public); err != nil {
			t.Errorf("%x: %v", signature, err)
		}
	}
	if len(short) < 2 {
		t.Errorf("no signature had a short number: %v", short)
	}
}

func TestNoTwoTypesShareAHeader(t *testing.T) {
	r := newStore(t, keys.EdDSA).ring()
	signer, err := r.Signer(keys.EdDSA, start)
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{token.Type, "secevent+jwt", token.Type, `odd"type`} {
		compact, err := signer.Sign(typ, claims(start))
		if err != nil {
			t.Fatal(err)
		}
		header, _, err := token.Canonical(compact)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := token.ParseHeader(header); err != nil || h.Type != typ || h.KeyID != signer.KeyID {
			t.Errorf("%s: %+v, %v", typ, h, err)
		}
	}
}
