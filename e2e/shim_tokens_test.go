package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/raw"
)

// TestTokenAndTenant: rows E of the attacks.
func TestTokenAndTenant(t *testing.T) {
	eachShim(t, func(t *testing.T, w *shimWorld) {
		against(t, "E1", "a token of another tenant", w.foreignTokens)
		against(t, "E2", "names that are none", w.oddNames)
		against(t, "E3", "tokens that are not good", w.badTokens)
		against(t, "E4", "a token for one call, a hundred times at once", w.onceOnly)
		against(t, "E5", "tokens that are bound to a key", w.boundTokens)
		against(t, "E6", "what was revoked", w.revoked)
		against(t, "E7", "streams that outlive their right", w.streamsEnd)
		against(t, "E8", "a key that was rotated", w.rotatedKey)
		against(t, "E9", "a key that is disabled", w.disabledKey)
		against(t, "E10", "the token at the upstream", w.tokenStays)
		against(t, "E11", "an agent at the admin API, and an operator at the shim", w.confusedDeputies)
	})
}

// foreignTokens: whatever the token of another tenant is tried at, it is answered as a token that is none.
func (w *shimWorld) foreignTokens(t *testing.T) {
	foreign, own := w.fresh(t, "globex", "legacy", "items.read"), w.token(t, "legacy")
	var first string
	for _, try := range []struct{ token, path string }{
		{foreign, "/shim/t/acme/legacy/v1/items/1"}, {foreign, "/shim/t/acme/nothing/v1/items/1"},
		{foreign, "/shim/t/nobody/legacy/v1/items/1"}, {own, "/shim/t/globex/legacy/v1/items/1"},
		{own, "/shim/t/globex/nothing/v1/items/1"}, {own, "/shim/t/acme/bearer/v1/items/1"},
		{"nonsense", "/shim/t/acme/legacy/v1/items/1"}, {foreign, "/shim/t/acme/legacy/admin/../x"},
	} {
		w.silent(t, try.path, func() {
			reply := w.ask(t, "GET "+try.path+" HTTP/1.1\r\nHost: "+w.host()+"\r\nAuthorization: Bearer "+try.token+"\r\n\r\n")
			problem(t, try.path, reply, 401, "invalid_token")
			parts := strings.Split(try.path, "/")
			told := strings.ReplaceAll(reply.Get("WWW-Authenticate"), "/t/"+parts[3]+"/"+parts[4], "") + string(reply.Body)
			if first == "" {
				first = told
			} else if told != first {
				t.Errorf("%s is told from others: %s\n%s", try.path, told, first)
			}
		})
	}
}

func (w *shimWorld) oddNames(t *testing.T) {
	token := w.token(t, "legacy")
	for _, path := range []string{"/shim/t/../t/acme/legacy/v1/items/1", "/shim/t/acme/../globex/legacy/v1/items/1",
		"/shim/t/%2e%2e/acme/legacy/v1/items/1", "/shim/t/acme/legacy/../../globex/legacy/v1/items/1",
		"/shim/t/ACME/legacy/v1/items/1",
		"/shim/t/acme%2flegacy/v1/items/1", "/shim/t/%61cme/legacy/v1/items/1", "/shim/t/аcme/legacy/v1/items/1",
		"/shim/t/acme./legacy/v1/items/1", "/shim/t//acme/legacy/v1/items/1", "/shim/t/acme/legacy%00/v1/items/1",
		"/shim/t/acme;x/legacy/v1/items/1", "/shim//t/acme/legacy/v1/items/1", "/shim/T/acme/legacy/v1/items/1",
		"/SHIM/t/acme/legacy/v1/items/1", "/t/acme/legacy/v1/items/1",
		"/shim/t/" + strings.Repeat("a", 64) + "/legacy/v1/items/1",
		"/shim/t/-acme/legacy/v1/items/1", "/shim/t/acme/legacy?x=/v1/items/1", "/shim/t/*/legacy/v1/items/1"} {
		w.silent(t, path, func() {
			reply := w.ask(t, "GET "+path+" HTTP/1.1\r\nHost: "+w.host()+"\r\nAuthorization: Bearer "+token+"\r\n\r\n")
			if reply.Status < 400 || reply.Status >= 500 {
				t.Errorf("%s: %d %s", path, reply.Status, reply.Body)
			}
		})
	}
	for _, name := range []string{"acme/..", "acme/../globex/x", "../acme/x", "acme/a/b", "acme/%2e%2e", "acme/аbc",
		"acme/.hidden",
		"acme/A", "acme/", "/x", "acme", "acme/" + strings.Repeat("a", 64), "acme/a b", "acme/a\x00b"} {
		if strings.Contains(name, "\x00") {
			continue // no argument can hold it
		}
		out, err := w.BursarReading(t, acmeKey, "secret", "put", name, "--host", w.up.URL, "--activate", "-")
		if err == nil {
			t.Errorf("%q was put: %s", name, out)
		}
	}
	if out := w.run(t, "secret", "list", "globex"); strings.Contains(out, "x ") && strings.Count(out, "legacy-key") != 1 {
		t.Errorf("globex has %s", out)
	}
}

