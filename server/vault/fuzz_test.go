package vault_test

import (
	"bytes"
	"testing"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/vault"
)

// FuzzRow reads rows that anybody may have written. A call gets what was put, or nothing; and what cannot be believed
// can be listed and destroyed.
func FuzzRow(f *testing.F) {
	w := newWorld(f, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	good := bytes.Clone(w.row("crm").Value)
	f.Add(good)
	for _, seed := range []string{"", "{}", "null", "[]", `{"name":"crm"}`, `{"name":"crm","last":-1,"versions":null}`,
		`{"name":"crm","last":9e99}`, `{"name":"crm","active":1,"versions":[{"number":1,"state":"active"}],"sealed":""}`,
		`{"versions":[{"number":2147483648}]}`, `{"sealed":"AAAAAQ=="}`} {
		f.Add([]byte(seed))
	}
	f.Add(bytes.Replace(good, []byte(`"active":1`), []byte(`"active":2`), 1))
	f.Add(bytes.Replace(good, []byte(`"api.example"`), []byte(`"evil.test"`), 1))
	sealer := w.open().Sealer()
	f.Fuzz(func(t *testing.T, row []byte) {
		v := vault.Open(sealer, nil, []ledger.Row{{Kind: vault.Kind, ID: "crm", Value: row}})
		got := use(v, "crm")
		if got != key("one") && got != "secret.sealed" {
			t.Errorf("a call gets %s of %s", got, row)
		}
		all := v.List()
		if len(all) != 1 || all[0].Name != "crm" {
			t.Errorf("listed %+v", all)
		}
		c, err := v.Destroy("crm", 0, start)
		if err != nil || len(c.Put) != 1 {
			t.Fatalf("destroyed: %v", err)
		}
		after := vault.Open(sealer, nil, c.Put)
		if got := use(after, "crm"); got != "secret.none_active" {
			t.Errorf("after that a call gets %s", got)
		}
		if c, err := after.Put(draft("crm", key("two")), "op", start); err != nil || c.Version.Number < 1 {
			t.Errorf("put again: %d, %v", c.Version.Number, err)
		}
	})
}
