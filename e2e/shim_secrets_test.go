package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

// TestSecretsAtRestAndInTheProcess: rows F of the attacks.
func TestSecretsAtRestAndInTheProcess(t *testing.T) {
	eachShim(t, func(t *testing.T, w *shimWorld) {
		against(t, "F1", "rows swapped in the store", w.swappedRows)
		against(t, "F3", "reading a secret", w.readSecrets)
		against(t, "F4", "a crash", w.crash)
		against(t, "F5", "profiles and metrics", w.profiles)
		against(t, "F6", "errors that quote a URL", w.quotedURLs)
		against(t, "F7", "a key in a query in decision mode", func(t *testing.T) {
			out, err := w.tryWith(t, "handed", injections["query"], rules+"      allow_decision_mode: true\n")
			if err == nil || !strings.Contains(out, "inject[0].in") {
				t.Errorf("%v\n%s", err, out)
			}
		})
		against(t, "F8", "a master key that others can read", w.openMasterKey)
		against(t, "F9", "traces and baggage", w.tracedCalls)
		against(t, "F2", "an older store", w.olderStore) // after which nothing is done any more
	})
}

// olderStore: a store that went back behind what was signed of it is noticed by its own anchor, and nothing is swapped.
func (w *shimWorld) olderStore(t *testing.T) {
	restore := w.SaveStore(t)
	w.Restart(t)
	w.put(t, "acme/legacy-key", nextKey, everyPlain...)
	for range 5 {
		w.get(t, "legacy", "/v1/items/1")
	}
	outside := w.Auditor(t, "acme")
	outside.Passes(t, w.Server) // so that what was done is signed, and the anchor has it
	restore()
	w.restart(t)
	if w.outpost == nil { // which stops when nobody has signed what it recorded for a minute: server/outpost shows that
		w.silent(t, "an older store", func() {
			if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != http.StatusServiceUnavailable {
				t.Errorf("%d %s", reply.Status, reply.Body)
			}
		})
	}
	changed := strings.Replace(w.tenant("acme", ""), "ttl: 10m", "ttl: 9m", 1)
	if out, err := w.TryApply(t, changed); err == nil || !strings.Contains(out, "not what was signed") {
		t.Errorf("the operator is told %v\n%s", err, out)
	}
}

// readSecrets reads whatever there is to be read of secrets.
func (w *shimWorld) readSecrets(t *testing.T) {
	texts := map[string]string{}
	for _, args := range [][]string{{"secret", "list", "acme"}, {"secret", "list", "acme", "--json"},
		{"tool", "list", "acme", "--json"},
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
		path := filepath.Join(t.TempDir(), args[0]+".tar")
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
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", w.front.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`Max core file size +(\S+) +(\S+)`).FindStringSubmatch(string(limits)); m == nil ||
		m[1] != "0" {
		t.Errorf("core files are limited to %v", m)
	}
	w.stream(t, w.token(t, "legacy"), "legacy", "/end/drip") // so that a key is in use
	before := w.said(t)
	w.front.Abort()
	if trace := w.said(t)[len(before):]; !strings.Contains(string(trace), "SIGABRT") {
		t.Errorf("the process did not abort: %s", trace)
	} else {
		w.oracle.Check(t, "the trace", trace)
	}
	for _, dir := range append(w.folders(), ".") {
		if cores, _ := filepath.Glob(filepath.Join(dir, "core*")); len(cores) > 0 {
			t.Errorf("there is %v", cores)
		}
	}
	w.within(t)
}

func (w *shimWorld) profiles(t *testing.T) {
	metrics := strings.TrimSuffix(w.Metrics, "/metrics")
	for _, origin := range []string{w.Server.URL, metrics, "http://" + w.host()} {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/vars",
			"/debug/fgprof"} {
			a := harness.Get(t, origin+path) // the listener of the metrics has nothing else, whatever it is asked for
			if a.Status != http.StatusNotFound && (origin != metrics || !strings.HasPrefix(a.Body, "# HELP ")) {
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
			if !regexp.MustCompile(`^[A-Za-z0-9_.:+/ ()-]{0,64}$`).MatchString(m[1]) {
				t.Errorf("a label is %q", m[1])
			}
		}
	}
}

// quotedURLs: the library's errors quote the URL, and with it a key in the query.
func (w *shimWorld) quotedURLs(t *testing.T) {
	up := upstream.Start(t, upstream.Options{})
	w.Apply(t, w.tenant("acme", w.tool("acme", "gone", up.URL, `{in: query, name: api_key, secret: gone-key}`, up.CA,
		rules)))
	w.putAt(t, up, "acme/gone-key", operator.SecretRequest{Inject: []string{"query"},
		Fields: map[string]string{"value": acmeKey}})
	for _, end := range []string{"close", "garbage", "half", "hang", "header", "two-lengths"} {
		w.get(t, "gone", "/end/"+end)
	}
	up.Close()
	problem(t, "gone", w.get(t, "gone", "/v1/items/1"), http.StatusBadGateway, "upstream_unreachable")
	w.oracle.Check(t, "the output", w.said(t))
	if strings.Contains(string(w.said(t)), "api_key=") {
		t.Error("the output quotes the URL")
	}
}

func (w *shimWorld) openMasterKey(t *testing.T) {
	path, refuse := filepath.Join(w.Dir, "master.key"), func() (string, error) {
		w.Stop()
		return w.Bursar(t, "serve", "--config", filepath.Join(w.Dir, "bursar.yaml"))
	}
	if w.outpost != nil { // which has no master key, but a key of its own
		path, refuse = filepath.Join(w.outpost.Dir, "shim.key"), func() (string, error) {
			return w.outpost.Run(t, "config", "check", "--config", w.outpost.Config())
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := refuse(); err == nil || !strings.Contains(out, filepath.Base(path)) {
		t.Errorf("%v\n%s", err, out)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	w.restart(t)
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
