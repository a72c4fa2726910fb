package inject_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/inject"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// escaped is the secret as it stands in addresses and forms.
const escaped = "sk-live%2F4Zt7%2BQa9%3DxLm2%26Kp8%3FWv3%25Nb6%3AYc1"

// TestEachKindOnTheWire sends calls with everything that an agent can put in the way, and reads what arrives byte by
// byte: the secret once, nothing of the agent's in its place (B8, C6), also where a Connection header names it (C3),
// path and query as they were judged; and an answer with all of that comes back without the secret (D3).
func TestEachKindOnTheWire(t *testing.T) {
	w := listen(t, nil)
	address := "http://" + w.Addr().String()
	pair := base64.StdEncoding.EncodeToString([]byte("user:" + secret))
	get := call{method: "GET", path: "/v1/a%20b/c%2Fd/!$&'()*+,=:@-._~", query: "a=%C3%A9&b=1+2&b=x%2Fy",
		headers: []string{"Accept: text/plain"}}
	line := "GET /v1/a%20b/c%2Fd/!$&'()*+,=:@-._~?a=%C3%A9&b=1+2&b=x%2Fy HTTP/1.1\r\n"
	post := func(kind, body string) call {
		return call{method: "POST", path: "/v1/x", headers: []string{"Content-Type: " + kind}, body: body}
	}
	with := func(c call, headers ...string) call {
		c.headers = append(slices.Clone(c.headers), headers...)
		return c
	}
	query := func(q string) call { c := get; c.query = q; return c }
	tests := []struct {
		name   string
		how    []tools.Injection
		fields map[string]string
		call   call
		first  string   // line
		has    []string // each once
		hasNot []string
	}{
		{"header", []tools.Injection{{In: "header", Name: "X-Api-Key"}}, plain,
			with(get, "X-Api-Key: mine", "x-api-key: mine", "X_Api_Key: mine", "X.api.key: mine", "Connection: X-Api-Key"), line,
			[]string{"\r\nX-Api-Key: " + secret + "\r\n", "Accept: text/plain"}, []string{"mine"}},
		{"header with a format", []tools.Injection{{In: "header", Name: "X-Auth", Format: "Key {value}; v=1"}}, plain, get,
			line,
			[]string{"\r\nX-Auth: Key " + secret + "; v=1\r\n"}, []string{"{value}"}},
		{"bearer", []tools.Injection{{In: "bearer"}}, plain, with(get, "Authorization: Basic bWluZTptaW5l",
			"Connection: Authorization"),
			line, []string{"\r\nAuthorization: Bearer " + secret + "\r\n"}, []string{"bWluZTptaW5l"}},
		{"basic", []tools.Injection{{In: "basic"}}, map[string]string{vault.Username: "user", vault.Password: secret},
			with(get, "Authorization: Bearer mine"), line, []string{"\r\nAuthorization: Basic " + pair + "\r\n"},
			[]string{"mine"}},
		{"cookie", []tools.Injection{{In: "cookie", Name: "session"}}, plain,
			with(get, "Cookie: other=1; session=mine;  session = mine"), line,
			[]string{"\r\nCookie: other=1; session=" + secret + "\r\n"}, []string{"mine"}},
		{"two cookies", []tools.Injection{{In: "cookie", Name: "one"}, {In: "cookie", Name: "two"}}, plain, get, line,
			[]string{"\r\nCookie: one=" + secret + "; two=" + secret + "\r\n"}, nil},
		{"query", []tools.Injection{{In: "query", Name: "api_key"}}, plain, query("api_key=mine&a=1"),
			"GET /v1/a%20b/c%2Fd/!$&'()*+,=:@-._~?a=1&api_key=" + escaped + " HTTP/1.1\r\n", nil, []string{"mine"}},
		{"query alone", []tools.Injection{{In: "query", Name: "key[1]"}}, plain, query(""),
			"GET /v1/a%20b/c%2Fd/!$&'()*+,=:@-._~?key%5B1%5D=" + escaped + " HTTP/1.1\r\n", nil, nil},
		{"path", []tools.Injection{{In: "path", Name: "bot"}, {In: "path", Name: "also"}}, plain,
			call{method: "GET", path: "/bot/bot/of/bot/also"},
			"GET /bot/" + escaped + "/of/bot/" + escaped + " HTTP/1.1\r\n", nil, nil},
		{"json", []tools.Injection{{In: "json", Name: "/auth/key"}, {In: "json", Name: "/list/1"}}, plain,
			post("application/json; charset=utf-8", `{ "auth" : {"key":"mine"}, "n":1.0, "list": [ 1 , "mine",2 ] }`),
			"POST /v1/x HTTP/1.1\r\n",
			[]string{"\r\n\r\n" + `{ "auth" : {"key":"` + secret + `"}, "n":1.0, "list": [ 1 , "` + secret + `",2 ] }`,
				"Content-Length: 128\r\n"}, []string{"mine"}},
		{"form", []tools.Injection{{In: "form", Name: "key"}}, plain,
			post("application/x-www-form-urlencoded", "a=1&key=mine&%6Bey=mine&KEY=mine&b=2+3"), "POST /v1/x HTTP/1.1\r\n",
			[]string{"\r\n\r\na=1&b=2+3&key=" + escaped}, []string{"mine"}},
		{"several", []tools.Injection{{In: "hmac", HMAC: &tools.HMAC{Header: "X-Sig", Template: "{query}"}},
			{In: "query", Name: "key"}, {In: "header", Name: "X-Key"}}, plain, query(""),
			"GET /v1/a%20b/c%2Fd/!$&'()*+,=:@-._~?key=" + escaped + " HTTP/1.1\r\n",
			[]string{"X-Key: " + secret, "X-Sig: " + macOf(secret, "key="+escaped)}, nil},
	}
	for _, tt := range tests {
		u := upstream(t, address, tt.how...)
		target := tt.call.target(t, u)
		texts, err := apply(inject.New(), target, u, tt.fields)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := w.send(t, target)
		if !strings.HasPrefix(got, tt.first) {
			t.Errorf("%s: begins with %q, want %q", tt.name, got[:strings.Index(got, "\n")+1], tt.first)
		}
		for _, text := range tt.has {
			if strings.Count(got, text) != 1 {
				t.Errorf("%s: %q is there %d times, want once:\n%s", tt.name, text, strings.Count(got, text), got)
			}
		}
		for _, text := range tt.hasNot {
			if strings.Contains(got, text) {
				t.Errorf("%s: %q is left:\n%s", tt.name, text, got)
			}
		}
		if !hides(texts, got, secret, escaped, pair) {
			t.Errorf("%s: an echo is not masked by %d texts:\n%s", tt.name, len(texts), got)
		}
	}
}

