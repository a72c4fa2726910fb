package auditor_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/bursar-sts/bursar/clients/auditor"
)

func TestTheCheckpointMustBeOfTheLog(t *testing.T) {
	w, other := newWorld(t, "acme").grow(10), newWorld(t, "other").grow(10)
	impostor := auditor.NewNoteSigner(auditor.KeyName(w.issuer), key("thief"))
	foreign := *other
	foreign.signer = w.signer // the body of another tenant's checkpoint, under our key
	for _, row := range []struct {
		name       string
		checkpoint []byte
		want       told
	}{
		{"by another key of the same name", signNote(t, textOf(w.checkpoint(w.entries)), impostor),
			told{auditor.BadCheckpointSig, auditor.BadCheckpoint, -1, 0}},
		{"another tenant's", other.checkpoint(w.entries), told{auditor.BadCheckpointSig, auditor.BadCheckpoint, -1, 0}},
		{"another tenant's body", foreign.checkpoint(w.entries), told{auditor.BadCheckpointSig, auditor.WrongTenant, -1, 0}},
		{"changed", bytes.Replace(w.checkpoint(w.entries), []byte("\n10\n"), []byte("\n11\n"), 1),
			told{auditor.BadCheckpointSig, auditor.BadCheckpoint, -1, 0}},
		{"rubbish", []byte("rubbish"), told{auditor.BadCheckpointSig, auditor.BadCheckpoint, -1, 0}},
		{"absent", nil, told{auditor.NoCheckpoint, auditor.BadCheckpoint, -1, 0}},
	} {
		t.Run(row.name, func(t *testing.T) {
			x := w.export()
			if x.put("checkpoint", row.checkpoint); row.checkpoint == nil {
				x.drop("checkpoint")
			}
			o := w.options()
			o.Issuer = "" // the key alone says whose log it is
			r := x.verify(o)
			if got := toldBy(r); !slices.Contains(got, row.want) || len(got) > 2 || r.Passed() || r.Integrity != auditor.Failed {
				t.Errorf("found %v, want %v", toldBy(r), row.want)
			}
		})
	}
	o := w.options()
	o.Issuer = other.issuer
	expect(t, w.export().verify(o), told{auditor.BadCheckpointSig, auditor.WrongTenant, -1, 0})
}

func textOf(signed []byte) string {
	text, _, _ := strings.Cut(string(signed), "\n\n")
	return text + "\n"
}

// Without a key the log can agree with itself, and that is all.
func TestWithoutAKeyItSaysSo(t *testing.T) {
	w := newWorld(t, "acme").grow(10)
	r := w.export().verify(auditor.Options{})
	if r.Passed() || r.FirstError() != nil || r.Integrity != auditor.Partly || r.Completeness != auditor.Partly ||
		len(r.NotChecked) != 2 || !strings.Contains(r.NotChecked[0], "no key was given") {
		t.Errorf("%+v", r)
	}
	x := w.export()
	x.rewrite(replaced(w.entries, 3, flipped(t, w.entries[3])))
	if r := x.verify(auditor.Options{}); r.Integrity != auditor.Failed || r.FirstError().Index != 3 {
		t.Errorf("%+v", r)
	}
}

