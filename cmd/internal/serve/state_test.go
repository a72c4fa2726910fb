package serve

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/port"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// scrape returns the metrics of a server.
func scrape(t *testing.T, s running) string {
	t.Helper()
	i := slices.IndexFunc(s.ports, func(p *port.Port) bool { return p.Name == "metrics" })
	resp, err := http.Get("http://" + s.ports[i].Listener.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// value returns a metric of a scrape.
func value(t *testing.T, scraped, metric string) float64 {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(metric) + ` (\S+)$`).FindStringSubmatch(scraped)
	if found == nil {
		t.Fatalf("%s is missing from\n%s", metric, scraped)
	}
	v, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func withMetrics(c *config.Config) { c.Metrics.Listen = "127.0.0.1:0" }

// A store that is away shows in the operation that it does not confirm.
func TestAStoreThatFailsShows(t *testing.T) {
	store := storagetest.StartRedis(t)
	s := start(t, func(c *config.Config) { withMetrics(c); c.Store = store.URL() })
	before := scrape(t, s)
	if n := value(t, before, `bursar_store_failures_total{operation="position"}`); n != 0 {
		t.Errorf("%v failures before any", n)
	}
	if n := value(t, before, `bursar_store_duration_seconds_count{operation="rows"}`); n == 0 {
		t.Error("reading the tenants was not timed")
	}
	store.Stop()
	if err := s.Ready(t.Context()); err == nil {
		t.Fatal("the server is ready without its store")
	}
	if n := value(t, scrape(t, s), `bursar_store_failures_total{operation="position"}`); n == 0 {
		t.Error("the failure was not counted")
	}
}

// The age of keys, and what fetches the keys of others came to, is seen without a tenant's name.
func TestTheStateOfTenantsShows(t *testing.T) {
	s := start(t, func(c *config.Config) {
		withMetrics(c)
		c.Tenants = map[string]config.Tenant{"acme": {PrivateCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	})
	if n := value(t, scrape(t, s), "bursar_tenants_held"); n != 0 {
		t.Errorf("%v tenants before there is one", n)
	}
	issuer := httptest.NewServer(http.NotFoundHandler()) // it has no keys
	t.Cleanup(issuer.Close)
	file := "apiVersion: bursar/v1\ntenant: acme\nissuers:\n- {name: a, issuer: \"" + issuer.URL +
		"\", audiences: [x], network: {allow_private: true}}\n"
	if _, err := s.Apply(t.Context(), "acme", []byte(file), operator.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	part := base64.RawURLEncoding.EncodeToString
	now := time.Now().Unix()
	token := part([]byte(`{"alg":"ES256","kid":"k"}`)) + "." + part(fmt.Appendf(nil,
		`{"iss":%q,"sub":"x","aud":"x","iat":%d,"exp":%d}`, issuer.URL, now, now+60)) + "." + part(make([]byte, 64))
	resp, err := http.PostForm("http://"+s.Address()+"/t/acme/token", url.Values{"subject_token": {token},
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	text := scrape(t, s)
	age, period := value(t, text, "bursar_signing_key_age_seconds"), value(t, text, "bursar_signing_key_period_seconds")
	if age < 0 || age > 3600 || period != config.DefaultRotation.Seconds() {
		t.Errorf("a new key is %v s old of %v", age, period)
	}
	for metric, want := range map[string]float64{"bursar_tenants_held": 1, "bursar_tenants_unreadable": 0,
		`bursar_issuer_fetches_total{outcome="ok"}`: 0, `bursar_issuer_fetches_total{outcome="failed"}`: 1} {
		if got := value(t, text, metric); got != want {
			t.Errorf("%s is %v, want %v", metric, got, want)
		}
	}
	if strings.Contains(text, "acme") {
		t.Error("the metrics name the tenant")
	}
}
