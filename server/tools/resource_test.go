package tools_test

import (
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/tools"
)

func TestResources(t *testing.T) {
	at := tools.Place{BaseURL: "https://sts.example", Tenant: "acme"}
	for _, row := range []struct {
		resource string
		mistake  string // "" if it may be registered
	}{
		{"https://tools.example", ""},
		{"https://tools.example/", ""},
		{"https://tools.example:8443/a/b?c=d", ""},
		{"HTTPS://TOOLS.example/a", ""},
		{"https://tools.example/a%2Fb", ""},
		{"https://tools.example/a%23b", ""},
		{"https://tools.example/...", ""},
		{"https://10.1.2.3/a", ""},
		{"https://[2001:db8::1]:8443/a", ""},
		{"http://127.0.0.1:8080/a", ""},
		{"http://localhost/a", ""},
		{"http://LOCALHOST/a", ""},
		{"http://[::1]/a", ""},
		{"https://sts.example.org/t/globex", ""},
		{"https://sts.example:8443/t/globex", ""},
		{"https://sts.example/t/acme", ""},
		{"https://sts.example/t/acme/payments", ""},

		{"", "absolute"}, {"payments", "absolute"}, {"/payments", "absolute"}, {"//tools.example/a", "https"},
		{"https:///a", "absolute"},
		{"https:tools.example", "absolute"}, {"javascript:alert(1)", "absolute"}, {"https://", "absolute"},
		{"https://:443/a", "absolute"},
		{"https://[fe80::1%25eth0]/", "escaped"}, {"https://t%6fols.example/", "absolute"},
		{"file:///etc/passwd", "absolute"}, {"urn:acme:payments", "absolute"},
		{"http://tools.example/a", "https"}, {"ftp://tools.example/a", "https"}, {"http://127.0.0.1.example/a", "https"},
		{"https://tools.example/a#b", "fragment"}, {"https://tools.example/a#", "fragment"},
		{"https://a@tools.example/", "user or password"}, {"https://a:b@tools.example/", "user or password"},
		{"https://@tools.example/", "user or password"},
		{"https://tools.example/a/../b", "dot segments"}, {"https://tools.example/..", "dot segments"},
		{"https://tools.example/a/.", "dot segments"},
		{"https://tools.example/a/%2e%2e/b", "dot segments"}, {"https://tools.example/a/.%2E/b", "dot segments"},
		{"https://tools.example/a%2f..%2fb", "dot segments"}, {"https://tools.example/a/..;x/b", "dot segments"},
		{"https://tools.example/a%5c..%5cb", "dot segments"},
		{"https://tools.example/a b", "printable"}, {"https://tools.example\\a", "printable"},
		{"https://tools.example/\x7f", "printable"}, {"https://tööls.example/", "printable"},
		{"https://boo\u212a.example/", "printable"},
		{"https://tools.example:/a", "port"}, {"https://tools.example:0443/a", "port"},
		{"https://tools.example:x/a", "absolute"},
		{"https://tools.example./a", "host name"}, {"https://tools..example/a", "host name"},
		{"https://.example/a", "host name"}, {"https://a,b/", "host name"},
		{"https://127.1/a", "IP address"}, {"https://2130706433/a", "IP address"}, {"https://0x7f.0.0.1/", "IP address"},
		{"https://0x7f000001/", "IP address"},
		{"https://[0:0:0:0:0:0:0:1]/", "IP address"}, {"https://[::ffff:127.0.0.1]/", "IP address"},
		{"https://010.0.0.1/", "IP address"},
		{"https://tools.example/" + strings.Repeat("a", 2048), "at most"},

		{"https://sts.example", "own address"}, {"https://sts.example/", "own address"},
		{"https://sts.example/t", "own address"},
		{"https://sts.example/t/globex/payments", "own address"}, {"https://sts.example/t/acme2", "own address"},
		{"HTTPS://STS.EXAMPLE:443/t/globex", "own address"}, {"https://sts.example/t%2fglobex", "own address"},
		{"https://sts.example/t/acme%2f..%2fglobex", "dot segments"},
		{"https://sts.example/t/acme/%2e%2e/globex", "dot segments"},
		{"https://sts.example?t/acme", "own address"}, {"https://sts.example//t/acme/x", "own address"},
		{"https://sts.example/T/acme/x", "own address"},
		{"https://sts.example:/t/globex", "port"}, {"https://sts.example./t/globex", "host name"},
		{"https://sts.example:0443/t/globex", "port"},
	} {
		_, mistakes := tools.New([]tools.Tool{{Name: "t", Resource: row.resource, Actions: []string{"x"}}}, at)
		got := strings.Join(mistakes, "; ")
		if row.mistake == "" && got != "" || row.mistake != "" && !strings.Contains(got, row.mistake) {
			t.Errorf("%q: %q, want %q", row.resource, got, row.mistake)
		}
	}
}

func TestResourcesAreComparedInOneForm(t *testing.T) {
	for raw, want := range map[string]string{
		"HTTPS://Tools.Example:443/A?b=C": "https://tools.example/A?b=C",
		"http://LOCALHOST:80":             "http://localhost",
		"https://tools.example:80/":       "https://tools.example:80/",
		"https://[2001:DB8::1]:443/a":     "https://[2001:db8::1]/a",
		"https://tools.example":           "https://tools.example",
		"https://tools.example/%41":       "https://tools.example/%41",
	} {
		if got, err := tools.CanonicalResource(raw); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", raw, got, err, want)
		}
	}
}

func FuzzCanonicalResource(f *testing.F) {
	for _, seed := range []string{
		"https://tools.example/a", "HTTPS://a:443", "https://[::1]:443?x", "https://a@b/", "https://a:0443", "https://a./",
		"http://a:80:443/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		once, err := tools.CanonicalResource(raw)
		if err != nil {
			return
		}
		if twice, err := tools.CanonicalResource(once); err != nil || twice != once {
			t.Fatalf("%q becomes %q, and that %q (%v)", raw, once, twice, err)
		}
		_, path, _ := strings.Cut(raw, "://")
		if i := strings.IndexAny(path, "/?"); i >= 0 && !strings.HasSuffix(once, path[i:]) {
			t.Fatalf("%q becomes %q: more than scheme, host and port changed", raw, once)
		}
	})
}
