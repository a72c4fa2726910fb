package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness/raw"
)

// TestNoWayPastMethodAndPath: rows B of the attacks. What is refused never reaches the upstream.
func TestNoWayPastMethodAndPath(t *testing.T) {
	eachShim(t, func(t *testing.T, w *shimWorld) {
		against(t, "B1", "dot segments", func(t *testing.T) {
			w.refusesPaths(t, 400, "ambiguous_path", "/v1/../admin", "/v1/./items/1", "/v1/%2e%2e/admin/x", "/v1/%2E./admin/x",
				"/v1/.%2e/admin/x", "/v1/%2E%2E/admin/x", "/..", "/.", "/v1/items/..", "/v1/items/.",
				"/v1/items/1/../../../admin/x",
				"/../../globex/legacy/v1/items/1", "/v1/items/...", "/v1/items/%2E", "/v1/items/1/.")
		})
		against(t, "B2", "slashes and parameters in other clothes", func(t *testing.T) {
			w.refusesPaths(t, 400, "ambiguous_path", "/v1/items%2f1", "/v1/items%2F1", "/v1%5citems", "/v1%5Citems/1",
				`/v1\items\1`,
				`/v1/items/..\..\admin`, "//v1/items/1", "/v1//items/1", "/v1/items//1", "/v1/items/1;a=b", "/v1;x/items/1",
				"/v1/..;/admin/x", "/v1/items/..%3B/admin", "/v1/items/%3Bx", "/v1/items/1//")
		})
		against(t, "B3", "double, overlong and control encodings", func(t *testing.T) {
			w.refusesPaths(t, 400, "ambiguous_path", "/v1/%252e%252e/admin", "/v1/items/%252F", "/v1/%c0%ae%c0%ae/admin",
				"/v1/%C0%AE%C0%AE/admin", "/v1/%E0%80%AE/x", "/v1/items/%00", "/v1/items/1%00.json", "/v1/items/%0d%0aX-A:%20b",
				"/v1/items/%0D%0AX-A:%20b", "/v1/items/%0A", "/v1/items/%61", "/v1/items/a%20", "/v1/items/\xff",
				"/v1/items/\xe3\x80\x82", "/v1/items/%EF%BC%8E", "/v1/items/%EF%BC%8F", "/v1/items/<x>", "/v1/items/\"",
				"/v1/items/a|b")
			w.refusesPaths(t, 400, "", "/v1/items/%", "/v1/items/%2", "/v1/items/%zz", "/v1/items/%u002e", "/v1/items/a\x7f")
		})
		against(t, "B4", "near misses of a path", func(t *testing.T) {
			w.refusesPaths(t, 403, "path_not_allowed", "/v1beta/items/1", "/V1/items/1", "/v1/Items/1", "/v1/items/1/",
				"/v1/items/",
				"/v1/item/1", "/v1/items/1/x", "/v11/items/1", "/v1/items1", "/", "", "/v1", "/v1/", "/echo/body",
				"/echo/body/raw/x")
			w.refusesPaths(t, 400, "ambiguous_path", "/v1/items/1.", "/v1./items/1", "/v1/items./1")
		})
		against(t, "B5", "another method in a header, a query or a form", w.overriddenMethods)
		against(t, "B6", "another path in a header", w.overriddenPaths)
		against(t, "B7", "odd methods", w.oddMethods)
		against(t, "B8", "queries of two meanings", w.oddQueries)
		against(t, "B9", "bodies where and how they must not be", w.oddBodies)
		against(t, "B10", "another request on the same connection", w.secondRequests)
		against(t, "B11", "paths of two rules", w.twoRules)
		against(t, "B12", "a caller that says where the key goes", w.callersFormat)
	})
}

// refusesPaths fails the test unless each path is refused, and no byte of it is sent.
func (w *shimWorld) refusesPaths(t *testing.T, status int, code string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		for _, query := range []string{"", "?fields=a"} {
			w.silent(t, path, func() {
				problem(t, fmt.Sprintf("%q", path+query), w.get(t, "legacy", path+query), status, code)
			})
		}
	}
}

