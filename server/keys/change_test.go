package keys_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

func activeKid(t testing.TB, r *keys.Ring, now time.Time) string {
	t.Helper()
	signer, err := r.Signer(keys.ES256, now)
	if err != nil {
		t.Fatal(err)
	}
	return signer.KeyID
}

func nextKid(r *keys.Ring, now time.Time) string {
	all := r.Info(now)
	return all[len(all)-1].KeyID
}

func TestRotateAtOnceWhenVerifiersKnowTheNextKey(t *testing.T) {
	s := newStore(t, keys.ES256)
	now := start.Add(keys.JWKSMaxAge + keys.Propagation)
	old, next := activeKid(t, s.ring(), now), nextKid(s.ring(), now)
	compact, _ := sign(t, s.ring(), keys.ES256, now)
	r := s.apply(s.ring().Rotate(keys.ES256, now))
	if got := activeKid(t, r, now); got != next {
		t.Errorf("%s signs, want %s", got, next)
	}
	if got := states(r, now); got != "retired active next" {
		t.Errorf("got %s", got)
	}
	gone := now.Add(token.MaxLife + token.MaxLeeway)
	if _, err := r.Verify(compact, gone.Add(-1)); err != nil || !slices.Contains(kids(t, r.JWKS(gone.Add(-1))), old) {
		t.Errorf("the retired key left too early: %v", err)
	}
	if _, err := r.Verify(compact, gone); err == nil || slices.Contains(kids(t, r.JWKS(gone)), old) {
		t.Error("the retired key stayed")
	}
	if !slices.Contains(kids(t, r.JWKS(gone.Add(-1))), old) {
		t.Error("the JWKS of an earlier time does not come back")
	}
	if _, del, err := r.Rotate(keys.ES256, gone); err != nil || !slices.Equal(del, []ledger.Key{{Kind: "key", ID: old}}) {
		t.Errorf("the row of the key that is gone stays: %v, %v", del, err)
	}
}

func TestRotateWaitsUntilVerifiersKnowTheNextKey(t *testing.T) {
	s := newStore(t, keys.ES256)
	old, next := activeKid(t, s.ring(), start), nextKid(s.ring(), start)
	r := s.apply(s.ring().Rotate(keys.ES256, start.Add(time.Second)))
	known := start.Add(keys.JWKSMaxAge + keys.Propagation)
	if got := activeKid(t, r, known.Add(-1)); got != old {
		t.Errorf("%s signs before everybody knows it", got)
	}
	if got := activeKid(t, r, known); got != next {
		t.Errorf("%s signs, want %s", got, next)
	}
	if got := states(r, start.Add(time.Second)); got != "active next next" {
		t.Errorf("got %s", got)
	}
	if got := states(r, known); got != "retired active next" {
		t.Errorf("got %s", got)
	}
}

func TestARotationThatIsStillToTakeEffectAbsorbsFurtherOnes(t *testing.T) {
	s := newStore(t, keys.ES256)
	s.apply(s.ring().Rotate(keys.ES256, start))
	for i := range 100 {
		put, del, err := s.ring().Rotate(keys.ES256, start.Add(time.Duration(i)*time.Second))
		if put != nil || del != nil || err != nil {
			t.Fatalf("rotation %d: %v, %v, %v", i, put, del, err)
		}
	}
	now := start
	for range 1000 {
		now = now.Add(10 * time.Second)
		r := s.apply(s.ring().Rotate(keys.ES256, now))
		if n := len(kids(t, r.JWKS(now))); n > 9 {
			t.Fatalf("the JWKS grew to %d keys", n)
		}
	}
}

