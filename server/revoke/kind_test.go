package revoke_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
)

func TestTheLastFiveKindsDisable(t *testing.T) {
	for i, k := range revoke.Kinds() {
		if k.Disables() != (i >= 3) || !k.Known() {
			t.Errorf("%s: disables %v, known %v", k, k.Disables(), k.Known())
		}
	}
	if revoke.Kind("").Known() || revoke.Kind("").Disables() || revoke.Kind("Client").Known() {
		t.Error("an unknown kind passes")
	}
}

func TestParseTarget(t *testing.T) {
	id := ledger.NewID(time.Now()) // begins with 0 for some centuries
	tests := []struct {
		kind, value string
		ok          bool
	}{
		{"jti", id, true},
		{"jti", "", false},
		{"jti", id[:35], false},
		{"jti", id + "0", false},
		{"jti", id + "\n", false},
		{"jti", " " + id, false},
		{"jti", strings.ToUpper(id), false},
		{"jti", strings.Replace(id, "0", "w", 1), false},
		{"jti", strings.Replace(id, "0", "O", 1), false},
		{"lineage", id, true},
		{"lineage", "root", false},
		{"lineage", "", false},
		{"run", id, true},
		{"run", "run-7", false},
		{"run", "", false},
		{"client", "ap-bot", true},
		{"client", "client:ap-bot", false},
		{"client", "AP", false},
		{"tool", "payments", true},
		{"tool", "payments:refunds", false},
		{"tenant", "", true},
		{"tenant", "acme", false},
		{"issuer", "corp-sso", true},
		{"issuer", "https://corp.example", false},
		{"subject", "corp-sso:alice@corp.example", true},
		{"subject", "corp-sso:system:serviceaccount:prod:bot", true},
		{"subject", "corp-sso:", false},
		{"subject", "client:ap-bot", false},
		{"subject", "client-x:ap-bot", true},
		{"subject", ":alice", false},
		{"subject", "alice", false},
		{"subject", "corp-sso:a\x00", false},
		{"subject", "corp-sso:\xff", false},
		{"subject", "corp-sso:" + strings.Repeat("a", revoke.MaxValue), false},
		{"", "x", false},
		{"JTI", "x", false},
		{"unknown", "x", false},
	}
	for _, test := range tests {
		key, err := revoke.ParseTarget(test.kind, test.value)
		if (err == nil) != test.ok {
			t.Errorf("%s %.40q: got %v", test.kind, test.value, err)
		}
		want := ledger.Key{}
		if test.ok {
			want = ledger.Key{Kind: test.kind, ID: test.value}
		}
		if key != want {
			t.Errorf("%s %.40q: got %v", test.kind, test.value, key)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("subject", "corp-sso:alice")
	f.Add("jti", "x")
	f.Add("run", ledger.NewID(time.Now()))
	f.Add("tenant", "")
	f.Fuzz(func(t *testing.T, kind, value string) {
		key, err := revoke.ParseTarget(kind, value)
		if err != nil {
			if len(value) > 20 && strings.Contains(err.Error(), value) {
				t.Errorf("the error echoes the value: %v", err)
			}
			return
		}
		if key != (ledger.Key{Kind: kind, ID: value}) || !revoke.Kind(kind).Known() || len(value) > revoke.MaxValue {
			t.Errorf("%q %q became %v", kind, value, key)
		}
	})
}
