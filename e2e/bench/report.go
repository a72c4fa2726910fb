package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything that was measured. CPU times are µs, latencies ms.
type report struct {
	Machine string      `json:"machine"`
	Redis   string      `json:"redis"`
	Plan    plan        `json:"-"`
	Took    string      `json:"took"`
	Pure    pure        `json:"pure"`
	Rows    []figures   `json:"rows"`
	Start   []startup   `json:"start"`
	Memory  []footprint `json:"memory"`
	Tenants []creation  `json:"tenants"`
	Spread  []spread    `json:"spread"`
	Log     *logReport  `json:"log,omitempty"`
	Shim    *shimReport `json:"shim,omitempty"`
}

// figures are those of one row on one store, medians of the rounds. Latencies are those at half of the maximum rate.
type figures struct {
	Row           string  `json:"row"`
	Store         string  `json:"store"`
	PerCoreSecond float64 `json:"per_core_second"`
	CPU           float64 `json:"cpu_us"`
	Kernel        float64 `json:"kernel_us"` // of it
	Least         float64 `json:"cpu_us_min"`
	Most          float64 `json:"cpu_us_max"`
	Floor         float64 `json:"pure_us"` // the signatures and verifications that it cannot do without, on their own
	Ratio         float64 `json:"ratio_to_pure,omitempty"`
	P50           float64 `json:"p50_ms"`
	P99           float64 `json:"p99_ms"`
	Tail          float64 `json:"p99_to_p50"`
	Budget        float64 `json:"budget,omitempty"` // per core-second
}

// short reports whether the figures fall short of their budget.
func (f figures) short() bool { return f.PerCoreSecond < f.Budget }

// startup is how long a start took until the server was ready.
type startup struct {
	Store   string  `json:"store"`
	Tenants int     `json:"tenants"`
	Millis  float64 `json:"ms"`
}

// footprint is resident memory, in MB; without a budget, Budget is 0.
type footprint struct {
	Store  string  `json:"store"`
	State  string  `json:"state"`
	MB     float64 `json:"mb"`
	Budget float64 `json:"budget,omitempty"`
}

// creation is how long it took to make one of many tenants, one after the other, through the admin API.
type creation struct {
	Store   string  `json:"store"`
	Tenants int     `json:"tenants"`
	Millis  float64 `json:"ms"`
}

// spread is how many exchanges a core-second holds for one of many tenants, and for all of them in turn.
type spread struct {
	Store   string  `json:"store"`
	Tenants int     `json:"tenants"`
	One     float64 `json:"one_per_core_second"`
	All     float64 `json:"all_per_core_second"`
	Share   float64 `json:"all_to_one"`
}

// The budgets of all but throughput.
const (
	startBudget     = 300 // ms, embedded
	memoryBudget    = 60  // MB, with so many tenants:
	budgetedTenants = 1000
	tailBudget      = 5   // p99 to p50
	spreadBudget    = 0.9 // of the exchanges for one tenant
)

// peer is a server that was measured in the same way, but without any log, and the figure of another day and machine.
type peer struct {
	name          string
	perCoreSecond float64
}

var peers = []peer{
	{"a Go example server, in memory", 4840},
	{"Dex, with ES256", 4880},
	{"oidc-provider on Node", 3480},
	{"Dex, with its default RS256", 1080},
}

