package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// logReport is what the signed log costs. CPU times are µs, latencies ms, sizes bytes.
type logReport struct {
	Pure      pure         `json:"pure"`
	Exchanges []recorded   `json:"exchanges"`
	Parts     []part       `json:"event"`
	Appends   []appended   `json:"appends"`
	Heads     []coverage   `json:"heads"`
	Sizes     []size       `json:"sizes"`
	Proofs    proofCosts   `json:"proofs"`
	Verified  verification `json:"verification"`
}

// recorded is what an exchange costs with its record, and what of that the record adds.
type recorded struct {
	Record string  `json:"record"`
	CPU    float64 `json:"cpu_us"`
	Least  float64 `json:"cpu_us_min"`
	Most   float64 `json:"cpu_us_max"`
	Added  float64 `json:"added_us"`
	Ratio  float64 `json:"added_to_signature"` // by that of the bare signature of an event
	Budget float64 `json:"budget_us,omitempty"`
}

// part is what a part of an event costs.
type part struct {
	Name   string  `json:"part"`
	CPU    float64 `json:"cpu_us"`
	Ratio  float64 `json:"ratio_to_signature"`
	Budget float64 `json:"budget_us,omitempty"`
}

// appended is how long it takes to append while many do, beside what store and disk take.
type appended struct {
	Load   string  `json:"load"`
	Store  string  `json:"store"`
	Rate   float64 `json:"per_second"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Commit float64 `json:"bare_commit_p50_ms"`
	Sync   float64 `json:"fdatasync_p50_ms"`
}

// coverage is how long it takes from the answer to a signed head that covers the event.
type coverage struct {
	Load  string  `json:"load"`
	Store string  `json:"store"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
}

type size struct {
	What  string  `json:"what"`
	Bytes float64 `json:"bytes"`
}

type proofCosts struct {
	Make  float64 `json:"make_us"`
	Check float64 `json:"check_us"`
}

// verification is that of a long log by the program.
type verification struct {
	Events   int64   `json:"events"`
	Made     float64 `json:"made_per_second"`
	Exported float64 `json:"export_seconds"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu_us_per_event"`
	Peak     float64 `json:"peak_mb"`
	Cores    int     `json:"cores"`
}

// The budgets of the log.
const (
	eventBudget    = 30  // µs of CPU time, to make and to sign an event
	coverageBudget = 100 // ms, from an event to a head
)

// The rooms whose benchmarks are run.
const (
	exchangeRoom = "server/exchange"
	auditRoom    = "server/audit"
	treeRoom     = "server/tree"
)

// measureLog measures what the signed log costs: beside an exchange, by the parts of an event, in time and bytes on
// each store, and for those who verify it. Each round measures everything but the verification once.
func (w *world) measureLog(ctx context.Context, p plan, r *report) error {
	log.Print("building the benchmarks of the log")
	if err := w.buildRooms(ctx, exchangeRoom, auditRoom, treeRoom); err != nil {
		return err
	}
	m := measured{}
	var pures []pure
	for round := range p.rounds {
		log.Printf("the log: round %d of %d", round+1, p.rounds)
		bare, err := measurePure(p.pure)
		if err != nil {
			return err
		}
		pures = append(pures, bare)
		if err := w.logRound(ctx, m, p); err != nil {
			return err
		}
	}
	log.Printf("making a log of %s, and verifying it", plural(p.long, "event"))
	if err := w.bench(ctx, m, treeRoom, "^BenchmarkLong$", p.long); err != nil {
		return err
	}
	verified, err := w.verify(ctx, p)
	if err != nil {
		return err
	}
	r.Log = m.report(pures)
	verified.Made, verified.Exported = m.median("Long", "events/s"), m.median("Long", "export-s")
	r.Log.Verified = verified
	return nil
}

func (w *world) logRound(ctx context.Context, m measured, p plan) error {
	for _, run := range []struct {
		room, pattern string
		operations    int
		args          []string
	}{
		{exchangeRoom, "^BenchmarkRecord$", p.operations, []string{"-test.cpu", "1"}},
		{auditRoom, "^Benchmark(Event|Append)$", p.operations, []string{"-test.cpu", "1"}},
		{treeRoom, "^Benchmark(Sync|Commit)$", p.commits, nil},
		{treeRoom, "^BenchmarkAppend$", p.appends, nil},
		{treeRoom, "^BenchmarkPaced$", p.appends / 5, nil},
	} {
		if err := w.bench(ctx, m, run.room, run.pattern, run.operations, run.args...); err != nil {
			return err
		}
	}
	return nil
}

