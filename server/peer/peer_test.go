package peer_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/peer"
)

var trusted = peer.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}

const (
	proxy   = "10.0.0.1:1234"
	unknown = "invalid IP" // of the zero address
)

// seen returns whom a handler sees behind the proxies; headers are lines "Name: value".
func seen(proxies peer.Proxies, remote string, headers ...string) string {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.RemoteAddr = remote
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	var from netip.Addr
	proxies.Believe(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { from = peer.Of(r) })).
		ServeHTTP(httptest.NewRecorder(), r)
	if r.RemoteAddr != remote {
		return "changed the caller's request"
	}
	return from.String()
}

func TestWhomAHandlerSees(t *testing.T) {
	for _, row := range []struct {
		name, remote string
		headers      []string
		want         string
	}{
		{"nobody in between", "192.0.2.1:1", nil, "192.0.2.1"},
		{"a stranger who says to be another", "192.0.2.1:1", []string{"X-Forwarded-For: 203.0.113.7"}, "192.0.2.1"},
		{"a proxy that says nothing", proxy, nil, "10.0.0.1"},
		{"for one", proxy, []string{"X-Forwarded-For: 203.0.113.7"}, "203.0.113.7"},
		{"for one who wrote a chain", proxy, []string{"X-Forwarded-For: 198.51.100.9, 203.0.113.7"}, "203.0.113.7"},
		{"for one who wrote rubbish", proxy, []string{"X-Forwarded-For: '; DROP, , 203.0.113.7"}, "203.0.113.7"},
		{"for one behind two proxies", proxy, []string{"X-Forwarded-For: 1.1.1.1, 203.0.113.7, 10.9.9.9"}, "203.0.113.7"},
		{"in two lines", proxy, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 203.0.113.7"}, "203.0.113.7"},
		{"the proxy itself", proxy, []string{"X-Forwarded-For: 10.2.0.1"}, "10.2.0.1"},
		{"proxies alone", proxy, []string{"X-Forwarded-For: 10.3.0.1,10.2.0.1"}, "10.3.0.1"},
		{"with a port", proxy, []string{"X-Forwarded-For: 203.0.113.7:4711"}, "203.0.113.7"},
		{"IPv6", proxy, []string{"X-Forwarded-For: 2001:db8::7"}, "2001:db8::7"},
		{"IPv6 with a port", proxy, []string{"X-Forwarded-For: [2001:db8::7]:4711"}, "2001:db8::7"},
		{"IPv6 in brackets", proxy, []string{"X-Forwarded-For: [2001:db8::7]"}, "2001:db8::7"},
		{"IPv4 in IPv6", proxy, []string{"X-Forwarded-For: ::ffff:203.0.113.7"}, "203.0.113.7"},
		{"a proxy in IPv6", "[fd00::1]:99", []string{"X-Forwarded-For: 203.0.113.7"}, "203.0.113.7"},
		{"a proxy in mapped IPv4", "[::ffff:10.0.0.1]:99", []string{"X-Forwarded-For: 203.0.113.7"}, "203.0.113.7"},
		{"nothing", proxy, []string{"X-Forwarded-For: "}, unknown},
		{"a name", proxy, []string{"X-Forwarded-For: 203.0.113.7, localhost"}, unknown},
		{"a zone", proxy, []string{"X-Forwarded-For: fe80::1%eth0"}, unknown},
		{"an empty end", proxy, []string{"X-Forwarded-For: 203.0.113.7,"}, unknown},
		{"too many proxies", proxy,
			[]string{"X-Forwarded-For: 203.0.113.7" + strings.Repeat(", 10.0.0.1", 40)}, unknown},

		{"Forwarded", proxy, []string{"Forwarded: for=203.0.113.7"}, "203.0.113.7"},
		{"Forwarded in full", proxy,
			[]string{`Forwarded: proto=https;For="[2001:db8::7]:4711";by=10.0.0.1;host=sts.example`}, "2001:db8::7"},
		{"Forwarded in quotes", proxy, []string{`Forwarded: for="203.0.113.7:80"`}, "203.0.113.7"},
		{"Forwarded by one who wrote a chain", proxy, []string{"Forwarded: for=1.1.1.1, for=203.0.113.7"}, "203.0.113.7"},
		{"Forwarded by one who opened a quote", proxy,
			[]string{`Forwarded: for=1.1.1.1;x=", for=203.0.113.7`}, "203.0.113.7"},
		{"Forwarded by one who hides", proxy, []string{"Forwarded: for=_hidden"}, unknown},
		{"Forwarded by one unknown", proxy, []string{"Forwarded: for=1.1.1.1, for=unknown"}, unknown},
		{"Forwarded without for", proxy, []string{"Forwarded: proto=https"}, unknown},
		{"Forwarded for two", proxy, []string{"Forwarded: for=1.1.1.1;for=203.0.113.7"}, unknown},
		{"Forwarded with half a quote", proxy, []string{`Forwarded: for="203.0.113.7`}, unknown},
		{"Forwarded with a quote inside", proxy, []string{`Forwarded: for="203.0.113.7" , for="1.1.1.1`}, unknown},

		{"both, alike", proxy, []string{"X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.7"}, "203.0.113.7"},
		{"both, of which one was the caller's", proxy,
			[]string{"X-Forwarded-For: 203.0.113.7", "Forwarded: for=1.1.1.1"}, unknown},
		{"both, of which one hides", proxy, []string{"X-Forwarded-For: 203.0.113.7", "Forwarded: for=_x"}, unknown},
		{"a Unix socket", "@", []string{"X-Forwarded-For: 203.0.113.7"}, unknown},
	} {
		if got := seen(trusted, row.remote, row.headers...); got != row.want {
			t.Errorf("%s: saw %s, want %s", row.name, got, row.want)
		}
		if got := seen(nil, row.remote, row.headers...); got != seen(nil, row.remote) {
			t.Errorf("%s: without proxies, saw %s", row.name, got)
		}
	}
}

// FuzzForwarded: whatever callers write before, what the proxy adds decides; and what they write in a header that the
// proxy does not know does not get them another address.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"", "1.1.1.1", "1.1.1.1, ", `for="`, `for=1.1.1.1;x=",`, "for=unknown", "[::1", "a=b;;=",
		`"\"`, "fe80::1%eth0", "10.0.0.1", "for=10.0.0.1"} {
		f.Add(s, s)
	}
	const real = "203.0.113.7"
	f.Fuzz(func(t *testing.T, written, other string) {
		for _, row := range []struct{ name, added string }{{"X-Forwarded-For", real}, {"Forwarded", "for=" + real}} {
			for _, headers := range [][]string{
				{row.name + ": " + written + ", " + row.added}, {row.name + ": " + written, row.name + ": " + row.added},
			} {
				if got := seen(trusted, proxy, headers...); got != real {
					t.Errorf("%q: saw %s", headers, got)
				}
			}
		}
		got := seen(trusted, proxy, "X-Forwarded-For: "+real, "Forwarded: "+other)
		if got != real && got != unknown {
			t.Errorf("beside %q: saw %s", other, got)
		}
		got = seen(trusted, proxy, "X-Forwarded-For: "+written)
		if _, err := netip.ParseAddr(got); err != nil && got != unknown {
			t.Errorf("%q: saw %s", written, got)
		}
	})
}

func TestWhomAProxySaysItAsksFor(t *testing.T) {
	for _, row := range []struct {
		headers []string
		want    string
	}{
		{nil, unknown},
		{[]string{"203.0.113.7"}, "203.0.113.7"},
		{[]string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		{[]string{"198.51.100.1", "203.0.113.7"}, "203.0.113.7"},
		{[]string{"198.51.100.1, somebody"}, unknown},
		{[]string{"198.51.100.1,"}, unknown},
		{[]string{"[2001:db8::1]:443"}, "2001:db8::1"},
	} {
		if a := peer.Said(http.Header{"X-Forwarded-For": row.headers}); a.String() != row.want {
			t.Errorf("%q: %s, want %s", row.headers, a, row.want)
		}
	}
}
