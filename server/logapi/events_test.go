package logapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/logapi"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

const ndjson, sse = "application/x-ndjson", "text/event-stream"

// line is one of NDJSON.
type line struct {
	Index   *int64
	SET     string
	Claims  json.RawMessage
	Next    *int64
	Problem *operator.Problem
}

// lines reads NDJSON as it comes.
type lines struct {
	t       *testing.T
	body    io.Closer
	scanner *bufio.Scanner
}

func read(t *testing.T, resp *http.Response) *lines {
	t.Helper()
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != ndjson ||
		resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("answered %d %v", resp.StatusCode, resp.Header)
	}
	s := bufio.NewScanner(resp.Body)
	s.Buffer(nil, 1<<20)
	return &lines{t, resp.Body, s}
}

// next returns the next line; false at the end.
func (l *lines) next() (x line, ok bool) {
	l.t.Helper()
	if !l.scanner.Scan() {
		if err := l.scanner.Err(); err != nil {
			l.t.Fatal(err)
		}
		return x, false
	}
	if err := json.Unmarshal(l.scanner.Bytes(), &x); err != nil {
		l.t.Fatalf("%q: %v", l.scanner.Bytes(), err)
	}
	return x, true
}

// event returns the index of the next event; cursors are passed over.
func (l *lines) event() int64 {
	l.t.Helper()
	for {
		switch x, ok := l.next(); {
		case !ok:
			l.t.Fatal("the stream ended")
		case x.Problem != nil:
			l.t.Fatalf("the stream ended with %+v", x.Problem)
		case x.Index != nil:
			return *x.Index
		}
	}
}

// rest returns the indexes of the events that are left, and the last line.
func (l *lines) rest() (indexes []int64, last line) {
	l.t.Helper()
	for {
		x, ok := l.next()
		if !ok {
			return indexes, last
		}
		if last = x; x.Index != nil {
			indexes = append(indexes, *x.Index)
		}
	}
}

// page asks for events that end, and returns their indexes and the cursor behind them.
func (w *world) page(query string) (indexes []int64, next int64) {
	w.t.Helper()
	indexes, last := read(w.t, w.open(w.t.Context(), "GET", log+"events"+query)).rest()
	if last.Next == nil {
		w.t.Fatalf("%s: the last line is %+v", query, last)
	}
	return indexes, *last.Next
}

func count(from, to int64) []int64 {
	var all []int64
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

func TestEventsInOrder(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.record("acme", 400)
		entries := w.entries("acme")
		size := int64(len(entries))
		for query, want := range map[string]struct {
			from, to int64
		}{
			"":                             {0, size},
			"?after=0":                     {0, size},
			"?after=250":                   {250, size},
			"?after=250&limit=7":           {250, 257},
			"?limit=300":                   {0, 300},
			"?after=-3":                    {size - 3, size},
			"?after=-999999":               {0, size},
			"?after=-3&uncovered=1":        {size - 3, size},
			"?uncovered=true":              {0, size},
			fmt.Sprintf("?after=%d", size): {size, size},
			"?wait=30":                     {0, size},
			"?follow=0":                    {0, size},
		} {
			if got, next := w.page(query); !slices.Equal(got, count(want.from, want.to)) || next != want.to {
				t.Errorf("%s: events %v, then %d; want %v", query, got, next, want)
			}
		}
		for format, members := range map[string]string{"json": "claims index set", "set": "index set"} {
			var all map[string]json.RawMessage
			text, _, _ := strings.Cut(w.want(200, log+"events?after=9&limit=1&format="+format), "\n")
			if err := json.Unmarshal([]byte(text), &all); err != nil {
				t.Fatal(err)
			}
			names := slices.Sorted(keys(all))
			var set string
			if err := json.Unmarshal(all["set"], &set); err != nil || strings.Join(names, " ") != members ||
				set != string(entries[9]) || format == "json" && string(all["claims"]) != says(t, entries[9]) {
				t.Errorf("%s: %s, %v", format, text, err)
			}
		}
		var cloud map[string]string
		text, _, _ := strings.Cut(w.want(200, log+"events?after=9&limit=1&format=cloudevents"), "\n")
		if err := json.Unmarshal([]byte(text), &cloud); err != nil {
			t.Fatal(err)
		}
		made, err := time.Parse(time.RFC3339, cloud["time"])
		if cloud["specversion"] != "1.0" || cloud["id"] != "sts.example/t/acme/log#9" || cloud["sequence"] != "9" ||
			cloud["source"] != "https://sts.example/t/acme/log" || cloud["type"] != "urn:bursar:event:token.exchange:v1" ||
			cloud["datacontenttype"] != "application/secevent+jwt" || cloud["data"] != string(entries[9]) ||
			err != nil || time.Since(made).Abs() > time.Minute {
			t.Errorf("%s", text)
		}
		platform := read(t, w.open(t.Context(), "GET", "/log/events"))
		if indexes, last := platform.rest(); len(indexes) < 2 || *last.Next != int64(len(indexes)) {
			t.Errorf("the platform's log has %v", indexes)
		}
	})
}

