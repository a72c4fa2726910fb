package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

// TestSecretsAtRestAndInTheProcess: rows F of the attacks.
func TestSecretsAtRestAndInTheProcess(t *testing.T) {
	eachShim(t, func(t *testing.T, w *shimWorld) {
		against(t, "F1", "rows swapped in the store", w.swappedRows)
		against(t, "F2", "an older store", w.olderStore)
		against(t, "F3", "reading a secret", w.readSecrets)
		against(t, "F4", "a crash", w.crash)
		against(t, "F5", "profiles and metrics", w.profiles)
		against(t, "F6", "errors that quote a URL", w.quotedURLs)
		against(t, "F7", "a key in a query in decision mode", func(t *testing.T) {
			file := w.tenant("acme", w.tool("acme", "handed", w.up.URL, injections["query"], w.up.CA,
				rules+"      allow_decision_mode: true\n"))
			if out, err := w.TryApply(t, file); err == nil || !strings.Contains(out, "inject[0].in") {
				t.Errorf("%v\n%s", err, out)
			}
		})
		against(t, "F8", "a master key that others can read", w.openMasterKey)
		against(t, "F9", "traces and baggage", w.tracedCalls)
	})
}

// rowStore is the rows that a store has of a tenant, by kind/id.
type rowStore interface {
	row(name string) string
	setRow(name, value string)
	count(prefix string) int // of the rows whose names begin so
}

func (s *fileStore) row(name string) string {
	return string(s.b.Bucket([]byte("row")).Get([]byte(name)))
}