func describe() string {
	return fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// finish prints the report, and writes the files that were asked for.
func (r *report) finish(o options, began time.Time) error {
	r.Took = time.Since(began).Round(time.Second).String()
	for _, part := range r.parts() {
		fmt.Printf("%s\n%s\n\n", text(part.tables), part.conditions)
	}
	fmt.Printf("The whole took %s.\n", r.Took)
	return r.write(o)
}

// documented is what stands between the markers of its name in the document.
type documented struct {
	name       string
	tables     []table
	conditions string // by which they were measured
}

// parts returns what was measured.
func (r *report) parts() (all []documented) {
	if len(r.Rows) > 0 {
		all = append(all, documented{"figures", r.tables(), r.conditions()})
	}
	if r.Shim != nil {
		all = append(all, documented{"shim", r.Shim.tables(), r.shimConditions()})
	}
	if r.Log != nil {
		all = append(all, documented{"log", r.Log.tables(), r.logConditions()})
	}
	return all
}

// text returns tables for a terminal.
func text(tables []table) string {
	var b strings.Builder
	for _, t := range tables {
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, strings.Join(t.head, "\t"))
		for _, cells := range t.rows {
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
		_ = w.Flush() // a strings.Builder never fails
		fmt.Fprintln(&b)
	}
	return b.String()
}

// markdown returns tables for the document, and what they were measured by.
func markdown(tables []table, conditions string) string {
	var b strings.Builder
	for _, t := range tables {
		fmt.Fprintln(&b, t.markdown())
	}
	fmt.Fprintf(&b, "%s\n", conditions)
	return b.String()
}

func (r *report) conditions() string {
	return fmt.Sprintf("Measured on %s, shared with others; server with GOMAXPROCS=1; Redis %s; %d rounds of %d "+
		"operations over %d connections.", r.Machine, r.Redis, r.Plan.rounds, r.Plan.operations, r.Plan.connections)
}

type table struct {
	head []string
	rows [][]string
}

func (t table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
	for _, cells := range t.rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

func (r *report) tables() []table {
	return []table{r.throughput(), r.latencies(), r.cryptography(), r.footprints(), r.spreads(), reference()}
}

func (r *report) throughput() table {
	t := table{head: strings.Split("Operation|Store|Per core-second|Budget|CPU µs|min–max|kernel µs|× pure", "|")}
	for _, f := range r.Rows {
		limit, ratio := "", ""
		if f.Budget > 0 {
			limit = budget(thousands(f.Budget), f.short())
		}
		if f.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", f.Ratio)
		}
		t.rows = append(t.rows, []string{f.Row, f.Store, thousands(f.PerCoreSecond), limit,
			fmt.Sprintf("%.0f", f.CPU), fmt.Sprintf("%.0f–%.0f", f.Least, f.Most), fmt.Sprintf("%.0f", f.Kernel),
			ratio})
	}
	return t
}

func (r *report) latencies() table {
	t := table{head: strings.Split("Latency at half of the maximum rate|Store|p50 ms|p99 ms|p99 ÷ p50|Budget", "|")}
	for _, f := range r.Rows {
		t.rows = append(t.rows, []string{f.Row, f.Store, fmt.Sprintf("%.2f", f.P50), fmt.Sprintf("%.2f", f.P99),
			fmt.Sprintf("%.1f", f.Tail), budget(fmt.Sprint(tailBudget), f.Tail > tailBudget)})
	}
	return t
}

func (r *report) cryptography() table {
	return table{head: []string{"Pure cryptography", "CPU µs", "Per core-second"}, rows: [][]string{
		{"ES256 signature", fmt.Sprintf("%.1f", r.Pure.Sign), thousands(1e6 / r.Pure.Sign)},
		{"ES256 verification", fmt.Sprintf("%.1f", r.Pure.Verify), thousands(1e6 / r.Pure.Verify)},
		{"both", fmt.Sprintf("%.1f", r.Pure.Sign+r.Pure.Verify), thousands(1e6 / (r.Pure.Sign + r.Pure.Verify))},
	}}
}

func (r *report) footprints() table {
	t := table{head: []string{"Start and memory", "Store", "Figure", "Budget"}}
	for _, s := range r.Start {
		t.rows = append(t.rows, []string{"start to ready, tenants in the store: " + thousands(float64(s.Tenants)), s.Store,
			fmt.Sprintf("%.0f ms", s.Millis), budget(fmt.Sprintf("%d ms", startBudget), s.Millis > startBudget)})
	}
	for _, m := range r.Memory {
		limit := ""
		if m.Budget > 0 {
			limit = budget(fmt.Sprintf("%.0f MB", m.Budget), m.MB > m.Budget)
		}
		t.rows = append(t.rows, []string{"resident memory, " + m.State, m.Store, fmt.Sprintf("%.0f MB", m.MB), limit})
	}
	for _, c := range r.Tenants {
		t.rows = append(t.rows, []string{fmt.Sprintf("making one of %s tenants", thousands(float64(c.Tenants))), c.Store,
			fmt.Sprintf("%.1f ms", c.Millis), ""})
	}
	return t
}

func (r *report) spreads() table {
	t := table{head: strings.Split("Exchanges with fresh tokens|Store|for one tenant|for all in turn|Share|Budget", "|")}
	for _, s := range r.Spread {
		t.rows = append(t.rows, []string{plural(s.Tenants, "tenant"), s.Store, thousands(s.One), thousands(s.All),
			fmt.Sprintf("%.2f", s.Share), budget(fmt.Sprint(spreadBudget), s.Share < spreadBudget)})
	}
	return t
}

func reference() table {
	t := table{head: []string{"Others, for orientation: no log, another day", "Per core-second"}}
	for _, p := range peers {
		t.rows = append(t.rows, []string{p.name, thousands(p.perCoreSecond)})
	}
	return t
}

// budget returns the cell of a budget.
func budget(figure string, short bool) string {
	if short {
		return figure + " (short)"
	}
	return figure
}

// plural counts things.
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return thousands(float64(n)) + " " + thing
}

// thousands writes a whole number with a comma between groups of three digits.
func thousands(n float64) string {
	digits := fmt.Sprintf("%.0f", n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// write writes the files that were asked for.
func (r *report) write(o options) error {
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if o.svg != "" && len(r.Rows) > 0 {
		if err := os.WriteFile(o.svg, []byte(r.chart()), 0o644); err != nil {
			return err
		}
	}
	if o.doc == "" {
		return nil
	}
	for _, part := range r.parts() {
		if err := replace(o.doc, part.name, markdown(part.tables, part.conditions)); err != nil {
			return err
		}
	}
	return nil
}

// replace puts text between the markers of a part of a document: <!-- part --> and <!-- /part -->, each on a line.
func replace(file, part, text string) error {
	opening, closing := "<!-- "+part+" -->\n", "<!-- /"+part+" -->\n"
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(old), opening)
	_, after, closed := strings.Cut(rest, closing)
	if !found || !closed {
		return fmt.Errorf("%s has no place for the %s", file, part)
	}
	return os.WriteFile(file, []byte(before+opening+"\n"+text+"\n"+closing+after), 0o644)
}
