package keys_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// FuzzOpen reads stored keys. What was not sealed for its place is never opened: a ring publishes no other key than
// those that were made for it.
func FuzzOpen(f *testing.F) {
	master, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		f.Fatal(err)
	}
	rows, err := keys.Create(master, tenant, start, keys.ES256)
	if err != nil {
		f.Fatal(err)
	}
	foreign, err := keys.Create(master, "another", start, keys.ES256)
	if err != nil {
		f.Fatal(err)
	}
	published := map[string]bool{}
	ring, err := keys.Open(master, tenant, rows)
	if err != nil {
		f.Fatal(err)
	}
	kids := func(r *keys.Ring) (all []string) {
		var set struct{ Keys []struct{ KID, X, Y string } }
		if err := json.Unmarshal(r.JWKS(start), &set); err != nil {
			f.Fatal(err)
		}
		for _, k := range set.Keys {
			all = append(all, k.KID+" "+k.X+" "+k.Y)
		}
		return all
	}
	for _, kid := range kids(ring) {
		published[kid] = true
	}
	f.Add(rows[0].Value, rows[1].ID, rows[1].Value)
	f.Add(foreign[0].Value, rows[1].ID, rows[1].Value)
	f.Add(rows[0].Value, foreign[1].ID, foreign[1].Value)
	f.Add(rows[0].Value, rows[2].ID, rows[1].Value)
	f.Add([]byte(`{}`), "", []byte(`{"sealed":null}`))
	f.Fuzz(func(t *testing.T, dek []byte, id string, key []byte) {
		stored := []ledger.Row{{Kind: rows[0].Kind, ID: rows[0].ID, Value: dek}, {Kind: keys.KindKey, ID: id, Value: key},
			rows[2]}
		r, err := keys.Open(master, tenant, stored)
		if err != nil {
			return
		}
		for _, kid := range kids(r) {
			if !published[kid] {
				t.Errorf("publishes a key that was not made for it")
			}
		}
	})
}

// FuzzRing changes tokens of ours. None verifies but what was signed, in the one spelling that it has.
func FuzzRing(f *testing.F) {
	s := newStore(f, keys.ES256, keys.EdDSA)
	ring, err := keys.Open(s.master, tenant, s.rows)
	if err != nil {
		f.Fatal(err)
	}
	now := start.Add(time.Minute)
	signed := map[string]bool{}
	for _, alg := range []keys.Alg{keys.ES256, keys.EdDSA} {
		signer, err := ring.Signer(alg, now)
		if err != nil {
			f.Fatal(err)
		}
		for _, typ := range []string{token.Type, "application/at+jwt", "JWT"} {
			compact, err := signer.Sign(typ, []byte(`{"iss":"https://sts.example/t/acme"}`))
			if err != nil {
				f.Fatal(err)
			}
			signed[compact] = typ != "JWT"
			f.Add(compact)
			f.Add(strings.ToLower(compact))
			f.Add(compact + "=")
		}
	}
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, compact string) {
		payload, err := ring.Verify(compact, now)
		if (err == nil) != signed[compact] || (err == nil) != (payload != nil) {
			t.Errorf("%q: %s %v", compact, payload, err)
		}
	})
}
