package config_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/limit"
)

const whole = `
base_url: https://sts.example
listen: 0.0.0.0:8443
tls: {cert: tls.crt, key: /etc/bursar/tls.key}
store: rediss://bursar@redis.example:6379/0
store_password: credential:redis
volatile_store: accept
replicate_issuance: true
master_key: env:BURSAR_MASTER_KEY
admin: {token_file: admin.token, listen: "127.0.0.1:8081"}
shim:
  listen: 127.0.0.1:8082
  url: https://sts.example/shim
  decide: {listen: "unix:decide.sock"}
  grpc: {listen: "10.1.0.5:9102", tls: {cert: d.crt, key: d.key}, client_ca: proxies.pem,
    clients: [envoy.example, "spiffe://acme.example/envoy"]}
metrics: {listen: ":9090"}
traces: {otlp: "https://otel.example/otlp", sample: 0.05, headers: {authorization: "file:otlp.auth"}, ca: ca.pem}
audit:
  sinks:
    - {name: copy, kind: file, path: copy.ndjson, format: set, platform: false}
    - {name: siem, kind: webhook, url: "https://siem.example/events", headers: {authorization: "file:siem.auth"},
       ca: siem.pem, tenants: [acme], platform: true, events: [admin., token.revoke]}
    - {name: out, kind: stdout}
    - {name: otel, kind: otlp, url: "http://127.0.0.1:4318", tenants: [globex]}
    - {name: ours, kind: file, path: /var/log/ours, tenants: [], platform: true}
  retention: {keep: 90d, archive: archive}
keys: {rotate_every: 48h}
trusted_proxies: [10.1.0.0/24, "fd00:2::/64"]
limits: {address: 200/s, client: off, tenant: 1000/h, secret_failures: 5/m, share: 250ms}
tenants:
  acme: {private_cidrs: [10.2.0.0/16, "fd00:1::/32"], limits: {client: 7/s}}
  globex: {}
`

func TestEveryFieldIsRead(t *testing.T) {
	c, found := config.Parse([]byte(whole), "/srv")
	if len(found) > 0 {
		t.Fatal(found)
	}
	rows := []struct {
		name      string
		got, want any
	}{
		{"base_url", c.BaseURL, "https://sts.example"},
		{"listen", c.Listen, "0.0.0.0:8443"},
		{"tls is relative to the file", c.TLS, config.TLS{Cert: "/srv/tls.crt", Key: "/etc/bursar/tls.key"}},
		{"store", c.Store, "rediss://bursar@redis.example:6379/0"},
		{"store_password", c.StorePassword, config.Source{Kind: "credential", Name: "redis"}},
		{"volatile_store", c.VolatileStore, "accept"},
		{"replicate_issuance", c.ReplicateIssuance, true},
		{"master_key", c.MasterKey.Source, config.Source{Kind: "env", Name: "BURSAR_MASTER_KEY"}},
		{"admin", c.Admin, config.Admin{TokenFile: "/srv/admin.token", Listen: "127.0.0.1:8081"}},
		{"shim.listen", c.Shim.Listen, "127.0.0.1:8082"},
		{"shim.url", c.Shim.URL, "https://sts.example/shim"},
		{"shim.decide is relative to the file", c.Shim.Decide.Listen, "unix:/srv/decide.sock"},
		{"shim.grpc.listen", c.Shim.GRPC.Listen, "10.1.0.5:9102"},
		{"shim.grpc.tls is relative to the file", c.Shim.GRPC.TLS, config.TLS{Cert: "/srv/d.crt", Key: "/srv/d.key"}},
		{"shim.grpc.client_ca is relative to the file", c.Shim.GRPC.ClientCA, "/srv/proxies.pem"},
		{"shim.grpc.clients", strings.Join(c.Shim.GRPC.Clients, " "), "envoy.example spiffe://acme.example/envoy"},
		{"metrics", c.Metrics.Listen, ":9090"},
		{"traces.otlp", c.Traces.OTLP, "https://otel.example/otlp"},
		{"traces.sample", c.Traces.Sample, 0.05},
		{"traces.headers are relative to the file", c.Traces.Headers["authorization"],
			config.Source{Kind: "file", Name: "/srv/otlp.auth"}},
		{"traces.ca is relative to the file", c.Traces.CA, "/srv/ca.pem"},
		{"audit.retention.keep", c.Audit.Retention.Keep, config.Age(90 * 24 * time.Hour)},
		{"audit.retention.archive is relative to the file", c.Audit.Retention.Archive, "/srv/archive"},
		{"the path of a sink is relative to the file", c.Audit.Sinks[0].Path, "/srv/copy.ndjson"},
		{"the format of a sink", c.Audit.Sinks[0].Format, config.FormatSET},
		{"the url of a sink", c.Audit.Sinks[1].URL, "https://siem.example/events"},
		{"headers of a sink are relative to the file", c.Audit.Sinks[1].Headers["authorization"],
			config.Source{Kind: "file", Name: "/srv/siem.auth"}},
		{"ca of a sink is relative to the file", c.Audit.Sinks[1].CA, "/srv/siem.pem"},
		{"events of a sink", strings.Join(c.Audit.Sinks[1].Events, " "), "admin. token.revoke"},
		{"the format of lines", c.Audit.Sinks[2].Format, config.FormatJSON},
		{"the logs of sinks", copied(c.Audit.Sinks), "all|[acme]+platform|all+platform|[globex]|[]+platform"},
		{"keys", c.Keys.RotateEvery, 48 * time.Hour},
		{"limits", c.Limits, config.Limits{Address: limit.Rate{Count: 200, Per: time.Second}, Client: limit.Rate{Off: true},
			Tenant: limit.Rate{Count: 1000, Per: time.Hour}, SecretFailures: limit.Rate{Count: 5, Per: time.Minute},
			Share: 250 * time.Millisecond}},
		{"limits of a tenant", c.Tenants["acme"].Limits,
			config.TenantLimits{Client: limit.Rate{Count: 7, Per: time.Second}}},
		{"the number of tenants", len(c.Tenants), 2},
	}
	for _, row := range rows {
		if row.got != row.want {
			t.Errorf("%s: got %v, want %v", row.name, row.got, row.want)
		}
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}
	if got := c.Tenants["acme"].PrivateCIDRs; !slices.Equal(got, want) {
		t.Errorf("private_cidrs %v", got)
	}
	want = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00:2::/64")}
	if got := c.TrustedProxies; !slices.Equal(got, want) {
		t.Errorf("trusted_proxies %v", got)
	}
}

