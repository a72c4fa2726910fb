package e2e_test

import (
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness/names"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

// resolving runs a test with a server whose names are resolved as answer says.
func (w *shimWorld) resolving(t *testing.T, answer func(name string, turn int) []string) *names.Server {
	t.Helper()
	s := names.Serve(t, answer)
	const swap = `mount --bind "$0" /etc/resolv.conf && exec "$@"`
	if out, err := exec.Command("unshare", "-m", "sh", "-c", swap, s.Conf, "true").CombinedOutput(); err != nil {
		t.Skipf("the names of one process cannot be changed here: %v: %s", err, out)
	}
	w.within(t, "env", "GODEBUG=netdns=go", "unshare", "-m", "sh", "-c", swap, s.Conf)
	return s
}

// TestNamesThatResolveToWhereNoneMayGo: rows A6 and A7 of the attacks. The name server is the attacker's.
func TestNamesThatResolveToWhereNoneMayGo(t *testing.T) {
	eachShim(t, func(t *testing.T, w *shimWorld) {
		resolved := map[string][]string{
			"aws4.example": {"169.254.169.254"}, "aws6.example": {"fd00:ec2::254"}, "alibaba.example": {"100.100.100.200"},
			"mapped.example": {"::ffff:169.254.169.254"}, "nat64.example": {"64:ff9b::a9fe:a9fe"},
			"6to4.example": {"2002:a9fe:a9fe::"}, "zero.example": {"0.0.0.0"}, "zero6.example": {"::"},
			"ten.example": {"10.0.0.1"}, "loopback6.example": {"::1"}, "link.example": {"fe80::1"},
			"mixed.example": {"127.0.0.1", "169.254.169.254"}, "many.example": {"127.0.0.1", "10.0.0.1"},
			"good.example": {"127.0.0.1"},
		}
		server := w.resolving(t, func(name string, turn int) []string {
			if name == "rebind.example" {
				return [][]string{{"127.0.0.1"}, {"169.254.169.254"}}[min(turn, 1)]
			}
			return resolved[name]
		})
		up := upstream.Start(t, upstream.Options{Keys: []string{acmeKey}, Hosts: []string{"good.example", "rebind.example"}})
		_, port, _ := strings.Cut(up.Addr, ":")
		tools := ""
		for host := range resolved {
			tools += w.named(host, port, up.CA)
		}
		w.Apply(t, w.tenant("acme", tools+w.named("rebind.example", port, up.CA)))
		for _, host := range append(slices.Sorted(maps.Keys(resolved)), "rebind.example") {
			w.putNamed(t, host, port, up)
		}
		against(t, "A6", "a name leads to a metadata service", func(t *testing.T) {
			for host := range resolved {
				reply := w.get(t, strings.TrimSuffix(host, ".example"), "/v1/items/1")
				if host == "good.example" {
					if r := up.Last(t); reply.Status != 200 || r.SNI != host ||
						!slices.Equal(r.Get("Host"), []string{host + ":" + port}) {
						t.Errorf("%d; the upstream got %s with the name %q", reply.Status, r.Head(), r.SNI)
					}
					continue
				}
				problem(t, host, reply, http.StatusBadGateway, "destination_refused")
			}
		})
		against(t, "A7", "a name changes after it was judged", func(t *testing.T) {
			before := up.Count()
			if reply := w.get(t, "rebind", "/v1/items/1"); reply.Status != 200 || server.Asked("rebind.example") != 2 {
				t.Errorf("%d %s, asked %d times", reply.Status, reply.Body, server.Asked("rebind.example"))
			}
			up.Close() // so that a new connection is needed
			problem(t, "rebound", w.get(t, "rebind", "/v1/items/1"), http.StatusBadGateway, "destination_refused")
			if after := up.Count(); after.Requests != before.Requests+1 {
				t.Errorf("%d requests", after.Requests-before.Requests)
			}
		})
	})
}

// named is a tool before a host of example.
func (w *shimWorld) named(host, port, ca string) string {
	name := strings.TrimSuffix(host, ".example")
	return w.tool("acme", name, "https://"+host+":"+port, `{in: header, name: X-Api-Key, secret: `+name+`-key}`, ca, rules)
}

func (w *shimWorld) putNamed(t *testing.T, host, port string, up *upstream.Upstream) {
	t.Helper()
	w.putAt(t, up, "acme/"+strings.TrimSuffix(host, ".example")+"-key",
		operator.SecretRequest{Host: "https://" + host + ":" + port, Fields: map[string]string{"value": acmeKey}})
}
