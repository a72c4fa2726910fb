package vault_test

import "testing"

// Most values are read without a parser of JSON: none may come out as another one.
func TestEveryValueComesOutAsItWentIn(t *testing.T) {
	w := newWorld(t, "tenant-a")
	for i, value := range []string{
		"SK-crm-7f3a9c2e51d84b06",
		`with"quotes"}}in-it-0123456789`,
		`with\backslashes\\and\u0041-0123456789`,
		`","value":"another-one-0123456789`,
		`<angle>&ampersand'apostrophe-0123456789`,
		`}}"}}-0123456789-0123456789`,
		`ends-with-a-backslash-0123456789\`,
		`"` + `0123456789-0123456789` + `"`,
	} {
		w.put("crm", value)
		w.activate("crm", i+1)
		if got := w.use("crm"); got != value {
			t.Errorf("%q came out as %q", value, got)
		}
	}
}
