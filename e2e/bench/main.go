// Command bench measures what bursar costs: the real binary as a process of its own on one core, on each store, asked
// over HTTP by this process.
//
// Per core-second is one second divided by the user and system CPU time that the server's process spent per operation.
// It leaves out the load generator and Redis, and on a shared machine it says more than operations per second of the
// clock. Every round measures each row once, and the bare cryptography just before it; the figures are medians of the
// rounds. What the signed log costs is taken apart by benchmarks of the rooms, which this command runs. Nothing here
// fails because something is slow.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	json, svg, doc string // files to write; none if empty
	profile        string // folder for CPU profiles; none are taken if empty
	log, shim      bool   // measure that alone
	plan           plan
}

// plan is how much is measured.
type plan struct {
	rounds, operations, connections int
	paced                           int // operations at half of the maximum rate
	distinct                        int // tokens that are used again and again
	pure                            int // signatures beside each measurement
	starts                          int
	tenants, many                   int // idle tenants; many only on Redis
	appends, commits, long          int // events: appended at once, one after the other, and in the log that is verified
	shimRounds, singles             int // of the shim: rounds, and calls of one caller alone
	streams, held                   int // short ones, one after the other, and those that are open at once
}

var (
	long = plan{rounds: 5, operations: 6000, connections: 32, paced: 2000, distinct: 2000, pure: 500, starts: 7,
		tenants: 1000, many: 10_000, appends: 10_000, commits: 150, long: 1_000_000,
		shimRounds: 9, singles: 1000, streams: 60, held: 2000}
	short = plan{rounds: 2, operations: 2000, connections: 32, paced: 500, distinct: 500, pure: 250, starts: 3,
		tenants: 100, many: 200, appends: 2000, commits: 40, long: 20_000,
		shimRounds: 3, singles: 200, streams: 20, held: 400}
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	o := options{plan: long}
	brief := flag.Bool("short", false, "measure for half a minute: less exact, and fewer tenants")
	flag.StringVar(&o.json, "json", "", "write the figures to `FILE`")
	flag.StringVar(&o.svg, "svg", "", "draw the figures to `FILE`")
	flag.StringVar(&o.doc, "doc", "", "put the tables between the markers of `FILE`, such as docs/benchmarks.md")
	flag.BoolVar(&o.log, "log", false, "measure what the signed log costs, and nothing else")
	flag.BoolVar(&o.shim, "shim", false, "measure what the shim costs, and nothing else")
	flag.StringVar(&o.profile, "profile", "", "take profiles of a binary with a profiler into `DIR`, instead of figures")
	flag.Parse()
	if *brief {
		o.plan = short
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o options) error {
	began := time.Now()
	w, err := newWorld(ctx, o.profile != "")
	if err != nil {
		return err
	}
	defer w.close()
	r := &report{Machine: describe(), Plan: o.plan}
	if o.shim && o.profile != "" {
		return w.profileShim(ctx, o)
	}
	if o.log || o.shim {
		measure := w.measureShim
		if o.log {
			measure = w.measureLog
		}
		if err := measure(ctx, o.plan, r); err != nil {
			return err
		}
		return r.finish(o, began)
	}
	if err := w.populate(ctx); err != nil {
		return err
	}
	if o.profile != "" {
		return w.profile(ctx, o)
	}
	if err := w.measureThroughput(ctx, o.plan, r); err != nil {
		return err
	}
	if err := w.measureStart(ctx, o.plan, r); err != nil {
		return err
	}
	if err := w.measureTenants(ctx, o.plan, r); err != nil {
		return err
	}
	w.depopulate()
	if err := w.measureShim(ctx, o.plan, r); err != nil {
		return err
	}
	w.depopulate()
	if err := w.measureLog(ctx, o.plan, r); err != nil {
		return err
	}
	return r.finish(o, began)
}