func (w *shimWorld) overriddenMethods(t *testing.T) {
	for _, name := range []string{"X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method", "X-Original-Method",
		"X-Forwarded-Method"} {
		reply := w.get(t, "legacy", "/v1/items/1", name+": DELETE")
		if r := w.up.Last(t); reply.Status != 200 || r.Method != "GET" || len(r.Get(name)) > 0 {
			t.Errorf("%s: %d; the upstream got %s", name, reply.Status, r.Head())
		}
	}
	w.silent(t, "_method in the query", func() {
		problem(t, "_method", w.get(t, "legacy", "/v1/items/1?_method=DELETE"), 403, "query_not_allowed")
	})
	w.silent(t, "_method in a form", func() { // a rule that says what a body holds takes no form
		problem(t, "a form", w.send(t, "legacy", "POST", "/v1/notes", "_method=DELETE",
			"Content-Type: application/x-www-form-urlencoded"), 403, "body_constraint")
	})
	for _, header := range []string{"X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"} {
		out, err := w.tryWith(t, "loose", injections["legacy"], rules+"      headers: ["+header+"]\n")
		if err == nil || !strings.Contains(out, "headers[0]") {
			t.Errorf("a tool may pass %s on: %v\n%s", header, err, out)
		}
	}
}

func (w *shimWorld) overriddenPaths(t *testing.T) {
	for _, name := range []string{"X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Forwarded-Prefix",
		"X-Forwarded-Uri",
		"X-Forwarded-Path", "X-Accel-Redirect", "X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "Via",
		"X-Custom-IP-Authorization", "X-Forwarded", "Referer", "Origin"} {
		reply := w.get(t, "legacy", "/v1/items/1", name+": /admin/x")
		r := w.up.Last(t)
		if reply.Status != 200 || r.Target != "/v1/items/1" || strings.Contains(string(r.Raw), "/admin/x") {
			t.Errorf("%s: %d; the upstream got %s", name, reply.Status, r.Head())
		}
	}
	for _, name := range []string{"X_Original_URL", "X_Rewrite_URL", "X.Original.URL", "X_Forwarded_For", "X_API_KEY",
		"Content_Length", "Transfer_Encoding", "X-Forwarded_Host"} {
		w.silent(t, name, func() {
			problem(t, name, w.get(t, "legacy", "/v1/items/1", name+": /admin/x"), 400, "malformed_request")
		})
	}
}

func (w *shimWorld) oddMethods(t *testing.T) {
	for _, method := range []string{"get", "Get", "post", "PROPFIND", "PURGE", "DEBUG", "TRACK", "MOVE", "LOCK", "PRI",
		"GETX", "X", "M-SEARCH"} {
		w.silent(t, method, func() {
			problem(t, method, w.send(t, "legacy", method, "/v1/items/1", ""), 405, "")
		})
	}
	for _, method := range []string{"GE T", "G\tT", "G(T", "", "G\x00T"} { // which are no tokens
		w.silent(t, method, func() {
			if reply := w.send(t, "legacy", method, "/v1/items/1", ""); reply.Status < 400 {
				t.Errorf("%q: %d", method, reply.Status)
			}
		})
	}
	w.silent(t, "a method that no rule has", func() {
		problem(t, "PUT", w.send(t, "legacy", "PUT", "/v1/items/1", ""), 405, "method_not_allowed")
	})
}

func (w *shimWorld) oddQueries(t *testing.T) {
	for query, code := range map[string]string{
		"fields=a&fields=b": "ambiguous_query", "fields=a;fields=b": "ambiguous_query", "fields=%zz": "ambiguous_query",
		"fields=%": "ambiguous_query", "fields=%ff": "ambiguous_query", "fields=%00": "ambiguous_query",
		"&fields=a": "ambiguous_query", "fields=a&&": "ambiguous_query", "=a": "ambiguous_query",
		"fields=a#b": "ambiguous_query",
		"fields=<":   "ambiguous_query", "fiel%64s=a&fields=b": "ambiguous_query", "debug=1": "query_not_allowed",
		"Fields=a": "query_not_allowed", "fields[]=a": "query_not_allowed", "api_key=mine": "query_not_allowed",
	} {
		w.silent(t, query, func() {
			reply := w.get(t, "legacy", "/v1/items/1?"+query)
			if want := map[string]int{"ambiguous_query": 400}[code]; want == 0 {
				problem(t, query, reply, 403, code)
			} else {
				problem(t, query, reply, want, code)
			}
		})
	}
	for query, want := range map[string]string{"api_key=mine": "", "fields=a&api_key=mine": "fields=a&",
		"tag=a&tag=b":    "tag=a&tag=b&",
		"api%5Fkey=mine": "", "fields=a%2Fb": "fields=a%2Fb&"} {
		reply := w.get(t, "query", "/v1/items/1?"+query)
		r := w.up.Last(t)
		got := r.Query()["api_key"]
		if reply.Status != 200 || !slices.Equal(got, []string{acmeKey}) ||
			!strings.HasPrefix(r.Target, "/v1/items/1?"+want+"api_key=") {
			t.Errorf("%s: %d; the upstream got %s", query, reply.Status, r.Target)
		}
	}
	w.silent(t, "its own key twice", func() {
		problem(t, "its own key twice", w.get(t, "query", "/v1/items/1?api_key=a&api_key=b"), 400, "ambiguous_query")
	})
}

