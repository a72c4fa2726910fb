package main

import (
	"context"
	"fmt"
	"log"
)

// measureShim measures what the shim costs beside a plain proxy, with all of them called in turn in each round. Figures
// are differences and ratios of the same round, of which the medians are reported.
func (w *world) measureShim(ctx context.Context, p plan, r *report) error {
	log.Print("the shim: starting")
	x, err := w.newStreet(ctx)
	if err != nil {
		return err
	}
	if err := w.buildRooms(ctx, treeRoom, scrubRoom); err != nil {
		return err
	}
	m, c, s := measured{}, calls{}, streams{}
	for round := range p.shimRounds {
		log.Printf("the shim: round %d of %d", round+1, p.shimRounds)
		if err := x.enter(ctx); err != nil {
			return err
		}
		if err := x.callAll(ctx, p, c, round); err != nil {
			return err
		}
		if err := x.streamAll(ctx, p, s, round); err != nil {
			return err
		}
		if err := w.bench(ctx, m, treeRoom, "^BenchmarkAlone$/^(embedded|redis-everysec)$", p.commits); err != nil {
			return err
		}
		if err := w.bench(ctx, m, scrubRoom, "^Benchmark(Reader|Floor)$", 3, "-test.cpu", "1"); err != nil {
			return err
		}
	}
	r.Redis = w.redisSetting
	r.Shim = &shimReport{Calls: c.figures(x, m), Streams: s.figures(x), Scrubbing: scrubbing(m)}
	if r.Shim.Held, err = x.hold(ctx, p); err != nil {
		return err
	}
	took, err := x.door(outpostDoor).outpost.starts(ctx, p.starts)
	if err == nil {
		r.Shim.Ready = median(took)
	}
	return err
}

const scrubRoom = "server/scrub"

// The budgets of the shim.
const (
	addedBudget    = 90     // µs that a call takes longer than the upstream itself, with nothing recorded
	recordedBudget = 60     // µs beyond that, and beyond what an append takes
	cpuBudget      = 1.6    // times the CPU time of the plain proxy, with nothing recorded
	cpuRecorded    = 2.2    // likewise, with the records
	firstBudget    = 1000.0 // µs that the first event of a stream may come later
	readyBudget    = 100    // ms from the start of bursar-shim
)

// called is what one door was measured at, in each round.
type called struct{ p50, cpu []float64 } // µs

// calls are the doors' measurements, by name.
type calls map[string]*called

// callAll measures a call at each door: with one caller its latency, with many its CPU time.
func (x *street) callAll(ctx context.Context, p plan, all calls, round int) error {
	for i := range x.doors {
		d := x.doors[(i+round)%len(x.doors)] // nobody is always the first
		if _, err := d.load(ctx, 1, d.calls(itemPath, p.singles/4)); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		one, err := d.load(ctx, 1, d.calls(itemPath, p.singles))
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		many, err := d.load(ctx, p.connections, d.calls(itemPath, p.operations))
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		if all[d.name] == nil {
			all[d.name] = new(called)
		}
		c := all[d.name]
		c.p50, c.cpu = append(c.p50, micros(one.quantile(.5))), append(c.cpu, many.each())
	}
	return nil
}

// figures returns the medians.
func (all calls) figures(x *street, m measured) []callFigures {
	direct, plain := all[directDoor], all[plainDoor]
	var rows []callFigures
	for _, d := range x.doors {
		c := all[d.name]
		f := callFigures{Door: d.name, P50: median(c.p50), Added: between(c.p50, direct.p50, minus),
			Beyond: between(c.p50, plain.p50, minus), CPU: median(c.cpu), Ratio: between(c.cpu, plain.cpu, over)}
		switch d.name {
		case directDoor:
			f.CPU, f.Ratio = 0, 0 // it is the upstream's own
		case forgetfulDoor:
			f.AddedBudget, f.RatioBudget = addedBudget, cpuBudget
		case embeddedDoor:
			f.Append = m.micros("Alone/embedded", "p50-ns")
			f.AddedBudget, f.RatioBudget = recordedBudget+f.Append, cpuRecorded
		case redisDoor, outpostDoor:
			f.Append = m.micros("Alone/redis-everysec", "p50-ns")
			f.AddedBudget, f.RatioBudget = recordedBudget+f.Append, cpuRecorded
		}
		rows = append(rows, f)
	}
	return rows
}

// between returns the median of what f makes of the two figures of each round.
func between(of, and []float64, f func(x, y float64) float64) float64 {
	var each []float64
	for i := range of {
		each = append(each, f(of[i], and[i]))
	}
	return median(each)
}

func minus(x, y float64) float64 { return x - y }
func over(x, y float64) float64  { return x / y }
