package attack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const formType = "application/x-www-form-urlencoded"

// request is one on its way to be broken.
type request struct {
	method string
	url    string
	query  string // as it stands behind the ?
	form   url.Values
	extra  string  // as it stands behind the form
	body   *string // instead of the form
	media  string  // Content-Type; "" sends none
	header http.Header
	client *client // who authenticates; nil for nobody
}

func (r *request) set(name, value string) { r.form.Set(name, value) }

// with returns a copy that may be changed.
func (r *request) with(edits ...func(*request)) *request {
	next := *r
	next.form, next.header = url.Values{}, r.header.Clone()
	for name, values := range r.form {
		next.form[name] = slices.Clone(values)
	}
	for _, edit := range edits {
		edit(&next)
	}
	return &next
}

// set, drop, repeat, behind, media, header and as are edits of a request.
func set(name, value string) func(*request) { return func(r *request) { r.form.Set(name, value) } }

func drop(names ...string) func(*request) {
	return func(r *request) {
		for _, name := range names {
			r.form.Del(name)
		}
	}
}

func repeat(name, value string) func(*request) {
	return func(r *request) { r.extra += "&" + name + "=" + url.QueryEscape(value) }
}

func behind(text string) func(*request) { return func(r *request) { r.extra += text } }

func media(value string) func(*request) { return func(r *request) { r.media = value } }

func header(name, value string) func(*request) { return func(r *request) { r.header.Set(name, value) } }

func as(c *client) func(*request) { return func(r *request) { r.client = c } }

// answer is a response. object is nil unless the body is a JSON object.
type answer struct {
	status int
	header http.Header
	body   string
	object map[string]any
	failed string // why there is no answer; everything else is zero then
}

func (a *answer) text(name string) string {
	s, _ := a.object[name].(string)
	return s
}

// token is what was issued, "" if nothing was.
func (a *answer) token() string { return a.text("access_token") }

// issued reports whether the request was granted.
func (a *answer) issued() bool { return a.status == http.StatusOK && a.token() != "" }

// code is the error code, in characters that can be shown anywhere.
func (a *answer) code() string { return shown(a.text("error")) }

// shown makes a word of the server harmless and short. A server may put anything there, a token too.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if r > ' ' && r <= '~' && r != '<' && r != '>' {
			return r
		}
		return '?'
	}, s)
	if len(s) > 48 {
		return "(a text of " + strconv.Itoa(len(s)) + " characters)"
	}
	return s
}

// got tells what came back.
func (a *answer) got() string {
	switch {
	case a.failed != "":
		return a.failed
	case a.issued():
		return "200, a token"
	case a.code() != "":
		return fmt.Sprintf("%d %s", a.status, a.code())
	case a.object != nil:
		return fmt.Sprintf("%d, JSON without an error code", a.status)
	case a.body == "":
		return fmt.Sprintf("%d, an empty body", a.status)
	}
	return fmt.Sprintf("%d, not JSON", a.status)
}

const (
	maxAnswer = 1 << 20 // bytes of a body that are read
	maxTurns  = 6       // how often a request is sent that a rate limit refuses
	maxWait   = 30 * time.Second
)

// send sends a request. What a rate limit refuses is sent again a few times, after as long as the server asks for.
func (s *suite) send(ctx context.Context, r *request) *answer {
	for turn := 1; ; turn++ {
		a := s.sendOnce(ctx, r)
		if a.status != http.StatusTooManyRequests || turn == maxTurns {
			return a
		}
		s.limited++
		if !s.pause(ctx, retryAfter(a, turn)) {
			return a
		}
	}
}

func retryAfter(a *answer, turn int) time.Duration {
	wait := time.Duration(turn) * time.Second
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil {
		wait = time.Duration(seconds) * time.Second
	}
	return min(max(wait, 0), maxWait)
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (s *suite) sendOnce(ctx context.Context, r *request) *answer {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	s.requests++
	req, err := s.build(ctx, r)
	if err != nil {
		return &answer{failed: err.Error()}
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return &answer{failed: lost(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &answer{failed: lost(err)}
	}
	a := &answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if json.Unmarshal(body, &a.object) != nil {
		a.object = nil
	}
	s.watch(r, a)
	return a
}

func (s *suite) build(ctx context.Context, r *request) (*http.Request, error) {
	r = r.with()
	if r.client != nil {
		if err := r.client.sign(r, s.now()); err != nil {
			return nil, err
		}
	}
	body := encodeForm(r.form) + r.extra
	if r.body != nil {
		body = *r.body
	}
	target := r.url
	if r.query != "" {
		target += "?" + r.query
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, strings.NewReader(body))
	if err != nil {
		return nil, errors.New("the request cannot be written")
	}
	maps.Copy(req.Header, r.header)
	if r.media != "" {
		req.Header.Set("Content-Type", r.media)
	}
	return req, nil
}

// encodeForm writes a form with the grant first, as people do.
func encodeForm(form url.Values) string {
	rest := maps.Clone(form)
	if rest == nil {
		return ""
	}
	delete(rest, "grant_type")
	first := url.Values{}
	if grant, given := form["grant_type"]; given {
		first["grant_type"] = grant
	}
	return strings.Trim(first.Encode()+"&"+rest.Encode(), "&")
}

// lost says why there is no answer, without the URL, which may hold a token.
func lost(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		if e.Timeout() {
			return "no answer in time"
		}
		err = e.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection was closed without an answer"
	}
	return "no answer: " + strings.Join(strings.Fields(err.Error()), " ")
}

// get reads a public document.
func (s *suite) get(ctx context.Context, target string) *answer {
	return s.send(ctx, &request{method: http.MethodGet, url: target, header: http.Header{}})
}

// alone sends a request beside others at the same time, and counts nothing.
func (s *suite) alone(ctx context.Context, r *request) *answer {
	quiet := &suite{config: s.config, http: s.http, profile: s.profile, server: s.server}
	return quiet.sendOnce(ctx, r)
}
