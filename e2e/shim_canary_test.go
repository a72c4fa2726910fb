package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

// TestTheKeyIsNowhere: after a busy day of calls, mistakes, rotations and crashes the keys are looked for in everything
// that was written down, sent or kept: the output, the metrics, the traces, the logs, the data, backups and exports,
// and the memory of the agent that made the calls. They are at rest, sealed, and nowhere else.
func TestTheKeyIsNowhere(t *testing.T) {
	eachShim(t, func(t *testing.T, w *shimWorld) {
		agent := harness.StartAgent(t)
		collector := traced(t, w.Server)
		w.busyDay(t, agent)
		size, found := w.oracle.Memory(t, agent.PID())
		if len(found) > 0 || size < 1<<20 {
			t.Errorf("%d bytes of the agent's memory hold %v", size, found)
		}
		w.coreImage(t, agent.PID())
		backup, export := filepath.Join(w.Dir, "acme.backup"), filepath.Join(w.Dir, "acme.tar")
		w.run(t, "backup", "acme", "-o", backup)
		w.run(t, "audit", "export", "acme", "-o", export)
		places := w.toldByLogs(t)
		for _, metrics := range w.metrics() {
			places["the metrics at "+metrics] = []byte(harness.Get(t, metrics).Body)
		}
		if w.Redis != nil {
			w.Redis.Command(t, "SAVE")
		}
		w.Stop()
		places["the traces"] = collector.received()
		for what, content := range places {
			if len(content) < 1000 {
				t.Errorf("%s: only %d bytes", what, len(content))
			}
			w.oracle.Check(t, what, content)
		}
		files := 0
		for _, dir := range w.folders() {
			files += w.oracle.Folder(t, dir)
		}
		if files < 5 {
			t.Errorf("only %d files were searched", files)
		}
		w.sealedAtRest(t)
	})
}

// toldByLogs returns everything that is in each log, as the admin API tells it.
func (w *shimWorld) toldByLogs(t *testing.T) map[string][]byte {
	t.Helper()
	places := map[string][]byte{}
	for _, slug := range []string{"acme", "globex", ""} {
		q := operator.EventQuery{Limit: operator.MaxEvents}
		for {
			page, err := w.page(t, slug, q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Events) == 0 {
				break
			}
			text, err := json.Marshal(page)
			if err != nil {
				t.Fatal(err)
			}
			places["the log of "+slug] = append(places["the log of "+slug], text...)
			q.After = page.Next
		}
	}
	return places
}

// page reads a tenant's log, or the platform's.
func (w *shimWorld) page(t *testing.T, slug string, q operator.EventQuery) (*operator.Events, error) {
	t.Helper()
	if slug == "" {
		return w.Operator.PlatformEvents(t.Context(), q)
	}
	return w.Operator.Events(t.Context(), slug, q)
}

// busyDay makes the agent do everything that it can, and what it cannot.
func (w *shimWorld) busyDay(t *testing.T, agent *harness.Agent) {
	t.Helper()
	call := func(tool, method, target, body string, header http.Header) harness.Report {
		if header == nil {
			header = http.Header{}
		}
		header.Set("Authorization", "Bearer "+w.token(t, tool))
		return agent.Call(t, harness.Order{Method: method, URL: w.resource("acme", tool) + target, Header: header,
			Body: body})
	}
	total := 0
	for tool, forms := range map[string]string{"legacy": "raw base64-1 hex percent-all json-some", "query": "raw base64-2",
		"basic": "raw", "bearer": "raw", "cookie": "raw", "aws": "raw", "signed": "raw", "oauth": "raw"} {
		for _, place := range upstream.Places() {
			for form := range strings.FieldsSeq(forms) {
				if place != "long" && (place != "bytewise" || form == "raw") {
					total += call(tool, "GET", "/echo/"+place+"/"+form, "", nil).Bytes
				}
			}
		}
		for end := range strings.FieldsSeq("half close garbage header unasked forged-upgrade two-lengths") {
			call(tool, "GET", "/end/"+end, "", nil)
		}
	}
	if total < 30_000 {
		t.Errorf("the agent got only %d bytes", total)
	}
	call("body", "POST", "/echo/json/raw", `{"a":1}`, http.Header{"Content-Type": {"application/json"}})
	call("form", "POST", "/echo/body/raw", "a=1", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	call("seg", "GET", "/echo/body/raw/key", "", nil)
	call("cert", "GET", "/echo/body/raw", "", nil)
	for _, wrong := range []string{"/v1/../admin", "/v1/items/1?x=y", "/nowhere", "/end/hang"} {
		call("legacy", "GET", wrong, "", nil)
	}
	w.put(t, "acme/legacy-key", nextKey, everyPlain...)
	for range 3 {
		call("query", "GET", "/echo/location/raw", "", nil)
	}
	w.run(t, "secret", "rollback", "acme/legacy-key")
	w.run(t, "secret", "disable", "acme/legacy-key")
	call("legacy", "GET", "/v1/items/1", "", nil)
	w.run(t, "secret", "enable", "acme/legacy-key")
	w.run(t, "secret", "list", "acme")
	for _, value := range []string{acmeKey + "\n" + acmeKey, acmeKey + "\x00"} { // which are refused
		if out, err := w.BursarReading(t, value, "secret", "put", "acme/legacy-key", "--host", w.up.URL, "-"); err == nil {
			t.Errorf("%q was put: %s", value, out)
		} else {
			w.oracle.Check(t, "the refusal", []byte(out))
		}
	}
	w.Kill()
	w.front.Abort()
	w.restart(t)
	call("legacy", "GET", "/echo/body/raw", "", nil)
}

// coreImage looks into a core image of a process, where one can be made.
func (w *shimWorld) coreImage(t *testing.T, pid int) {
	t.Helper()
	gcore, err := exec.LookPath("gcore")
	if err != nil {
		t.Log("there is no gcore; the memory was read instead")
		return
	}
	dir := t.TempDir()
	if out, err := exec.Command(gcore, "-o", filepath.Join(dir, "core"), strconv.Itoa(pid)).CombinedOutput(); err != nil {
		t.Logf("no core image: %v: %s", err, out)
		return
	}
	if n := w.oracle.Folder(t, dir); n != 1 {
		t.Errorf("%d core images", n)
	}
}

// sealedAtRest fails the test unless the store has the secret at all, so that it was looked for in the right place.
func (w *shimWorld) sealedAtRest(t *testing.T) {
	t.Helper()
	dir, found := w.Dir, false
	if w.Redis != nil {
		dir = w.Redis.Dir
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".log") {
			return err
		}
		content, err := os.ReadFile(path)
		found = found || strings.Contains(string(content), "legacy-key") && strings.Contains(string(content), "sealed")
		return err
	})
	if err != nil || !found {
		t.Errorf("the sealed secret is not in %s: %v", dir, err)
	}
}
