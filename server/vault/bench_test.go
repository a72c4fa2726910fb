package vault_test

import (
	"testing"

	"github.com/bursar-sts/bursar/server/tools"
)

// BenchmarkFor opens a secret as every call through the shim does.
func BenchmarkFor(b *testing.B) {
	w := newWorld(b, "tenant-a")
	w.put("crm", key("crm"))
	w.activate("crm", 1)
	v := w.open()
	ref, err := v.Active("crm")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.For(b.Context(), ref, api, &tools.Injection{In: tools.InHeader, Name: "X-Api-Key"}); err != nil {
			b.Fatal(err)
		}
	}
}