func TestRevokeEndsAKeyAtOnce(t *testing.T) {
	known := start.Add(keys.JWKSMaxAge + keys.Propagation)
	tests := []struct {
		name  string
		now   time.Time
		setup func(s *store, now time.Time)
		pick  int // which of Info
		want  string
	}{
		{"the active key, the next one being young", start.Add(time.Second), nil, 0, "revoked active next"},
		{"the next key", start.Add(time.Second), nil, 1, "active revoked next"},
		{"the active key when a rotation is set", start.Add(time.Second),
			func(s *store, now time.Time) { s.apply(s.ring().Rotate(keys.ES256, now)) }, 0, "revoked active next"},
		{"the key to which a rotation is set", start.Add(time.Second),
			func(s *store, now time.Time) { s.apply(s.ring().Rotate(keys.ES256, now)) }, 1, "active revoked next"},
		{"a retired key", known,
			func(s *store, now time.Time) { s.apply(s.ring().Rotate(keys.ES256, now)) }, 0, "revoked active next"},
		{"the active key just after a rotation", known,
			func(s *store, now time.Time) { s.apply(s.ring().Rotate(keys.ES256, now)) }, 1, "retired revoked active next"},
		{"the active key after one rotation and before another", known, func(s *store, now time.Time) {
			s.apply(s.ring().Rotate(keys.ES256, now))
			s.apply(s.ring().Rotate(keys.ES256, now))
		}, 1, "retired revoked active next"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t, keys.ES256)
			compact, kid := sign(t, s.ring(), keys.ES256, test.now)
			if test.setup != nil {
				test.setup(s, test.now)
			}
			victim := s.ring().Info(test.now)[test.pick].KeyID
			r := s.apply(s.ring().Revoke(victim, test.now))
			if got := states(r, test.now); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if slices.Contains(kids(t, r.JWKS(test.now)), victim) || activeKid(t, r, test.now) == victim {
				t.Error("the revoked key is still there")
			}
			if _, err := r.Verify(compact, test.now); (err == nil) == (kid == victim) {
				t.Errorf("a token of %s: %v", kid, err)
			}
			for _, row := range s.rows {
				if row.ID == victim && bytes.Contains(row.Value, []byte("sealed")) {
					t.Error("the private half is still stored")
				}
			}
			if put, _, err := r.Revoke(victim, test.now); put != nil || err != nil {
				t.Errorf("again: %v, %v", put, err)
			}
			// Nothing of it stays for ever.
			later := test.now
			for range 3 {
				later = later.Add(time.Hour)
				s.apply(s.ring().Rotate(keys.ES256, later))
			}
			if slices.ContainsFunc(s.rows, func(row ledger.Row) bool { return row.ID == victim }) {
				t.Error("the row of the revoked key is never deleted")
			}
		})
	}
}

func TestDueNamesTheAlgorithmsToRotate(t *testing.T) {
	s := newStore(t, keys.ES256, keys.EdDSA)
	const month = 30 * 24 * time.Hour
	if due := s.ring().Due(start.Add(month), month); due != nil {
		t.Errorf("too early: %v", due)
	}
	now := start.Add(month + 1)
	if due := s.ring().Due(now, month); !slices.Equal(due, []keys.Alg{keys.ES256, keys.EdDSA}) {
		t.Errorf("got %v", due)
	}
	r := s.apply(s.ring().Rotate(keys.ES256, now))
	if due := r.Due(now, month); !slices.Equal(due, []keys.Alg{keys.EdDSA}) {
		t.Errorf("after a rotation: %v", due)
	}
}

// Nothing that is stored shows a key, sealed or not.
func TestRowsNeverHoldAPlainKey(t *testing.T) {
	s := newStore(t, keys.ES256, keys.RS256, keys.EdDSA)
	s.apply(s.ring().Rotate(keys.ES256, start))
	for _, row := range s.rows {
		var value struct {
			Sealed []byte
			D, K   *string
		}
		if err := json.Unmarshal(row.Value, &value); err != nil {
			t.Fatal(err)
		}
		if _, err := x509.ParsePKCS8PrivateKey(value.Sealed); err == nil {
			t.Errorf("%s %s is stored in plain", row.Kind, row.ID)
		}
		for _, plain := range [][]byte{
			{0x30, 0x81}, {0x30, 0x82}, // DER sequences
			{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01},             // id-ecPublicKey
			{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01}, // rsaEncryption
			{0x06, 0x03, 0x2b, 0x65, 0x70},                         // id-Ed25519
		} {
			if len(plain) > 2 && bytes.Contains(value.Sealed, plain) || bytes.HasPrefix(value.Sealed[12:], plain) {
				t.Errorf("%s %s looks like a plain key", row.Kind, row.ID)
			}
		}
		if bytes.Contains(row.Value, []byte("PRIVATE KEY")) || value.D != nil || value.K != nil {
			t.Errorf("%s %s holds a key in text", row.Kind, row.ID)
		}
		if row.Kind == "dek" && len(value.Sealed) != 12+32+16 {
			t.Errorf("a data key is stored as %s", base64.StdEncoding.EncodeToString(value.Sealed))
		}
	}
}

