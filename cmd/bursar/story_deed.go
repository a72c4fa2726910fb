package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
)

// bursar is a command of this program.
type bursar struct {
	args []string
	from string // file that it reads as standard input
	code int    // the exit code that it must have
}

// do is a command that succeeds.
func do(args ...string) bursar { return bursar{args: args} }

// refused is a command that is refused.
func refused(args ...string) bursar { return bursar{args: args, code: exitRefused} }

// reading gives a command a file to read.
func (b bursar) reading(file string) bursar { b.from = file; return b }

func (b bursar) line() string {
	words := make([]string, len(b.args))
	for i, arg := range b.args {
		words[i] = shellWord(arg)
	}
	line := "bursar " + strings.Join(words, " ")
	if b.from != "" {
		line += " < " + shellWord(b.from)
	}
	return line
}

func (b bursar) run(ctx context.Context, p *program, d *demo) (string, error) {
	var in []byte
	if b.from != "" {
		var err error
		if in, err = os.ReadFile(b.from); err != nil {
			return "", err
		}
	}
	var out bytes.Buffer
	actor := &program{in: bytes.NewReader(in), out: &out, err: &out, env: d.env(p.env)}
	if code := actor.run(ctx, b.args); code != b.code {
		return "", fmt.Errorf("exit code %d instead of %d: %s", code, b.code, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// curl is a request.
type curl struct {
	method  string // GET if empty
	url     string
	token   string   // file of the bearer token; none if empty
	headers []string // "Name: value"
	body    string
	head    bool // the answer's head is printed too
	status  int  // that the answer must have; 200 if 0
}

func (c curl) line() string {
	var b strings.Builder
	b.WriteString("curl -s")
	if c.head {
		b.WriteString("i")
	}
	if c.method != "" && (c.method != http.MethodPost || c.body == "") {
		b.WriteString(" -X " + c.method)
	}
	b.WriteString(c.arguments())
	return b.String()
}

// arguments are what the request consists of, but for its method.
func (c curl) arguments() string {
	var b strings.Builder
	if c.token != "" {
		b.WriteString(` -H "Authorization: Bearer $(cat ` + shellWord(c.token) + `)"`)
	}
	for _, h := range c.headers {
		b.WriteString(" -H " + shellWord(h))
	}
	if c.body != "" {
		b.WriteString(" -d " + shellWord(c.body))
	}
	return b.String() + " " + shellWord(c.url)
}

// send sends the request and returns the answer, once its head is there.
func (c curl) send(ctx context.Context) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, c.method, c.url, strings.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "*/*")
	for _, h := range c.headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	if c.token != "" {
		compact, err := os.ReadFile(c.token)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(compact)))
	}
	// Each call comes from a process of its own, as it does from curl; a proxy of the reader's is not asked.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if want := max(c.status, http.StatusOK); resp.StatusCode != want {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<12))
		return nil, fmt.Errorf("%s instead of %d: %s", resp.Status, want, text)
	}
	return resp, nil
}

func (c curl) run(ctx context.Context, _ *program, _ *demo) (string, error) {
	resp, err := c.send(ctx)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if !c.head {
		return string(body), err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", resp.Proto, resp.Status)
	for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
		for _, value := range resp.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	return b.String() + "\n" + string(body), err
}

// shell is a command of other programs, and what it does.
type shell struct {
	text string
	does func(ctx context.Context) (string, error)
}

func (s shell) line() string { return s.text }

func (s shell) run(ctx context.Context, _ *program, _ *demo) (string, error) { return s.does(ctx) }
