package tenant_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tenant"
)

// legacy is a file with one tool behind the shim that says everything that an upstream can say.
const legacy = head + `tools:
  - name: legacy
    resource: https://sts.example/shim/t/acme/legacy
    actions: [notes.read, notes.create]
    discoverable: true
    upstream:
      url: https://legacy.example:8443
      inject:
        - {in: header, name: X-Api-Key, secret: legacy-key, format: "Key {value}"}
        - in: hmac
          secret: legacy-signing
          hmac: {header: X-Signature, template: "{timestamp}.{body}", timestamp_header: X-Timestamp}
      allow:
        - {action: notes.read, methods: [GET], path: "/v1/notes/{id}", query: [page, "expand..."]}
        - action: notes.create
          methods: [POST]
          path: /v1/notes
          max_body: 16KiB
          content_types: [application/json]
          json: {/visibility: [internal, null], /copies: [1, 2], /note/draft: [false, ""]}
      headers: [X-Request-Id]
      response: {strip: [server], scrub: strict, keep_challenge: true, max_body: 10MiB}
      stream: {on_expiry: cut}
      websocket: true
      network: {allow_private: true, pins: ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]}
      probe: {method: GET, path: /v1/notes/0, expect: [200, 404]}
      limits: {rate: 50/s, agent_rate: 600/m, concurrent: 20, agent_concurrent: 2}
      timeouts: {connect: 2s, header: 10s, idle: 30s, total: 2m}
      retries: 1
`

