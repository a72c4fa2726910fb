package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// streamed is how long events of streams took at one door, in each round, in µs: the first one since the call, and the
// others since the upstream had sent them.
type streamed struct{ first, later []float64 }

// streams are the doors' measurements, by name.
type streams map[string]*streamed

// streamAll reads some short event streams at each door, one after the other.
func (x *street) streamAll(ctx context.Context, p plan, all streams, round int) error {
	for i := range x.doors {
		d := x.doors[(i+round)%len(x.doors)]
		if _, _, err := d.stream(ctx, p.streams/4); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		first, later, err := d.stream(ctx, p.streams)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		if all[d.name] == nil {
			all[d.name] = new(streamed)
		}
		s := all[d.name]
		s.first, s.later = append(s.first, median(first)), append(s.later, median(later))
	}
	return nil
}

// stream reads n streams to their ends over one connection, and returns how long their events took.
func (d *door) stream(ctx context.Context, n int) (first, later []float64, err error) {
	callers, err := d.connect(ctx, 1)
	if err != nil {
		return nil, nil, err
	}
	c := callers[0]
	defer func() { _ = c.conn.Close() }()
	for range n {
		began := time.Now()
		events, err := c.events(d.request(eventsPath))
		if err != nil {
			return nil, nil, err
		}
		for i := 0; ; i++ {
			sent, ok, err := nextEvent(events)
			if err != nil {
				return nil, nil, err
			}
			if !ok {
				break
			}
			now := time.Now()
			if i == 0 {
				first = append(first, micros(now.Sub(began)))
			} else {
				later = append(later, micros(now.Sub(sent)))
			}
		}
	}
	return first, later, nil
}

// events sends a call and returns the events that it is answered with.
func (c *caller) events(r request) (*bufio.Scanner, error) {
	if _, err := c.conn.Write(r); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	return bufio.NewScanner(resp.Body), nil
}

// nextEvent returns when the next event was sent; false at the end of the stream.
func nextEvent(events *bufio.Scanner) (sent time.Time, ok bool, err error) {
	for events.Scan() {
		if text, is := strings.CutPrefix(events.Text(), "data: "); is {
			at, err := strconv.ParseInt(text, 10, 64)
			return time.Unix(0, at), true, err
		}
	}
	return time.Time{}, false, events.Err()
}

func (all streams) figures(x *street) []streamFigures {
	direct, plain := all[directDoor], all[plainDoor]
	var rows []streamFigures
	for _, d := range x.doors {
		s := all[d.name]
		f := streamFigures{Door: d.name, First: median(s.first), FirstAdded: between(s.first, direct.first, minus),
			FirstBeyond: between(s.first, plain.first, minus), Later: median(s.later),
			LaterAdded: between(s.later, direct.later, minus)}
		if d.server != nil {
			f.Budget = firstBudget
		}
		rows = append(rows, f)
	}
	return rows
}

// hold measures the memory that streams take which are open at the same time and have nothing to say. Each process has
// just been started.
func (x *street) hold(ctx context.Context, p plan) (rows []heldFigures, err error) {
	for _, name := range []string{plainDoor, embeddedDoor, redisDoor, outpostDoor} {
		d := x.door(name)
		if err := x.renew(ctx, d); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		f, err := d.hold(ctx, p.held)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		rows = append(rows, f)
	}
	return rows, nil
}

// renew starts the process behind a door again.
func (x *street) renew(ctx context.Context, d *door) (err error) {
	switch {
	case d.outpost != nil:
		d.outpost.stop()
		_, err = d.outpost.serve(ctx)
	case d.server != nil:
		d.server.stop()
		_, err = d.server.serve(ctx)
		d.process = d.server.process
	default:
		d.target, err = x.world.plain("proxy", x.url, x.file)
	}
	if err == nil && d.server != nil {
		err = d.authorize(ctx)
	}
	if err != nil {
		return err
	}
	return d.answers(ctx)
}

// hold opens n streams, and compares the process's memory before and while they are open.
func (d *door) hold(ctx context.Context, n int) (f heldFigures, err error) {
	time.Sleep(calm)
	before, err := d.process.memory()
	if err != nil {
		return f, err
	}
	open, err := d.openAll(ctx, n)
	defer func() {
		for _, c := range open {
			_ = c.conn.Close()
		}
	}()
	if err != nil {
		return f, err
	}
	time.Sleep(calm)
	while, err := d.process.memory()
	each := float64(while-before) / float64(n)
	return heldFigures{Door: d.name, Streams: n, Before: float64(before) / 1e6, While: float64(while) / 1e6,
		Each: each / 1e3}, err
}

// together is how many streams are opened at the same time.
const together = 16

// openAll opens so many streams, and returns when each has had its first event. A server waits for the first request of
// a connection for some seconds only, so that each connection is made for its stream.
func (d *door) openAll(ctx context.Context, n int) (open []*caller, err error) {
	r := d.request(quietPath)
	var group errgroup.Group
	group.SetLimit(together)
	var mu sync.Mutex
	for range n {
		group.Go(func() error {
			one, err := d.connect(ctx, 1)
			if err != nil {
				return err
			}
			mu.Lock()
			open = append(open, one...)
			mu.Unlock()
			events, err := one[0].events(r)
			if err == nil {
				_, _, err = nextEvent(events)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return open, fmt.Errorf("open a stream: %w", err)
	}
	return open, nil
}
