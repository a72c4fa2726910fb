package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

const (
	theirTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	theirSpan  = "00f067aa0ba902b7"
)

// within posts a form within a trace of the caller's; flags are those of the traceparent header.
func within(t *testing.T, by harness.Caller, endpoint, trace, flags string, form url.Values) *harness.Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		by.Server.URL+"/t/"+by.Tenant+"/"+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Traceparent", "00-"+trace+"-"+theirSpan+"-"+flags)
	req.Header.Set("Tracestate", "vendor=canary-of-a-tracestate")
	req.Header.Set("Baggage", "key=canary-of-a-baggage")
	if by.Secret != "" {
		req.SetBasicAuth(url.QueryEscape(by.ID), url.QueryEscape(by.Secret))
	}
	a, err := harness.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A trace tells what an exchange did, step by step, and is found from the log, and the log from it.
func TestATraceTellsAnExchange(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		api := w.as(t, "payments-api")
		c := traced(t, w.Server)
		good := harness.Form(w.workload(t), payments, readRefunds)
		a := within(t, w.acme(), "token", theirTrace, "00", good)
		if a.Token() == "" {
			t.Fatalf("answered %d %s", a.Status, a.Body)
		}
		refused := theirTrace[:31] + "7"
		bad := within(t, w.acme(), "token", refused, "01",
			harness.Form(w.workload(t), payments, "payments:refunds.burn"))
		asked, ended := theirTrace[:31]+"8", theirTrace[:31]+"9"
		within(t, api, "introspect", asked, "01", url.Values{"token": {a.Token()}})
		within(t, api, "revoke", ended, "01", url.Values{"token": {a.Token()}})
		events, err := w.Operator.Events(context.WithoutCancel(t.Context()), "acme", operator.EventQuery{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		w.Stop()

		tree(t, c.of(theirTrace), "client subject target scope policy lifetime mint record")
		root := c.of(theirTrace)[0]
		for key, want := range map[string]string{"bursar.tenant": "acme", "bursar.client_id": "ap-bot",
			"bursar.outcome": "allowed", "bursar.answer": "ok", "bursar.reason": "", "bursar.txn": a.Header.Get("Bursar-Txn"),
			"http.route": "/t/{tenant}/token"} {
			if got := attribute(root, key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		tree(t, c.of(refused), "client subject target scope")
		root = c.of(refused)[0]
		if got := attribute(root, "bursar.decision_id"); got != bad.Text("decision_id") || got == "" ||
			attribute(root, "bursar.reason") != "scope.unknown" || attribute(root, "bursar.outcome") != "denied" {
			t.Errorf("the refusal %s is traced as %v", bad.Body, root.Attributes)
		}
		for trace, name := range map[string]string{asked: "introspect", ended: "revoke"} {
			if spans := c.of(trace); len(spans) != 1 || spans[0].Name != name || attribute(spans[0], "bursar.answer") != "ok" {
				t.Errorf("%s is traced as %v", name, spans)
			}
		}
		if got := traces(t, events); !slices.Equal(got, []string{theirTrace, refused, ended}) {
			t.Errorf("the log names the traces %q", got)
		}
		if bytes.Contains(c.received(), []byte("canary-of")) {
			t.Error("what the caller wrote beside the traceparent was taken over")
		}
	})
}

// tree fails the test unless the spans are one request of theirs with these steps, in this order and within it.
func tree(t *testing.T, spans []*tracepb.Span, steps string) {
	t.Helper()
	if len(spans) == 0 {
		t.Fatal("no span")
	}
	root := spans[0]
	if fmt.Sprintf("%x", root.ParentSpanId) != theirSpan || root.Name != "token" || root.TraceState != "" {
		t.Errorf("the root is %v", root)
	}
	var names []string
	last := root.StartTimeUnixNano
	for _, s := range spans[1:] {
		names = append(names, strings.TrimPrefix(s.Name, "exchange."))
		if !bytes.Equal(s.ParentSpanId, root.SpanId) || s.StartTimeUnixNano < last ||
			s.EndTimeUnixNano < s.StartTimeUnixNano || s.EndTimeUnixNano > root.EndTimeUnixNano {
			t.Errorf("step %s is out of place: %v in %v", s.Name, s, root)
		}
		last = s.EndTimeUnixNano
	}
	if got := strings.Join(names, " "); got != steps {
		t.Errorf("steps %q, want %q", got, steps)
	}
}

// traces returns the trace ids of a log's events about tokens, in their order.
func traces(t *testing.T, page *operator.Events) (ids []string) {
	t.Helper()
	for _, e := range page.Events {
		if found := regexp.MustCompile(`"trace":"([0-9a-f]{32})"`).FindSubmatch(e.Claims); found != nil {
			ids = append(ids, string(found[1]))
		}
	}
	return ids
}

// A number in a chart leads to a trace that was sent.
func TestExemplarsLeadToTraces(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		c := traced(t, w.Server)
		w.token(t)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Metrics, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
		a, err := harness.Do(req)
		if err != nil || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/openmetrics-text") {
			t.Fatalf("scraped %v: %v", a, err)
		}
		w.Stop()
		for _, metric := range []string{`bursar_decisions_total{endpoint="token",outcome="ok"}`,
			`bursar_http_request_duration_seconds_bucket{route="token",status="200"`} {
			found := regexp.MustCompile(regexp.QuoteMeta(metric) + `[^\n]* # {trace_id="([0-9a-f]{32})"}`).
				FindStringSubmatch(a.Body)
			if found == nil {
				t.Errorf("%s has no exemplar", metric)
			} else if spans := c.of(found[1]); len(spans) != 9 {
				t.Errorf("the exemplar of %s leads to %d spans", metric, len(spans))
			}
		}
	})
}

// What goes wrong is told with the trace that it went wrong in.
func TestLinesOfTheLogNameTheTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.Start(t, "redis"))
	c := traced(t, w.Server)
	w.token(t)
	w.Redis.Stop()
	form := harness.Form(w.workload(t), payments, readRefunds)
	if a := within(t, w.acme(), "token", theirTrace, "00", form); a.Status != http.StatusServiceUnavailable {
		t.Fatalf("answered %d %s", a.Status, a.Body)
	}
	w.Stop()
	text, err := os.ReadFile(w.Output())
	if err != nil || !bytes.Contains(text, []byte(`"trace_id":"`+theirTrace+`"`)) {
		t.Errorf("no line names the trace: %v", err)
	}
	if spans := c.of(theirTrace); len(spans) == 0 || spans[0].Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("the failure is traced as %v", spans)
	}
}