// TestB12NothingIsTheCallersChoice sends what other proxies take for instructions, and it is text.
func TestB12NothingIsTheCallersChoice(t *testing.T) {
	w := listen(t, nil)
	u := upstream(t, "http://"+w.Addr().String(), tools.Injection{In: "header", Name: "X-Api-Key"},
		tools.Injection{In: "hmac", HMAC: &tools.HMAC{Header: "X-Sig", Template: "{body}"}})
	c := call{method: "POST", path: "/v1/{value}", headers: []string{"Content-Type: application/json"}}
	if _, err := u.Route(c.method, c.path, ""); err == nil {
		t.Error("a brace in a path is taken")
	}
	c.path, c.body = "/v1/%7Bvalue%7D", `{"msg":"{value}{nonce}{timestamp}","fmt":"{value}","placeholder":"{path}"}`
	c.headers = append(c.headers, "Accept: {value}", "X-Dst: X-Api-Key")
	target := c.target(t, u)
	if _, err := apply(inject.New(), target, u, plain); err != nil {
		t.Fatal(err)
	}
	got := w.send(t, target)
	if strings.Count(got, secret) != 1 || !strings.Contains(got, c.body) || !strings.Contains(got,
		"Accept: {value}\r\n") ||
		!strings.Contains(got, "X-Sig: "+macOf(secret, c.body)+"\r\n") || !strings.HasPrefix(got, "POST "+c.path+" ") {
		t.Errorf("sent\n%s", got)
	}
}

