package deliver_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/deliver"
)

// hook is a receiver of RFC 8935.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	got    map[string][]int64 // by origin, what it answered 202 to
	sets   map[int64]string   // by index
	answer func(w http.ResponseWriter, index int64, attempt int) bool
	asked  map[int64]int
	wrong  []string
}

func newHook(t *testing.T) *hook {
	h := &hook{got: map[string][]int64{}, sets: map[int64]string{}, asked: map[int64]int{}}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	index, bad := strconv.ParseInt(r.Header.Get("Bursar-Log-Index"), 10, 64)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || bad != nil || r.Method != http.MethodPost || r.URL.Path != "/events" ||
		r.Header.Get("Content-Type") != "application/secevent+jwt" || r.Header.Get("Accept") != "application/json" ||
		r.Header.Get("Authorization") != "Bearer canary" {
		h.wrong = append(h.wrong, fmt.Sprint(r.Method, r.URL, r.Header, err, bad))
	}
	h.asked[index]++
	if h.answer != nil && h.answer(w, index, h.asked[index]) {
		return
	}
	h.sets[index] = string(body)
	origin := r.Header.Get("Bursar-Log-Origin")
	h.got[origin] = append(h.got[origin], index)
	w.WriteHeader(http.StatusAccepted)
}

func (h *hook) has(origin string) []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got[origin])
}

func (h *hook) sink() *deliver.Webhook {
	return deliver.NewWebhook(deliver.WebhookConfig{URL: h.URL + "/events",
		Headers: map[string]string{"authorization": "Bearer canary"}})
}

// refuse answers as RFC 8935 §2.3 has it.
func refuse(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Language", "en")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = fmt.Fprintf(w, `{"err":%q,"description":"canary-description"}`, code)
}

// TestAWebhookIsGivenEverySET as it was recorded, in order, whatever happens in between: answers that are no answers,
// a connection that dies before and within one, and a receiver that does not know us for a while.
func TestAWebhookIsGivenEverySET(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		h := newHook(t)
		h.answer = func(w http.ResponseWriter, index int64, attempt int) bool {
			switch {
			case attempt > 3:
				return false
			case index == 3:
				w.WriteHeader([]int{500, 200, 404}[attempt-1])
			case index == 5:
				kill(t, w)
			case index == 7:
				w.Header().Set("Content-Length", "1000")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"err":"invalid_`)
				kill(t, w)
			case index == 9:
				refuse(w, []string{"authentication_failed", "access_denied", "unheard_of"}[attempt-1])
			case index == 11:
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(http.StatusTemporaryRedirect)
			default:
				return false
			}
			return true
		}
		d := w.start(w.config(deliver.Target{Name: "hook", Sink: h.sink(), All: true}))
		w.append(acme, names(20)...)
		w.stands("hook", acme, 20)
		w.stop(d)
		if got := h.has(origin(acme)); !slices.Equal(got, upTo(20)) || len(h.wrong) > 0 {
			t.Errorf("it was given %v; wrong were %v", got, h.wrong)
		}
		records, err := w.Read(ctx, acme.Tenant, 0, 20)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range records {
			if h.sets[int64(i)] != r.SET {
				t.Errorf("event %d is %q", i, h.sets[int64(i)])
			}
		}
		if s := d.Status()[0]; s.Retries < 12 || s.Dead != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// kill ends the connection of an answer.
func kill(t *testing.T, w http.ResponseWriter) {
	if flusher, ok := w.(http.Flusher); ok && w.Header().Get("Content-Length") != "" {
		flusher.Flush()
	}
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_ = conn.Close()
}

// TestWhatAWebhookRefusesIsADeadLetter, by each of the codes of RFC 8935 §2.4 that are about the event.
func TestWhatAWebhookRefusesIsADeadLetter(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		h := newHook(t)
		codes := []string{"invalid_request", "invalid_key", "invalid_issuer", "invalid_audience"}
		h.answer = func(w http.ResponseWriter, index int64, _ int) bool {
			if index%2 == 0 {
				return false
			}
			refuse(w, codes[index/2])
			return true
		}
		var said said
		d := w.start(w.logged(&said, deliver.Target{Name: "hook", Sink: h.sink(), All: true}))
		w.append(acme, names(8)...)
		w.stands("hook", acme, 8)
		w.stop(d)
		if got := h.has(origin(acme)); !slices.Equal(got, []int64{0, 2, 4, 6}) {
			t.Errorf("it was given %v", got)
		}
		s, err := w.store.Sink(ctx, acme.Tenant, "hook")
		if err != nil || s.Dead != 4 || len(s.Letters) != 4 {
			t.Fatalf("%+v %v", s, err)
		}
		for i, letter := range s.Letters {
			if letter.Index != int64(2*i+1) || letter.Code != codes[i] {
				t.Errorf("dead letter %d is %+v", i, letter)
			}
			if !strings.Contains(said.text(), fmt.Sprintf("index=%d code=%s", letter.Index, letter.Code)) {
				t.Errorf("nobody is told of %+v", letter)
			}
		}
		if strings.Contains(said.text(), "canary") {
			t.Errorf("the log says %s", said.text())
		}
	})
}

