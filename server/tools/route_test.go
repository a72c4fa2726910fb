package tools_test

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/tools"
)

// everything is an upstream that allows every path, so that what refuses one is its form.
func everything(t testing.TB, slash bool) *tools.Upstream {
	return open(t, with(func(tool *tools.Tool) {
		tool.Upstream.AllowEncodedSlash = slash
		tool.Upstream.Allow = []tools.Rule{
			{Action: "refunds.read", Methods: []string{"GET"}, Path: "/{all...}", Query: []string{"a", "b...", "[x]"}},
			{Action: "refunds.read", Methods: []string{"GET"}, Path: "/", Query: []string{"a"}},
		}
	}))
}

func TestAPathThatIsNotCanonicalIsRefused(t *testing.T) {
	for name, paths := range map[string][]string{
		"B1 dot segments": {"/v1/../admin", "/v1/./x", "/v1/%2e%2e/admin", "/v1/%2E./", "/v1/.%2e/", "/v1/%2E%2E/admin",
			"/..", "/.", "/v1/..", "/v1/.", "/v1/...", "/../v1", "/v1/.%2E", "/v1/%2E"},
		"B2 structure that hides": {"/v1%2fadmin", "/v1%2Fadmin", "/v1%5cadmin", "/v1%5Cadmin", `/v1\admin`, "//v1", "/v1//x",
			"//",
			"/v1/;a=b", "/v1;a/x", "/v1/..;/admin", "/v1/%3Bx", "/v1/x;", "/v1/x%3F/y", "/v1/x%23/y", "/v1/x#y", "/v1/x?y"},
		"B3 double encoding, overlong, control": {"/v1/%252e%252e/admin", "/v1/%25", "/%252F", "/v1/%c0%ae%c0%ae/admin",
			"/v1/%C0%AE", "/v1/%E0%80%AF", "/v1/%00", "/v1/x%00.json", "/v1/%0d%0aHost:x", "/v1/%0D%0A", "/v1/%0A", "/v1/%09",
			"/v1/%7F", "/v1/%C2%85", "/v1/%FF", "/v1/%ED%A0%80", "/v1/\x00", "/v1/\r\n", "/v1/a b", "/v1/ü", "/v1/\xff"},
		"bad escapes":                  {"/v1/%", "/v1/%4", "/v1/%zz", "/v1/%4G", "/v1/%u002e", "/v1/%%32"},
		"escapes in another form":      {"/v1/%c3%a4", "/v1/%C3%a4", "/v1/%3a"},
		"needless escapes":             {"/v1/%41", "/v1/%7E", "/v1/%2D", "/%76%31", "/v1/%5F", "/v1/%30"},
		"B4 a dot or space at the end": {"/v1/x.", "/v1/api.x./y", "/v1/x%20", "/v1/x..", "/v1/x%20/y", "/v1/%20"},
		"characters that become others": {"/v1/%EF%BC%8E%EF%BC%8E/admin", "/v1%EF%BC%8Fadmin", "/v1/%E2%80%A5",
			"/v1%E2%88%95x"},
		"raw characters that are none of a path": {`/v1/"x"`, "/v1/<x>", "/v1/{id}", "/v1/a|b", "/v1/a^b", "/v1/a`b",
			"/v1/[x]"},
		"no path": {"v1", "*", "https://evil.example/", "?a", "evil.example:443", "%2Fv1"},
	} {
		t.Run(name, func(t *testing.T) {
			u, loose := everything(t, false), everything(t, true)
			for _, p := range paths {
				if _, err := u.Route("GET", p, ""); reason(err) != "path.ambiguous" || fault.As(err).Kind != fault.InvalidRequest {
					t.Errorf("%q: %v, want path.ambiguous", p, err)
				}
				if m, err := loose.Route("GET", p, ""); reason(err) != "path.ambiguous" && p != "/v1%2Fadmin" {
					t.Errorf("%q with encoded slashes: %v, %v, want path.ambiguous", p, m, err)
				}
			}
		})
	}
}