// TestC5WhatDoesNotFit is refused by each kind, and nothing of it is on the request then.
func TestC5WhatDoesNotFit(t *testing.T) {
	const rest = "0123456789abcdef"
	json := call{method: "POST", path: "/v1/x", headers: []string{"Content-Type: application/json"}, body: `{}`}
	form := call{method: "POST", path: "/v1/x", headers: []string{"Content-Type: application/x-www-form-urlencoded"},
		body: `a=1`}
	get := call{method: "GET", path: "/v1/x"}
	path := call{method: "GET", path: "/bot/bot/of/1/2"}
	how := []struct {
		x      tools.Injection
		call   call
		fields []string // that are spoilt, one by one
		bad    []string // beside what no kind takes
	}{
		{tools.Injection{In: "header", Name: "X-Key"}, get, []string{vault.Plain}, []string{"é" + rest, " " + rest,
			rest + " "}},
		{tools.Injection{In: "bearer"}, get, []string{vault.Plain}, []string{"é" + rest, " " + rest}},
		{tools.Injection{In: "basic"}, get, []string{vault.Username, vault.Password}, nil},
		{tools.Injection{In: "cookie", Name: "c"}, get, []string{vault.Plain}, []string{rest + ";", rest + ",", `"` + rest,
			"é" + rest}},
		{tools.Injection{In: "query", Name: "k"}, get, []string{vault.Plain}, nil},
		{tools.Injection{In: "path", Name: "bot"}, path, []string{vault.Plain}, []string{".", "..", "..."}},
		{tools.Injection{In: "json", Name: "/k"}, json, []string{vault.Plain}, []string{"\xff" + rest}},
		{tools.Injection{In: "form", Name: "k"}, form, []string{vault.Plain}, nil},
		{tools.Injection{In: "sigv4", SigV4: &tools.SigV4{Region: "eu-west-1", Service: "s3"}}, get,
			[]string{vault.AccessKeyID, vault.SecretKey}, []string{"é" + rest}},
		{tools.Injection{In: "oauth2", OAuth2: &tools.OAuth2{TokenURL: "https://127.0.0.1:1/token"}}, get,
			[]string{vault.ClientID, vault.ClientSecret}, nil},
	}
	good := map[string]string{vault.Plain: rest, vault.Username: "user", vault.Password: rest, vault.AccessKeyID: rest,
		vault.SecretKey: rest, vault.ClientID: "client", vault.ClientSecret: rest}
	for _, h := range how {
		u := upstream(t, "https://api.example", h.x)
		for _, field := range h.fields {
			for _, bad := range append(h.bad, "", rest+"\r\nX-Evil: 1", rest+"\n", "\r"+rest, rest+"\x00", rest+"\x7f",
				"\t"+rest) {
				fields := map[string]string{}
				for name, text := range good {
					fields[name] = text
				}
				fields[field] = bad
				target := h.call.target(t, u)
				before := target.Request.Header.Clone()
				uri := target.Request.URL.RequestURI()
				texts, err := apply(inject.New(), target, u, fields)
				if reason(err) != "inject.value" || texts != nil || len(bad) > 3 && strings.Contains(err.Error(), bad) {
					t.Errorf("%s with %s %q: %v", h.x.In, field, bad, err)
				}
				if len(target.Request.Header) != len(before) || target.Request.URL.RequestURI() != uri ||
					string(target.Body) != h.call.body {
					t.Errorf("%s with %s %q: left %v at %s", h.x.In, field, bad, target.Request.Header, target.Request.URL)
				}
			}
		}
		if h.x.In != "oauth2" { // see TestTheClientCredentialsGetAToken
			if _, err := apply(inject.New(), h.call.target(t, u), u, good); err != nil {
				t.Errorf("%s: %v", h.x.In, err)
			}
		}
	}
	if _, err := inject.New().Apply(t.Context(), get.target(t, upstream(t, "https://api.example",
		tools.Injection{In: "bearer"})),
		tools.Injection{In: "hmac", HMAC: &tools.HMAC{Header: "X"}}, version(1), nil); reason(err) != "inject.value" {
		t.Errorf("hmac without a key: %v", err)
	}
}

