package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// request is one request as it goes over the wire, written before the clock starts.
type request []byte

// get returns a request for a path.
func get(path string) request {
	return request("GET " + path + " HTTP/1.1\r\nHost: bench\r\n\r\n")
}

// post returns a request for an endpoint of a tenant; authorization may be empty.
func post(tenant, endpoint, authorization string, form url.Values) request {
	var b strings.Builder
	body := form.Encode()
	fmt.Fprintf(&b, "POST /t/%s/%s HTTP/1.1\r\nHost: bench\r\n", tenant, endpoint)
	b.WriteString("Content-Type: application/x-www-form-urlencoded\r\n")
	if authorization != "" {
		fmt.Fprintf(&b, "Authorization: %s\r\n", authorization)
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return request(b.String())
}

// sample is what a number of operations cost.
type sample struct {
	operations int
	cpu        usage         // of the server's process, for all of them
	wall       time.Duration // likewise
	took       []time.Duration
}

// rate returns the operations per second of the clock.
func (s sample) rate() float64 { return float64(s.operations) / s.wall.Seconds() }

// each returns the CPU time of one operation, in µs.
func (s sample) each() float64 { return micros(s.cpu.total) / float64(s.operations) }

// kernel returns how much of it the kernel spent, in µs.
func (s sample) kernel() float64 { return micros(s.cpu.system) / float64(s.operations) }

// quantile returns the latency that the share q of the operations did not exceed.
func (s sample) quantile(q float64) time.Duration { return s.took[int(q*float64(len(s.took)-1))] }

// target is where requests go, and whose CPU time they are counted by.
type target struct {
	address  string
	secured  *tls.Config // nil: without TLS
	process  *process
	profiler string // address of its profiler, if it has one
}

// load sends the requests over keep-alive connections, each of which sends the next one as soon as it has its answer.
// An answer other than 200 ends it.
func (t *target) load(ctx context.Context, connections int, requests []request) (sample, error) {
	return t.send(ctx, connections, requests, func(int) time.Time { return time.Time{} })
}

// pace sends the requests at a steady rate per second, whatever the server does: each has a time at which it is due,
// and its latency counts from then, so that a server that stands still is charged for all who wait meanwhile.
func (t *target) pace(ctx context.Context, connections int, requests []request, rate float64) (sample, error) {
	began := time.Now()
	return t.send(ctx, connections, requests, func(i int) time.Time {
		return began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
	})
}

// send sends the requests, each not before it is due, over as many connections.
func (t *target) send(
	ctx context.Context, connections int, requests []request, due func(int) time.Time) (sample, error) {
	callers, err := t.connect(ctx, connections)
	if err != nil {
		return sample{}, err
	}
	defer func() {
		for _, c := range callers {
			_ = c.conn.Close()
		}
	}()
	before, err := t.process.cpu()
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	var next atomic.Int64
	var group sync.WaitGroup
	for _, c := range callers {
		group.Go(func() {
			for at := next.Add(1) - 1; at < int64(len(requests)) && c.err == nil && ctx.Err() == nil; at = next.Add(1) - 1 {
				c.call(requests[at], due(int(at)))
			}
		})
	}
	group.Wait()
	wall := time.Since(began)
	after, err := t.process.cpu()
	if err != nil {
		return sample{}, err
	}
	all := sample{operations: len(requests), cpu: after.minus(before), wall: wall}
	for _, c := range callers {
		if c.err != nil {
			return sample{}, c.err
		}
		all.took = append(all.took, c.took...)
	}
	slices.Sort(all.took)
	return all, ctx.Err()
}

// caller is one connection.
type caller struct {
	conn net.Conn
	in   *bufio.Reader
	took []time.Duration
	err  error
}

func (t *target) connect(ctx context.Context, connections int) ([]*caller, error) {
	var callers []*caller
	for range connections {
		conn, err := t.dial(ctx)
		if err != nil {
			for _, c := range callers {
				_ = c.conn.Close()
			}
			return nil, err
		}
		callers = append(callers, &caller{conn: conn, in: bufio.NewReader(conn)})
	}
	return callers, nil
}

func (t *target) dial(ctx context.Context) (net.Conn, error) {
	if t.secured != nil {
		return (&tls.Dialer{Config: t.secured}).DialContext(ctx, "tcp", t.address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", t.address)
}

// call sends a request that is due at the given time; a zero time is now.
func (c *caller) call(r request, due time.Time) {
	time.Sleep(time.Until(due))
	began := time.Now()
	if !due.IsZero() {
		began = due
	}
	status, body, err := c.send(r)
	c.took = append(c.took, time.Since(began))
	switch {
	case err != nil:
		c.err = err
	case status != http.StatusOK:
		c.err = fmt.Errorf("the server answered %d: %s", status, body)
	}
}

func (c *caller) send(r request) (status int, body []byte, err error) {
	if _, err := c.conn.Write(r); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, nil, err
	}
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// tokens sends requests for tokens one after the other and returns what they answer.
func (t *target) tokens(ctx context.Context, requests []request) ([]string, error) {
	callers, err := t.connect(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer func() { _ = callers[0].conn.Close() }()
	var all []string
	for _, r := range requests {
		status, body, err := callers[0].send(r)
		if err != nil {
			return nil, err
		}
		var answer struct {
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal(body, &answer); err != nil || answer.Token == "" {
			return nil, fmt.Errorf("no token: the server answered %d: %s", status, body)
		}
		all = append(all, answer.Token)
	}
	return all, nil
}