// copied returns which logs the sinks are given.
func copied(sinks []config.Sink) string {
	var texts []string
	for _, s := range sinks {
		text := fmt.Sprint(s.Tenants)
		if s.All() {
			text = "all"
		}
		if s.OfPlatform() {
			text += "+platform"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "|")
}

const small = `
base_url: http://127.0.0.1:8080
listen: 127.0.0.1:8080
store: bolt:data/bursar.db
master_key: file:master.key
admin: {token_file: admin.token}
`

func TestWhatIsAbsentHasItsDefault(t *testing.T) {
	c, found := config.Parse([]byte(small), "/srv")
	if len(found) > 0 {
		t.Fatal(found)
	}
	if c.Store != "bolt:/srv/data/bursar.db" || c.MasterKey.Name != "/srv/master.key" ||
		c.Keys.RotateEvery != config.DefaultRotation || c.Limits != (config.Limits{Share: 100 * time.Millisecond}) ||
		c.TrustedProxies != nil || c.Tenants != nil || c.Metrics.Listen != "" {
		t.Errorf("%+v", c)
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	const text = `base_url: https://sts.example/
listen: 0.0.0.0:8080
store: redis://:canary@127.0.0.1
colour: blue
shim: {listen: 127.0.0.1:8081, port: 1}
master_key: master.key
admin:
  token_fil: x
metrics: 9090
traces: {sample: much, headers: {Host: "env:X", "x y": "env:Y"}}
keys: {rotate_every: 720}
keys: {rotate_every: 1h}
volatile_store: yes
replicate_issuance: both
audit: {sinks: [{name: a, kind: kafka, platform: maybe},
  {name: a, kind: file, format: xml, url: "https://x.example", tenants: [Acme], colour: red},
  {kind: webhook, path: x, format: set, headers: {Accept: "env:X", Bursar-Log-Index: "env:X", host: "env:X"}},
  {name: C, kind: otlp, url: "http://otel.example", events: [token.exchange, "Admin.", "admin.*"]}]}
tenants:
  Acme: {private_cidrs: [10.2.0.1/16]}
  globex: {private_cidrs: [10.2.0.0/16, everything, 0.0.0.0/0]}
  initech:
`
	want := []string{
		"base_url: must be an origin: scheme, host and port alone (line 1)",
		"listen: is not a loopback address, and plain HTTP is for those only; give tls.cert and tls.key, " +
			"or listen on 127.0.0.1 behind a proxy (line 2)",
		"store: holds a password; name its place in store_password instead (line 3)",
		"colour: is not a known field (line 4)",
		"shim.port: is not a known field (line 5)",
		"shim.url: is required; it is where the shim is reached, such as https://sts.example/shim (line 5)",
		"master_key: must be file:PATH, env:NAME, credential:NAME or openbao-transit:KEY (line 6)",
		"admin.token_file: is required; bursar init makes one (line 7)",
		"admin.token_fil: is not a known field (line 8)",
		"metrics: must be a mapping (line 9)",
		"traces.sample: must be a number such as 0.05 (line 10)",
		"traces.otlp: is required; it is the collector's URL, such as http://127.0.0.1:4318 (line 10)",
		"traces.headers.Host: is not the name of a header that an exporter may set (line 10)",
		"traces.headers.x y: is not the name of a header that an exporter may set (line 10)",
		"keys.rotate_every: must be a duration such as 720h (line 11)",
		"keys: is given twice (line 12)",
		"volatile_store: must be accept, or absent (line 13)",
		"replicate_issuance: must be true or false (line 14)",
		"audit.sinks[0].platform: must be true or false (line 15)",
		"audit.sinks[0].kind: must be file, stdout, webhook or otlp (line 15)",
		"audit.sinks[1].colour: is not a known field (line 16)",
		"audit.sinks[1].name: is the name of another sink; the two would be taken for one (line 16)",
		"audit.sinks[1].path: is required; it is the file that lines are appended to (line 16)",
		"audit.sinks[1].url: means nothing to a sink of kind file; remove it (line 16)",
		"audit.sinks[1].format: must be set or json (line 16)",
		"audit.sinks[1].tenants[0]: may hold only a-z, 0-9 and inner hyphens (line 16)",
		"audit.sinks[2].name: is required; it is how the sink is known in the store (line 17)",
		"audit.sinks[2].path: means nothing to a sink of kind webhook; remove it (line 17)",
		"audit.sinks[2].url: is required; it is where events are sent to, such as https://siem.example/events (line 17)",
		"audit.sinks[2].format: means nothing to a sink of kind webhook; remove it (line 17)",
		"audit.sinks[2].headers.Accept: is not the name of a header that a sink may set (line 17)",
		"audit.sinks[2].headers.Bursar-Log-Index: is not the name of a header that a sink may set (line 17)",
		"audit.sinks[2].headers.host: is not the name of a header that a sink may set (line 17)",
		"audit.sinks[3].name: may hold only a-z, 0-9 and inner hyphens (line 18)",
		"audit.sinks[3].url: must be https; http is for loopback alone (line 18)",
		"audit.sinks[3].events[1]: must be the name of an event, such as token.exchange, or the beginning of names, " +
			"such as admin. (line 18)",
		"audit.sinks[3].events[2]: must be the name of an event, such as token.exchange, or the beginning of names, " +
			"such as admin. (line 18)",
		"tenants.Acme: may hold only a-z, 0-9 and inner hyphens (line 20)",
		"tenants.Acme.private_cidrs[0]: has bits beyond its length; did you mean 10.2.0.0/16? (line 20)",
		"tenants.globex.private_cidrs[1]: must be an address range such as 10.2.0.0/16 (line 21)",
		"tenants.globex.private_cidrs[2]: allows every address; name the ranges that the tenant needs (line 21)",
		"tenants.initech: must be a mapping (line 22)",
	}
	_, found := config.Parse([]byte(text), "/srv")
	for i := range max(len(want), len(found)) {
		switch {
		case i >= len(found):
			t.Errorf("missing: %s", want[i])
		case i >= len(want):
			t.Errorf("superfluous: %s", found[i])
		case found[i].String() != want[i]:
			t.Errorf("mistake %d\n got %s\nwant %s", i, found[i], want[i])
		}
	}
}

func TestRefusedValues(t *testing.T) {
	rows := []struct{ name, line, path string }{
		{"a base URL with a path", "base_url: https://sts.example/x", "base_url"},
		{"a base URL with an empty path", "base_url: https://sts.example/", "base_url"},
		{"a base URL with a query", "base_url: https://sts.example?", "base_url"},
		{"a base URL with a fragment", "base_url: https://sts.example#", "base_url"},
		{"a base URL with a user", "base_url: https://me@sts.example", "base_url"},
		{"a base URL with its default port", "base_url: https://sts.example:443", "base_url"},
		{"a base URL with port zero", "base_url: https://sts.example:0", "base_url"},
		{"a base URL with an empty port", "base_url: 'https://sts.example:'", "base_url"},
		{"a base URL with leading zeros", "base_url: https://sts.example:08443", "base_url"},
		{"traces without a collector", "traces: {sample: 0.05}", "traces.otlp"},
		{"traces over plain http", `traces: {otlp: "http://otel.example:4318", sample: 0.05}`, "traces.otlp"},
		{"traces with a password in the URL", `traces: {otlp: "https://a:b@otel.example", sample: 1}`, "traces.otlp"},
		{"traces of no request", `traces: {otlp: "http://127.0.0.1:4318", sample: 0}`, "traces.sample"},
		{"traces of no stated share", `traces: {otlp: "http://127.0.0.1:4318"}`, "traces.sample"},
		{"traces of more than all", `traces: {otlp: "http://127.0.0.1:4318", sample: 5}`, "traces.sample"},
		{"traces of a share that is no number", `traces: {otlp: "http://127.0.0.1:4318", sample: .nan}`, "traces.sample"},
		{"two sinks of one file", `audit: {sinks: [{name: a, kind: file, path: x}, {name: b, kind: file, path: ./x}]}`,
			"audit.sinks[1].kind"},
		{"two sinks on standard output", `audit: {sinks: [{name: a, kind: stdout}, {name: b, kind: stdout}]}`,
			"audit.sinks[1].kind"},
		{"a sink of no kind", `audit: {sinks: [{name: a}]}`, "audit.sinks[0].kind"},
		{"a sink of no log", `audit: {sinks: [{name: a, kind: stdout, tenants: []}]}`, "audit.sinks[0].tenants"},
		{"a sink of no event", `audit: {sinks: [{name: a, kind: stdout, events: []}]}`, "audit.sinks[0].events"},
		{"a file with authorities", `audit: {sinks: [{name: a, kind: stdout, ca: x}]}`, "audit.sinks[0].ca"},
		{"standard output at a path", `audit: {sinks: [{name: a, kind: stdout, path: x}]}`, "audit.sinks[0].path"},
		{"a base URL in capitals", "base_url: https://STS.example", "base_url"},
		{"a base URL of plain http", "base_url: http://sts.example", "base_url"},
		{"a base URL of plain http to a name like loopback", "base_url: http://127.0.0.1.sts.example", "base_url"},
		{"a base URL without a scheme", "base_url: sts.example", "base_url"},
		{"a base URL without a host", "base_url: 'https://'", "base_url"},
		{"listening on every interface", "listen: ':8080'", "listen"},
		{"listening on a name", "listen: sts.example:8080", "listen"},
		{"listening without a port", "listen: 127.0.0.1", "listen"},
		{"listening on a port that is too large", "listen: 127.0.0.1:65536", "listen"},
		{"an admin listener for everybody", "admin: {token_file: t, listen: '0.0.0.0:1'}", "admin.listen"},
		{"an admin listener beside the server", "admin: {token_file: t, listen: '127.0.0.1:8080'}", "admin.listen"},
		{"metrics on the address of the server", "metrics: {listen: '127.0.0.1:8080'}", "metrics.listen"},
		{"a certificate without a key", "tls: {cert: x}", "tls.key"},
		{"a key without a certificate", "tls: {key: x}", "tls.cert"},
		{"a store of another kind", "store: postgres://x", "store"},
		{"a store without a file", "store: 'bolt:'", "store"},
		{"a file store as a URL", "store: bolt://bursar.db", "store"},
		{"a Redis without a host", "store: 'redis://'", "store"},
		{"a password in a query", "store: 'redis://h/0?password=x'", "store"},
		{"a password for a file", "store_password: env:X", "store_password"},
		{"replicas of a file", "replicate_issuance: true", "replicate_issuance"},
		{"a credential with a path", "master_key: credential:../x", "master_key"},
		{"a master key in the file", "master_key: bursar-master-key:v1:x:y", "master_key"},
		{"a master key without a name", "master_key: 'env:'", "master_key"},
		{"rotation all the time", "keys: {rotate_every: 1m}", "keys.rotate_every"},
		{"rotation backwards", "keys: {rotate_every: -1h}", "keys.rotate_every"},
		{"a rate without a time", "limits: {address: 200}", "limits.address"},
		{"a rate of a day", "limits: {client: 200/d}", "limits.client"},
		{"a rate of none", "limits: {tenant: 0/s}", "limits.tenant"},
		{"a rate of a tenant that is none", "tenants: {acme: {limits: {secret_failures: never}}}",
			"tenants.acme.limits.secret_failures"},
		{"sharing that a tenant decides", "tenants: {acme: {limits: {share: 1s}}}", "tenants.acme.limits.share"},
		{"sharing all the time", "limits: {share: 1ms}", "limits.share"},
		{"sharing hardly ever", "limits: {share: 1h}", "limits.share"},
		{"an unknown limit", "limits: {agent: 1/s}", "limits.agent"},
		{"trusting everybody", "trusted_proxies: [0.0.0.0/0]", "trusted_proxies[0]"},
		{"a proxy without its range", "trusted_proxies: [10.0.0.1]", "trusted_proxies[0]"},
		{"a proxy with bits beyond its range", "trusted_proxies: [10.0.0.1/24]", "trusted_proxies[0]"},
		{"a range that is an address", "tenants: {acme: {private_cidrs: [10.0.0.1]}}", "tenants.acme.private_cidrs[0]"},
		{"a mapped range", "tenants: {acme: {private_cidrs: ['::ffff:10.0.0.0/104']}}", "tenants.acme.private_cidrs[0]"},
		{"a list that is none", "tenants: {acme: {private_cidrs: 10.0.0.0/8}}", "tenants.acme.private_cidrs"},
		{"a merged mapping", "tenants: {acme: {<<: {private_cidrs: []}}}", "tenants.acme.<<"},
		{"a second document", "volatile_store: accept\n---\nbase_url: x", ""},
		{"what is not YAML", "volatile_store: [", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			key, _, _ := strings.Cut(row.line, ":")
			var text strings.Builder
			for line := range strings.Lines(small) {
				if !strings.HasPrefix(line, key+":") {
					text.WriteString(line)
				}
			}
			text.WriteString(row.line)
			c, found := config.Parse([]byte(text.String()), "/srv")
			if c != nil || len(found) != 1 || found[0].Path != row.path {
				t.Errorf("got %v, want a mistake at %q", found, row.path)
			}
		})
	}
}

func TestAnEmptyFileIsMissingEverything(t *testing.T) {
	_, found := config.Parse(nil, "/srv")
	var paths []string
	for _, m := range found {
		paths = append(paths, m.Path)
	}
	want := []string{"base_url", "listen", "store", "master_key", "admin.token_file"}
	if !slices.Equal(paths, want) {
		t.Errorf("missing %v, want %v", paths, want)
	}
}

// Whatever the file holds, there is either a configuration that validates or a list of mistakes.
func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add(small)
	f.Add("a: &a [*a]\nb: *a\n")
	f.Add("tenants: &t {acme: *t}\n")
	f.Add("? [x]\n: y\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, found := config.Parse([]byte(text), "/srv")
		if (c == nil) == (len(found) == 0) {
			t.Fatalf("configuration %v with the mistakes %v", c, found)
		}
		if c != nil && len(c.Validate()) > 0 {
			t.Fatalf("accepted %q, which has the mistakes %v", text, c.Validate())
		}
	})
}