func (w *shimWorld) oddBodies(t *testing.T) {
	js := "Content-Type: application/json"
	for _, row := range []struct {
		name, method, path, body, kind string
		status                         int
		code                           string
	}{
		{"with GET", "GET", "/v1/items/1", "x", js, 400, "body_not_allowed"},
		{"with HEAD", "HEAD", "/v1/items/1", "x", js, 400, "body_not_allowed"},
		{"with DELETE", "DELETE", "/v1/items/1", "{}", js, 400, "body_not_allowed"},
		{"too long", "POST", "/v1/notes", `{"visibility":"internal","x":"` + strings.Repeat("x", 1024) + `"}`, js, 413,
			"body_too_large"},
		{"far too long", "POST", "/v1/items", strings.Repeat(" ", 1<<20) + "{}", js, 413, "body_too_large"},
		{"another value", "POST", "/v1/notes", `{"visibility":"public"}`, js, 403, "body_constraint"},
		{"no value", "POST", "/v1/notes", `{}`, js, 403, "body_constraint"},
		{"a value twice", "POST", "/v1/notes", `{"visibility":"internal","visibility":"public"}`, js, 400, "ambiguous_body"},
		{"a value twice, in other letters", "POST", "/v1/notes", `{"visibility":"internal","Visibility":"public"}`, js, 400,
			"ambiguous_body"},
		{"a value twice, escaped", "POST", "/v1/notes", `{"visibility":"internal","visibilit\u0079":"public"}`, js, 400,
			"ambiguous_body"},
		{"two values", "POST", "/v1/notes", `{"visibility":"internal"}{"visibility":"public"}`, js, 400, "ambiguous_body"},
		{"comments", "POST", "/v1/notes", `{"visibility":"internal" /* */}`, js, 400, "ambiguous_body"},
		{"no JSON", "POST", "/v1/notes", `visibility=internal`, js, 400, "ambiguous_body"},
		{"another type", "POST", "/v1/notes", `<x/>`, "Content-Type: text/xml", 415, "unsupported_media_type"},
		{"no type", "POST", "/v1/notes", `{"visibility":"internal"}`, "Accept: */*", 415, "unsupported_media_type"},
		{"another charset", "POST", "/v1/notes", `{"visibility":"internal"}`, js + "; charset=utf-7", 415, ""},
		{"compressed", "POST", "/v1/notes", `{"visibility":"internal"}`, js + "\r\nContent-Encoding: gzip", 415, ""},
		{"a byte order mark", "POST", "/v1/notes", "\ufeff" + `{"visibility":"internal"}`, js, 400, "ambiguous_body"},
	} {
		w.silent(t, row.name, func() {
			problem(t, "a body "+row.name, w.send(t, "legacy", row.method, row.path, row.body, row.kind), row.status, row.code)
		})
	}
	good := `{"visibility":"internal","text":"a"}`
	if reply := w.send(t, "legacy", "POST", "/v1/notes", good, js); reply.Status != 200 ||
		string(w.up.Last(t).Body) != good {
		t.Errorf("%d %s; the upstream got %s", reply.Status, reply.Body, w.up.Last(t).Raw)
	}
}

// secondRequests sends different requests on one connection: each is judged by itself.
func (w *shimWorld) secondRequests(t *testing.T) {
	token, other := w.token(t, "legacy"), w.fresh(t, "acme", "legacy", "admin.all")
	c := raw.Dial(t, w.Shim)
	for _, step := range []struct {
		request string
		status  int
	}{
		{w.request(token, "legacy", "GET", "/v1/items/1", ""), 200},
		{w.request(token, "legacy", "GET", "/admin/x", ""), 403},
		{w.request(other, "legacy", "GET", "/admin/x", ""), 404}, // which the upstream says
		{w.request(other, "legacy", "GET", "/v1/items/1", ""), 403},
		{w.request("", "legacy", "GET", "/v1/items/1", ""), 401},
		{w.request(token, "legacy", "DELETE", "/v1/items/1", ""), 200},
		{w.request(token, "bearer", "GET", "/v1/items/1", ""), 401},
		{w.request(token, "legacy", "GET", "/v1/items/2", ""), 200},
	} {
		c.Send(t, step.request)
		method, _, _ := strings.Cut(step.request, " ")
		reply := c.Receive(t, method)
		w.clean(t, step.request, reply)
		if line, _, _ := strings.Cut(step.request, "\r\n"); reply.Status != step.status || reply.Closed {
			t.Errorf("%s: %d, closed %v", line, reply.Status, reply.Closed)
		}
	}
	// Two at once: the second is not a part of the first.
	pair := w.request(token, "legacy", "POST", "/v1/items", "{}", "Content-Type: application/json") +
		w.request("", "legacy", "GET", "/admin/x", "")
	c.Send(t, pair)
	if first, second := c.Receive(t, "POST"), c.Receive(t, "GET"); first.Status != 200 || second.Status != 401 {
		t.Errorf("%d, then %d", first.Status, second.Status)
	}
}

