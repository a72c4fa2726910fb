package adminapi_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/adminapi"
	"github.com/bursar-sts/bursar/server/fault"
)

// FuzzParseQuery holds what a query is read as against net/url: each parameter once, within its bounds, and none that
// the call does not know. A refusal repeats no value.
func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{"", "after=-10&limit=100", "limit=0", "limit=1001", "prune=true&after=7", "prune=yes",
		"after=1&after=1",
		"unknown=1", "after=%31", "after=+1", "after=0x1", "a;b", "%zz", "LIMIT=1", "after=", "after=9223372036854775808"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := adminapi.ParseQuery(raw)
		values, standardErr := url.ParseQuery(raw)
		if err != nil {
			if fault.As(err).Kind != fault.InvalidRequest {
				t.Errorf("refused as %v", err)
			}
			for _, all := range values {
				for _, v := range all {
					if len(v) > 12 && strings.Contains(fault.As(err).Public, v) {
						t.Errorf("the refusal repeats %q", v)
					}
				}
			}
			return
		}
		if standardErr != nil || len(values) != len(got) {
			t.Fatalf("%q is read as %v", raw, got)
		}
		for name, n := range got {
			text := strconv.FormatInt(n, 10)
			if name == "prune" {
				text = strconv.FormatBool(n == 1)
			}
			given, err := strconv.ParseInt(values.Get(name), 10, 64)
			if len(values[name]) != 1 || values.Get(name) != text && (err != nil || given != n) {
				t.Errorf("%q: %s is read as %s", raw, name, text)
			}
			if name == "limit" && (n < 1 || n > 1000) {
				t.Errorf("%q: %d is beyond the bounds", raw, n)
			}
		}
	})
}
