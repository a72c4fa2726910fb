package keys_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

const tenant ledger.Tenant = "t-one"

var start = time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)

// store is a tenant's rows.
type store struct {
	t      testing.TB
	master keys.Master
	rows   []ledger.Row
}

func newStore(t testing.TB, algs ...keys.Alg) *store {
	t.Helper()
	s := &store{t: t, master: newMaster(t)}
	rows, err := keys.Create(s.master, tenant, start, algs...)
	if err != nil {
		t.Fatal(err)
	}
	s.rows = rows
	return s
}

func (s *store) ring() *keys.Ring {
	s.t.Helper()
	r, err := keys.Open(s.master, tenant, s.rows)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *store) apply(put []ledger.Row, del []ledger.Key, err error) *keys.Ring {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	rows := slices.Clone(s.rows)
	for _, row := range put {
		rows = slices.DeleteFunc(rows, func(r ledger.Row) bool { return r.Kind == row.Kind && r.ID == row.ID })
		rows = append(rows, row)
	}
	for _, k := range del {
		rows = slices.DeleteFunc(rows, func(r ledger.Row) bool { return r.Kind == k.Kind && r.ID == k.ID })
	}
	s.rows = rows
	return s.ring()
}

func sign(t testing.TB, r *keys.Ring, alg keys.Alg, now time.Time) (compact, kid string) {
	t.Helper()
	signer, err := r.Signer(alg, now)
	if err != nil {
		t.Fatal(err)
	}
	compact, err = signer.Sign(token.Type, claims(now))
	if err != nil {
		t.Fatal(err)
	}
	return compact, signer.KeyID
}

func claims(now time.Time) []byte {
	return token.Claims{
		Issuer: "https://sts.example/t/acme", Subject: "client:bot", Audience: "https://tool.example", ClientID: "bot",
		IssuedAt: now.Unix(), Expiry: now.Add(token.MaxLife).Unix(), ID: "id",
	}.Marshal()
}

func kids(t testing.TB, jwks []byte) []string {
	t.Helper()
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, k := range set.Keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if _, ok := k[private]; ok {
				t.Fatalf("the JWKS holds a private member: %s", private)
			}
		}
		if k["use"] != "sig" || k["alg"] == "" {
			t.Fatalf("a key without use or alg: %v", k)
		}
		all = append(all, k["kid"].(string))
	}
	return all
}

func states(r *keys.Ring, now time.Time) string {
	var all []string
	for _, info := range r.Info(now) {
		all = append(all, string(info.State))
	}
	return strings.Join(all, " ")
}

