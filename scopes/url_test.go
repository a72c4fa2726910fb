package scopes_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/scopes"
)

func TestURLsThatAreAccepted(t *testing.T) {
	for s, least := range map[string]scopes.URLForm{
		"https://a.example":                  scopes.Origin,
		"https://a.example:8443":             scopes.Origin,
		"https://10.0.0.1":                   scopes.Origin,
		"https://[2001:db8::1]:8443":         scopes.Origin,
		"http://localhost":                   scopes.Origin,
		"http://127.0.0.1:8080":              scopes.Origin,
		"http://127.8.9.10":                  scopes.Origin,
		"http://[::1]:8080":                  scopes.Origin,
		"http://[::ffff:127.0.0.1]":          scopes.Origin,
		"https://a.example/":                 scopes.WithPath,
		"https://a.example/T/%2F/ACME":       scopes.WithPath,
		"https://a.example?":                 scopes.WithQuery,
		"https://a.example/x?p=1":            scopes.WithQuery,
		"https://a.example/" + long(2048-18): scopes.WithPath,
	} {
		for form := scopes.Origin; form <= scopes.WithQuery; form++ {
			if err := scopes.CheckURL(s, form); (err == nil) != (form >= least) {
				t.Errorf("%.40s with form %d: %v", s, form, err)
			}
		}
	}
}

func TestURLsThatAreRefused(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":                         "",
		"a host alone":                    "a.example",
		"a path alone":                    "/jwks.json",
		"no scheme":                       "//a.example",
		"no slashes":                      "https:a.example",
		"no host":                         "https:///x",
		"a port without a host":           "https://:443",
		"another scheme":                  "ftp://a.example",
		"a file":                          "file:///etc/passwd",
		"plain http":                      "http://a.example",
		"plain http to a private address": "http://10.0.0.1",
		"a name that begins as loopback":  "http://127.0.0.1.a.example",
		"a name that ends as loopback":    "http://a.localhost",
		"loopback in short":               "http://127.1",
		"loopback as a number":            "http://2130706433",
		"every address of this host":      "http://0.0.0.0",
		"loopback with a zone":            "http://[::1%25lo]",
		"loopback with a dot":             "http://localhost.",
		"a user":                          "https://u@a.example",
		"an empty user":                   "https://@a.example",
		"a password":                      "https://u:p@a.example",
		"loopback as a user":              "http://localhost@a.example",
		"a fragment":                      "https://a.example/#x",
		"an empty fragment":               "https://a.example/#",
		"a backslash":                     `https://a.example\@b.example`,
		"a backslash in the path":         `https://a.example/\x`,
		"a space":                         "https://a.example/a b",
		"a line break":                    "https://a.example/\n",
		"a letter that is not ASCII":      "https://é.example",
		"a path that is not ASCII":        "https://a.example/é",
		"the scheme in upper case":        "HTTPS://a.example",
		"the host in upper case":          "https://A.example",
		"loopback in upper case":          "http://LOCALHOST",
		"an escaped host":                 "https://%C3%A9.example",
		"a colon without a port":          "https://a.example:",
		"port 0":                          "https://a.example:0",
		"a port with a zero more":         "https://a.example:0443",
		"a port over 65535":               "https://a.example:65536",
		"a long one":                      "https://a.example/" + long(2048-17),
	} {
		if err := scopes.CheckURL(s, scopes.WithQuery); err == nil {
			t.Errorf("%s is accepted", name)
		} else if len(s) > 9 && strings.Contains(err.Error(), s) {
			t.Errorf("%s is echoed: %v", name, err)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

// FuzzCheckURL holds what is accepted against net/url: it is one address, whoever reads it.
func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://a.example", "http://127.0.0.1:1", "http://[::1]/a?b", "https://u@a", "https://a#",
		"//a", "https:a", `https://a\@b`, "https://a%2fb", "https://A", "https://[::1%25lo]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if scopes.CheckURL(s, scopes.WithQuery) != nil {
			if scopes.CheckURL(s, scopes.Origin) == nil {
				t.Fatalf("%q may hold nothing, but not more", s)
			}
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.User != nil || u.Fragment != "" || u.Host == "" || strings.ContainsAny(s, "#\\\n @") &&
			!strings.Contains(u.RequestURI(), "@") || !strings.HasPrefix(s, u.Scheme+"://"+u.Host) {
			t.Errorf("%q is accepted", s)
		}
		if addr, err := netip.ParseAddr(u.Hostname()); u.Scheme != "https" && u.Hostname() != "localhost" &&
			(err != nil || !addr.IsLoopback()) {
			t.Errorf("%q is accepted", s)
		}
	})
}