// badTokens changes a good token, and signs others with keys that are not the tenant's.
func (w *shimWorld) badTokens(t *testing.T) {
	good := w.token(t, "legacy")
	parts := strings.Split(good, ".")
	claims, header := decoded(t, parts[1]), decoded(t, parts[0])
	kid := header["kid"]
	mine := &forgedKey{private: newKey(t, "EC")}
	mine.jwk = publicJWK(t, mine.private, map[string]any{"kid": kid, "use": "sig", "alg": "ES256"})
	public := json.RawMessage(mine.jwk)
	with := func(h map[string]any, c map[string]any) (head, body map[string]any) {
		head, body = maps.Clone(header), maps.Clone(claims)
		maps.Copy(head, h)
		maps.Copy(body, c)
		return head, body
	}
	forged := func(h, c map[string]any) string {
		head, body := with(h, c)
		input := encoded(t, head) + "." + encoded(t, body)
		signature, err := mine.signature("ES256", []byte(input))
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	unsigned := func(h map[string]any) string {
		head, body := with(h, nil)
		return encoded(t, head) + "." + encoded(t, body) + "."
	}
	document := harness.Get(t, w.Server.URL+"/t/acme/jwks.json").Body
	symmetric := func(secret string) string {
		head, body := with(map[string]any{"alg": "HS256"}, nil)
		text := encoded(t, head) + "." + encoded(t, body)
		return text + "." + base64.RawURLEncoding.EncodeToString(mac([]byte(secret), []byte(text)))
	}
	short := w.brief(t)
	for name, token := range map[string]string{
		"another key with the same kid":   forged(nil, nil),
		"another key without a kid":       forged(map[string]any{"kid": nil}, nil),
		"another kid":                     forged(map[string]any{"kid": "x"}, nil),
		"a kid that is a path":            forged(map[string]any{"kid": "../../dev/null"}, nil),
		"a key in the header":             forged(map[string]any{"jwk": public}, nil),
		"a key document in the header":    forged(map[string]any{"jku": w.evil.URL + "/jwks"}, nil),
		"a certificate in the header":     forged(map[string]any{"x5u": w.evil.URL + "/x5u", "x5c": []string{"MIIB"}}, nil),
		"crit":                            forged(map[string]any{"crit": []string{"x"}, "x": 1}, nil),
		"no signature":                    unsigned(map[string]any{"alg": "none"}),
		"no signature, in other letters":  unsigned(map[string]any{"alg": "nOnE"}),
		"no signature under the same alg": unsigned(nil),
		"HMAC with the key document":      symmetric(document),
		"HMAC with the kid":               symmetric(kid.(string)),
		"HMAC with nothing":               symmetric(""),
		"its claims changed": parts[0] + "." + encoded(t, merged(claims, "scope", "legacy:admin.all")) + "." +
			parts[2],
		"its header changed":       encoded(t, merged(header, "typ", "JWT")) + "." + parts[1] + "." + parts[2],
		"its signature cut":        good[:len(good)-4],
		"its signature of another": parts[0] + "." + parts[1] + "." + strings.Split(w.token(t, "bearer"), ".")[2],
		"padding":                  good + "=",
		"another spelling":         respelled(good),
		"four parts":               good + ".x",
		"two parts":                parts[0] + "." + parts[1],
		"JSON":                     `{"payload":"` + parts[1] + `"}`,
		"of another tool":          w.token(t, "bearer"),
		"of another tenant":        w.fresh(t, "globex", "legacy", "items.read"),
		"the workload's own token": w.cluster.Mint(t, harness.Mint{}),
		"an operator's":            w.Operator.Token,
		"expired":                  short,
	} {
		w.silent(t, name, func() {
			problem(t, name, w.ask(t, w.request(token, "legacy", "GET", "/v1/items/1", "")), 401, "invalid_token")
		})
	}
	for name, line := range map[string]string{"in the query": "", "of another scheme": "Authorization: Basic " + good,
		"without a scheme": "Authorization: " + good, "as DPoP": "Authorization: DPoP " + good,
		"in a cookie": "Cookie: access_token=" + good,
		"in a form":   "X-Token: " + good} {
		target := "/v1/items/1"
		if line == "" {
			target, line = target+"?access_token="+good, "Accept: */*"
		}
		w.silent(t, name, func() {
			problem(t, name, w.ask(t, w.request("", "legacy", "GET", target, "", line)), 401, "invalid_token")
		})
	}
	if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
		t.Errorf("the good one: %d", reply.Status)
	}
	if n := w.evil.Count().Connections; n != 0 {
		t.Errorf("%d fetches of keys that a token names", n)
	}
}