func TestAnEncodedSlashIsAdmittedWithinASegmentAlone(t *testing.T) {
	u := open(t, with(func(tool *tools.Tool) {
		tool.Upstream.AllowEncodedSlash = true
		tool.Upstream.Allow = []tools.Rule{
			{Action: "refunds.read", Methods: []string{"GET"}, Path: "/projects/{id}/issues"},
			{Action: "refunds.create", Methods: []string{"GET"}, Path: "/projects/@scope%2Fsecret/issues"},
		}
	}))
	for p, want := range map[string]string{
		"/projects/a%2Fb/issues": "refunds.read", "/projects/a%2Fb%2Fc/issues": "refunds.read",
		"/projects/@scope%2Fsecret/issues": "refunds.create", "/projects/%40scope%2Fsecret/issues": "refunds.create",
	} {
		if m, err := u.Route("GET", p, ""); err != nil || m.Rule.Action != want || m.Path != p {
			t.Errorf("%s: %+v, %v, want %s", p, m, err, want)
		}
	}
	for _, p := range []string{"/projects/a%2f/issues", "/projects/a%2F/issues", "/projects/%2Fa/issues",
		"/projects/..%2F..%2Fadmin/issues", "/projects/a%2F..%2Fb/issues", "/projects/a%2F.%2Fb/issues",
		"/projects/a%2F%2Fb/issues", "/projects/a.%2Fb/issues", "/projects/a%5Cb/issues", "/projects/a%252Fb/issues"} {
		if _, err := u.Route("GET", p, ""); reason(err) != "path.ambiguous" {
			t.Errorf("%s: %v, want path.ambiguous", p, err)
		}
	}
}

func TestTheBytesThatAreJudgedAreTheBytesThatAreSent(t *testing.T) {
	u := everything(t, false)
	for _, p := range []string{"/", "/v1", "/v1/", "/a/b/c", "/a.b/c..d/.e", "/a%20b", "/%C3%A4", "/a:b@c", "/a%3Ab",
		"/~x/-_",
		"/!$&'()*+,=", "/%F0%9F%92%A5", "/%2B/+"} {
		if m, err := u.Route("GET", p, ""); err != nil || m.Path != p {
			t.Errorf("%q: %+v, %v", p, m, err)
		}
	}
	if m := match(t, u, "GET", ""); m.Path != "/" {
		t.Errorf("an empty path is sent as %q", m.Path)
	}
}

// B4: a rule is for whole segments, in the case and with the slash at the end that it has.
func TestARuleIsForItsPathsAlone(t *testing.T) {
	u := ruled(t,
		tools.Rule{Action: "refunds.read", Methods: []string{"GET"}, Path: "/v1/refunds/{id}"},
		tools.Rule{Action: "refunds.read", Methods: []string{"GET"}, Path: "/v1/list/"},
		tools.Rule{Action: "refunds.read", Methods: []string{"GET"}, Path: "/v1/a:b"},
		tools.Rule{Action: "refunds.read", Methods: []string{"GET"}, Path: "/v1/files/{path...}"})
	for _, p := range []string{"/v1/refunds/7", "/v1/refunds/a%20b", "/v1/list/", "/v1/a:b", "/v1/a%3Ab", "/v1/files/a",
		"/v1/files/a/b", "/v1/files/a/"} {
		match(t, u, "GET", p)
	}
	for _, p := range []string{"/", "/v1", "/v1/", "/v1/refunds", "/v1/refunds/", "/v1/refunds/7/", "/v1/refunds/7/x",
		"/V1/refunds/7",
		"/v1/Refunds/7", "/v1beta/refunds/7", "/xv1/refunds/7", "/v1/refundsx/7", "/v1/list", "/v1/list/x", "/v1/files/",
		"/v1/files", "/v1/filesx/a", "/refunds/7"} {
		if m, err := u.Route("GET", p, ""); reason(err) != "path.not_allowed" || fault.As(err).Kind != fault.Forbidden {
			t.Errorf("%s: %+v, %v, want path.not_allowed", p, m, err)
		}
	}
}

// B7
func TestAnUnknownMethodIsRefused(t *testing.T) {
	u := everything(t, false)
	for _, method := range []string{"get", "Get", "POST", "CONNECT", "TRACE", "PROPFIND", "GET ", "", "GETX", "QUERY",
		"X"} {
		if _, err := u.Route(method, "/x", ""); reason(err) != "method.not_allowed" ||
			fault.As(err).Kind != fault.MethodNotAllowed {
			t.Errorf("%q: %v, want method.not_allowed", method, err)
		}
	}
	if _, err := open(t, payments()).Route("get", "/nowhere", ""); reason(err) != "method.not_allowed" {
		t.Errorf("an unknown method where there is nothing: %v, want method.not_allowed", err)
	}
	if _, err := u.Route("OPTIONS", "*", ""); err == nil {
		t.Error("OPTIONS * is allowed")
	}
}

