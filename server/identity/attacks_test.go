package identity_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/server/identity"
)

// asked is a condition that always holds, and counts how often it was asked.
type asked int

func (a *asked) Allow(context.Context, map[string]any) bool { *a++; return true }

// TestOnlyVerifiedClaimsAreRead (T-12): neither a condition nor anything else sees a claim of a token that did not
// verify, and a good token inside another one is only text.
func TestOnlyVerifiedClaimsAreRead(t *testing.T) {
	w := newWorld(t, identity.OIDC, func(i *identity.Issuer) { i.Condition = "counted" })
	n := new(asked)
	w.pool = w.sources.Pool("acme", loopback, []identity.Issuer{w.entry}, map[string]identity.Condition{w.entry.Name: n})
	inner := w.mint(demoissuer.Request{})
	parts := strings.Split(inner, ".")
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	with := func(claims string) string { // the usual claims and more, under the signature of the token without them
		text, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		return encode("{" + claims + "," + string(text[1:]))
	}
	inside := with(`"assertion":"` + inner + `","actor_token":"` + inner + `"`)
	for name, row := range map[string]struct{ compact, reason string }{
		"unsigned outside":         {encode(`{"alg":"none"}`) + "." + inside + ".", "token.not_canonical"},
		"unsigned with some bytes": {encode(`{"alg":"none"}`) + "." + inside + ".AAAA", "token.algorithm"},
		"another's signature":      {parts[0] + "." + inside + "." + parts[2], "token.signature"},
		"the claims of the inner one": {encode(`{"alg":"none","cty":"JWT"}`) + "." + parts[1] + "." + parts[2],
			"token.algorithm"},
		"a nested JWT": {parts[0] + "." + encode(inner) + "." + parts[2], "token.not_canonical"},
		"claims in the header": {encode(`{"alg":"ES256","iss":"`+w.server.URL+`","sub":"alice","aud":"`+audience+`"}`) + "." +
			parts[1] + "." + parts[2], "token.signature"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.verify(row.compact)
			wantReason(t, err, row.reason)
		})
	}
	if *n != 0 {
		t.Errorf("the condition was asked %d times about what was not verified", *n)
	}
	w.accept(inner)
	if *n != 1 {
		t.Errorf("the condition was asked %d times about a good token", *n)
	}
}

// TestNothingIsSpentOnWhatIsTooMuch (T-26, T-59): a token that is too long or nested too deeply is refused before its
// issuer is looked for, any key is fetched, or a signature checked.
func TestNothingIsSpentOnWhatIsTooMuch(t *testing.T) {
	w := newWorld(t, identity.OIDC, acceptAct)
	chain := func(actors int, actor string) string { // signed by nobody
		act := strings.Repeat(`{"act":`, actors) + actor + strings.Repeat("}", actors)
		return strings.Join([]string{
			base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"unknown"}`)),
			base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"` + w.server.URL + `","sub":"alice","act":` + act + `}`)),
			"AAAA",
		}, ".")
	}
	for name, compact := range map[string]string{
		"1,000 actors":             chain(1000, `{}`),
		"1,000 actors of any size": chain(1000, `{"sub":"`+strings.Repeat("x", 20<<10)+`"}`),
		"1,000 lists":              chain(0, strings.Repeat("[", 1000)+strings.Repeat("]", 1000)),
		"a megabyte":               strings.Repeat("A", 1<<20),
		"a megabyte of dots":       strings.Repeat(".", 1<<20),
		"a megabyte of signature":  chain(1, `{}`) + strings.Repeat("A", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.verify(compact)
			wantReason(t, err, "token.not_canonical")
		})
	}
	w.wantFetches(0)
	act := m{"sub": "0"}
	for range 9 { // not too deep for JSON, but too many actors
		act = m{"sub": "x", "act": act}
	}
	w.refuse(w.mint(claims("act", act)), "token.act_form")
}
