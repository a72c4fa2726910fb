package e2e_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/proto"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// A copy of the log has every event, in order, and what each says, whatever dies meanwhile: the server, in the middle
// of a batch, and the receiver. On Redis two servers share the sinks.
func TestCopiesOfTheLogSurviveCrashes(t *testing.T) {
	const concurrent = 100
	eachWorld(t, func(t *testing.T, w *world) {
		otel, hook := newLogReceiver(t), newHook(t)
		path, sets := filepath.Join(w.Dir, "copy.ndjson"), filepath.Join(w.Dir, "sets.ndjson")
		w.Reconfigure(t, fmt.Sprintf("audit:\n  sinks:\n    - {name: file, kind: file, path: %q}\n"+
			"    - {name: sets, kind: file, path: %q, format: set}\n    - {name: out, kind: stdout, tenants: [acme]}\n"+
			"    - {name: otel, kind: otlp, url: %q}\n    - {name: hook, kind: webhook, url: %q}\n",
			path, sets, otel.URL, hook.URL))
		servers := []*harness.Server{w.Server}
		if w.Redis != nil {
			servers = append(servers, w.Twin(t))
		}
		form := harness.Form(w.workload(t), payments, readRefunds)
		for round := range 3 {
			otel.away(round == 1)
			hook.away(round == 2)
			killDuring(t, w, form, concurrent, concurrent*round/3)
			w.Restart(t)
		}
		otel.away(false)
		hook.away(false)
		w.acme().MustExchange(t, form)
		if log := w.Events(t, "acme", 0); len(log) < concurrent/2 {
			t.Fatalf("there are only %d events", len(log))
		}
		for name, slug := range map[string]string{"/t/acme/log": "acme", "/log": ""} {
			origin := strings.TrimPrefix(w.BaseURL, "http://") + name
			want := claimsOf(t, w.Server, slug)
			copied(t, "the file", origin, want, func() []copiedEvent { return linesOf(t, path) })
			copied(t, "the collector", origin, want, otel.events)
			read := reader(t, w.Server, origin)
			copied(t, "the file of SETs", origin, want, func() []copiedEvent { return read(linesOf(t, sets)) })
			copied(t, "the webhook", origin, want, func() []copiedEvent { return read(hook.events()) })
			if slug != "" {
				copied(t, "standard output", origin, want, func() (all []copiedEvent) {
					for _, s := range servers {
						all = append(all, linesOf(t, s.Output())...)
					}
					return all
				})
			}
		}
	})
}

// copiedEvent is an event in a copy.
type copiedEvent struct {
	Origin string          `json:"origin"`
	Index  int64           `json:"index"`
	SET    string          `json:"set"`
	Claims json.RawMessage `json:"claims"`
}

// reader returns what reads the SETs of a log with its published keys, and fails the test if one is not signed.
func reader(t *testing.T, s *harness.Server, origin string) func([]copiedEvent) []copiedEvent {
	t.Helper()
	base := s.URL + strings.TrimPrefix(origin, strings.TrimPrefix(s.BaseURL, "http://"))
	vkey, err := note.NewVerifier(strings.TrimSpace(get(t, base+"/vkey")))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := auditor.OpenKeys([]byte(get(t, base+"/keys")), origin, vkey)
	if err != nil {
		t.Fatal(err)
	}
	public := map[string]ed25519.PublicKey{}
	for _, k := range keys {
		if public[k.KeyID], err = k.Public(); err != nil {
			t.Fatal(err)
		}
	}
	return func(sets []copiedEvent) (all []copiedEvent) {
		for _, e := range sets {
			if e.Origin != origin {
				continue
			}
			set, err := jose.ParseSignedCompact(e.SET, []jose.SignatureAlgorithm{jose.EdDSA})
			if err != nil || set.Signatures[0].Header.ExtraHeaders["typ"] != "secevent+jwt" {
				t.Fatalf("event %d is no SET: %v", e.Index, err)
			}
			if e.Claims, err = set.Verify(public[set.Signatures[0].Header.KeyID]); err != nil {
				t.Fatalf("event %d: %v", e.Index, err)
			}
			all = append(all, e)
		}
		return all
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d %v", url, answer.StatusCode, err)
	}
	return string(text)
}