// TestAWebhookSaysWhenToComeAgain in either form of Retry-After.
func TestAWebhookSaysWhenToComeAgain(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"120": 2 * time.Minute, time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour, "0": 0,
	} {
		h := newHook(t)
		h.answer = func(w http.ResponseWriter, _ int64, _ int) bool {
			w.Header().Set("Retry-After", text)
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		n, err := h.sink().Give(ctx, batch(3))
		later, ok := errors.AsType[*deliver.Later](err)
		if n != 0 || !ok || later.After > want || later.After < want-time.Minute/2 {
			t.Errorf("%q: %d %v", text, n, err)
		}
	}
	h := newHook(t)
	h.answer = func(w http.ResponseWriter, _ int64, _ int) bool {
		w.Header().Set("Retry-After", "soon")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	if _, err := h.sink().Give(ctx, batch(1)); err == nil || errors.As(err, new(*deliver.Later)) {
		t.Errorf("%v", err)
	}
}

// TestAWebhookTrustsWhomItIsTold: no proxy of the environment, no certificate of a stranger, and no URL in an error.
func TestAWebhookTrustsWhomItIsTold(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	h := newHook(t)
	secure := httptest.NewUnstartedServer(h)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of the stranger's handshake
	secure.StartTLS()
	defer secure.Close()
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	headers := map[string]string{"authorization": "Bearer canary"}
	known := deliver.NewWebhook(deliver.WebhookConfig{URL: secure.URL + "/events", Headers: headers, RootCAs: pool})
	if n, err := known.Give(ctx, batch(2)); n != 2 || err != nil || len(h.wrong) > 0 {
		t.Errorf("%d %v %v", n, err, h.wrong)
	}
	stranger := deliver.NewWebhook(deliver.WebhookConfig{URL: secure.URL + "/events", Headers: headers})
	n, err := stranger.Give(ctx, batch(1))
	if n != 0 || !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("%d %v", n, err)
	}
	if text := err.Error(); errors.As(err, new(*url.Error)) || strings.Contains(text, "events") ||
		strings.Contains(text, "canary") {
		t.Errorf("the error tells too much: %v", err)
	}
	for _, sink := range []*deliver.Webhook{known, stranger} {
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAWebhookWantsSignedEvents: what cannot be verified is not pushed.
func TestAWebhookWantsSignedEvents(t *testing.T) {
	b := batch(1)
	b.Events[0].SET = ""
	if n, err := newHook(t).sink().Give(ctx, b); n != 0 || err == nil {
		t.Error(n, err)
	}
}

// TestSeveralProcessesShareAWebhook that dies and comes back at another moment for each of them.
func TestSeveralProcessesShareAWebhook(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme, globex := w.log("acme"), w.log("globex")
		h := newHook(t)
		asked := 0
		h.answer = func(w http.ResponseWriter, _ int64, _ int) bool {
			if asked++; asked%7 == 0 {
				kill(t, w)
			}
			return asked%7 == 0
		}
		for range 3 {
			w.start(w.config(deliver.Target{Name: "hook", Sink: h.sink(), All: true}))
		}
		for range 20 {
			w.append(acme, names(3)...)
			w.append(globex, names(2)...)
		}
		w.stands("hook", acme, 60)
		w.stands("hook", globex, 40)
		for l, n := range map[deliver.Log]int64{acme: 60, globex: 40} {
			if err := gapless(h.has(origin(l)), n); err != nil {
				t.Errorf("%s: %v", l.Slug, err)
			}
		}
	})
}