// TestNoPlaceForTheSecret refuses calls that would be sent without it.
func TestNoPlaceForTheSecret(t *testing.T) {
	u := upstream(t, "https://api.example", tools.Injection{In: "bearer"})
	in := inject.New()
	json := func(kind, body string) call {
		return call{method: "POST", path: "/v1/x", headers: []string{"Content-Type: " + kind}, body: body}
	}
	const typeJSON, typeForm = "application/json", "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		x    tools.Injection
		call call
		want string
	}{
		{tools.Injection{In: "path", Name: "bot"}, call{method: "GET", path: "/v1/bot"}, "inject.place"},
		{tools.Injection{In: "path", Name: "other"}, call{method: "GET", path: "/bot/bot/of/1/2"}, "inject.place"},
		{tools.Injection{In: "later"}, call{method: "GET", path: "/v1/x"}, "inject.place"},
		{tools.Injection{}, call{method: "GET", path: "/v1/x"}, "inject.place"},
		{tools.Injection{In: "sigv4"}, call{method: "GET", path: "/v1/x"}, "inject.place"},
		{tools.Injection{In: "hmac"}, call{method: "GET", path: "/v1/x"}, "inject.place"},
		{tools.Injection{In: "oauth2"}, call{method: "GET", path: "/v1/x"}, "inject.place"},
		{tools.Injection{In: "header"}, call{method: "GET", path: "/v1/x"}, "inject.place"},
		{tools.Injection{In: "json", Name: "/k"}, call{method: "GET", path: "/v1/x"}, "body.type"},
		{tools.Injection{In: "json", Name: "/k"}, json(typeForm, "a=1"), "body.type"},
		{tools.Injection{In: "json", Name: "/k"}, json(typeJSON, ""), "body.ambiguous"},
		{tools.Injection{In: "json", Name: "/k"}, json(typeJSON, `{"a":1`), "body.ambiguous"},
		{tools.Injection{In: "json", Name: "/k"}, json(typeJSON, `{} {}`), "body.ambiguous"},
		{tools.Injection{In: "json", Name: "/k"}, json(typeJSON, "{\"a\":\"\xff\"}"), "body.ambiguous"},
		{tools.Injection{In: "json", Name: "/k"}, json(typeJSON, `{"k":1,"k":2}`), "body.ambiguous"},
		{tools.Injection{In: "json", Name: "/k"}, json(typeJSON, `{"K":1}`), "body.ambiguous"},
		{tools.Injection{In: "json", Name: "/k"}, json(typeJSON, `{"\u212a":1}`), "body.ambiguous"}, // Kelvin
		{tools.Injection{In: "json", Name: "/k"}, json(typeJSON, `[]`), "body.constraint"},
		{tools.Injection{In: "json", Name: "/k/x"}, json(typeJSON, `{"k":"text"}`), "body.constraint"},
		{tools.Injection{In: "json", Name: "/k/1"}, json(typeJSON, `{"k":[0]}`), "body.constraint"},
		{tools.Injection{In: "json", Name: "/k/01"}, json(typeJSON, `{"k":[0,1]}`), "body.constraint"},
		{tools.Injection{In: "json", Name: "/k"}, json(typeJSON, `7`), "body.constraint"},
		{tools.Injection{In: "json", Name: "k"}, json(typeJSON, `{}`), "inject.place"},
		{tools.Injection{In: "form", Name: "k"}, json(typeJSON, `{}`), "body.type"},
		{tools.Injection{In: "form", Name: "k"}, json(typeForm, `a=%zz`), ""},
		{tools.Injection{In: "form", Name: "k"}, json(typeForm, `%zz=1`), "body.ambiguous"},
		{tools.Injection{In: "form", Name: "k"}, json(typeForm, `a=1;k=2`), "body.ambiguous"},
		{tools.Injection{In: "hmac", HMAC: &tools.HMAC{Header: "X", Template: "{body}"}},
			call{method: "POST", path: "/v1/x", body: "x", stream: true}, "internal"},
	} {
		target := tt.call.target(t, u)
		_, err := in.Apply(t.Context(), target, tt.x, version(1), vault.NewValue(plain))
		if reason(err) != tt.want {
			t.Errorf("%+v on %+v: %v, want %s", tt.x, tt.call, err, tt.want)
		}
		if err != nil && (target.Request.Header.Get("Authorization") != "" || string(target.Body) != tt.call.body &&
			!tt.call.stream) {
			t.Errorf("%+v on %+v: changed it all the same", tt.x, tt.call)
		}
	}
}