// says returns the claims of an entry.
func says(t *testing.T, entry []byte) string {
	t.Helper()
	claims, err := audit.Claims(entry)
	if err != nil {
		t.Fatal(err)
	}
	return string(claims)
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestEventsAreAskedForStrictly(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.record("acme", 300)
	id := ledger.NewID(time.Now())
	for query, status := range map[string]int{
		"?limit=0": 400, "?limit=x": 400, "?after=1.5": 400, "?after=99999": 400, "?wait=31": 400, "?wait=1s": 400,
		"?follow=yes": 400, "?follow=1&wait=2": 400, "?follow=1&until=5": 400, "?format=xml": 400, "?format=": 400,
		"?outcome=good": 400, "?outcome=": 400, "?client=": 400, "?tool=" + strings.Repeat("x", 513): 400, "?toll=x": 400,
		"?tool=a&tool=b": 400, "?since=yesterday": 400, "?since=-1": 400, "?until=2026-13-01T00:00:00Z": 400,
		"?uncovered=maybe": 400, "?event=": 400, "?event=token&event=": 400, "?%zz": 400,
		"?event=token&event=admin": 200, "?since=1&until=2026-12-01T00:00:00Z": 200, "?decision=" + id: 200, "?jti=x": 200,
	} {
		resp, body := w.get(log + "events" + query)
		if resp.StatusCode != status || status == 400 && resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: answered %d %s", query, resp.StatusCode, body)
		}
	}
	for _, id := range []string{"x", "-1", "99999"} {
		if resp, body := w.get(log+"events", "Accept", sse, "Last-Event-ID", id); resp.StatusCode != 400 {
			t.Errorf("after %s: answered %d %s", id, resp.StatusCode, body)
		}
	}
	for _, accept := range []string{sse, ndjson} {
		resp, body := w.send("HEAD", log+"events?follow=1", "Accept", accept)
		if resp.StatusCode != 200 || body != "" || resp.Header.Get("Content-Type") != accept {
			t.Errorf("HEAD: answered %d %v", resp.StatusCode, resp.Header)
		}
	}
	if resp, _ := w.send("POST", log+"events"); resp.StatusCode != 405 {
		t.Errorf("POST: answered %d", resp.StatusCode)
	}
}

