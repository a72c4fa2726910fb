package main

import (
	"fmt"
	"strings"
)

// shimReport is what the shim costs. Times are µs.
type shimReport struct {
	Calls     []callFigures   `json:"calls"`
	Streams   []streamFigures `json:"streams"`
	Held      []heldFigures   `json:"held"`
	Scrubbing []scrubFigures  `json:"scrubbing"`
	Ready     float64         `json:"ready_ms"` // from the start of bursar-shim
}

// callFigures are those of a call at one door. A budget of 0 is none.
type callFigures struct {
	Door        string  `json:"door"`
	P50         float64 `json:"p50_us"`        // with one caller
	Added       float64 `json:"added_us"`      // to the upstream itself
	Beyond      float64 `json:"beyond_us"`     // what it adds to the plain proxy
	Append      float64 `json:"append_p50_us"` // of a caller who appends an event and does nothing else; 0 without
	AddedBudget float64 `json:"added_budget,omitempty"`
	CPU         float64 `json:"cpu_us"` // with many callers
	Ratio       float64 `json:"cpu_to_plain,omitempty"`
	RatioBudget float64 `json:"cpu_budget,omitempty"`
}

// streamFigures are those of the events of short streams.
type streamFigures struct {
	Door        string  `json:"door"`
	First       float64 `json:"first_us"` // from the call to the first event
	FirstAdded  float64 `json:"first_added_us"`
	FirstBeyond float64 `json:"first_beyond_us"` // what it adds to the plain proxy
	Budget      float64 `json:"first_budget,omitempty"`
	Later       float64 `json:"later_us"` // from the sending of another event to its arrival
	LaterAdded  float64 `json:"later_added_us"`
}

// heldFigures are the resident memory of a process with so many streams open.
type heldFigures struct {
	Door    string  `json:"door"`
	Streams int     `json:"streams"`
	Before  float64 `json:"before_mb"`
	While   float64 `json:"while_mb"`
	Each    float64 `json:"each_kb"`
}

// scrubFigures are how fast a text is searched, in MB for each second of CPU time.
type scrubFigures struct {
	Text  string  `json:"text"`
	Speed float64 `json:"mb_per_core_second"`
	Floor float64 `json:"floor"` // of the search for the value as it is
}

func scrubbing(m measured) (rows []scrubFigures) {
	for _, text := range []struct{ name, text string }{
		{"prose", "prose"}, {"json", "JSON, six escapes in each hundred bytes"}, {"binary", "bytes that are no text"},
		{"percent", "percent escapes, every second character"}, {"backslashes", "nothing but backslashes"},
		{"mixed", "escapes of four kinds, each of which could begin the next"},
	} {
		rows = append(rows, scrubFigures{Text: text.text, Speed: m.median("Reader/"+text.name, "MB/core-s"),
			Floor: m.median("Floor/"+text.name, "MB/core-s")})
	}
	return rows
}

func (s *shimReport) tables() []table {
	start := table{head: []string{"Start", "ms", "Budget"}, rows: [][]string{{"bursar-shim, until it is ready",
		fmt.Sprintf("%.0f", s.Ready), budget(fmt.Sprint(readyBudget), s.Ready > readyBudget)}}}
	return []table{s.calls(), s.streams(), s.held(), s.scrubbing(), start}
}

func (s *shimReport) calls() table {
	t := table{head: strings.Split("A call with an answer of 1 KiB|p50 µs|added µs|Budget|added to the proxy µs|"+
		"one append p50 µs|CPU µs|× plain proxy|Budget", "|")}
	for i, f := range s.Calls {
		cells := []string{f.Door, micro(f.P50), "", "", "", "", "", "", ""}
		if i > 0 {
			cells[2], cells[6], cells[7] = micro(f.Added), micro(f.CPU), fmt.Sprintf("%.2f", f.Ratio)
		}
		if f.AddedBudget > 0 {
			cells[3] = budget(micro(f.AddedBudget), f.Added > f.AddedBudget)
			cells[4] = micro(f.Beyond)
			cells[8] = budget(fmt.Sprint(f.RatioBudget), f.Ratio > f.RatioBudget)
		}
		if f.Append > 0 {
			cells[5] = micro(f.Append)
		}
		t.rows = append(t.rows, cells)
	}
	return t
}

func (s *shimReport) streams() table {
	t := table{head: strings.Split("An event stream|first event µs|added µs|Budget|added to the proxy µs|"+
		"a later event µs|added µs", "|")}
	for i, f := range s.Streams {
		cells := []string{f.Door, micro(f.First), "", "", "", micro(f.Later), ""}
		if i > 0 {
			cells[2], cells[6] = micro(f.FirstAdded), micro(f.LaterAdded)
		}
		if f.Budget > 0 {
			cells[3] = budget(micro(f.Budget), f.FirstAdded > f.Budget)
			cells[4] = micro(f.FirstBeyond)
		}
		t.rows = append(t.rows, cells)
	}
	return t
}

func (s *shimReport) held() table {
	t := table{head: strings.Split("Resident memory with open streams|Streams|MB before|MB|kB for each", "|")}
	for _, f := range s.Held {
		t.rows = append(t.rows, []string{f.Door, thousands(float64(f.Streams)), fmt.Sprintf("%.0f", f.Before),
			fmt.Sprintf("%.0f", f.While), fmt.Sprintf("%.1f", f.Each)})
	}
	return t
}

func (s *shimReport) scrubbing() table {
	t := table{head: []string{"Searching for a key in all its forms", "MB per core-second", "× the key as it is"}}
	for _, f := range s.Scrubbing {
		t.rows = append(t.rows, []string{f.Text, thousands(f.Speed), fmt.Sprintf("%.3f", f.Speed/f.Floor)})
	}
	return t
}

// micro writes µs, which can be less than none where two figures are compared.
func micro(n float64) string {
	if n < 0 {
		return "−" + thousands(-n)
	}
	return thousands(n)
}

func (r *report) shimConditions() string {
	return fmt.Sprintf("Measured on %s, shared with others; each process with GOMAXPROCS=1; Redis %s; medians of %d "+
		"rounds, each of %d calls of one caller and %d over %d connections.", r.Machine, r.Redis, r.Plan.shimRounds,
		r.Plan.singles, r.Plan.operations, r.Plan.connections)
}
