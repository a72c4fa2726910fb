package tools_test

import (
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/tools"
)

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// B9
func TestABodyIsWhatTheRuleAllows(t *testing.T) {
	rules := []tools.Rule{
		{Action: "refunds.read", Methods: []string{"GET", "HEAD", "POST"}, Path: "/mixed"},
		{Action: "refunds.delete", Methods: []string{"DELETE", "OPTIONS"}, Path: "/delete"},
		{Action: "refunds.delete", Methods: []string{"DELETE"}, Path: "/delete-with", MaxBody: 8},
		{Action: "refunds.create", Methods: []string{"POST"}, Path: "/small", MaxBody: 8},
		{Action: "refunds.create", Methods: []string{"PUT"}, Path: "/files", ContentTypes: []string{"application/pdf"}},
	}
	u := ruled(t, rules...)
	for _, row := range []struct{ method, path, media, body, want string }{
		{"GET", "/mixed", "", "", ""},
		{"GET", "/mixed", jsonType, "", ""},
		{"GET", "/mixed", jsonType, "{}", "body.not_allowed"},
		{"HEAD", "/mixed", jsonType, "{}", "body.not_allowed"},
		{"POST", "/mixed", jsonType, "{}", ""},
		{"POST", "/mixed", jsonType, "not read, because nothing depends on it", ""},
		{"POST", "/mixed", formType, "a=1&a=2", ""},
		{"POST", "/mixed", "", "", ""},
		{"DELETE", "/delete", "", "", ""},
		{"DELETE", "/delete", jsonType, "{}", "body.not_allowed"},
		{"OPTIONS", "/delete", jsonType, "{}", "body.not_allowed"},
		{"DELETE", "/delete-with", jsonType, "{}", ""},
		{"DELETE", "/delete-with", jsonType, "{\"a\": 12}", "body.too_large"},
		{"POST", "/small", jsonType, "12345678", ""},
		{"POST", "/small", jsonType, "123456789", "body.too_large"},
		{"POST", "/mixed", jsonType, strings.Repeat(" ", 1<<20), ""},
		{"POST", "/mixed", jsonType, strings.Repeat(" ", 1<<20+1), "body.too_large"},
		{"PUT", "/files", "application/pdf", "%PDF", ""},
		{"PUT", "/files", jsonType, "{}", "body.type"},

		{"POST", "/mixed", "APPLICATION/JSON; charset=UTF-8", "{}", ""},
		{"POST", "/mixed", "application/json; charset=utf-16", "{}", "body.type"},
		{"POST", "/mixed", "application/json; charset=latin1", "{}", "body.type"},
		{"POST", "/mixed", "application/json; charset=utf-8; charset=utf-16", "{}", "body.type"},
		{"POST", "/mixed", formType + "; charset=utf-7", "a=1", "body.type"},
		{"POST", "/mixed", "", "{}", "body.type"},
		{"POST", "/mixed", "text/plain", "{}", "body.type"},
		{"POST", "/mixed", "application/json, text/plain", "{}", "body.type"},
		{"POST", "/mixed", "application/json text/plain", "{}", "body.type"},
		{"POST", "/mixed", "application/jsonx", "{}", "body.type"},
		{"POST", "/mixed", "application/*", "{}", "body.type"},

		// B5
		{"POST", "/mixed", formType, "a=1&_method=DELETE", "body.constraint"},
		{"POST", "/mixed", formType, "_method", "body.constraint"},
		{"POST", "/mixed", formType, "%5Fmethod=PUT", "body.constraint"},
		{"POST", "/mixed", formType, "_METHOD=PUT", "body.constraint"},
		{"POST", "/mixed", formType, "+_method=PUT", "body.constraint"},
		{"POST", "/mixed", formType, "a=%zz", "body.ambiguous"},
		{"POST", "/mixed", formType, "a=1;_method=PUT", "body.ambiguous"},
		{"POST", "/mixed", formType, "a=%FF", "body.ambiguous"},
		{"POST", "/mixed", formType, "a=%00", "body.ambiguous"},
	} {
		m := match(t, u, row.method, row.path)
		if err := m.CheckBody(row.media, []byte(row.body)); reason(err) != row.want {
			t.Errorf("%s %s %s %.20q: %v, want %q", row.method, row.path, row.media, row.body, err, row.want)
		}
	}
	for want, kind := range map[string]fault.Kind{"body.not_allowed": fault.InvalidRequest,
		"body.too_large": fault.TooLarge} {
		path := map[string]string{"body.not_allowed": "/delete", "body.too_large": "/delete-with"}[want]
		err := match(t, u, "DELETE", path).CheckType(jsonType, 9)
		if reason(err) != want || fault.As(err).Kind != kind {
			t.Errorf("before it is read: %v, want %s", err, want)
		}
	}
	if err := match(t, u, "POST", "/small").CheckType(jsonType, -1); err != nil {
		t.Errorf("a body of unknown size: %v", err)
	}
	if err := match(t, u, "DELETE", "/delete").CheckType(jsonType, -1); reason(err) != "body.not_allowed" {
		t.Errorf("a body of unknown size where there is none: %v", err)
	}
}