func TestFilters(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		at := func(i int) time.Time { return time.Now().Add(time.Duration(i) * time.Millisecond) }
		ids := make([]string, 8)
		for i := range ids {
			ids[i] = ledger.NewID(at(i))
		}
		first := int64(len(w.entries("acme")))
		w.record("acme", 6, func(i int, e *audit.Event) {
			switch i {
			case 0:
				e.Txn, e.Agent, e.Body.Reason = ids[0], "client:bot", "policy.y"
				e.Body.ClientID, e.Body.Outcome, e.Body.DecisionID = "bot", audit.Denied, ids[1]
				e.Body.Actor.Chain = []string{"client:bot", "corp:alice"}
			case 1:
				e.Body.Token.JTI, e.Body.Tool, e.Body.ClientID = ids[2], "files", "bot"
			case 2:
				e.Body.Lineage, e.Body.Subject.JTI, e.Body.ActorToken.JTI = []string{ids[2]}, "foreign", `a"b`
			case 3:
				*e = audit.Event{Name: audit.CutoffSet, Body: audit.Body{Outcome: audit.Allowed,
					Operator: audit.Operator{ID: "o"}, Cutoff: audit.Cutoff{Kind: "jti", Value: ids[2]}}}
			case 4:
				*e = audit.Event{Name: "admin.client.create", Body: audit.Body{Outcome: audit.Allowed,
					Operator: audit.Operator{ID: "o"},
					Change:   audit.Change{Object: "client", ID: "bot", After: audit.Digest([]byte("x"))}}}
			case 5:
				e.Name = audit.TokenIntrospect
				e.Body = audit.Body{Outcome: audit.Failed, Reason: audit.NotReleased, ClientID: "api", Tool: "payments",
					Actor: e.Body.Actor, Resource: e.Body.Resource,
					Token: audit.Token{JTI: ids[5], Expiry: time.Now().Unix()}}
			}
		})
		size := int64(len(w.entries("acme")))
		now := time.Now()
		for query, want := range map[string][]int64{
			"event=token.exchange": {0, 1, 2}, "event=token": {0, 1, 2, 5}, "event=token.": {0, 1, 2, 5}, "event=tok": {},
			"event=token.exchang": {}, "event=cutoff&event=admin.client": {3, 4}, "event=admin.client.create": {4},
			"outcome=denied": {0}, "outcome=error": {5}, "outcome=allowed": {1, 2, 3, 4},
			"client=bot": {0, 1, 4}, "client=BOT": {}, "tool=files": {1}, "tool=payments": {0, 2, 5},
			"client=bot&tool=files": {1}, "client=bot&outcome=denied&event=token": {0},
			"jti=" + ids[2]: {1, 2, 3}, "jti=foreign": {2}, "jti=" + ids[3]: {}, "jti=a%22b": {2},
			"decision=" + ids[1]: {0}, "decision=" + ids[4]: {}, "decision=x": {}, "txn=" + ids[0]: {0},
			"subject=corp:alice": {0}, "subject=client:bot": {0}, "subject=bot": {},
			"since=" + strconv.FormatInt(now.Add(-time.Minute).Unix(), 10):                                   {0, 1, 2, 3, 4, 5},
			"since=" + url.QueryEscape(now.Add(time.Hour).Format(time.RFC3339)):                              {},
			"until=" + url.QueryEscape(now.Add(time.Hour).Format(time.RFC3339)):                              {0, 1, 2, 3, 4, 5},
			"until=" + strconv.FormatInt(now.Add(-time.Hour).Unix(), 10):                                     {},
			"since=" + fmt.Sprint(now.Unix()-60) + "&until=" + fmt.Sprint(now.Unix()+60) + "&outcome=denied": {0},
		} {
			if strings.HasPrefix(query, "until="+strconv.FormatInt(now.Add(-time.Hour).Unix(), 10)) {
				if got, next := w.page("?" + query); len(got) != 0 || next != 0 {
					t.Errorf("%s: events %v, then %d", query, got, next)
				}
				continue
			}
			var indexes []int64
			for _, n := range want {
				indexes = append(indexes, first+n)
			}
			got, next := w.page("?after=" + strconv.FormatInt(first, 10) + "&" + query)
			if !slices.Equal(got, indexes) || next != size {
				t.Errorf("%s: events %v, then %d; want %v, then %d", query, got, next, indexes, size)
			}
		}
		if got, next := w.page(fmt.Sprintf("?after=%d&event=token&limit=2", first)); !slices.Equal(got,
			[]int64{first, first + 1}) || next != first+2 {
			t.Errorf("two: %v, then %d", got, next)
		}
	})
}

