package serve

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/metric"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// running is a server that runs until stop is called; what Run returned then comes out of ended.
type running struct {
	*Server
	*operator.Client
	stop  func()
	ended chan error
}

// start starts a server on free ports, with an embedded store unless change says otherwise.
func start(t *testing.T, change func(*config.Config)) running {
	t.Helper()
	dir := t.TempDir()
	path, err := config.Init(dir, config.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c.Listen = "127.0.0.1:0"
	change(c)
	secrets, found := c.Secrets()
	if len(found) > 0 {
		t.Fatal(found)
	}
	ctx, stop := context.WithCancel(context.Background())
	s, err := Start(ctx, Config{Config: c, Secrets: secrets, Version: "v1.2.3", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := running{Server: s, Client: &operator.Client{BaseURL: "http://" + s.Address(), Token: secrets.AdminToken},
		stop: stop, ended: make(chan error)}
	go func() { defer close(r.ended); r.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		for range r.ended {
		}
	})
	return r
}

// A server that is told to end does not wait for those who wait for events; it answers them.
func TestEndsWhileTheLogIsFollowed(t *testing.T) {
	s := start(t, func(*config.Config) {})
	handled := make(chan struct{})
	s.HTTP = &http.Client{Transport: notify{handled}}
	followed := make(chan error, 1)
	go func() {
		page, err := s.PlatformEvents(t.Context(), operator.EventQuery{After: 1000, Wait: operator.MaxWait})
		if err == nil && page.Next != 1000 {
			t.Errorf("the follower goes on at %d", page.Next)
		}
		followed <- err
	}()
	<-handled
	s.stop()
	if err := <-s.ended; err != nil { // an error is what is left after the bound of the drain
		t.Error(err)
	}
	select {
	case err := <-followed:
		if err != nil {
			t.Error("the follower was not answered:", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the follower still waits")
	}
}

// Whatever private ranges a tenant may use, the server itself and its store are not among them.
func TestKnowsWhatIsItsOwn(t *testing.T) {
	store := storagetest.StartRedis(t)
	_, port, err := net.SplitHostPort(store.Addr)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, func(c *config.Config) {
		c.Store, c.Metrics.Listen, c.Admin.Listen = "redis://localhost:"+port, "127.0.0.1:0", "127.0.0.1:0"
	})
	for _, own := range []string{store.Addr, s.Address(), s.ports[1].Listener.Addr().String(),
		s.ports[2].Listener.Addr().String()} {
		if !slices.Contains(*s.own.Load(), netip.MustParseAddrPort(own)) {
			t.Errorf("%s is not among %v", own, *s.own.Load())
		}
	}
}

func TestMetrics(t *testing.T) {
	s := start(t, func(c *config.Config) { c.Metrics.Listen = "127.0.0.1:0" })
	auditor := operator.OperatorRequest{Role: operator.RoleAuditor, TTL: "1h"}
	if _, err := s.CreatePlatformOperator(t.Context(), auditor); err != nil {
		t.Fatal(err)
	}
	text := scrape(t, s)
	for _, want := range []string{`bursar_build_info{go="` + runtime.Version() + `",version="v1.2.3"} 1`,
		"bursar_log_events_total 4", // the writer's beginning, the server's, a sign-in, and the operator
		"bursar_log_frozen_tenants 0"} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
}

// An admin listener of its own serves what the public one serves otherwise, is counted like it, and leaves nothing
// of it at the public one.
func TestAnAdminListenerOfItsOwn(t *testing.T) {
	s := start(t, func(c *config.Config) { c.Admin.Listen, c.Metrics.Listen = "127.0.0.1:0", "127.0.0.1:0" })
	if _, err := s.PlatformOperators(t.Context()); err == nil {
		t.Error("the public listener serves the admin API")
	}
	s.BaseURL = "http://" + s.ports[1].Listener.Addr().String()
	if _, err := s.PlatformOperators(t.Context()); err != nil {
		t.Error(err)
	}
	if count := `bursar_http_request_duration_seconds_count{route="admin",status="200"} 1`; !strings.Contains(
		scrape(t, s), count+"\n") {
		t.Errorf("%s is missing", count)
	}
}

func TestEveryFigureOfTheLogIsShown(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(metric.Log{Stats: func() audit.Stats {
		return audit.Stats{Recorded: 1, Commits: 2, Refused: 3, Unreleased: 4, Lost: 5, Queued: 6, Down: 7, Frozen: 8}
	}})
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.Metric[0] // of one kind; the value of the other is zero
		got[strings.TrimPrefix(f.GetName(), "bursar_log_")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	want := map[string]float64{"events_total": 1, "commits_total": 2, "refused_total": 3, "unreleased_total": 4,
		"lost_total": 5, "queued": 6, "down_tenants": 7, "frozen_tenants": 8}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// notify tells when a request is with its handler: that asks for the rest of it, which is empty.
type notify struct{ handled chan struct{} }

func (n notify) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{Got100Continue: func() { close(n.handled) }}
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	r.Header.Set("Expect", "100-continue")
	r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
	return (&http.Transport{ExpectContinueTimeout: time.Minute, DisableKeepAlives: true}).RoundTrip(r)
}
