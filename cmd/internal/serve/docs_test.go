package serve

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/port/porttest"
	"github.com/bursar-sts/bursar/cmd/internal/shimstats"
)

// everyMetric returns what a server shows that uses everything: TLS, traces, a sink, a witness, and one decision; and
// what a standalone shim shows.
func everyMetric(t *testing.T) series {
	t.Helper()
	dir := t.TempDir()
	files := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	porttest.WritePair(t, files, 1, time.Now())
	s := start(t, func(c *config.Config) {
		withMetrics(c)
		c.TLS, c.Traces = files, config.Traces{OTLP: "http://127.0.0.1:1", Sample: 1}
		c.Audit.Sinks = []config.Sink{{Name: "copy", Kind: config.SinkFile, Path: filepath.Join(dir, "copy"),
			Format: config.FormatJSON}}
		c.Shim = config.Shim{URL: "https://sts.example/shim", Listen: "127.0.0.1:0",
			Decide: config.Door{Listen: "unix:" + filepath.Join(dir, "d")},
			GRPC:   config.Door{Listen: "unix:" + filepath.Join(dir, "g")}}
		c.Audit.Retention.Archive = config.NoArchive
		c.Audit.Witnesses = []config.Witness{{URL: "http://127.0.0.1:1",
			Key: "witness.example+df659935+BJVmWfCsFfvT+vDFiKzmt3+P0t3/iqBID2tTXGaslDkV"}}
	})
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its name is not that of the address
	resp, err := client.Post("https://"+s.Address()+"/t/nobody/token", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	text := scrape(t, s)
	standalone := prometheus.NewRegistry() // what bursar-shim shows beside, that a server does not
	standalone.MustRegister(shimstats.Tenants(func() (all, usable int) { return 2, 1 }))
	families, err := standalone.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		text += f.GetName() + " 0\n"
	}
	return parseScrape(text)
}

func doc(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// alerts is the form of a file of Prometheus rules.
type alerts struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For string
			Labels           struct{ Severity string }
			Annotations      struct{ Summary, Description, Runbook string }
		}
	}
}

// Every alert is about something that a server shows, and says what to do, in a section of its own.
func TestAlertsAreAboutWhatIsShown(t *testing.T) {
	var file alerts
	dec := yaml.NewDecoder(bytes.NewReader(doc(t, "alerts.yaml")))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	shown, runbook := everyMetric(t), string(doc(t, "operations.md"))
	seen := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			shown.check(t, r.Alert, r.Expr)
			if r.Labels.Severity != "page" && r.Labels.Severity != "ticket" {
				t.Errorf("%s has the severity %q", r.Alert, r.Labels.Severity)
			}
			if r.For != "" {
				if _, err := time.ParseDuration(r.For); err != nil {
					t.Errorf("%s: %v", r.Alert, err)
				}
			}
			if r.Annotations.Summary == "" || r.Annotations.Description == "" ||
				r.Annotations.Runbook != "docs/operations.md#"+strings.ToLower(r.Alert) ||
				!strings.Contains(runbook, "\n#### "+r.Alert+"\n") {
				t.Errorf("%s does not say what to do: %+v", r.Alert, r.Annotations)
			}
			if seen[r.Alert] {
				t.Errorf("%s is there twice", r.Alert)
			}
			seen[r.Alert] = true
		}
	}
	if len(seen) == 0 {
		t.Error("there are no alerts")
	}
	for _, heading := range regexp.MustCompile(`(?m)^#### (Bursar\w+)$`).FindAllStringSubmatch(runbook, -1) {
		if !seen[heading[1]] {
			t.Errorf("operations.md says what to do about %s, which is no alert", heading[1])
		}
	}
}

// dashboard is what is needed of Grafana's model.
type dashboard struct {
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Query any }
	}
	Panels []panel
}

type panel struct {
	ID          int
	Type, Title string
	Datasource  struct{ UID string }
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct {
		RefID, Expr string
		Exemplar    bool
		Datasource  struct{ UID string }
	}
}

// Every panel shows something that a server shows, in its unit and in a place of its own, from the chosen data source.
func TestTheDashboardShowsWhatIsShown(t *testing.T) {
	var d dashboard
	if err := json.Unmarshal(doc(t, "grafana-dashboard.json"), &d); err != nil {
		t.Fatal(err)
	}
	shown := everyMetric(t)
	var rows []string
	used, ids, taken, exemplars := map[string]bool{}, map[int]bool{}, map[[2]int]string{}, 0
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: the id %d is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s is in the place of %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s lacks a unit, a target or the data source", p.Title)
		}
		for _, target := range p.Targets {
			shown.check(t, p.Title, target.Expr)
			for _, s := range selectors(target.Expr) {
				used[s.metric] = true
			}
			if target.Exemplar {
				exemplars++
			}
			if target.RefID == "" || target.Datasource.UID != "${datasource}" {
				t.Errorf("%s: a target lacks its letter or the data source", p.Title)
			}
		}
	}
	want := strings.Fields("Now Traffic Refusals Latency Log Store Keys Limits Process Sinks Shim")
	if len(rows) != len(want) {
		t.Errorf("rows %q", rows)
	}
	if d.SchemaVersion < 39 || exemplars == 0 || len(d.Templating.List) == 0 ||
		d.Templating.List[0].Type != "datasource" || d.Templating.List[0].Name != "datasource" {
		t.Errorf("schema %d, %d targets with exemplars, variables %v", d.SchemaVersion, exemplars, d.Templating.List)
	}
	everything(t, shown, used)
}

// everything fails the test for each metric of ours that no panel uses, or that the documentation does not explain.
func everything(t *testing.T, shown series, used map[string]bool) {
	t.Helper()
	explained := string(doc(t, "operations.md"))
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		family := name
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			family = strings.TrimSuffix(family, part)
		}
		if !strings.HasPrefix(name, "bursar_") {
			continue
		}
		if !used[name] && !used[family+"_bucket"] && !used[family+"_count"] {
			t.Errorf("no panel uses %s", name)
		}
		if !strings.Contains(explained, "`"+family+"`") && !strings.Contains(explained, "`"+family+"{") {
			t.Errorf("operations.md does not explain %s", family)
		}
	}
}