// TestOnlyWhatIsCovered shows less than there is, until a head covers it.
func TestOnlyWhatIsCovered(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		size := int64(len(w.entries("acme")))
		w.hold("acme")
		w.record("acme", 3)
		if got, next := w.page(""); !slices.Equal(got, count(0, size)) || next != size {
			t.Errorf("covered: %v, then %d", got, next)
		}
		if got, next := w.page("?uncovered=1"); !slices.Equal(got, count(0, size+3)) || next != size+3 {
			t.Errorf("uncovered: %v, then %d", got, next)
		}
		if got, next := w.page("?after=-1"); !slices.Equal(got, []int64{size - 1}) || next != size {
			t.Errorf("the last one: %v, then %d", got, next)
		}
		follower := read(t, w.open(t.Context(), "GET", log+"events?follow=1&after=-1"))
		if n := follower.event(); n != size-1 {
			t.Errorf("the last one is %d", n)
		}
		w.release("acme")
		for want := size; want < size+3; want++ {
			if n := follower.event(); n != want {
				t.Errorf("event %d, want %d", n, want)
			}
		}
	})
}

// message is one of SSE.
type message struct{ id, event, data string }

// messages reads SSE as it comes.
type messages struct {
	t       *testing.T
	body    io.Closer
	scanner *bufio.Scanner
}

func (w *world) listen(ctx context.Context, query string, header ...string) *messages {
	w.t.Helper()
	resp := w.open(ctx, "GET", log+"events"+query, append(header, "Accept", sse)...)
	w.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != sse {
		w.t.Fatalf("answered %d %v", resp.StatusCode, resp.Header)
	}
	return &messages{w.t, resp.Body, bufio.NewScanner(resp.Body)}
}

// next returns the next block, as WHATWG HTML §9.2.6 reads it, false at the end.
func (m *messages) next() (x message, ok bool) {
	for m.scanner.Scan() {
		field, value, _ := strings.Cut(m.scanner.Text(), ": ")
		switch field {
		case "":
			if ok {
				return x, true
			}
		case "id":
			x.id, ok = value, true
		case "event":
			x.event, ok = value, true
		case "data":
			x.data, ok = value, true
		}
	}
	return x, false
}

// TestAStreamResumesWithoutGapOrRepeat cuts a stream again and again while events are recorded.
func TestAStreamResumesWithoutGapOrRepeat(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					w.record("acme", 3)
				}
			}
		}()
		var got []int64
		last, checkpoints := "0", 0
		for cut := range 8 {
			ctx, cancel := context.WithCancel(t.Context())
			m := w.listen(ctx, "?after=5", "Last-Event-ID", last) // the header wins
			for n := 0; n < 5+cut; {
				x, ok := m.next()
				if !ok {
					t.Fatalf("the stream ended after %d events", len(got))
				}
				last = x.id
				switch x.event {
				case "event":
					var l line
					if err := json.Unmarshal([]byte(x.data), &l); err != nil {
						t.Fatal(err)
					}
					got = append(got, *l.Index)
					if x.id != strconv.FormatInt(*l.Index+1, 10) {
						t.Errorf("event %d has the id %s", *l.Index, x.id)
					}
					n++
				case "checkpoint":
					var c struct {
						Next int64
						Note string
					}
					if err := json.Unmarshal([]byte(x.data), &c); err != nil || strconv.FormatInt(c.Next, 10) != x.id ||
						!strings.HasPrefix(c.Note, "sts.example/t/acme/log\n"+x.id+"\n") {
						t.Errorf("checkpoint %+v, %v", x, err)
					}
					checkpoints++
				}
			}
			cancel()
		}
		close(stop)
		<-done
		if !slices.Equal(got, count(0, int64(len(got)))) {
			t.Errorf("events %v", got)
		}
		for m := w.listen(t.Context(), "", "Last-Event-ID", last); checkpoints == 0; {
			x, ok := m.next()
			if !ok {
				t.Fatal("there was no checkpoint")
			}
			if x.event == "checkpoint" {
				checkpoints++
			}
		}
	})
}

func (w *world) size() int64 { return int64(len(w.entries("acme"))) }

// TestAFilteredFollowerIsToldHowFarItIs resumes where it was although nothing was for it.
func TestAFilteredFollowerIsToldHowFarItIs(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.record("acme", 300)
	size := w.size()
	follower := read(t, w.open(t.Context(), "GET", log+"events?follow=1&tool=none"))
	for {
		if x, ok := follower.next(); !ok || x.Index != nil {
			t.Fatalf("got %+v", x)
		} else if *x.Next == size {
			break
		}
	}
	m := w.listen(t.Context(), "?tool=none&uncovered=1")
	for {
		if x, ok := m.next(); !ok || x.data != "" {
			t.Fatalf("got %+v", x)
		} else if x.id == strconv.FormatInt(size, 10) {
			break
		}
	}
}