func TestTheRuleOfAMethodDecides(t *testing.T) {
	u := open(t, payments())
	for _, row := range []struct{ method, path, action, reason string }{
		{"GET", "/v1/refunds/7", "refunds.read", ""},
		{"HEAD", "/v1/refunds/7", "refunds.read", ""},
		{"DELETE", "/v1/refunds/7", "refunds.delete", ""},
		{"POST", "/v1/refunds", "refunds.create", ""},
		{"POST", "/v1/refunds/7", "", "method.not_allowed"},
		{"GET", "/v1/refunds", "", "method.not_allowed"},
		{"GET", "/v2/refunds", "", "path.not_allowed"},
	} {
		m, err := u.Route(row.method, row.path, "")
		if reason(err) != row.reason || err == nil && m.Rule.Action != row.action {
			t.Errorf("%s %s: %+v, %v, want %s%s", row.method, row.path, m, err, row.action, row.reason)
		}
	}
}

// B8, B5
func TestAQueryIsWhatTheRuleAllows(t *testing.T) {
	u := open(t, with(func(tool *tools.Tool) {
		tool.Upstream.Inject = []tools.Injection{{In: tools.InQuery, Name: "api_key", Secret: "k"}}
	}))
	for _, row := range []struct{ query, sent, reason string }{
		{"", "", ""},
		{"page=2", "page=2", ""},
		{"page", "page", ""},
		{"page=", "page=", ""},
		{"page=a%20b+c%2f%C3%A4", "page=a%20b+c%2f%C3%A4", ""},
		{"p%61ge=2", "p%61ge=2", ""},
		{"expand=a&expand=b&page=1", "expand=a&expand=b&page=1", ""},
		{"page=a=b/?:@[]!$'()*,", "page=a=b/?:@[]!$'()*,", ""},
		// the agent's own copies of what is injected are not sent
		{"api_key=mine", "", ""},
		{"page=1&api_key=mine", "page=1", ""},
		{"api%5Fkey=mine&page=1", "page=1", ""},
		{"api_key=a&api_key=b", "", "query.ambiguous"},

		{"page=1&page=2", "", "query.ambiguous"}, {"page=1&p%61ge=2", "", "query.ambiguous"},
		{"page=1;api_key=2", "", "query.ambiguous"}, {"page=%zz", "", "query.ambiguous"}, {"%zz=1", "", "query.ambiguous"},
		{"page=%", "", "query.ambiguous"}, {"page=%FF", "", "query.ambiguous"}, {"%FF=1", "", "query.ambiguous"},
		{"page=%00", "", "query.ambiguous"}, {"page=1&", "", "query.ambiguous"}, {"&", "", "query.ambiguous"},
		{"page=1&&expand=1", "", "query.ambiguous"}, {"=1", "", "query.ambiguous"}, {"page=a b", "", "query.ambiguous"},
		{"page=a#b", "", "query.ambiguous"}, {"page=ü", "", "query.ambiguous"}, {`page=a\b`, "", "query.ambiguous"},
		{"page=\r\n", "", "query.ambiguous"}, {"page=1?page=2", "page=1?page=2", ""},

		{"_method=DELETE", "", "query.not_allowed"}, {"page=1&_method=DELETE", "", "query.not_allowed"},
		{"Page=1", "", "query.not_allowed"}, {"API_KEY=1", "", "query.not_allowed"}, {"x=1", "", "query.not_allowed"},
		{"expand...=1", "", "query.not_allowed"}, {"page%20=1", "", "query.not_allowed"}, {"page+=1", "",
			"query.not_allowed"},
	} {
		m, err := u.Route("GET", "/v1/refunds/7", row.query)
		if reason(err) != row.reason || err == nil && m.Query != row.sent {
			t.Errorf("%q: %+v, %v, want %q%s", row.query, m, err, row.sent, row.reason)
		}
	}
}

