package demolegacy_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/demolegacy"
)

// quick makes streams that a test need not wait for.
var quick = demolegacy.Config{Every: time.Millisecond}

func serve(t *testing.T, h http.Handler) (base string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// ask sends a request with the headers "Name: value", and returns the answer, whose body ends with the test.
func ask(t *testing.T, method, url, body string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(body))
}

func TestKeysOverlapUntilTheOldAreDropped(t *testing.T) {
	base := serve(t, demolegacy.NewPayments(quick))
	call := func(key string) int {
		return ask(t, "GET", base+"/v1/refunds/re-1000", "", "X-Api-Key: "+key).StatusCode
	}
	if call("") != 401 || call("legacy-") != 401 {
		t.Error("a call without a key that is known is served")
	}
	first := text(t, ask(t, "POST", base+"/keys", ""))
	second := text(t, ask(t, "POST", base+"/keys", ""))
	if first == second || len(first) < 16 || call(first) != 200 || call(second) != 200 {
		t.Errorf("keys %q and %q", first, second)
	}
	if status := ask(t, "DELETE", base+"/keys", "").StatusCode; status != 204 {
		t.Errorf("drop: %d", status)
	}
	if call(first) != 401 || call(second) != 200 {
		t.Error("after the drop the old key is not refused, or the new one is")
	}
	if got := text(t, ask(t, "GET", base+"/keys", "")); got != `{"keys":[{"id":"key-2","calls":2}]}` {
		t.Errorf("keys: %s", got)
	}
}

func TestRefunds(t *testing.T) {
	api := demolegacy.NewPayments(quick)
	base, key := serve(t, api), "X-Api-Key: "+api.Keys.New()
	made := ask(t, "POST", base+"/v1/refunds", `{"payment":"pay-1","amount":5}`, key)
	want := `{"id":"re-1001","payment":"pay-1","amount":5,"key":"key-1"}`
	if got := text(t, made); made.StatusCode != 201 || got != want {
		t.Errorf("created: %d %s", made.StatusCode, got)
	}
	at := base + made.Header.Get("Location")
	for _, step := range []struct {
		method, url, body string
		want              int
	}{
		{"GET", at, "", 200},
		{"DELETE", at, "", 204},
		{"GET", at, "", 404},
		{"POST", base + "/v1/refunds", `{"payment":"pay-1"}`, 400},
		{"POST", base + "/v1/refunds", `[`, 400},
		{"GET", base + "/v2", "", 404},
	} {
		if got := ask(t, step.method, step.url, step.body, key).StatusCode; got != step.want {
			t.Errorf("%s %s: %d, want %d", step.method, step.url, got, step.want)
		}
	}
}

func TestEchoRepeatsEverything(t *testing.T) {
	api := demolegacy.NewPayments(quick)
	base, secret := serve(t, api), api.Keys.New()
	got := text(t, ask(t, "PUT", base+"/v1/echo?a=b", "hello", "X-Api-Key: "+secret, "X-Other: c"))
	for _, part := range []string{secret, `"a=b"`, `"hello"`, `"PUT"`, `"X-Other":["c"]`} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is not in %s", part, got)
		}
	}
}

func TestTheLedgerIsStreamedEventByEvent(t *testing.T) {
	api := demolegacy.NewPayments(quick)
	base := serve(t, api)
	resp := ask(t, "GET", base+"/v1/ledger/stream", "", "X-Api-Key: "+api.Keys.New())
	if media := resp.Header.Get("Content-Type"); media != "text/event-stream" {
		t.Errorf("content type %q", media)
	}
	for lines, want := bufio.NewScanner(resp.Body), 1; want <= 3; want++ {
		data := ""
		for lines.Scan() && lines.Text() != "" {
			data, _ = strings.CutPrefix(lines.Text(), "data: ")
		}
		var event struct {
			Number int
			Key    string
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil || event.Number != want || event.Key != "key-1" {
			t.Fatalf("event %d: %q %v", want, data, err)
		}
	}
}