// verify has the program verify the export of the long log, as an auditor does.
func (w *world) verify(ctx context.Context, p plan) (v verification, err error) {
	cmd := exec.CommandContext(ctx, w.program("bursar"), "audit", "verify", w.exported(),
		"--key", "@"+w.exported()+".vkey", "--json")
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return v, fmt.Errorf("verify the export: %w\n%s", err, out)
	}
	v.Seconds, v.Cores = time.Since(began).Seconds(), runtime.NumCPU()
	var found struct {
		Passed  bool  `json:"passed"`
		Entries int64 `json:"entries"`
	}
	if err := json.Unmarshal(out, &found); err != nil {
		return v, fmt.Errorf("verify the export: %w\n%s", err, out)
	}
	if v.Events = found.Entries; !found.Passed || v.Events < int64(p.long) {
		return v, fmt.Errorf("the log of %d events did not pass, or lacks some:\n%s", p.long, out)
	}
	state := cmd.ProcessState
	v.CPU = micros(state.UserTime()+state.SystemTime()) / float64(v.Events)
	v.Peak = float64(state.SysUsage().(*syscall.Rusage).Maxrss) * 1024 / 1e6
	return v, nil
}

const spentPerOp = "cpu-ns/op"

// report returns the figures. The added ones are medians of the rounds' differences and ratios.
func (m measured) report(pures []pure) *logReport {
	l := &logReport{Pure: medianPure(pures)}
	for _, kind := range []struct {
		name, record string
		budget       float64
	}{
		{"Record/nothing", "nothing recorded: nothing but the bench can do so", 0},
		{"Record/memory", "event made, signed and in the tree, in memory", eventBudget},
		{"Record/embedded", "durable too, embedded", 0},
		{"Record/redis", "durable too, Redis: our part", 0},
	} {
		r := recorded{Record: kind.record, CPU: m.micros(kind.name, spentPerOp), Budget: kind.budget}
		r.Least, r.Most = m.spread(kind.name, spentPerOp)
		r.Added, r.Ratio = m.added(kind.name, "Record/nothing", pures)
		l.Exchanges = append(l.Exchanges, r)
	}
	l.parts(m)
	for _, s := range []struct{ name, store string }{
		{"embedded", "embedded"}, {"redis-everysec", "Redis, appendfsync everysec"},
		{"redis-always", "Redis, appendfsync always"},
	} {
		for _, load := range []struct{ name, text string }{
			{"Paced/", "1,000 events/s"}, {"Append/", "as fast as they can"}} {
			name := load.name + s.name
			l.Appends = append(l.Appends, appended{Load: load.text, Store: s.store, Rate: m.median(name, "events/s"),
				P50: m.millis(name, "p50-ns"), P99: m.millis(name, "p99-ns"),
				Commit: m.millis("Commit/"+s.name, "p50-ns"), Sync: m.millis("Sync", "p50-ns")})
			l.Heads = append(l.Heads, coverage{Load: load.text, Store: s.store,
				P50: m.millis(name, "head-p50-ns"), P99: m.millis(name, "head-p99-ns")})
		}
	}
	l.Sizes = []size{
		{"an event as it is signed, of an exchange for a user", m.median("Event/seal", "bytes/event")},
		{"in the embedded store's file, with its part of the tree", m.median("Long", "file-B/event")},
		{"in the memory of Redis, likewise", m.median("Append/redis-everysec", "memory-B/event")},
		{"in an export, not compressed", m.median("Long", "export-B/event")},
		{"the proof of one event in the long log", m.median("Long", "proof-B")},
	}
	l.Proofs = proofCosts{Make: m.micros("Long", "prove-cpu-ns"), Check: m.micros("Long", "check-cpu-ns")}
	return l
}

// added returns by how much one benchmark costs more than another, in µs and by the bare signature of an event.
func (m measured) added(name, than string, pures []pure) (added, ratio float64) {
	var differences, ratios []float64
	for round, bare := range pures {
		d := (m[figure{name, spentPerOp}][round] - m[figure{than, spentPerOp}][round]) / 1e3
		differences, ratios = append(differences, d), append(ratios, d/bare.EventSign)
	}
	return median(differences), median(ratios)
}

// parts adds the parts of an event. They are compared with the bare signature that is measured among them.
func (l *logReport) parts(m measured) {
	cost := func(names ...string) (sum float64) {
		for _, name := range names {
			sum += m.micros(name, spentPerOp)
		}
		return sum
	}
	bare := cost("Event/bare")
	add := func(text string, budget float64, names ...string) {
		l.Parts = append(l.Parts, part{Name: text, CPU: cost(names...), Ratio: cost(names...) / bare, Budget: budget})
	}
	add("make the event", 0, "Event/encode")
	add("number it and sign it, as a compact JWS", 0, "Event/seal")
	add("both", eventBudget, "Event/encode", "Event/seal")
	add("of it, a bare Ed25519 signature", 0, "Event/bare")
	add("hash it for the tree", 0, "Event/leaf")
	add("put it into the tree", 0, "Event/tree")
	add("one signed head, for all events of 50 ms", 0, "Event/head")
	add("all, one event after the other, each waited for", 0, "Append")
}