// B11
func TestTheMostSpecificRuleWins(t *testing.T) {
	rules := []tools.Rule{
		{Action: "refunds.delete", Methods: []string{"GET"}, Path: "/{all...}"},
		{Action: "refunds.read", Methods: []string{"GET"}, Path: "/v1/{id}"},
		{Action: "refunds.create", Methods: []string{"GET"}, Path: "/v1/search"},
		{Action: "refunds.create", Methods: []string{"GET"}, Path: "/v1/{id}/{sub}"},
		{Action: "refunds.read", Methods: []string{"GET"}, Path: "/v1/{rest...}"},
		{Action: "refunds.delete", Methods: []string{"POST"}, Path: "/v1/search"},
	}
	for range 2 {
		u := ruled(t, rules...)
		for p, want := range map[string]string{
			"/v1/search": "/v1/search", "/v1/7": "/v1/{id}", "/v1/7/8": "/v1/{id}/{sub}", "/v1/7/8/9": "/v1/{rest...}",
			"/v2": "/{all...}", "/v1/search/": "/v1/{rest...}", "/v1": "/{all...}", "/v1/": "/{all...}",
		} {
			if m := match(t, u, "GET", p); m.Rule.Path != want {
				t.Errorf("%s falls under %s, want %s", p, m.Rule.Path, want)
			}
		}
		slices.Reverse(rules) // their order does not matter
	}
}

// B11
func TestRulesThatTieAreMistakes(t *testing.T) {
	rule := func(path string, methods ...string) tools.Rule {
		return tools.Rule{Action: "refunds.read", Methods: methods, Path: path}
	}
	for name, row := range map[string]struct {
		rules []tools.Rule
		want  string // "" if there is no mistake
	}{
		"the same path": {[]tools.Rule{rule("/a/{x}", "GET"), rule("/a/{y}", "GET", "POST")},
			"allows GET to the same paths as allow[0]"},
		"the same text":       {[]tools.Rule{rule("/a", "GET"), rule("/a", "GET")}, "same paths"},
		"the same in escapes": {[]tools.Rule{rule("/a:b", "GET"), rule("/a%3Ab", "GET")}, "same paths"},
		"the same rest":       {[]tools.Rule{rule("/a/{x...}", "GET"), rule("/a/{y...}", "GET")}, "same paths"},
		"other methods":       {[]tools.Rule{rule("/a/{x}", "GET"), rule("/a/{y}", "POST")}, ""},
		"a literal":           {[]tools.Rule{rule("/a/{x}", "GET"), rule("/a/b", "GET")}, ""},
		"crossing": {[]tools.Rule{rule("/a/{x}", "GET"), rule("/{y}/b", "GET")},
			"neither is more specific; write a rule for that"},
		"crossing, other verb": {[]tools.Rule{rule("/a/{x}", "GET"), rule("/{y}/b", "POST")}, ""},
		"crossing, decided":    {[]tools.Rule{rule("/a/{x}", "GET"), rule("/{y}/b", "GET"), rule("/a/b", "GET")}, ""},
		"crossing, decided for one verb": {[]tools.Rule{rule("/a/{x}", "GET", "PUT"), rule("/{y}/b", "GET", "PUT"),
			rule("/a/b", "GET")},
			"PUT of /a/b"},
		"crossing a rest":    {[]tools.Rule{rule("/a/{x...}", "GET"), rule("/{y}/b/c", "GET")}, "GET of /a/b/c"},
		"a rest, shorter":    {[]tools.Rule{rule("/a/{x...}", "GET"), rule("/{y...}", "GET")}, ""},
		"a rest, and none":   {[]tools.Rule{rule("/a/{x...}", "GET"), rule("/a/", "GET"), rule("/a", "GET")}, ""},
		"a slash at the end": {[]tools.Rule{rule("/{y}/", "GET"), rule("/a/{x}", "GET")}, ""},
		"other lengths":      {[]tools.Rule{rule("/a/{x}", "GET"), rule("/a/{x}/{y}", "GET")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, order := range [][]tools.Rule{row.rules, reversed(row.rules)} {
				got := mistakes(with(func(tool *tools.Tool) { tool.Upstream.Allow = order }))
				want := strings.ReplaceAll(row.want, "GET to the same paths as allow[0]", "GET to the same paths as")
				if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0], want)) {
					t.Errorf("mistakes %q, want %q", got, want)
				}
			}
		})
	}
}

func reversed(rules []tools.Rule) []tools.Rule {
	r := slices.Clone(rules)
	slices.Reverse(r)
	return r
}

