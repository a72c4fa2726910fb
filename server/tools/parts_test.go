package tools_test

import (
	"encoding/json"
	"testing"

	"github.com/bursar-sts/bursar/server/tools"
)

func TestSizesAreWrittenWithTheirUnit(t *testing.T) {
	for text, want := range map[string]tools.Size{"1B": 1, "16KiB": 16 << 10, "1024KiB": 1 << 20, "3GiB": 3 << 30} {
		var s tools.Size
		if err := json.Unmarshal([]byte(`"`+text+`"`), &s); err != nil || s != want {
			t.Errorf("%s is %d (%v), want %d", text, s, err, want)
		}
		var back tools.Size
		if out, err := json.Marshal(s); err != nil || json.Unmarshal(out, &back) != nil || back != s {
			t.Errorf("%s was written %s (%v) and read %d", text, out, err, back)
		}
	}
	for _, bad := range []string{`16`, `"16"`, `"0B"`, `"-1KiB"`, `"+1KiB"`, `"1kb"`, `"1 KiB"`, `"KiB"`, `"1.5MiB"`,
		`"9223372036854775807KiB"`, `""`} {
		var s tools.Size
		if json.Unmarshal([]byte(bad), &s) == nil {
			t.Errorf("read %s as %d", bad, s)
		}
	}
}

func TestADestinationIsWhereCallsGo(t *testing.T) {
	pem := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	for _, row := range []struct {
		url, ca string
		want    tools.Destination
	}{
		{"https://api.example", "", tools.Destination{Scheme: "https", Host: "api.example", Port: 443}},
		{"http://api.example", "", tools.Destination{Scheme: "http", Host: "api.example", Port: 80}},
		{"https://[2001:db8::1]:8443", pem, tools.Destination{Scheme: "https", Host: "2001:db8::1", Port: 8443,
			CA: "709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c"}},
	} {
		u := tools.Upstream{URL: row.url, Network: tools.Network{CA: row.ca}}
		if got := u.Destination(); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.url, got, row.want)
		}
	}
	if tools.HashCA(pem) != tools.HashCA("a comment\n"+pem+"\n\n") || tools.HashCA("no certificate") == "" {
		t.Error("the same certificates have two hashes, or text without one is as good as none")
	}
}
