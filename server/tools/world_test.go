package tools_test

import (
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/tools"
)

var acme = tools.Place{BaseURL: "https://sts.example", ShimURL: "https://sts.example/shim", Tenant: "acme"}

// payments is a tool behind the shim, without mistakes.
func payments() tools.Tool {
	return tools.Tool{
		Name: "payments", Resource: "https://sts.example/shim/t/acme/payments",
		Actions: []string{"refunds.read", "refunds.create", "refunds.delete"},
		Upstream: &tools.Upstream{
			URL:    "https://legacy.example:8443",
			Inject: []tools.Injection{{In: tools.InHeader, Name: "X-Api-Key", Secret: "payments-key"}},
			Allow: []tools.Rule{
				{Action: "refunds.read", Methods: []string{"GET", "HEAD"}, Path: "/v1/refunds/{id}",
					Query: []string{"expand...", "page"}},
				{Action: "refunds.create", Methods: []string{"POST"}, Path: "/v1/refunds", MaxBody: 16 << 10},
				{Action: "refunds.delete", Methods: []string{"DELETE"}, Path: "/v1/refunds/{id}"},
			},
		},
	}
}

// with returns the payments tool after a change.
func with(change func(*tools.Tool)) tools.Tool {
	tool := payments()
	change(&tool)
	return tool
}

// mistakes lists what is wrong with a tool.
func mistakes(tool tools.Tool) []string {
	_, found := tools.New([]tools.Tool{tool}, acme)
	return found
}

// open returns the upstream of a tool without mistakes, ready for calls.
func open(t testing.TB, tool tools.Tool) *tools.Upstream {
	t.Helper()
	all, found := tools.New([]tools.Tool{tool}, acme)
	if len(found) > 0 {
		t.Fatalf("mistakes: %s", strings.Join(found, "; "))
	}
	opened, _ := all.Named(tool.Name)
	return opened.Upstream
}

// ruled returns the upstream of the payments tool with other rules.
func ruled(t testing.TB, rules ...tools.Rule) *tools.Upstream {
	t.Helper()
	return open(t, with(func(tool *tools.Tool) { tool.Upstream.Allow = rules }))
}

// reason returns the reason of a refusal, "" if there is none.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return fault.As(err).Reason
}

func match(t testing.TB, u *tools.Upstream, method, path string) *tools.Match {
	t.Helper()
	m, err := u.Route(method, path, "")
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return m
}
