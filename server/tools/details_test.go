package tools_test

import (
	"testing"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/tools"
)

func TestDetailsNarrowACall(t *testing.T) {
	u := open(t, payments())
	read, create := match(t, u, "GET", "/v1/refunds/7"), match(t, u, "POST", "/v1/refunds")
	const typ = `"type":"` + tools.CallDetails + `"`
	for _, row := range []struct {
		m             *tools.Match
		details, want string
	}{
		{read, `[{` + typ + `}]`, ""},
		{read, `[{` + typ + `,"actions":["refunds.read"]}]`, ""},
		{read, `[{` + typ + `,"actions":["refunds.create"]}]`, "details.not_allowed"},
		{create, `[{` + typ + `,"actions":["refunds.create"]}]`, ""},
		{read, `[{` + typ + `,"methods":["GET"],"paths":["/v1/refunds/7"]}]`, ""},
		{read, `[{` + typ + `,"methods":["HEAD"],"paths":["/v1/refunds/7"]}]`, "details.not_allowed"},
		{read, `[{` + typ + `,"paths":["/v1/refunds/8"]}]`, "details.not_allowed"},
		{read, `[{` + typ + `,"paths":["/v1/refunds/8"]},{` + typ + `,"paths":["/v1/refunds/{id}"]}]`, ""},
		{read, `[{` + typ + `,"paths":["/v1/refunds/8"]},{` + typ + `,"actions":["refunds.create"]}]`, "details.not_allowed"},

		// what is not understood may be a restriction
		{read, `[{` + typ + `},{"type":"payment_initiation"}]`, "details.unknown"},
		{read, `[{"type":"payment_initiation"}]`, "details.unknown"},
		{read, `[{` + typ + `,"locations":["https://x.example"]}]`, "details.unknown"},
		{read, `[{` + typ + `,"Actions":["refunds.create"]}]`, "details.unknown"},
		{read, `[{` + typ + `,"actions":[],"paths":["/v1/refunds/7"]}]`, "details.unknown"},
		{read, `[{` + typ + `,"actions":null}]`, "details.unknown"},
		{read, `[{` + typ + `,"json":{}}]`, "details.unknown"},
		{read, `[{` + typ + `,"json":{"a":[1]}}]`, "details.unknown"},
		{read, `[{` + typ + `,"json":{"/a":[]}}]`, "details.unknown"},
		{read, `[{` + typ + `,"json":{"/a":[{}]}}]`, "details.unknown"},
		{read, `[{` + typ + `,"paths":["/a/../b"]}]`, "details.unknown"},
		{read, `[{` + typ + `,"type":"x"}]`, "details.unknown"},
		{read, `[{"actions":["refunds.read"]}]`, "details.unknown"},
		{read, `[{` + typ + `,"actions":"refunds.read"}]`, "details.unknown"},
		{read, `{` + typ + `}`, "details.unknown"},
		{read, `[]`, "details.unknown"}, {read, `null`, "details.unknown"}, {read, ``, "details.unknown"},
		{read, `[null]`, "details.unknown"}, {read, `["x"]`, "details.unknown"}, {read, `[{}]`, "details.unknown"},
	} {
		m, err := row.m.Narrow([]byte(row.details))
		if reason(err) != row.want || err != nil && (m != nil || fault.As(err).Kind != fault.Forbidden) {
			t.Errorf("%s: %v, want %q", row.details, err, row.want)
		}
	}
}

func TestDetailsNarrowABody(t *testing.T) {
	create := match(t, ruled(t, tools.Rule{Action: "refunds.create", Methods: []string{"POST"}, Path: "/v1/refunds",
		JSON: map[string][]any{"/currency": {"EUR"}}}), "POST", "/v1/refunds")
	const typ = `"type":"` + tools.CallDetails + `"`
	m,
		err := create.Narrow([]byte(`[{` + typ + `,"json":{"/amount":[1,2]}},{` + typ +
		`,"json":{"/to":["a"],"/amount":[9]}}]`))
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`{"currency":"EUR","amount":1}`:          "",
		`{"currency":"EUR","amount":9,"to":"a"}`: "",
		`{"currency":"EUR","amount":9,"to":"b"}`: "body.constraint",
		`{"currency":"EUR","to":"a"}`:            "body.constraint",
		`{"currency":"USD","amount":1}`:          "body.constraint",
		`{"amount":1}`:                           "body.constraint",
	} {
		if err := m.CheckBody(jsonType, []byte(body)); reason(err) != want {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	if err := create.CheckBody(jsonType, []byte(`{"currency":"EUR","amount":7}`)); err != nil {
		t.Errorf("the match that was narrowed has changed: %v", err)
	}
	free := match(t, open(t, payments()), "POST", "/v1/refunds")
	if m, err = free.Narrow([]byte(`[{` + typ + `,"json":{"/amount":[1]}}]`)); err != nil || !m.Whole(jsonType) ||
		reason(m.CheckBody(jsonType, nil)) != "body.constraint" {
		t.Errorf("a body that details narrow can be passed on before it is judged, or be left out (%v)", err)
	}
}