func (w *shimWorld) twoRules(t *testing.T) {
	rule := func(action, methods, path string) string {
		return fmt.Sprintf("{action: %s, methods: [%s], path: %q}", action, methods, path)
	}
	for name, two := range map[string]string{
		"the same":          rule("items.read", "GET", "/a/{x}") + ", " + rule("items.write", "GET", "/a/{y}"),
		"crossing":          rule("items.read", "GET", "/a/{x}/b") + ", " + rule("items.write", "GET", "/{y}/a/b"),
		"some methods more": rule("items.read", "GET, PUT", "/a") + ", " + rule("items.write", "POST, PUT", "/a"),
	} {
		out, err := w.tryWith(t, "tied", injections["legacy"], "\n      allow: ["+two+"]\n")
		if err == nil || !strings.Contains(out, "allow[1]") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	w.with(t, "tied", injections["legacy"], `
      allow:
        - {action: items.read, methods: [GET], path: "/{rest...}"}
        - {action: items.write, methods: [GET], path: "/v1/{id}"}
        - {action: admin.all, methods: [GET], path: "/v1/special"}
`)
	token := w.fresh(t, "acme", "tied", "items.read")
	for path, status := range map[string]int{"/other": 404, "/v1/a/b": 200, "/v1/7": 403, "/v1/special": 403} {
		before := w.up.Count().Requests
		reply := w.ask(t, w.request(token, "tied", "GET", path, ""))
		sent := w.up.Count().Requests - before
		if reply.Status != status || sent != map[bool]int{true: 0, false: 1}[status == 403] {
			t.Errorf("%s: %d, %d requests", path, reply.Status, sent)
		}
		if sent > 0 && !slices.Equal(w.sent(t, "X-Api-Key"), []string{acmeKey}) {
			t.Errorf("%s: sent without the key", path)
		}
	}
}

// callersFormat asks for the key where it does not belong, in the words of other brokers.
func (w *shimWorld) callersFormat(t *testing.T) {
	for _, header := range []string{"Proxy-Tokenizer: x; dst=X-Other; fmt=%s", "X-Bursar-Inject: X-Other",
		"X-Other: {value}",
		"X-Bursar-Secret: legacy-key", "X-Placeholder: ${legacy-key}", "X-Api-Key: {value}", "X-Bursar-Format: a{value}",
		"Accept: {value}", "Accept-Language: ${legacy-key}"} {
		reply := w.get(t, "legacy", "/v1/items/1", header)
		r := w.up.Last(t)
		if n := strings.Count(string(r.Raw), acmeKey); reply.Status != 200 || n != 1 || len(r.Get("X-Other")) > 0 {
			t.Errorf("%s: %d; the upstream got %s", header, reply.Status, r.Head())
		}
	}
	body := `{"dst":"X-Other","fmt":"{value}","msg":"{value}","placeholder":"legacy-key","auth":"{value}"}`
	reply := w.send(t, "legacy", "POST", "/v1/items", body, "Content-Type: application/json")
	if r := w.up.Last(t); reply.Status != http.StatusOK || string(r.Body) != body {
		t.Errorf("%d; the upstream got %s", reply.Status, r.Raw)
	}
	for _, query := range []string{"dst=X-Other", "fmt={value}", "placeholder=x"} {
		w.silent(t, query, func() {
			if reply := w.get(t, "legacy", "/v1/items/1?"+query); reply.Status < 400 {
				t.Errorf("%s: %d", query, reply.Status)
			}
		})
	}
	// Where the key is a segment, the agent's segment is the parameter's own name and nothing else.
	w.silent(t, "another segment", func() {
		problem(t, "another segment", w.get(t, "seg", "/echo/body/raw/mine"), 403, "path_not_allowed")
	})
	if reply := w.get(t, "seg", "/echo/body/raw/key"); reply.Status != 200 {
		t.Errorf("%d %s", reply.Status, reply.Body)
	}
}