func TestAWaitEndsWithTheFirstEvent(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	size := w.size()
	waiting := read(t, w.open(t.Context(), "GET", fmt.Sprintf("%sevents?after=%d&wait=30", log, size)))
	w.record("acme", 1)
	if indexes, last := waiting.rest(); !slices.Equal(indexes, []int64{size}) || *last.Next != size+1 {
		t.Errorf("events %v, then %+v", indexes, last)
	}
	if got, next := w.page(fmt.Sprintf("?after=%d&wait=1", size+1)); len(got) != 0 || next != size+1 {
		t.Errorf("events %v, then %d", got, next)
	}
}

func TestWhatWasPrunedIsGone(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.record("acme", 600)
		size := w.size()
		w.prune("acme", 512)
		for query, status := range map[string]int{"?after=0": 410, "?after=511": 410, "?after=512": 200, "": 200,
			"?after=-9999": 200, "?since=1": 200, "?after=0&follow=1": 410, "?after=3&uncovered=1": 410} {
			resp, body := w.get(log + "events" + query)
			if resp.StatusCode != status || status == 410 && !strings.Contains(body, `"first":512`) {
				t.Errorf("%s: answered %d %s", query, resp.StatusCode, body)
			}
			if status == 200 && !strings.HasPrefix(body, `{"index":512,`) {
				t.Errorf("%s: %.60s", query, body)
			}
		}
		w.hold("acme")
		w.record("acme", 5)
		if got, next := w.page(""); !slices.Equal(got, count(512, size)) || next != size {
			t.Errorf("events %v, then %d", got, next)
		}
	})
}

func TestWhoMayReadEvents(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	for token, status := range map[string]int{"": 401, "brs_op_x": 401, w.operator("globex", admin.Admin): 404,
		w.operator("acme", admin.Responder): 403, w.operator("acme", admin.Auditor): 200} {
		bearer := "Bearer " + token
		if token == "" {
			bearer = ""
		}
		if resp, body := w.get(log+"events", "Authorization", bearer); resp.StatusCode != status {
			t.Errorf("answered %d %s, want %d", resp.StatusCode, body, status)
		}
	}
}