func TestOptionsThatMeanNothingAreRefused(t *testing.T) {
	w := newWorld(t, "acme").grow(1)
	witness := cosigner{"w1", key("w1"), start}.vkey()
	for name, o := range map[string]auditor.Options{
		"a key that is none":                    {Keys: []string{"rubbish"}},
		"a witness that is none":                {Witnesses: []string{"rubbish"}},
		"a witness whose hash is another's":     {Witnesses: []string{strings.Replace(witness, "+", "+0", 1)}},
		"a witness that is given twice":         {Witnesses: []string{witness, cosigner{"w2", key("w1"), start}.vkey()}},
		"more witnesses than there are":         {Witnesses: []string{witness}, Quorum: 2},
		"a token that is none":                  {Tokens: []string{"a.b"}},
		"a token whose claims cannot be read":   {Tokens: []string{"a.b.c"}},
		"a token without a jti":                 {Tokens: []string{"e30.e30.e30"}},
		"a checkpoint key with another's hash ": {Keys: []string{strings.Replace(w.vkey(), "+", "+0", 1)}},
	} {
		r, err := auditor.NewReader(bytes.NewReader(w.export().pack(false)))
		if err != nil {
			t.Fatal(err)
		}
		if report, err := auditor.Verify(t.Context(), r, o); report != nil || err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestWitnesses(t *testing.T) {
	w := newWorld(t, "acme").grow(10)
	one, two := cosigner{"w.example/1", key("w1"), start}, cosigner{"w.example/2", key("w2"), start + 1}
	impostor := cosigner{"w.example/2", key("thief"), start}
	lying := signer{two, func(text []byte) ([]byte, error) { return impostor.Sign(text) }}
	late := signer{two, func(text []byte) ([]byte, error) {
		signature, err := two.Sign(text)
		signature[7]++ // another time than the one that is signed
		return signature, err
	}}
	for _, row := range []struct {
		name   string
		by     []note.Signer
		quorum int
		signed int
		passes bool
	}{
		{"both", []note.Signer{one, two}, 0, 2, true},
		{"one of two, one is enough", []note.Signer{one}, 1, 1, true},
		{"one of two", []note.Signer{one}, 0, 1, false},
		{"none", nil, 1, 0, false},
		{"one by another key", []note.Signer{one, lying}, 0, 1, false},
		{"one with another time", []note.Signer{one, late}, 0, 1, false},
	} {
		x, o := w.export(), w.options()
		x.put("checkpoint", w.checkpoint(w.entries, row.by...))
		o.Witnesses, o.Quorum = []string{one.vkey(), two.vkey()}, row.quorum
		r := x.verify(o)
		if len(r.Witnesses) != row.signed || r.Passed() != row.passes || len(r.NotChecked) != 0 {
			t.Errorf("%s: %+v", row.name, r)
		}
		if !row.passes {
			expect(t, r, told{auditor.FewWitnesses, auditor.Unwitnessed, -1, 0})
		}
	}
}

// signer signs as somebody else.
type signer struct {
	cosigner
	sign func([]byte) ([]byte, error)
}

func (s signer) Sign(text []byte) ([]byte, error) { return s.sign(text) }

func TestTheKeysOfTheEvents(t *testing.T) {
	w := newWorld(t, "acme").grow(100)
	stolen := w.signing
	w.useKey(key("acme events 2"))
	w.keys[0].Expires, w.keys[0].Revoked = w.now, w.now+10
	w.grow(200)
	if r := w.export().verify(w.options(100)); !r.Passed() {
		t.Fatalf("a rotated key: %v", toldBy(r))
	}
	genuine, newKey := w.entries, w.signing

	w.event("one", "log.key", claims{"outcome": "allowed", "log_key": claims{"action": "revoke", "kid": w.keys[0].KeyID}})
	if r := w.export().verify(w.options(100)); !r.Passed() {
		t.Fatalf("a revoked key: %v", toldBy(r))
	}
	told200 := slices.Clone(w.entries)
	w.signing = stolen
	c := w.claims("three", "writer.start", nil)
	w.entries = append(told200, w.sign(c))
	expect(t, w.export().verify(w.options()), told{auditor.RevokedKey, auditor.Forged, 201, 0})

	w.numbers["one"]-- // the event that tells of it was pruned
	c["iat"] = w.keys[0].Revoked + 301
	w.entries = append(slices.Clone(genuine), w.sign(c))
	expect(t, w.export().verify(w.options()), told{auditor.RevokedKey, auditor.Forged, 200, 0})

	c["iat"] = w.keys[0].Revoked - 1 // it lies about the time
	w.entries = append(slices.Clone(genuine), w.sign(c))
	w.now += 1000
	expect(t, w.export().verify(w.options())) // clocks may differ that much
	w.signing, w.entries = newKey, slices.Clone(genuine)
	w.event("two", "token.exchange", nil)
	w.signing = stolen
	w.entries = append(w.entries, w.sign(c))
	r := w.export().verify(w.options())
	expect(t, r, told{auditor.RevokedKey, auditor.Forged, 201, 0})
	if r.Findings[0].Severity != auditor.Warning {
		t.Error("it is more than a warning")
	}

	w = newWorld(t, "acme").grow(10)
	impostor := auditor.NewNoteSigner(auditor.KeyName(w.issuer), key("thief"))
	mine, _ := auditor.KeysText(auditor.KeyName(w.issuer), w.keys)
	others, _ := auditor.KeysText(auditor.KeyName("https://sts.example/t/other"), w.keys)
	bad := slices.Clone(w.keys)
	bad[0].KeyID = "k"
	misnamed, _ := auditor.KeysText(auditor.KeyName(w.issuer), bad)
	twice, _ := auditor.KeysText(auditor.KeyName(w.issuer), append(w.keys, w.keys...))
	for name, document := range map[string][]byte{
		"by another key": signNote(t, mine, impostor), "of another log": signNote(t, others, w.signer),
		"misnamed": signNote(t, misnamed, w.signer), "twice": signNote(t, twice, w.signer),
		"rubbish": []byte("rubbish"), "a checkpoint": w.checkpoint(nil), "absent": nil,
	} {
		x := w.export()
		if x.put("keys", document); document == nil {
			x.drop("keys")
		}
		r := x.verify(w.options())
		if r.Passed() || r.Findings[0].Code != auditor.BadKeys || len(r.Findings) != 1 || len(r.NotChecked) != 2 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Warnings do not end a verification, however many events they are about.
func TestARetiredKeyIsOneWarning(t *testing.T) {
	w := newWorld(t, "acme").grow(1200)
	w.keys[0].Expires = start - 2*60*60
	r := w.export().verify(w.options(100))
	expect(t, r, told{auditor.RevokedKey, auditor.Forged, 0, 0})
	if !r.Passed() || r.Entries != 1200 {
		t.Errorf("%+v", r)
	}
}

func TestTooMuchIsWrong(t *testing.T) {
	w := newWorld(t, "acme").grow(10)
	for range 3000 {
		w.entries = append(w.entries, []byte("rubbish"))
	}
	r := w.export().verify(w.options(5))
	if r.Passed() || len(r.Findings) > 1000 || r.FirstError().Index != 10 || r.Findings[999].Kind != auditor.Malformed ||
		!strings.Contains(strings.Join(r.NotChecked, ""), "too much is wrong") {
		t.Errorf("%d findings, the first %+v, the last %+v; not checked: %v", len(r.Findings), r.Findings[0],
			r.Findings[len(r.Findings)-1], r.NotChecked)
	}
}

// token returns a compact JWT, and the event that records it.
func (w *world) token(jti string, outcome, reason string) (string, claims) {
	payload, err := json.Marshal(claims{"iss": w.issuer, "jti": jti, "exp": start + 300})
	if err != nil {
		w.t.Fatal(err)
	}
	compact := "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
	sum := sha256.Sum256([]byte(compact))
	return compact, claims{"outcome": outcome, "reason": reason, "token": claims{
		"jti": jti, "th": base64.RawURLEncoding.EncodeToString(sum[:]), "exp": start + 300}}
}

func TestTokensOnRecord(t *testing.T) {
	w := newWorld(t, "acme").grow(300)
	good, event := w.token("good", "allowed", "")
	w.event("one", "token.exchange", event)
	withheld, event := w.token("withheld", "allowed", "")
	w.event("one", "token.exchange", event)
	_, event = w.token("withheld", "error", "not_released")
	w.event("one", "token.exchange", event)
	same, event := w.token("same", "allowed", "")
	w.event("two", "token.exchange", event)
	_, event = w.token("good", "allowed", "") // its revocation is not its issuance
	delete(event["token"].(claims), "th")
	w.event("two", "token.revoke", event)
	w.grow(400)
	unknown, _ := w.token("unknown", "allowed", "")
	foreign, _ := newWorld(t, "other").token("foreign", "allowed", "")

	o := w.options(300)
	o.Tokens = []string{good}
	r := w.export().verify(o)
	if !r.Passed() || len(r.Tokens) != 1 || r.Tokens[0] != (auditor.TokenRecord{ID: "good", Index: 300}) {
		t.Errorf("%+v", r)
	}
	o.Tokens = []string{good, unknown, withheld, foreign, strings.TrimSuffix(same, "c2ln") + "b3Ro"}
	r = w.export().verify(o)
	none := told{auditor.TokenNotOnRecord, auditor.Unrecorded, -1, 0}
	expect(t, r, none, none, told{auditor.TokenNotOnRecord, auditor.Unrecorded, 302, 0},
		told{auditor.TokenNotOnRecord, auditor.Unrecorded, 303, 0})
	if r.Completeness != auditor.Failed || r.Integrity != auditor.OK ||
		!strings.Contains(r.Findings[3].Message, "another issuer") {
		t.Errorf("integrity %s, completeness %s; %s", r.Integrity, r.Completeness, r.Findings[3].Message)
	}
}

func TestAPrunedLogVerifies(t *testing.T) {
	for _, first := range []int64{256, 512, 768, 256 * 257} {
		w := newWorld(t, "acme")
		if first > 1000 {
			w.fill(first - 10)
		}
		w.grow(int(first) + 100)
		w.event("one", "audit.prune", claims{"outcome": "allowed", "range": claims{"count": first}})
		w.grow(int(first) + 300)
		w.pruned = first
		r := w.export().verify(w.options(int(first), int(first)+200))
		if !r.Passed() || r.First != first || r.Entries != 300 || len(r.Findings) != 0 || len(r.NotChecked) != 1 {
			t.Errorf("from %d: %+v", first, r)
		}

		x := w.export()
		x.rewrite(w.entries) // whoever leaves the early tiles out cannot claim that it was pruned
		for _, name := range slices.Clone(x.names) {
			if level, index, _, err := auditor.ParseTilePath(name); err == nil && level > 0 && index*256 < first {
				x.drop(name)
			} else if index, _, err := auditor.ParseBundlePath(name); err == nil && index*256 < first {
				x.drop(name)
			}
		}
		expect(t, x.verify(w.options()), told{auditor.MissingEntries, auditor.Deleted, 0, first - 1})
		if r := x.verify(w.options()); r.Passed() {
			t.Error("it passed")
		}
	}
}

// fill appends what are no events, where only the tree matters because they are dropped.
func (w *world) fill(n int64) {
	for i := range n {
		w.entries = append(w.entries, fmt.Append(nil, i))
	}
}

// A tile of level 1 is believed only if those above it confirm it.
func TestUpperTilesAreNotBelievedByThemselves(t *testing.T) {
	w := newWorld(t, "acme")
	w.pruned = 65536 - 256
	w.fill(w.pruned)
	w.event("one", "audit.prune", claims{"outcome": "allowed", "range": claims{"count": w.pruned}})
	w.grow(65536 + 50)
	genuine := w.export()
	if r := genuine.verify(w.options()); !r.Passed() {
		t.Fatalf("%+v", r)
	}
	changed := replaced(w.entries, 65300, flipped(t, w.entries[65300]))
	fitting := w.exportOf(changed)
	fitting.put("checkpoint", genuine.files["checkpoint"])
	fitting.put("tile/2/000.p/1", genuine.files["tile/2/000.p/1"])
	// If tile 0/255 were believed, the event would have been forged before it came into the log.
	expect(t, fitting.verify(w.options()), told{auditor.ForgedEvent, auditor.Edited, 65300, 0},
		told{auditor.RootMismatch, auditor.Edited, 65300, 0})
}

func TestALogThatBeginsLateWithoutSayingSo(t *testing.T) {
	w := newWorld(t, "acme").grow(700)
	w.event("one", "audit.prune", claims{"outcome": "allowed", "range": claims{"count": 256}})
	w.grow(1000)
	w.pruned = 512
	r := w.export().verify(w.options())
	expect(t, r, told{auditor.MissingEntries, auditor.Deleted, 0, 511})
	w.pruned = 256
	if r := w.export().verify(w.options(100)); !r.Passed() || len(r.NotChecked) != 2 {
		t.Errorf("an older checkpoint of what was dropped: %+v", r)
	}
}

// A log goes on in another epoch when an operator has accepted that it lost events.
func TestEpochs(t *testing.T) {
	w := newWorld(t, "acme").grow(600)
	o := w.options(300, 500)
	w.entries, w.numbers, w.epoch = w.entries[:400], map[string]int64{}, 2
	w.event("three", "writer.start", nil)
	w.event("three", "log.epoch", claims{"outcome": "allowed"})
	for range 200 {
		w.event("three", "token.exchange", nil)
	}
	r := w.export().verify(w.options(600))
	if !r.Passed() || r.Origin != "sts.example/t/acme/log/e2" {
		t.Errorf("%+v", r)
	}
	r = w.export().verify(o) // the one of 300 is kept, the one of 500 is not
	expect(t, r, told{auditor.Rollback, auditor.RolledBack, 300, 499})
	if !strings.Contains(r.Findings[0].Message, "an operator accepted a loss") {
		t.Error(r.Findings[0].Message)
	}
}

func TestOlderCheckpointsOfOthersShowNothing(t *testing.T) {
	w, other := newWorld(t, "acme").grow(10), newWorld(t, "other").grow(10)
	o := w.options()
	foreign := *other
	foreign.signer = w.signer
	o.Old = [][]byte{other.checkpoint(other.entries), foreign.checkpoint(other.entries), []byte("rubbish")}
	r := w.export().verify(o)
	expect(t, r, told{auditor.BadOldCheckpoint, auditor.BadCheckpoint, -1, 0},
		told{auditor.BadOldCheckpoint, auditor.BadCheckpoint, -1, 0},
		told{auditor.BadOldCheckpoint, auditor.WrongTenant, -1, 0})
	if r.Passed() || r.Integrity != auditor.OK || r.Completeness != auditor.Failed {
		t.Errorf("integrity %s, completeness %s", r.Integrity, r.Completeness)
	}
}

// An untouched log of 50,000 events verifies, in the long form of the tests, with little memory.
func TestALongLogVerifies(t *testing.T) {
	size := 5_000
	if os.Getenv("BURSAR_TEST") == "full" {
		size = 50_000
	}
	w := newWorld(t, "acme").grow(size)
	packed, o := w.export().pack(true), w.options(size/2)
	w.entries = nil
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := verify(t, packed, o)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if !r.Passed() || r.Entries != int64(size) || len(r.NotChecked) != 0 {
		t.Errorf("%+v", r)
	}
	t.Logf("%d bytes packed; %d kB more in use after", len(packed), (int64(after.HeapAlloc)-int64(before.HeapAlloc))/1024)
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	w := newWorld(t, "acme").grow(1000)
	r, err := auditor.NewReader(bytes.NewReader(w.export().pack(false)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if report, err := auditor.Verify(ctx, r, w.options()); report != nil || err == nil {
		t.Errorf("%+v, %v", report, err)
	}
}