func (s *fileStore) setRow(name, value string) {
	if err := s.b.Bucket([]byte("row")).Put([]byte(name), []byte(value)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *fileStore) count(prefix string) (n int) {
	_ = s.b.Bucket([]byte("row")).ForEach(func(k, _ []byte) error {
		if strings.HasPrefix(string(k), prefix) {
			n++
		}
		return nil
	})
	return n
}

func (s *redisStore) count(prefix string) (n int) {
	kind, id, _ := strings.Cut(prefix, "/")
	all, err := s.c.HKeys(s.t.Context(), s.prefix+"row:"+kind).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range all {
		if strings.HasPrefix(name, id) {
			n++
		}
	}
	return n
}

func (s *redisStore) row(name string) string {
	kind, id, _ := strings.Cut(name, "/")
	value, err := s.c.HGet(s.t.Context(), s.prefix+"row:"+kind, id).Result()
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	return value
}

func (s *redisStore) setRow(name, value string) {
	kind, id, _ := strings.Cut(name, "/")
	if err := s.c.HSet(s.t.Context(), s.prefix+"row:"+kind, id, value).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// inStore changes the rows of a tenant behind the server's back, and serves again: a server that runs knows the rows.
func (w *shimWorld) inStore(t *testing.T, slug string, change func(s rowStore)) {
	t.Helper()
	seen := &world{Server: w.Server}
	seen.meddle(t, slug, func(s stored) { change(s.(rowStore)) })
	if w.Redis != nil {
		w.Stop()
		w.Restart(t)
		w.apart.Restart(t)
	}
}

// swappedRows puts sealed rows where they do not belong: what was sealed for one place opens in no other.
func (w *shimWorld) swappedRows(t *testing.T) {
	rows := map[string]map[string]string{}
	names := []string{"secret/legacy-key", "secret/login", "secret/turned", "dek/vault"}
	w.put(t, "acme/turned", acmeKey, "header")
	w.put(t, "globex/login", "username=robot password="+password)
	w.put(t, "globex/turned", globexKey, "header")
	for _, slug := range []string{"acme", "globex"} {
		rows[slug] = map[string]string{}
		w.inStore(t, slug, func(s rowStore) {
			for _, name := range names {
				if rows[slug][name] = s.row(name); rows[slug][name] == "" {
					t.Fatalf("%s has no row %s", slug, name)
				}
			}
		})
	}
	w.put(t, "acme/turned", nextKey, "header") // a second version of one
	for name, swap := range map[string]map[string]string{
		"the row of another tenant":   {"secret/legacy-key": rows["globex"]["secret/legacy-key"]},
		"the row of another secret":   {"secret/legacy-key": rows["acme"]["secret/turned"]},
		"the data key of another":     {"dek/vault": rows["globex"]["dek/vault"]},
		"both of another":             {"dek/vault": rows["globex"]["dek/vault"], "secret/legacy-key": rows["globex"]["secret/legacy-key"]},
		"one byte changed at the end": {"secret/legacy-key": flippedText(rows["acme"]["secret/legacy-key"], -10)},
		"one byte changed amid":       {"secret/legacy-key": flippedText(rows["acme"]["secret/legacy-key"], len(rows["acme"]["secret/legacy-key"])/2)},
		"half of another's":           {"secret/legacy-key": spliced(rows["acme"]["secret/legacy-key"], rows["globex"]["secret/legacy-key"])},
		"the fields of another's":     {"secret/legacy-key": rows["globex"]["secret/login"]},
	} {
		before := map[string]string{}
		w.inStore(t, "acme", func(s rowStore) {
			for row, value := range swap {
				before[row] = s.row(row)
				s.setRow(row, value)
			}
		})
		w.silent(t, name, func() {
			if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status < 500 {
				t.Errorf("%s: %d %s", name, reply.Status, reply.Body)
			}
		})
		w.inStore(t, "acme", func(s rowStore) {
			for row, value := range before {
				s.setRow(row, value)
			}
		})
	}
	if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
		t.Errorf("put back: %d %s", reply.Status, reply.Body)
	}
	if w.up.Received(globexKey) {
		t.Error("the key of globex was sent for acme")
	}
}

func flippedText(s string, at int) string {
	b := []byte(s)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	return string(b)
}

func spliced(a, b string) string { return a[:len(a)/2] + b[min(len(b), len(a)/2):] }

// olderStore: whoever kept a checkpoint sees that the store went back.
func (w *shimWorld) olderStore(t *testing.T) {
	outside := w.Auditor(t, "acme")
	outside.Passes(t, w.Server)
	restore := w.SaveStore(t)
	w.Restart(t)
	w.put(t, "acme/legacy-key", nextKey, everyPlain...)
	for range 5 {
		w.get(t, "legacy", "/v1/items/1")
	}
	outside.Passes(t, w.Server)
	restore()
	w.Restart(t)
	r := outside.Verify(t, w.Server)
	if r.Integrity != auditor.Failed {
		t.Errorf("the older store passes: %+v", r)
	}
}

// readSecrets reads whatever there is to be read of secrets.
func (w *shimWorld) readSecrets(t *testing.T) {
	texts := map[string]string{}
	for _, args := range [][]string{{"secret", "list", "acme"}, {"secret", "list", "acme", "--json"}, {"tool", "list", "acme", "--json"},
		{"tool", "show", "acme/legacy", "--json"}, {"keys", "list", "acme", "--json"}} {
		texts[strings.Join(args, " ")] = w.run(t, args...)
	}
	if list := texts["secret list acme"]; !strings.Contains(list, "legacy-key") || !strings.Contains(list, "active") {
		t.Errorf("the list does not tell of secrets: %s", list)
	}
	for _, path := range []string{"/admin/v1/t/acme/secrets", "/admin/v1/t/acme/secrets/legacy-key",
		"/admin/v1/t/acme/secrets/legacy-key/versions/1", "/admin/v1/t/acme/secrets/legacy-key?reveal=true",
		"/admin/v1/t/acme/secrets/legacy-key/value", "/admin/v1/t/acme/tools/legacy", "/admin/v1/t/acme"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.Operator.Token)
		a, err := harness.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = a.Body
	}
	for _, args := range [][]string{{"backup", "acme", "-o"}, {"audit", "export", "acme", "-o"}} {
		path := filepath.Join(t.TempDir(), args[0])
		w.run(t, append(args, path)...)
		content, err := os.ReadFile(path)
		if err != nil || len(content) == 0 {
			t.Fatal(err)
		}
		texts[args[0]] = string(content)
	}
	for what, text := range texts {
		w.oracle.Check(t, what, []byte(text))
	}
}