// B11, B12: a secret in the path has one place, which the rule says and the agent cannot choose.
func TestASecretInThePathHasItsPlace(t *testing.T) {
	u := open(t, with(func(tool *tools.Tool) {
		tool.Upstream.Inject = []tools.Injection{{In: tools.InPath, Name: "key", Secret: "k"}}
		tool.Upstream.Allow = []tools.Rule{
			{Action: "refunds.read", Methods: []string{"GET"}, Path: "/{id}/{key}/{rest...}"},
			{Action: "refunds.read", Methods: []string{"GET"}, Path: "/v2/key/{key}"},
		}
	}))
	for p, want := range map[string]string{"/7/key/a": "/7/SECRET/a", "/key/key/key/key": "/key/SECRET/key/key",
		"/v2/key/key": "/v2/key/SECRET", "/%C3%A4/key/x": "/%C3%A4/SECRET/x"} {
		m := match(t, u, "GET", p)
		start, end, ok := m.Segment("key")
		if !ok || m.Path[:start]+"SECRET"+m.Path[end:] != want {
			t.Errorf("%s: [%d:%d] %v, want %s", p, start, end, ok, want)
		}
		if _, _, ok := m.Segment("id"); ok {
			t.Error("another parameter is a place for a secret")
		}
	}
	for _, p := range []string{"/7/{key}/a", "/7/other/a", "/7/KEY/a"} {
		if _, err := u.Route("GET", p, ""); err == nil {
			t.Errorf("%s is allowed, and has no place for the secret", p)
		}
	}
}

func TestAnUpstreamThatWasNotCheckedAllowsNothing(t *testing.T) {
	u := payments().Upstream
	if _, err := u.Route("GET", "/v1/refunds/7", ""); reason(err) != "path.not_allowed" {
		t.Errorf("%v, want path.not_allowed", err)
	}
	if _, err := new(tools.Upstream).Route("GET", "/", ""); err == nil {
		t.Error("the zero value allows a call")
	}
}

// FuzzRoute: whatever is allowed is sent as it came, and every reader of it finds the segments that were judged.
func FuzzRoute(f *testing.F) {
	for _, seed := range [][2]string{{"/v1/x", "a=1"}, {"/v1/%2e%2e/admin", ""}, {"/a%2Fb", "b=1&b=2"}, {"/%C3%A4/a%3Ab",
		"%5Bx%5D=1"},
		{"/a//b", "a=%zz"}, {"/", "a"}, {"/..;/x", ";"}, {"/a/", "a=1&a=2"}, {"/%252e", "a=+"}, {"", ""}} {
		f.Add(seed[0], seed[1])
	}
	strict, loose := everything(f, false), everything(f, true)
	base, _ := url.Parse("https://legacy.example:8443/")
	f.Fuzz(func(t *testing.T, rawPath, rawQuery string) {
		for _, u := range []*tools.Upstream{strict, loose} {
			m, err := u.Route("GET", rawPath, rawQuery)
			if err != nil {
				continue
			}
			if m.Path != rawPath && (rawPath != "" || m.Path != "/") || m.Query != rawQuery {
				t.Fatalf("%q ? %q is sent as %q ? %q", rawPath, rawQuery, m.Path, m.Query)
			}
			target, err := url.ParseRequestURI(m.Path + "?" + m.Query)
			if err != nil || target.EscapedPath() != m.Path || target.RawQuery != m.Query || target.Host != "" {
				t.Fatalf("%q ? %q is read as %+v (%v)", m.Path, m.Query, target, err)
			}
			if next := base.ResolveReference(target); next.Host != base.Host || next.EscapedPath() != m.Path {
				t.Fatalf("%q leads to %s", m.Path, next)
			}
			if clean := path.Clean(target.Path); clean != strings.TrimSuffix(target.Path, "/") && target.Path != "/" {
				t.Fatalf("%q is %q when it is cleaned", target.Path, clean)
			}
			if u == strict && strings.Count(target.Path, "/") != strings.Count(m.Path, "/") ||
				strings.ContainsAny(target.Path, "\\%;?#\x00\r\n") {
				t.Fatalf("%q has other segments when it is decoded: %q", m.Path, target.Path)
			}
			values, err := url.ParseQuery(m.Query)
			if err != nil || len(values["a"]) > 1 || len(values["[x]"]) > 1 {
				t.Fatalf("%q is read as %v (%v)", m.Query, values, err)
			}
			for name := range values {
				if !slices.Contains([]string{"a", "b", "[x]"}, name) {
					t.Fatalf("%q has the parameter %q", m.Query, name)
				}
			}
		}
	})
}