func (l *logReport) tables() []table {
	return []table{l.exchanges(), l.event(), l.appends(), l.heads(), l.sizes(), l.verifying()}
}

func (l *logReport) exchanges() table {
	t := table{head: []string{"Exchange of a re-used token, without HTTP", "CPU µs", "min–max", "Added µs",
		"× Ed25519 signature", "Budget"}}
	for i, r := range l.Exchanges {
		cells := []string{r.Record, fmt.Sprintf("%.0f", r.CPU), fmt.Sprintf("%.0f–%.0f", r.Least, r.Most), "", "", ""}
		if i > 0 {
			cells[3], cells[4] = fmt.Sprintf("%.0f", r.Added), fmt.Sprintf("%.2f", r.Ratio)
		}
		if r.Budget > 0 {
			cells[5] = budget(fmt.Sprintf("%.0f", r.Budget), r.Added > r.Budget)
		}
		t.rows = append(t.rows, cells)
	}
	return t
}

func (l *logReport) event() table {
	t := table{head: []string{"One event", "CPU µs", "× Ed25519 signature", "Budget"}}
	for _, p := range l.Parts {
		limit := ""
		if p.Budget > 0 {
			limit = budget(fmt.Sprintf("%.0f", p.Budget), p.CPU > p.Budget)
		}
		t.rows = append(t.rows, []string{p.Name, fmt.Sprintf("%.1f", p.CPU), fmt.Sprintf("%.2f", p.Ratio), limit})
	}
	return t
}

func (l *logReport) appends() table {
	t := table{head: []string{"Appending, 64 callers", "Store", "Events/s", "p50 ms", "p99 ms", "bare commit p50 ms",
		"p50 × commit", "fdatasync p50 ms", "p50 × fdatasync"}}
	for _, a := range l.Appends {
		t.rows = append(t.rows, []string{a.Load, a.Store, thousands(a.Rate), fmt.Sprintf("%.2f", a.P50),
			fmt.Sprintf("%.2f", a.P99), fmt.Sprintf("%.2f", a.Commit), fmt.Sprintf("%.1f", a.P50/a.Commit),
			fmt.Sprintf("%.2f", a.Sync), fmt.Sprintf("%.1f", a.P50/a.Sync)})
	}
	return t
}

func (l *logReport) heads() table {
	t := table{head: []string{"From the answer to a signed head, 64 callers", "Store", "p50 ms", "p99 ms",
		"Budget of p99"}}
	for _, h := range l.Heads {
		t.rows = append(t.rows, []string{h.Load, h.Store, fmt.Sprintf("%.0f", h.P50), fmt.Sprintf("%.0f", h.P99),
			budget(fmt.Sprint(coverageBudget), h.P99 > coverageBudget)})
	}
	return t
}

func (l *logReport) sizes() table {
	t := table{head: []string{"Size of an event", "Bytes"}}
	for _, s := range l.Sizes {
		t.rows = append(t.rows, []string{s.What, thousands(s.Bytes)})
	}
	return t
}

func (l *logReport) verifying() table {
	v, bare := l.Verified, l.Pure.EventVerify
	rate := float64(v.Events) / v.Seconds
	return table{head: []string{"A log of " + plural(int(v.Events), "event"), "Figure", "× Ed25519 verification"},
		rows: [][]string{
			{"making it, 253 events to a commit, embedded", thousands(v.Made) + " events/s", ""},
			{"writing its export", fmt.Sprintf("%.0f s", v.Exported), ""},
			{"`bursar audit verify`: time", fmt.Sprintf("%.1f s", v.Seconds), ""},
			{"`bursar audit verify`: rate", thousands(rate) + " events/s",
				fmt.Sprintf("%.2f of what %d cores can", rate*bare/1e6/float64(v.Cores), v.Cores)},
			{"`bursar audit verify`: CPU time of an event", fmt.Sprintf("%.1f µs", v.CPU), fmt.Sprintf("%.2f", v.CPU/bare)},
			{"`bursar audit verify`: peak of resident memory", fmt.Sprintf("%.0f MB", v.Peak), ""},
			{"making the proof of one event, CPU time", fmt.Sprintf("%.0f µs", l.Proofs.Make),
				fmt.Sprintf("%.2f", l.Proofs.Make/bare)},
			{"checking it, CPU time", fmt.Sprintf("%.0f µs", l.Proofs.Check), fmt.Sprintf("%.2f", l.Proofs.Check/bare)},
			{"a bare Ed25519 verification", fmt.Sprintf("%.1f µs", bare), "1.00"},
		}}
}

func (r *report) logConditions() string {
	return fmt.Sprintf("Measured on %s, shared with others; CPU times with GOMAXPROCS=1, latencies and verification "+
		"with all cores; Redis with an append-only file, synced as named; medians of %d rounds.", r.Machine, r.Plan.rounds)
}