// moment is a ring and the time from which it is the stored one.
type moment struct {
	at   time.Time
	ring *keys.Ring
}

// However keys are rotated, a token verifies with every JWKS that a verifier can be holding: those published from
// JWKSMaxAge before it was signed until it expires. The signer may itself be Skew behind the store.
func TestRotationNeverStrandsAVerifier(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStore(t, keys.ES256)
		now := start
		history := []moment{{now, s.ring()}}
		type issued struct {
			kid string
			at  time.Time
		}
		var tokens []issued
		steps := rapid.IntRange(1, 30).Draw(rt, "steps")
		for range steps {
			if rapid.Bool().Draw(rt, "wait") {
				seconds := []int{0, 1, 59, 60, 299, 300, 301, 359, 360, 361, 900, 959, 960, 961, 4000}
				now = now.Add(time.Duration(rapid.SampledFrom(seconds).Draw(rt, "seconds")) * time.Second)
			}
			for range rapid.SampledFrom([]int{0, 1, 1, 2, 10}).Draw(rt, "rotations") {
				history = append(history, moment{now, s.apply(s.ring().Rotate(keys.ES256, now))})
			}
			for i := len(history) - 1; i >= 0; i-- { // every ring that a process may still be using
				tokens = append(tokens, issued{activeKid(t, history[i].ring, now), now})
				if now.Sub(history[i].at) >= keys.Propagation {
					break
				}
			}
		}
		seen := make(map[issued]bool)
		for _, tok := range tokens {
			if seen[tok] {
				continue
			}
			seen[tok] = true
			if missing, stranded := strands(history, tok.kid, tok.at); stranded {
				rt.Fatalf("a token of %s is stranded at %s", tok.at.Sub(start), missing.Sub(start))
			}
		}
	})
}

// strands looks for a moment from JWKSMaxAge before a token was signed until it expires at which kid is unpublished.
// Within the time of one ring keys only leave the JWKS, so its last moment tells.
func strands(history []moment, kid string, signed time.Time) (time.Time, bool) {
	from, until := signed.Add(-keys.JWKSMaxAge), signed.Add(token.MaxLife).Add(-1)
	for i, m := range history {
		last := until
		if i+1 < len(history) && history[i+1].at.Before(until) {
			last = history[i+1].at.Add(-1)
		}
		if last.Before(m.at) || last.Before(from) || m.at.After(until) {
			continue
		}
		if !bytes.Contains(m.ring.JWKS(last), []byte(kid)) {
			return last, true
		}
	}
	return time.Time{}, false
}

// Whatever is revoked and rotated, there is always a key that signs and is published, and no revoked key is ever seen.
func TestARingAlwaysSignsAndNeverWithARevokedKey(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStore(t, keys.ES256)
		now := start
		revoked := make(map[string]bool)
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			// Clocks of other processes may be behind.
			seconds := []int{-1, 0, 1, 300, 360, 960, 5000}
			now = now.Add(time.Duration(rapid.SampledFrom(seconds).Draw(rt, "seconds")) * time.Second)
			r := s.ring()
			if rapid.Bool().Draw(rt, "revoke") {
				all := r.Info(now)
				kid := all[rapid.IntRange(0, len(all)-1).Draw(rt, "kid")].KeyID
				revoked[kid] = true
				r = s.apply(r.Revoke(kid, now))
			} else {
				r = s.apply(r.Rotate(keys.ES256, now))
			}
			for _, at := range []time.Time{now, now.Add(time.Second), now.Add(6 * time.Minute), now.Add(time.Hour)} {
				published := kids(t, r.JWKS(at))
				if kid := activeKid(t, r, at); !slices.Contains(published, kid) {
					rt.Fatalf("the active key is not published")
				}
				for _, kid := range published {
					if revoked[kid] {
						rt.Fatalf("a revoked key is published")
					}
				}
			}
		}
	})
}