// crash has the process abort, with all that the library prints then.
func (w *shimWorld) crash(t *testing.T) {
	w.within(t, "env", "GOTRACEBACK=crash")
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", w.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`Max core file size +(\S+) +(\S+)`).FindStringSubmatch(string(limits)); m == nil || m[1] != "0" {
		t.Errorf("core files are limited to %v", m)
	}
	w.stream(t, w.token(t, "legacy"), "legacy", "/end/drip") // so that a key is in use
	before, err := os.ReadFile(w.Output())
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	after, err := os.ReadFile(w.Output())
	if err != nil {
		t.Fatal(err)
	}
	if trace := after[len(before):]; !strings.Contains(string(trace), "SIGABRT") {
		t.Errorf("the process did not abort: %s", trace)
	} else {
		w.oracle.Check(t, "the trace", trace)
	}
	for _, dir := range []string{w.Dir, "."} {
		if cores, _ := filepath.Glob(filepath.Join(dir, "core*")); len(cores) > 0 {
			t.Errorf("there is %v", cores)
		}
	}
	w.within(t)
}

func (w *shimWorld) profiles(t *testing.T) {
	metrics := strings.TrimSuffix(w.Metrics, "/metrics")
	for _, origin := range []string{w.Server.URL, metrics, "http://" + w.host()} {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/vars", "/debug/fgprof"} {
			if a := harness.Get(t, origin+path); a.Status != http.StatusNotFound {
				t.Errorf("%s%s: %d", origin, path, a.Status)
			}
		}
	}
	w.get(t, "legacy", "/echo/body/raw")
	label := regexp.MustCompile(`="([^"]*)"`)
	for line := range strings.Lines(harness.Get(t, w.Metrics).Body) {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "go_") {
			continue
		}
		for _, m := range label.FindAllStringSubmatch(line, -1) {
			if !regexp.MustCompile(`^[A-Za-z0-9_.:+/ -]{0,64}$`).MatchString(m[1]) {
				t.Errorf("a label is %q", m[1])
			}
		}
	}
}

// quotedURLs: the library's errors quote the URL, and with it a key in the query.
func (w *shimWorld) quotedURLs(t *testing.T) {
	up := upstream.Start(t, upstream.Options{})
	w.Apply(t, w.tenant("acme", w.tool("acme", "gone", up.URL, `{in: query, name: api_key, secret: gone-key}`, up.CA, rules)))
	w.putAt(t, up, "acme/gone-key", operator.SecretRequest{Inject: []string{"query"}, Fields: map[string]string{"value": acmeKey}})
	for _, end := range []string{"close", "garbage", "half", "hang", "header", "two-lengths"} {
		w.get(t, "gone", "/end/"+end)
	}
	up.Close()
	problem(t, "gone", w.get(t, "gone", "/v1/items/1"), http.StatusBadGateway, "upstream_unreachable")
	said, err := os.ReadFile(w.Output())
	if err != nil {
		t.Fatal(err)
	}
	w.oracle.Check(t, "the output", said)
	if strings.Contains(string(said), "api_key=") {
		t.Error("the output quotes the URL")
	}
}

func (w *shimWorld) openMasterKey(t *testing.T) {
	path := filepath.Join(w.Dir, "master.key")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	w.Stop()
	out, err := w.Bursar(t, "serve", "--config", filepath.Join(w.Dir, "bursar.yaml"))
	if err == nil || !strings.Contains(out, "master") {
		t.Errorf("%v\n%s", err, out)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	w.Restart(t)
}

func (w *shimWorld) tracedCalls(t *testing.T) {
	c := traced(t, w.Server)
	const baggage = "canary-of-a-baggage"
	for _, place := range []string{"body", "header", "trailer", "early", "location", "gzip", "sse"} {
		w.get(t, "legacy", "/echo/"+place+"/raw", "Traceparent: 00-"+theirTrace+"-"+theirSpan+"-01", "Baggage: key="+baggage)
		w.get(t, "query", "/echo/"+place+"/raw")
	}
	w.get(t, "legacy", "/end/garbage")
	if w.up.Received(baggage) {
		t.Error("the agent's baggage was passed on")
	}
	w.Stop() // which sends all that there is
	w.oracle.Check(t, "the traces", c.received())
	if strings.Contains(string(c.received()), baggage) {
		t.Error("the traces hold the agent's baggage")
	}
	w.Restart(t)
}