// copied waits until a copy has every event, and fails the test if one says something else, or came before one that it
// follows had come.
func copied(t *testing.T, what, origin string, want []string, read func() []copiedEvent) {
	t.Helper()
	var got []copiedEvent
	harness.Eventually(t, what+" has everything of "+origin, func() bool {
		got = got[:0]
		has := map[int64]bool{}
		for _, e := range read() {
			if e.Origin == origin {
				got, has[e.Index] = append(got, e), true
			}
		}
		return len(has) >= len(want)
	})
	next := int64(0)
	for _, e := range got {
		if e.Index > next && what != "standard output" { // which is two files on Redis
			t.Fatalf("%s has event %d of %s before event %d", what, e.Index, origin, next)
		}
		next = max(next, e.Index+1)
		if e.Index < int64(len(want)) && string(e.Claims) != want[e.Index] {
			t.Fatalf("%s has %s as event %d of %s, which is %s", what, e.Claims, e.Index, origin, want[e.Index])
		}
	}
}

// claimsOf returns the log of a tenant, or the platform's.
func claimsOf(t *testing.T, s *harness.Server, slug string) (all []string) {
	t.Helper()
	for {
		q := operator.EventQuery{After: int64(len(all)), Limit: operator.MaxEvents}
		page, err := s.Operator.PlatformEvents(t.Context(), q)
		if slug != "" {
			page, err = s.Operator.Events(t.Context(), slug, q)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Events) == 0 {
			return all
		}
		for _, e := range page.Events {
			all = append(all, string(e.Claims))
		}
	}
}

// linesOf returns the lines of a file that are copies of events. Others are the server's own log, or were torn.
func linesOf(t *testing.T, path string) (all []copiedEvent) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var e copiedEvent
		if json.Unmarshal(line, &e) == nil && e.Origin != "" {
			all = append(all, e)
		}
	}
	return all
}

// copyReceiver is somebody who is given copies over HTTP, and who can be away.
type copyReceiver struct {
	*httptest.Server
	mu     sync.Mutex
	gone   bool
	copies []copiedEvent
}

func newReceiver(t *testing.T, done int, take func(*http.Request) ([]copiedEvent, error)) *copyReceiver {
	r := new(copyReceiver)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		copies, err := take(request)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.gone || err != nil { // it died in the middle of a request
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.copies = append(r.copies, copies...)
		w.WriteHeader(done)
	}))
	t.Cleanup(r.Close)
	return r
}

// newHook returns a receiver of RFC 8935.
func newHook(t *testing.T) *copyReceiver {
	return newReceiver(t, http.StatusAccepted, func(request *http.Request) ([]copiedEvent, error) {
		set, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		index, err := strconv.ParseInt(request.Header.Get("Bursar-Log-Index"), 10, 64)
		if err != nil || request.Header.Get("Content-Type") != "application/secevent+jwt" {
			t.Errorf("pushed with %v: %v", request.Header, err)
		}
		return []copiedEvent{{Origin: request.Header.Get("Bursar-Log-Origin"), Index: index, SET: string(set)}}, nil
	})
}

// newLogReceiver returns an OpenTelemetry collector: OTLP over HTTP.
func newLogReceiver(t *testing.T) *copyReceiver { return newReceiver(t, http.StatusOK, exported) }

// exported returns the events of an export.
func exported(request *http.Request) (all []copiedEvent, _ error) {
	unpacked, err := gzip.NewReader(request.Body)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(unpacked)
	if err != nil {
		return nil, err
	}
	var export collectorpb.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &export); err != nil {
		return nil, err
	}
	for _, record := range export.ResourceLogs[0].ScopeLogs[0].LogRecords {
		e := copiedEvent{Claims: json.RawMessage(record.Body.GetStringValue())}
		for _, a := range record.Attributes {
			switch a.Key {
			case "bursar.log.origin":
				e.Origin = a.Value.GetStringValue()
			case "bursar.log.index":
				e.Index = a.Value.GetIntValue()
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// away says whether the receiver is away.
func (r *copyReceiver) away(gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = gone
}

func (r *copyReceiver) events() []copiedEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.copies)
}
