package admin_test

import (
	"regexp"
	"testing"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/admin"
)

var tokenForm = regexp.MustCompile(`^brs_op_(?:([a-z0-9-]{1,63})\.)?[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$`)

// FuzzParseToken holds the form of operator tokens against its definition: every token has one spelling.
func FuzzParseToken(f *testing.F) {
	f.Add(admin.NewToken(""))
	f.Add(admin.NewToken("acme"))
	f.Add("brs_op_.AAAA")
	f.Add("brs_op_" + "-a." + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("brs_op_acme.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB")
	f.Add("brs_op_acme.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	f.Fuzz(func(t *testing.T, s string) {
		home, ok := admin.ParseToken(s)
		form := tokenForm.FindStringSubmatch(s)
		want := form != nil && (form[1] == "" || scopes.CheckSlug(form[1]) == nil)
		if ok != want || ok && home != form[1] {
			t.Errorf("%q is a token %t, of %q", s, ok, home)
		}
		if admin.IsPlatformToken(s) != (ok && home == "") {
			t.Errorf("%q is a platform token", s)
		}
		if hash := admin.HashToken(s); len(hash) != 64 || hash == admin.HashToken(s+"x") {
			t.Errorf("the hash of %q is %s", s, hash)
		}
	})
}
