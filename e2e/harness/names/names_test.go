package names_test

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness/names"
)

func TestNamesResolveAsTheTestSays(t *testing.T) {
	s := names.Serve(t, func(name string, turn int) []string {
		switch {
		case name == "both.example":
			return []string{"192.0.2.1", "2001:db8::1", "192.0.2.2"}
		case name == "turns.example" && turn > 0:
			return []string{"169.254.169.254"}
		case name == "turns.example":
			return []string{"192.0.2.1"}
		}
		return nil
	})
	conf, err := os.ReadFile(s.Conf)
	if err != nil {
		t.Fatal(err)
	}
	host := strings.Fields(string(conf))[1]
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, host+":53")
	}}
	for _, row := range []struct{ name, want string }{
		{"both.example", "192.0.2.1 192.0.2.2 2001:db8::1"}, {"turns.example", "192.0.2.1"},
		{"turns.example", "169.254.169.254"}, {"none.example", ""},
	} {
		got, err := r.LookupHost(t.Context(), row.name)
		slices.Sort(got)
		if strings.Join(got, " ") != row.want || err == nil != (row.want != "") {
			t.Errorf("%s: %v, %v", row.name, got, err)
		}
	}
	if n := s.Asked("turns.example"); n != 4 {
		t.Errorf("asked %d times", n)
	}
}
