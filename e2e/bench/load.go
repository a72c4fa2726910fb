package main

import (
	"bufio"
	"context"
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

// post returns a request for an endpoint of the tenant; authorization may be empty.
func post(endpoint, authorization string, form url.Values) request {
	var b strings.Builder
	body := form.Encode()
	fmt.Fprintf(&b, "POST /t/acme/%s HTTP/1.1\r\nHost: bench\r\n", endpoint)
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
	cpu        time.Duration // of the server's process, for all of them
	took       []time.Duration
}

// each returns the CPU time of one operation.
func (s sample) each() time.Duration { return s.cpu / time.Duration(s.operations) }

// quantile returns the latency that the share q of the operations did not exceed.
func (s sample) quantile(q float64) time.Duration { return s.took[int(q*float64(len(s.took)-1))] }

// load sends the requests over keep-alive connections, each of which sends the next one as soon as it has its answer.
// An answer other than 200 ends it.
func (s *server) load(ctx context.Context, connections int, requests []request) (sample, error) {
	callers, err := s.connect(ctx, connections)
	if err != nil {
		return sample{}, err
	}
	defer func() {
		for _, c := range callers {
			_ = c.conn.Close()
		}
	}()
	before, err := s.process.cpu()
	if err != nil {
		return sample{}, err
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for _, c := range callers {
		group.Go(func() {
			for at := next.Add(1) - 1; at < int64(len(requests)) && c.err == nil && ctx.Err() == nil; at = next.Add(1) - 1 {
				c.call(requests[at])
			}
		})
	}
	group.Wait()
	after, err := s.process.cpu()
	if err != nil {
		return sample{}, err
	}
	all := sample{operations: len(requests), cpu: after - before}
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

func (s *server) connect(ctx context.Context, connections int) ([]*caller, error) {
	var callers []*caller
	for range connections {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
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

func (c *caller) call(r request) {
	began := time.Now()
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

// tokens sends exchanges one after the other and returns the tokens that they answer.
func (s *server) tokens(ctx context.Context, requests []request) ([]string, error) {
	callers, err := s.connect(ctx, 1)
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