func TestAToolBehindTheShimIsApplied(t *testing.T) {
	w := servertest.New(t, servertest.Options{})
	w.Create(legacy)
	v, err := w.Directory.View(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	tool, _ := v.Tools.Named("legacy")
	m, err := tool.Upstream.Route("POST", "/v1/notes", "")
	if err != nil {
		t.Fatal(err)
	}
	for body, allowed := range map[string]bool{
		`{"visibility":null,"copies":2,"note":{"draft":""}}`:         true,
		`{"visibility":"internal","copies":1,"note":{"draft":""}}`:   true,
		`{"visibility":"public","copies":1,"note":{"draft":false}}`:  false,
		`{"visibility":"internal","copies":3,"note":{"draft":""}}`:   false,
		`{"visibility":"internal","copies":"1","note":{"draft":""}}`: false,
	} {
		if err := m.CheckBody("application/json", []byte(body)); (err == nil) != allowed {
			t.Errorf("%s: %v", body, err)
		}
	}
	if l := tool.Upstream.Limits; l.Rate.String() != "50/s" || l.AgentRate.Count != 600 ||
		!tool.Upstream.Network.AllowPrivate {
		t.Errorf("limits and network came back as %+v, %+v", l, tool.Upstream.Network)
	}

	// What was stored is what was written: applying it again changes nothing, and a change shows where it is.
	for text, want := range map[string][]string{
		legacy: nil,
		strings.Replace(legacy, "retries: 1", "retries: 2", 1):             {"upstream"},
		strings.Replace(legacy, "discoverable: true", "max_ttl: 1m", 1):    {"discoverable", "max_ttl"},
		strings.Replace(legacy, "[internal, null]", "[internal, \"\"]", 1): {"upstream"},
	} {
		f, err := tenant.ParseFile([]byte(text))
		if err != nil {
			t.Fatal(err, servertest.Problems(err))
		}
		draft, err := w.Directory.Draft(v, f, false)
		if err != nil {
			t.Fatal(err, servertest.Problems(err))
		}
		var got []string
		for _, edit := range draft.Edits {
			got = append(got, edit.Fields...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("changed fields %q, want %q", got, want)
		}
	}
}

func TestMistakesOfAnUpstreamAreFoundAtOnce(t *testing.T) {
	w := servertest.New(t, servertest.Options{NoCeiling: true})
	without := strings.Replace(legacy, "allow_private: true, ", "", 1)
	bad := func(pairs ...string) string {
		text := without
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Fatalf("nothing is %q", pairs[i])
			}
			text = strings.Replace(text, pairs[i], pairs[i+1], 1)
		}
		return text
	}
	for name, row := range map[string]struct {
		file string
		want []string
	}{
		"nothing": {without, nil},
		"a ceiling": {legacy,
			[]string{"tools[0].upstream.network.allow_private: the platform allows this tenant no private"}},
		"form and meaning": {bad("on_expiry: cut", "on_expire: cut", "max_body: 16KiB", "max_body: 16384", "retries: 1",
			"retries: 9",
			"[internal, null]", "[{}]", "/copies: [1, 2]", "/copies: 1", "rate: 50/s", "rate: 50/d", "expect: [200, 404]",
			"expect: 200"),
			[]string{"tools[0].upstream.allow[1].max_body: must be a size, such as 512B, 16KiB or 1MiB (line 20)",
				`tools[0].upstream.allow[1].json["/copies"]: must be a list (line 22)`,
				"tools[0].upstream.stream.on_expire: is not a known field (line 25)",
				"tools[0].upstream.probe.expect: must be a list (line 28)",
				"tools[0].upstream.limits.rate: is not a rate such as 200/s, 10/m or off (line 29)",
				`tools[0].upstream.allow[1].json["/visibility"][0]: must be a string, a number`,
				"tools[0].upstream.retries: must be from 0 to 2"}},
		"what follows from what cannot be read": {bad("url: https://legacy.example:8443", "url: []",
			"actions: [notes.read, notes.create]",
			"actions: {}"), []string{"tools[0].actions: must be a list, not a mapping (line 6)",
			"tools[0].upstream.url: must be a string, not a list (line 9)"}},
		"an upstream that is none": {head + "tools: [{name: a, resource: \"https://a.example\", actions: [x], " +
			"discoverable: true, upstream: x}]\n",
			[]string{"tools[0].upstream: must be a mapping (line 3)"}},
		"plaintext and another's path": {bad("https://legacy.example:8443", "http://legacy.example", "/shim/t/acme/legacy",
			"/shim/t/globex/legacy", "secret: legacy-key", "secret: ../legacy-key"),
			[]string{"tools[0].resource: must be https://sts.example/shim/t/acme/legacy, where the shim has the tool",
				"tools[0].upstream.url: must be https, or else the secret can be read on the way",
				"tools[0].upstream.inject[0].secret: may hold only", "tools[0].upstream.network: has certificates"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := tenant.ReadFile([]byte(row.file))
			if err != nil {
				t.Fatal(err, servertest.Problems(err))
			}
			_, _, err = w.Directory.DraftNew(f)
			if got := servertest.Problems(err); !slices.EqualFunc(got, row.want, strings.HasPrefix) {
				t.Errorf("mistakes\n got %q\nwant %q", got, row.want)
			}
		})
	}
}

// TestATenantIsReadWhereTheShimIsNoMore: its tool cannot be called, and everything else of it works.
func TestATenantIsReadWhereTheShimIsNoMore(t *testing.T) {
	w := servertest.New(t, servertest.Options{})
	w.Create(legacy)
	dir := tenant.NewDirectory(tenant.Config{Store: w.Store, Master: w.Master, BaseURL: servertest.BaseURL})
	defer dir.Close()
	v, err := dir.Bare(t.Context(), "acme")
	if err != nil || !v.Readable() {
		t.Fatalf("the tenant cannot be read without a shim: %v", err)
	}
	f, err := tenant.ParseFile([]byte(legacy))
	if err != nil {
		t.Fatal(err)
	}
	_, err = dir.Draft(v, f, false)
	if got := servertest.Problems(err); len(got) == 0 || !strings.Contains(got[0],
		"the platform has none (shim.url in bursar.yaml)") {
		t.Errorf("applied without a shim: %v %q", err, got)
	}
}
