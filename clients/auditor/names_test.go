package auditor_test

import (
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// A key that may sign some events only, such as a shim's, signs those, and shows nothing by any other.
func TestAKeyThatMaySignSomeEventsSignsNoOther(t *testing.T) {
	prune := claims{"outcome": "allowed", "range": claims{"first": 0, "count": 512}}
	revoke := func(kid string) claims {
		return claims{"outcome": "allowed", "log_key": claims{"action": "revoke", "kid": kid}}
	}
	for _, row := range []struct {
		name  string
		names []string
		event string
		body  func(w *world) claims
		want  []told
	}{
		{"one of them", []string{"key.use", "writer.start"}, "key.use", nil, nil},
		{"any, of a key without a list", nil, "token.exchange", nil, nil},
		{"another", []string{"key.use", "writer.start"}, "token.exchange", nil,
			[]told{{auditor.MisusedKey, auditor.Misused, 301, 0}}},
		{"a beginning of one", []string{"key.use", "writer.start"}, "key", nil,
			[]told{{auditor.MisusedKey, auditor.Misused, 301, 0}}},
		{"any, of an empty list", []string{}, "key.use", nil, []told{
			{auditor.MisusedKey, auditor.Misused, 300, 0}, {auditor.MisusedKey, auditor.Misused, 301, 0}}},
		{"the end of another key", []string{"writer.start"}, "log.key",
			func(w *world) claims { return revoke(w.keys[0].KeyID) },
			[]told{{auditor.MisusedKey, auditor.Misused, 301, 0}}}, // and what that one signs later is as good as before
		{"that entries were dropped", []string{"writer.start"}, "audit.prune", func(*world) claims { return prune },
			[]told{{auditor.MisusedKey, auditor.Misused, 301, 0}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, "acme").grow(300)
			server := w.signing
			w.useKey(key("shim"))
			w.keys[1].Names = row.names
			w.event("shim", "writer.start", nil)
			var body claims
			if row.body != nil {
				body = row.body(w)
			}
			w.event("shim", row.event, body)
			w.signing = server
			r := w.grow(600).export().verify(w.options())
			expect(t, r, row.want...)
			if r.Passed() != (row.want == nil) {
				t.Errorf("passed: %t", r.Passed())
			}
		})
	}
}

// What a key may sign is in the signed document, so that nobody without the log's key can take it away.
func TestTheNamesOfAKeyAreInTheSignedDocument(t *testing.T) {
	w := newWorld(t, "acme")
	for name, names := range map[string][]string{"none": nil, "an empty list": {}, "two": {"key.use", "writer.start"}} {
		w.keys[0].Names = names
		text, err := auditor.KeysText(auditor.KeyName(w.issuer), w.keys)
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := note.NewVerifier(w.vkey())
		if err != nil {
			t.Fatal(err)
		}
		all, err := auditor.OpenKeys(signNote(t, text, w.signer), auditor.KeyName(w.issuer), verifier)
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %v, %v", name, all, err)
		}
		if got := all[0]; got.MaySign("key.use") != (name != "an empty list") || got.MaySign("log.key") != (name == "none") {
			t.Errorf("%s: %v", name, got.Names)
		}
	}
}
