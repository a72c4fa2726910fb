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
	ready, mistakes := tools.New([]tools.Tool{{Name: "crm", Resource: "https://sts.example/shim/t/acme/crm",
		Actions: []string{"read"},
		Upstream: &tools.Upstream{URL: api.URL, Inject: []tools.Injection{{In: tools.InHeader, Name: "X-Key", Secret: "crm"}},
			Allow: []tools.Rule{{Action: "read", Methods: []string{"GET"}, Path: "/v1"}}}}}, tools.Place{Tenant: "acme",
		BaseURL: "https://sts.example", ShimURL: "https://sts.example/shim"})
	if len(mistakes) > 0 {
		b.Fatal(mistakes)
	}
	tool, _ := ready.Named("crm")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.For(b.Context(), ref, tool.Upstream, &tool.Upstream.Inject[0]); err != nil {
			b.Fatal(err)
		}
	}
}
