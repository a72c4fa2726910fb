package redis

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for url, want := range map[string]string{
		"redis://host":                      "[host:6379] '' '' db 0 tls false master '' cluster false",
		"redis://host:1/3":                  "[host:1] '' '' db 3 tls false master '' cluster false",
		"redis://host?db=3":                 "[host:6379] '' '' db 3 tls false master '' cluster false",
		"rediss://:p%40ss@host:1":           "[host:1] '' 'p@ss' db 0 tls true master '' cluster false",
		"redis://[::1]":                     "[[::1]:6379] '' '' db 0 tls false master '' cluster false",
		"redis://[::1]:7/":                  "[[::1]:7] '' '' db 0 tls false master '' cluster false",
		"redis-sentinel://u:p@a:1,b/m?db=2": "[a:1 b:26379] 'u' 'p' db 2 tls false master 'm' cluster false",
		"redis-sentinel://a/m?tls=true":     "[a:26379] '' '' db 0 tls true master 'm' cluster false",
		"redis-cluster://u:p@a,b:2,[::1]:3": "[a:6379 b:2 [::1]:3] 'u' 'p' db 0 tls false master '' cluster true",
	} {
		o, err := parseURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		got := fmt.Sprintf("%v '%s' '%s' db %d tls %t master '%s' cluster %t",
			o.Addrs, o.Username, o.Password, o.DB, o.TLSConfig != nil, o.MasterName, o.IsClusterMode)
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", url, got, want)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for _, url := range []string{
		"", "host:6379", "redis:host", "http://host", "redis://", "redis://:6379", "redis://a,b", "rediss://a,b/1",
		"redis://host:0", "redis://host:65536", "redis://host:port", "redis://host/x", "redis://host/-1",
		"redis://host/1?db=2", "redis://host?db=1&db=2", "redis://host?tls=maybe", "rediss://host?tls=false",
		"redis://host?unknown=1",
		"redis://host#fragment", "redis://us%ZZer@host", "redis-sentinel://host", "redis-sentinel://host/a/b",
		"redis-sentinel://a,,b/m", "redis-cluster://host/1", "redis-cluster://host?db=1", "redis-cluster://",
		"redis://a b",
	} {
		if o, err := parseURL(url); err == nil {
			t.Errorf("%q was accepted as %v", url, o.Addrs)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis-sentinel://user:hunter2@a:1,b/m?db=2")
	f.Add("redis://user:hunter2@[::1]:1/3?tls=x")
	f.Add("rediss://hunter2@a:1,b")
	f.Fuzz(func(t *testing.T, url string) {
		o, err := parseURL(url)
		switch {
		case err != nil && strings.Contains(url, "hunter2") && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%v repeats a password", err)
		case err == nil && (len(o.Addrs) == 0 || o.DB < 0 || o.IsClusterMode && (o.DB != 0 || o.MasterName != "")):
			t.Errorf("%q became %+v", url, o)
		}
	})
}