// TestSignersComeLast orders injections, and says which need the whole body.
func TestSignersComeLast(t *testing.T) {
	how := []tools.Injection{
		{In: "hmac", HMAC: &tools.HMAC{Template: "{path}{timestamp}"}}, {In: "header"},
		{In: "sigv4", SigV4: &tools.SigV4{UnsignedPayload: true}}, {In: "query"},
	}
	var got []int
	for i, x := range inject.Order(how) {
		if got = append(got, i); x != &how[i] {
			t.Errorf("the injection of index %d is another one", i)
		}
	}
	if !slices.Equal(got, []int{1, 3, 0, 2}) {
		t.Errorf("in the order %v", got)
	}
	if inject.SignsBody(&tools.Upstream{Inject: how}) {
		t.Error("signs the body")
	}
	for _, x := range []tools.Injection{{In: "hmac", HMAC: &tools.HMAC{Template: "{body_sha256}"}},
		{In: "hmac", HMAC: &tools.HMAC{Template: "{body}"}}, {In: "sigv4", SigV4: &tools.SigV4{}}} {
		if !inject.SignsBody(&tools.Upstream{Inject: append(how, x)}) {
			t.Errorf("%v does not sign the body", x)
		}
	}
}

// TestB8TheAgentsOwnParameter is removed even where no rule has looked, as in a probe.
func TestB8TheAgentsOwnParameter(t *testing.T) {
	for raw, want := range map[string]string{
		"api_key=mine":                       "api_key=" + escaped,
		"a=1&api_key=mine&b=2&api_key=mine2": "a=1&b=2&api_key=" + escaped,
		"%61pi_key=mine&API_KEY=mine&a":      "a&api_key=" + escaped,
		"+api_key=mine":                      "api_key=" + escaped,
		"a=1;api_key=mine":                   "",
		"%zz=1":                              "",
	} {
		out := &http.Request{URL: &url.URL{RawQuery: raw}}
		_, err := inject.New().Apply(t.Context(), &inject.Target{Request: out}, tools.Injection{In: "query", Name: "api_key"},
			version(1), vault.NewValue(plain))
		if want == "" && reason(err) != "inject.place" || want != "" && out.URL.RawQuery != want {
			t.Errorf("%s became %s, want %s (%v)", raw, out.URL.RawQuery, want, err)
		}
	}
}

// TestPlaceHidesNothing keeps what was in a URL before out of the target of a request.
func TestPlaceHidesNothing(t *testing.T) {
	out, err := http.NewRequest("GET", "https://api.example/old%2Fpath?", nil)
	if err != nil {
		t.Fatal(err)
	}
	inject.Place(out, "/v1/%C3%A9", "")
	if got := out.URL.RequestURI(); got != "/v1/%C3%A9" {
		t.Errorf("target is %s", got)
	}
}
