package token_test

import (
	"testing"

	"github.com/bursar-sts/bursar/clients/token"
)

func TestSubjectsComeApartAsTheyWerePutTogether(t *testing.T) {
	for _, test := range []struct{ issuer, sub, want string }{
		{"corp-sso", "jo", "corp-sso:jo"},
		{"prod", "system:serviceaccount:prod:ap-bot", "prod:system:serviceaccount:prod:ap-bot"},
		{"mesh", "spiffe://prod.example/ns/a", "mesh:spiffe://prod.example/ns/a"},
		{token.ClientIssuer, "ap-bot", "client:ap-bot"},
	} {
		s := token.Subject(test.issuer, test.sub)
		issuer, sub, ok := token.SplitSubject(s)
		if s != test.want || issuer != test.issuer || sub != test.sub || !ok {
			t.Errorf("%q became %q, and that %q and %q", test, s, issuer, sub)
		}
	}
	if token.ClientSubject("ap-bot") != token.Subject(token.ClientIssuer, "ap-bot") {
		t.Error("a client has two subjects")
	}
	if issuer, sub, ok := token.SplitSubject("corp-sso"); ok || issuer != "corp-sso" || sub != "" {
		t.Errorf("a text without a colon became %q and %q", issuer, sub)
	}
}