func TestInitMakesAConfigurationThatWorks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	path, err := config.Init(dir, config.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bursar.yaml", "master.key", "admin.token"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.BaseURL != "http://127.0.0.1:8080" || c.Store != "bolt:"+filepath.Join(dir, "bursar.db") {
		t.Errorf("%+v", c)
	}
	if _, found := c.Secrets(); len(found) > 0 {
		t.Error(found)
	}
	token, err := config.AdminToken(c.Admin.TokenFile)
	if err != nil || len(token) != len("brs_op_")+43 {
		t.Errorf("token %q, %v", token, err)
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	for _, name := range []string{"bursar.yaml", "master.key", "admin.token"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Init(dir, config.Initial{}); err == nil {
			t.Errorf("init beside %s succeeded", name)
		}
		entries, _ := os.ReadDir(dir)
		data, _ := os.ReadFile(filepath.Join(dir, name))
		if len(entries) != 1 || string(data) != "mine" {
			t.Errorf("init beside %s left %v, %q", name, entries, data)
		}
	}
}

func TestInitWritesNothingThatWouldNotStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := config.Init(dir, config.Initial{BaseURL: "sts.example\nlisten: x"}); err == nil {
		t.Error("init accepted a base URL that is none")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("init made the directory")
	}
	path, err := config.Init(dir, config.Initial{BaseURL: "https://sts.example", Listen: "0.0.0.0:8443"})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := config.Load(path); err != nil || c.TLS.Cert != filepath.Join(dir, "tls.crt") {
		t.Errorf("%+v, %v", c, err)
	}
}