func TestABodyHasTheValuesThatTheRuleAsksFor(t *testing.T) {
	u := ruled(t, tools.Rule{Action: "refunds.create", Methods: []string{"POST"}, Path: "/notes",
		ContentTypes: []string{jsonType, "application/vnd.acme+json", formType, "text/plain"},
		JSON: map[string][]any{"/visibility": {"internal", nil}, "/to/0/amount": {float64(1), 2.5, true},
			"/a~1b/~0": {"<x>"}}})
	m := match(t, u, "POST", "/notes")
	good := `{"visibility":"internal","to":[{"amount":1}],"a/b":{"~":"<x>"},"more":[{"a":1},{"a":1}]}`
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %s", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for body, want := range map[string]string{
		good:                                               "",
		"\n " + good + " \n":                               "",
		swap(`"internal"`, `null`):                         "",
		swap(`"internal"`, `"inter\u006eal"`):              "",
		swap(`"visibility"`, `"visib\u0069lity"`):          "",
		swap(`"amount":1`, `"amount":2.5`):                 "",
		swap(`"amount":1`, `"amount":true`):                "",
		swap(`"internal"`, `"public"`):                     "body.constraint",
		swap(`"internal"`, `"Internal"`):                   "body.constraint",
		swap(`"internal"`, `["internal"]`):                 "body.constraint",
		swap(`"internal"`, `{"a":"internal"}`):             "body.constraint",
		swap(`"visibility":"internal",`, ``):               "body.constraint",
		swap(`"visibility"`, `"Visibility"`):               "body.constraint",
		swap(`"amount":1`, `"amount":1.0`):                 "body.constraint",
		swap(`"amount":1`, `"amount":1e0`):                 "body.constraint",
		swap(`"amount":1`, `"amount":"1"`):                 "body.constraint",
		swap(`"amount":1`, `"amount":false`):               "body.constraint",
		swap(`"amount":1`, `"amount":1e999999999`):         "body.constraint",
		swap(`[{"amount":1}]`, `{"0":{"amount":1}}`):       "", // a member named like the index of an array
		swap(`[{"amount":1}]`, `[]`):                       "body.constraint",
		`[` + good + `]`:                                   "body.constraint",
		`"x"`:                                              "body.constraint",
		swap(`{"vis`, `{"visibility":"public","vis`):       "body.ambiguous",
		swap(`"to"`, `"visibility":"public","to"`):         "body.ambiguous",
		swap(`"to"`, `"VISIBILITY":"public","to"`):         "body.ambiguous",
		swap(`"to"`, `"vi\u017fibility":"public","to"`):    "body.ambiguous", // long s
		swap(`"to"`, `"visibilit\u0079":"public","to"`):    "body.ambiguous",
		swap(`{"a":1},{"a":1}`, `{"a":1,"a":2}`):           "body.ambiguous",
		good + good:                                        "body.ambiguous",
		good + "x":                                         "body.ambiguous",
		"\ufeff" + good:                                    "body.ambiguous",
		swap(`"internal"`, "\"internal\xff\""):             "body.ambiguous",
		swap(`,"more"`, `,/* */"more"`):                    "body.ambiguous",
		swap(`]}`, `],}`):                                  "body.ambiguous",
		swap(`"more":`, `"more":`+strings.Repeat("[", 70)): "body.ambiguous",
		"{": "body.ambiguous",
		"":  "body.constraint",
	} {
		if err := m.CheckBody(jsonType, []byte(body)); reason(err) != want {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	for media, want := range map[string]string{"application/vnd.acme+json": "", formType: "body.constraint",
		"text/plain": "body.constraint"} {
		if err := m.CheckBody(media, []byte(good)); reason(err) != want {
			t.Errorf("%s: %v, want %q", media, err, want)
		}
	}
	if !m.Whole(jsonType) || !m.Whole("text/plain") {
		t.Error("a body under a constraint can be passed on before it is judged")
	}
}

func TestOnlyWhatIsJudgedHasToBeReadWhole(t *testing.T) {
	u := ruled(t, tools.Rule{Action: "refunds.create", Methods: []string{"POST"}, Path: "/a"})
	if m := match(t, u, "POST", "/a"); m.Whole(jsonType) || !m.Whole(formType) {
		t.Error("JSON without constraints has to be read whole, or a form has not")
	}
}

// B11: where a secret is put in the body there has to be one.
func TestABodyThatASecretIsPutInIsNeeded(t *testing.T) {
	for kind, row := range map[tools.Kind]struct{ media, good, bad string }{
		tools.InJSON: {jsonType, `{"a":1}`, `{"a":1,"a":2}`}, tools.InForm: {formType, "a=1", "a=%"},
	} {
		u := open(t, with(func(tool *tools.Tool) {
			tool.Upstream.Inject = []tools.Injection{{In: kind, Name: map[tools.Kind]string{tools.InJSON: "/key",
				tools.InForm: "key"}[kind],
				Secret: "k"}}
			tool.Upstream.Allow = []tools.Rule{{Action: "refunds.create", Methods: []string{"POST"}, Path: "/a",
				ContentTypes: []string{row.media}}}
		}))
		m := match(t, u, "POST", "/a")
		if err := m.CheckBody(row.media, []byte(row.good)); err != nil || !m.Whole(row.media) {
			t.Errorf("%s: %v, read whole %v", kind, err, m.Whole(row.media))
		}
		if err := m.CheckBody(row.media, []byte(row.bad)); reason(err) != "body.ambiguous" {
			t.Errorf("%s: %v, want body.ambiguous", kind, err)
		}
		if err := m.CheckBody(row.media, nil); reason(err) != "body.constraint" {
			t.Errorf("%s without a body: %v, want body.constraint", kind, err)
		}
	}
}