func TestEachAlgorithmSignsWhatAnybodyCanVerify(t *testing.T) {
	r := newStore(t, keys.ES256, keys.RS256, keys.EdDSA, keys.ES256).ring()
	set, err := token.KeySet(r.JWKS(start))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(kids(t, r.JWKS(start))); n != 6 {
		t.Errorf("the JWKS has %d keys, want an active and a next one of three algorithms", n)
	}
	if bytes.Contains(r.JWKS(start), []byte(`"Ed25519"`)) && !bytes.Contains(r.JWKS(start), []byte(`"alg":"EdDSA"`)) {
		t.Errorf("EdDSA goes by another name: %s", r.JWKS(start))
	}
	for _, alg := range []keys.Alg{keys.ES256, keys.RS256, keys.EdDSA} {
		compact, kid := sign(t, r, alg, start)
		header, payload, err := token.Canonical(compact)
		if err != nil {
			t.Fatal(err)
		}
		h, err := token.ParseHeader(header)
		if err != nil || h != (token.Header{Type: token.Type, Algorithm: string(alg), KeyID: kid}) {
			t.Errorf("%s: header %+v, %v", alg, h, err)
		}
		if got, err := r.Verify(compact, start); err != nil || !bytes.Equal(got, payload) {
			t.Errorf("%s: the ring does not verify its own token: %v", alg, err)
		}
		v := token.Verifier{Issuer: "https://sts.example/t/acme", Audience: "https://tool.example", Keys: set,
			Now: func() time.Time { return start }}
		if _, err := v.Verify(context.Background(), compact); err != nil {
			t.Errorf("%s: a resource server does not verify: %v", alg, err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	r, other := newStore(t, keys.ES256).ring(), newStore(t, keys.ES256).ring()
	good, _ := sign(t, r, keys.ES256, start)
	foreign, _ := sign(t, other, keys.ES256, start)
	signer, err := r.Signer(keys.ES256, start)
	if err != nil {
		t.Fatal(err)
	}
	statement, err := signer.Sign("secevent+jwt", claims(start))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	for name, compact := range map[string]string{
		"nothing":                   "",
		"another tenant's token":    foreign,
		"another class of JWT":      statement,
		"another payload":           parts[0] + "." + strings.Split(foreign, ".")[1][:40] + "." + parts[2],
		"another header":            strings.Split(statement, ".")[0] + "." + parts[1] + "." + parts[2],
		"another signature":         parts[0] + "." + parts[1] + "." + strings.Split(statement, ".")[2],
		"another spelling":          good + "\n",
		"a token without signature": parts[0] + "." + parts[1] + ".",
	} {
		if payload, err := r.Verify(compact, start); err == nil || payload != nil {
			t.Errorf("%s: got %q, %v", name, payload, err)
		} else if _, ok := errors.AsType[*token.Error](err); !ok {
			t.Errorf("%s: the error is not a refusal: %v", name, err)
		}
	}
}

func TestTheZeroSignerRefuses(t *testing.T) {
	if _, err := new(keys.Signer).Sign(token.Type, []byte("{}")); err == nil {
		t.Error("signed")
	}
	signer, err := newStore(t, keys.ES256).ring().Signer(keys.ES256, start)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Sign("", []byte("{}")); err == nil {
		t.Error("signed without typ")
	}
}

func TestAnAlgorithmThatIsNotThereIsErrNoKey(t *testing.T) {
	s := newStore(t, keys.ES256)
	r := s.ring()
	if _, err := r.Signer(keys.EdDSA, start); !errors.Is(err, keys.ErrNoKey) || r.Has(keys.EdDSA) {
		t.Errorf("Signer: %v", err)
	}
	if _, _, err := r.Rotate(keys.EdDSA, start); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("Rotate: %v", err)
	}
	if _, _, err := r.Revoke("unknown", start); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("Revoke: %v", err)
	}
	for _, alg := range []keys.Alg{"HS256", "none", "Ed25519", ""} {
		if _, err := r.Add(alg, start); err == nil {
			t.Errorf("added %q", alg)
		}
		if _, err := keys.Create(s.master, tenant, start, alg); err == nil {
			t.Errorf("created %q", alg)
		}
	}
	if _, err := keys.Create(s.master, tenant, start); err == nil {
		t.Error("created a ring without keys")
	}
	put, err := r.Add(keys.EdDSA, start)
	if r = s.apply(put, nil, err); !r.Has(keys.EdDSA) || states(r, start) != "active next active next" {
		t.Errorf("after Add: %s", states(r, start))
	}
	if got := r.Algs(); !slices.Equal(got, []keys.Alg{keys.ES256, keys.EdDSA}) {
		t.Errorf("Algs: %v", got)
	}
	if again, err := r.Add(keys.EdDSA, start); err != nil || again != nil {
		t.Errorf("a second Add: %v, %v", again, err)
	}
}

// Sealed bytes open in their own place only.
func TestOpenRefusesRowsThatWereMoved(t *testing.T) {
	s, other := newStore(t, keys.ES256, keys.EdDSA), newStore(t, keys.ES256)
	foreign, err := keys.Create(s.master, "t-two", start, keys.ES256, keys.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	var dek int
	var signing []int
	for i, row := range s.rows {
		if row.Kind == "dek" {
			dek = i
		} else {
			signing = append(signing, i)
		}
	}
	edit := func(i int, change func(map[string]any)) []ledger.Row {
		rows := slices.Clone(s.rows)
		var value map[string]any
		if err := json.Unmarshal(rows[i].Value, &value); err != nil {
			t.Fatal(err)
		}
		change(value)
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		rows[i].Value = encoded
		return rows
	}
	sealed := func(row ledger.Row) (value struct{ Sealed string }) {
		if err := json.Unmarshal(row.Value, &value); err != nil {
			t.Fatal(err)
		}
		return value
	}
	take := func(from ledger.Row) func(map[string]any) {
		return func(v map[string]any) { v["sealed"] = sealed(from).Sealed }
	}
	tests := map[string][]ledger.Row{
		"no rows":                        nil,
		"no data key":                    slices.Delete(slices.Clone(s.rows), dek, dek+1),
		"only the data key":              {s.rows[dek]},
		"a next key missing":             slices.Delete(slices.Clone(s.rows), signing[1], signing[1]+1),
		"all rows of another tenant":     foreign,
		"another tenant's data key":      edit(dek, take(foreign[0])),
		"another master's data key":      edit(dek, take(other.rows[0])),
		"a master by another name":       edit(dek, func(v map[string]any) { v["master"] = "other" }),
		"another version":                edit(dek, func(v map[string]any) { v["version"] = 2 }),
		"another tenant's key":           edit(signing[0], take(foreign[1])),
		"another kid's key":              edit(signing[0], take(s.rows[signing[1]])),
		"the data key as a key":          edit(signing[0], take(s.rows[dek])),
		"a key as the data key":          edit(dek, take(s.rows[signing[0]])),
		"a key under another algorithm":  edit(signing[0], func(v map[string]any) { v["alg"] = "EdDSA" }),
		"a key under another kid":        edit(signing[0], func(v map[string]any) { v["kid"] = "other" }),
		"a key without its private half": edit(signing[0], func(v map[string]any) { delete(v, "sealed") }),
		"a key that is not JSON":         edit(signing[0], func(v map[string]any) { v["created"] = "yesterday" }),
		"a key whose bytes were exchanged": edit(signing[0], func(v map[string]any) {
			b := []byte(v["sealed"].(string))
			b[20], b[21] = b[21], b[20]
			if b[20] == b[21] {
				b[20] ^= 1
			}
			v["sealed"] = string(b)
		}),
	}
	moved := slices.Clone(s.rows)
	moved[signing[0]].ID, moved[signing[1]].ID = moved[signing[1]].ID, moved[signing[0]].ID
	tests["two keys whose ids were exchanged"] = moved
	for name, rows := range tests {
		if _, err := keys.Open(s.master, tenant, rows); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if _, err := keys.Open(s.master, "t-two", s.rows); err == nil {
		t.Error("opened for another tenant")
	}
	if _, err := keys.Open(newMaster(t), tenant, s.rows); err == nil {
		t.Error("opened with another master")
	}
	extra := append(slices.Clone(s.rows), ledger.Row{Kind: "client", ID: "bot", Value: []byte("?")})
	if _, err := keys.Open(s.master, tenant, extra); err != nil {
		t.Errorf("a row of another kind: %v", err)
	}
}

// careless is a master that binds nothing.
type careless struct{ keys.Master }

func (c careless) Seal(plain, _ []byte) ([]byte, error)  { return c.Master.Seal(plain, nil) }
func (c careless) Open(sealed, _ []byte) ([]byte, error) { return c.Master.Open(sealed, nil) }

// A private key is bound to its tenant by itself, not only through its data key.
func TestAKeyDoesNotFollowItsDataKeyToAnotherTenant(t *testing.T) {
	m := careless{newMaster(t)}
	rows, err := keys.Create(m, tenant, start, keys.ES256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(m, tenant, rows); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(m, "t-two", rows); err == nil {
		t.Error("opened")
	}
}

func TestSignersAreSafeForConcurrentUse(t *testing.T) {
	r := newStore(t, keys.EdDSA).ring()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				compact, _ := sign(t, r, keys.EdDSA, start)
				if _, err := r.Verify(compact, start); err != nil {
					t.Error(err)
				}
				r.JWKS(start)
			}
		})
	}
	group.Wait()
}