// What init has in a comment for a shim is what works there, once the comment is one no more.
func TestTheShimThatInitSuggestsIsRight(t *testing.T) {
	for _, row := range []struct {
		in   config.Initial
		want config.Shim
	}{
		{config.Initial{}, config.Shim{Listen: "127.0.0.1:8081", URL: "http://127.0.0.1:8081"}},
		{config.Initial{BaseURL: "https://sts.example"},
			config.Shim{Listen: "127.0.0.1:8081", URL: "https://sts.example/shim"}},
		{config.Initial{BaseURL: "https://sts.example", Listen: "0.0.0.0:8443"},
			config.Shim{Listen: "0.0.0.0:8444", URL: "https://sts.example:8444"}},
	} {
		dir := t.TempDir()
		path, err := config.Init(dir, row.in)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c, found := config.Parse(bytes.Replace(text, []byte("\n# shim: "), []byte("\nshim: "), 1), dir)
		if len(found) > 0 || !reflect.DeepEqual(c.Shim, row.want) {
			t.Errorf("%+v: %v\n%s", row.in, found, text)
		}
	}
}

func TestSecretsThatOthersCanReadAreRefused(t *testing.T) {
	dir := t.TempDir()
	path, err := config.Init(dir, config.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	paths := func() (paths []string) {
		_, found := c.Secrets()
		for _, m := range found {
			paths = append(paths, m.Path)
		}
		return paths
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602} {
		for _, name := range []string{"master.key", "admin.token"} {
			if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
				t.Fatal(err)
			}
		}
		if got := paths(); !slices.Equal(got, []string{"master_key", "admin.token_file"}) {
			t.Errorf("mode %o: mistakes at %v", mode, got)
		}
	}
	for _, name := range []string{"master.key", "admin.token"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got := paths(); !slices.Equal(got, []string{"master_key", "admin.token_file"}) {
		t.Errorf("directories: mistakes at %v", got)
	}
}

func TestSecretsComeFromWhereTheyAreNamed(t *testing.T) {
	dir := t.TempDir()
	path, err := config.Init(dir, config.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("TEST_MASTER_KEY", string(key))
	t.Setenv("TEST_PASSWORD", "p@ss:/word\n")
	sources := []config.Source{{Kind: "credential", Name: "master.key"}, {Kind: "env", Name: "TEST_MASTER_KEY"}}
	for _, source := range sources {
		c.MasterKey = config.MasterKey{Source: source}
		if _, found := c.Secrets(); len(found) > 0 {
			t.Errorf("%s: %v", source, found)
		}
	}
	c.Store, c.StorePassword = "redis://bursar@127.0.0.1:6379/1", config.Source{Kind: "env", Name: "TEST_PASSWORD"}
	s, found := c.Secrets()
	if len(found) > 0 || s.StoreURL != "redis://bursar:p%40ss%3A%2Fword@127.0.0.1:6379/1" {
		t.Errorf("store %q, %v", s.StoreURL, found)
	}
	c.MasterKey = config.MasterKey{Source: config.Source{Kind: "env", Name: "TEST_ABSENT"}}
	if _, found := c.Secrets(); len(found) != 1 || found[0].Path != "master_key" {
		t.Errorf("an absent variable: %v", found)
	}
	for _, token := range []string{"password", admin.NewToken("acme"), admin.NewToken("") + "x"} {
		if err := os.WriteFile(c.Admin.TokenFile, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, found := c.Secrets(); len(found) != 2 || found[1].Path != "admin.token_file" {
			t.Errorf("%s is taken for a platform token: %v", token, found)
		}
	}
}

func TestWhatTheCollectorWantsIsRead(t *testing.T) {
	dir := t.TempDir()
	path, err := config.Init(dir, config.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_OTLP", "Basic abc\n")
	c.Traces.Headers = map[string]config.Source{"authorization": {Kind: "env", Name: "TEST_OTLP"}}
	s, found := c.Secrets()
	if len(found) > 0 || s.TraceHeaders["authorization"] != "Basic abc" || s.TraceRoots != nil {
		t.Errorf("headers %v, roots %v, %v", s.TraceHeaders, s.TraceRoots, found)
	}
	t.Setenv("TEST_OTLP", "Basic abc\r\nx-more: y")
	c.Traces.CA = filepath.Join(dir, "master.key")
	if _, found := c.Secrets(); len(found) != 2 || found[0].Path != "traces.headers.authorization" ||
		found[1].Path != "traces.ca" {
		t.Errorf("two lines, and authorities that are none: %v", found)
	}
}

func TestWhatASinkWantsIsRead(t *testing.T) {
	dir := t.TempDir()
	path, err := config.Init(dir, config.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_HOOK", "Bearer abc\n")
	c.Audit.Sinks = []config.Sink{{Name: "siem", Kind: config.SinkWebhook, URL: "https://siem.example",
		Headers: map[string]config.Source{"authorization": {Kind: "env", Name: "TEST_HOOK"}}}, {Name: "out"}}
	s, found := c.Secrets()
	if len(found) > 0 || s.Sinks["siem"].Headers["authorization"] != "Bearer abc" || s.Sinks["siem"].Roots != nil {
		t.Errorf("%v", found)
	}
	t.Setenv("TEST_HOOK", "")
	c.Audit.Sinks[0].CA = filepath.Join(dir, "absent")
	if _, found := c.Secrets(); len(found) != 2 || found[0].Path != "audit.sinks[0].headers.authorization" ||
		found[1].Path != "audit.sinks[0].ca" {
		t.Errorf("no value, and no file: %v", found)
	}
}

func TestRetention(t *testing.T) {
	const base = "base_url: https://sts.example\nlisten: 127.0.0.1:1\nstore: bolt:x\nmaster_key: env:X\n" +
		"admin: {token_file: x}\naudit: {retention: {"
	for text, want := range map[string]string{
		"keep: 36h, archive: none":    "36h0m0s none",
		"keep: 48h, archive: /a":      "2d /a",
		"archive: none":               "0s none",
		"keep: 1h, archive: none":     "1h0m0s none",
		"keep: 365d, archive: ../old": "365d /old",
	} {
		c, found := config.Parse([]byte(base+text+"}}\n"), "/srv")
		if got := fmt.Sprint(c.Audit.Retention.Keep, " ", c.Audit.Retention.Archive); len(found) > 0 || got != want {
			t.Errorf("%s is %q %v, want %q", text, got, found, want)
		}
	}
	for text, want := range map[string]string{
		"keep: 90d":                 "audit.retention.archive: is required",
		"keep: 59m, archive: none":  "audit.retention.keep: must be at least 1h",
		"keep: 0.5d, archive: none": "audit.retention.keep: must be a number of days such as 90d",
		"keep: -2d, archive: none":  "audit.retention.keep: must be a number of days such as 90d",
		"keep: soon, archive: none": "audit.retention.keep: must be a number of days such as 90d",
		"kept: 90d":                 "audit.retention.kept: is not a known field",
	} {
		_, found := config.Parse([]byte(base+text+"}}\n"), "/srv")
		if len(found) != 1 || !strings.HasPrefix(found[0].String(), want) {
			t.Errorf("%s: %v, want %q", text, found, want)
		}
	}
}
