package scopes_test

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/scopes"
)

func TestDurationsAreGoDurationsInText(t *testing.T) {
	for text, canonical := range map[string]string{"2m": "2m", "120s": "2m", "90s": "1m30s", "1h": "1h", "1h10m": "1h10m",
		"10h0m1s": "10h0m1s", "500ms": "500ms", "0s": "0s", "-2m": "-2m"} {
		var d scopes.Duration
		if err := json.Unmarshal([]byte(`"`+text+`"`), &d); err != nil {
			t.Fatal(err)
		}
		if out, _ := d.MarshalText(); string(out) != canonical {
			t.Errorf("%s came back as %s, want %s", text, out, canonical)
		}
	}
	for _, bad := range []string{`120`, `""`, `"2"`, `"2 m"`, `"2minutes"`, `"1d"`, `["2m"]`} {
		var d scopes.Duration
		if json.Unmarshal([]byte(bad), &d) == nil {
			t.Errorf("read %s as %v", bad, time.Duration(d))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := scopes.Duration(rapid.Int64().Draw(t, "d"))
		text, _ := d.MarshalText()
		var back scopes.Duration
		if err := back.UnmarshalText(text); err != nil || back != d {
			t.Fatalf("%d was written %s and read %d: %v", d, text, back, err)
		}
	})
}