// brief returns a token that has expired.
func (w *shimWorld) brief(t *testing.T) string {
	t.Helper()
	file := strings.Replace(w.tenant("acme", ""), "tool: legacy, ttl: 10m", "tool: legacy, ttl: 1s", 1)
	w.Apply(t, file)
	token := w.fresh(t, "acme", "legacy", "items.read")
	w.Apply(t, w.tenant("acme", ""))
	expiry := harness.Claims(t, token)["exp"].(float64)
	harness.Eventually(t, "the token has expired", func() bool { return time.Now().Unix() > int64(expiry) })
	return token
}

func decoded(t *testing.T, part string) (members map[string]any) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err == nil {
		err = json.Unmarshal(text, &members)
	}
	if err != nil {
		t.Fatal(err)
	}
	return members
}

func encoded(t *testing.T, members map[string]any) string {
	t.Helper()
	for k, v := range members {
		if v == nil {
			delete(members, k)
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func merged(m map[string]any, name string, value any) map[string]any {
	all := maps.Clone(m)
	all[name] = value
	return all
}

// respelled changes bits of the last character that decoders ignore.
func respelled(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[i^1])
}

// onceOnly has a token for one call used by a hundred at once.
func (w *shimWorld) onceOnly(t *testing.T) {
	w.with(t, "single", injections["legacy"], rules+"      single_use: true\n")
	for range 3 {
		token := w.fresh(t, "acme", "single", "items.read")
		before := w.up.Count().Requests
		var passed, refused atomic.Int64
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				c, err := raw.Open(w.Shim)
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = c.Close() }()
				_, _ = io.WriteString(c.Conn, w.request(token, "single", "GET", "/v1/items/1", ""))
				switch reply, err := c.Reply("GET"); {
				case err == nil && reply.Status == 200:
					passed.Add(1)
				case err == nil && reply.Status == 401:
					refused.Add(1)
				default:
					t.Errorf("%v, %d %s", err, reply.Status, reply.Body)
				}
			})
		}
		all.Wait()
		if passed.Load() != 1 || refused.Load() != 99 || w.up.Count().Requests != before+1 {
			t.Errorf("%d passed, %d were refused, %d sent", passed.Load(), refused.Load(), w.up.Count().Requests-before)
		}
	}
}

// boundTokens: nothing here checks proofs of a key yet, so whatever asks for one is refused.
func (w *shimWorld) boundTokens(t *testing.T) {
	token := w.token(t, "legacy")
	w.silent(t, "DPoP", func() {
		text := strings.Replace(w.request(token, "legacy", "GET", "/v1/items/1", "", "DPoP: eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.x"),
			"Bearer ", "DPoP ", 1)
		problem(t, "DPoP", w.ask(t, text), 401, "invalid_token")
	})
	bound := w.cluster.Mint(t,
		harness.Mint{Claims: map[string]any{"cnf": map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}})
	form := harness.Form(bound, w.resource("acme", "legacy"), "legacy:items.read")
	if a := w.At("acme").Exchange(t, form); a.Token() != "" || a.Status != http.StatusBadRequest {
		t.Errorf("a bound token was exchanged: %d %s", a.Status, a.Body)
	}
}

// tokenStays: of all that any test of this world sent so far, nothing was a token of ours.
func (w *shimWorld) tokenStays(t *testing.T) {
	for tool := range injections {
		w.get(t, tool, "/echo/body/raw?q=a")
	}
	for _, r := range w.up.Requests() {
		if strings.Contains(string(r.Raw), "eyJ") { // as every token of ours begins
			t.Fatalf("the upstream got %s", r.Raw)
		}
	}
	if n := w.up.Count().Requests; n < 10 {
		t.Errorf("only %d requests", n)
	}
}

func (w *shimWorld) confusedDeputies(t *testing.T) {
	agent := &operator.Client{BaseURL: w.Server.URL, Token: w.token(t, "legacy")}
	if _, err := agent.Tenant(t.Context(), "acme"); problemCode(err) != operator.CodeUnauthenticated {
		t.Errorf("an agent at the admin API: %v", err)
	}
	if _, err := agent.Tenants(t.Context()); problemCode(err) != operator.CodeUnauthenticated {
		t.Errorf("an agent at the admin API of the platform: %v", err)
	}
	w.silent(t, "an operator", func() {
		problem(t, "an operator at the shim", w.ask(t, w.request(w.Operator.Token, "legacy", "GET", "/v1/items/1", "")), 401,
			"invalid_token")
	})
	for _, path := range []string{"/admin/v1/tenants", "/t/acme/token", "/metrics", "/healthz", "/console/",
		"/v1/decide"} {
		reply := w.ask(t, "GET "+path+" HTTP/1.1\r\nHost: "+w.host()+"\r\nAuthorization: Bearer "+w.Operator.Token+"\r\n\r\n")
		if reply.Status != 404 && path != "/healthz" {
			t.Errorf("%s at the shim: %d %s", path, reply.Status, reply.Body)
		}
	}
}

func problemCode(err error) string {
	if p, ok := errors.AsType[*operator.Problem](err); ok {
		return p.Code()
	}
	return ""
}
