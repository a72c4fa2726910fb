package vault_test

import (
	"fmt"
	"testing"

	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// BenchmarkOpen opens a value for a call: what each call through the shim does.
func BenchmarkOpen(b *testing.B) {
	w := newWorld(b, "t1")
	w.put("crm", key("one"))
	w.activate("crm", 1)
	v := w.open()
	for b.Loop() {
		ref, err := v.Active("crm")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := v.Open(b.Context(), ref, api.Destination(), tools.InHeader); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads all secrets of a tenant: what a server does after each change of the tenant.
func BenchmarkRead(b *testing.B) {
	for _, secrets := range []int{10, 1000} {
		b.Run(fmt.Sprint(secrets), func(b *testing.B) {
			w := newWorld(b, "t1")
			for n := range secrets {
				w.put(fmt.Sprint("s-", n), key(fmt.Sprint(n)))
			}
			s, err := keys.OpenVault(w.master, w.tenant, w.rows)
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for b.Loop() {
				vault.Open(s, nil, w.rows)
			}
		})
	}
}