// TestAFollowerWhoMayNotReadAnyMore loses its token while it follows.
func TestAFollowerWhoMayNotReadAnyMore(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	token := w.operator("acme", admin.Auditor)
	follower := read(t, w.open(t.Context(), "GET", log+"events?follow=1&after=-1", "Authorization", "Bearer "+token))
	heard := w.listen(t.Context(), "?after=-1", "Authorization", "Bearer "+token)
	follower.event()
	op, err := w.desk.Authenticate(t.Context(), admin.Credentials{Tenant: "acme", Token: w.admin.Token})
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.desk.Operators(t.Context(), op)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if err := w.desk.DeleteOperator(t.Context(), op, all[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, last := follower.rest(); last.Problem == nil || last.Problem.Status != 401 {
		t.Errorf("the last line is %+v", last)
	}
	for {
		x, ok := heard.next()
		if !ok {
			t.Fatal("the stream ended without a word")
		}
		if x.event == "problem" {
			if !strings.Contains(x.data, `"status":401`) {
				t.Errorf("the last message is %+v", x)
			}
			break
		}
	}
}

// TestAFollowerOutlivesTheServersTimeouts follows for longer than a request may take that ends.
func TestAFollowerOutlivesTheServersTimeouts(t *testing.T) {
	w := newWorld(t, servertest.Options{}, func(c *logapi.Config) { c.Heartbeat = 10 * time.Millisecond })
	for version, modern := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(version, func(t *testing.T) {
			s := httptest.NewUnstartedServer(w.server.Config.Handler)
			s.EnableHTTP2 = modern
			s.Config.ReadTimeout, s.Config.WriteTimeout = 150*time.Millisecond, 150*time.Millisecond
			s.StartTLS()
			t.Cleanup(s.Close)
			size := w.size()
			req, err := http.NewRequestWithContext(t.Context(), "GET",
				fmt.Sprintf("%s%sevents?follow=1&after=%d", s.URL, log, size), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+w.admin.Token)
			resp, err := s.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			follower := read(t, resp)
			for range 6 { // each takes a look
				if x, ok := follower.next(); !ok || x.Next == nil || *x.Next != size || resp.Proto != version {
					t.Fatalf("got %+v, %v by %s", x, ok, resp.Proto)
				}
			}
			w.record("acme", 1)
			if n := follower.event(); n != size {
				t.Errorf("event %d, want %d", n, size)
			}
		})
	}
}

func TestAStoreThatGoesAwayIsSaid(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	follower := read(t, w.open(t.Context(), "GET", log+"events?follow=1&after=-1&uncovered=1"))
	follower.event()
	w.Store.Set(storagetest.Position, storagetest.NotApplied)
	if _, last := follower.rest(); last.Problem == nil || last.Problem.Status != 503 {
		t.Errorf("the last line is %+v", last)
	}
	w.Store.Set(storagetest.Position, storagetest.Works)
	w.page("")
}

func TestAServerThatStopsEndsStreams(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.record("acme", 300)
	size := w.size()
	follower := read(t, w.open(t.Context(), "GET", log+"events?follow=1&after=-1"))
	heard := w.listen(t.Context(), "?after=-1")
	follower.event()
	if _, ok := heard.next(); !ok {
		t.Fatal("the stream ended")
	}
	w.api.Stop()
	if err := w.server.Config.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, last := follower.rest(); last.Next == nil || *last.Next != size {
		t.Errorf("the last line is %+v", last)
	}
	for {
		if _, ok := heard.next(); !ok {
			break
		}
	}
	if n := w.api.Readers(); n != 0 {
		t.Errorf("%d readers are left", n)
	}
}

func TestTooManyReaders(t *testing.T) {
	w := newWorld(t, servertest.Options{}, func(c *logapi.Config) { c.MaxReaders = 2 })
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		read(t, w.open(ctx, "GET", log+"events?follow=1")).event()
	}
	resp, body := w.get(log + "events")
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "too_many_requests") {
		t.Errorf("answered %d %v %s", resp.StatusCode, resp.Header, body)
	}
	w.want(200, "/t/globex/log/events")
	w.want(200, log+"checkpoint")
	cancel()
	await(t, "the readers to leave", func() bool { return w.api.Readers() == 0 })
	w.page("")
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for " + what)
		}
	}
}

// pipes is a listener whose connections hold nothing: what is not read is not sent.
type pipes struct {
	conns  chan net.Conn
	closed context.Context
	net.Listener
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed.Done():
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// TestASlowReaderIsCut takes nothing of a stream, while another one gets all of it.
func TestASlowReaderIsCut(t *testing.T) {
	w := newWorld(t, servertest.Options{}, func(c *logapi.Config) { c.Patience = 300 * time.Millisecond })
	w.record("acme", 300)
	w.page("") // the first reading is an event
	listener := pipes{conns: make(chan net.Conn), closed: t.Context()}
	s := &http.Server{Handler: w.server.Config.Handler}
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(func() { _ = s.Close() })
	near, far := net.Pipe()
	listener.conns <- far
	fmt.Fprintf(near, "GET %sevents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", log, w.admin.Token)
	first := make([]byte, 12)
	if _, err := io.ReadFull(near, first); err != nil || string(first) != "HTTP/1.1 200" {
		t.Fatalf("%q, %v", first, err)
	}
	if n := w.api.Readers(); n != 1 {
		t.Errorf("%d readers", n)
	}
	size := w.size()
	if got, _ := w.page(""); int64(len(got)) < size {
		t.Errorf("the other one got %d events", len(got))
	}
	await(t, "the slow reader to be cut", func() bool { return w.api.Readers() == 0 })
	if rest, err := io.ReadAll(near); strings.Contains(string(rest), fmt.Sprintf(`"index":%d`, size-1)) {
		t.Errorf("it got everything, %v", err)
	}
}
