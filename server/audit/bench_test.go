package audit_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
)

// memory accepts everything and keeps the last commit, so that only the log itself costs anything.
type memory struct{ last [][]byte }

func (m *memory) Commit(_ context.Context, _ ledger.Tenant, c ledger.Commit) (ledger.Position, error) {
	m.last = c.Entries
	return ledger.Position{}, nil
}

func (m *memory) Events(context.Context, ledger.Tenant, int64, int) ([]ledger.Entry, error) {
	return []ledger.Entry{{Data: m.last[len(m.last)-1]}}, nil
}

func (m *memory) Rows(_ context.Context, t ledger.Tenant, _ ...string) ([]ledger.Row, ledger.Position, error) {
	return keyRows(t), ledger.Position{}, nil
}

func BenchmarkAppend(b *testing.B) {
	l := audit.New(audit.Config{Store: &memory{}, Master: master, Node: "r1"})
	e := event("0000000000000000000000000000000000")
	e.Body.Tool, e.Body.Actions, e.Body.Requested = "payments", []string{"refunds.read"}, []string{"payments:refunds.read"}
	e.Body.Resource, e.Body.Actor.Chain = "https://sts.example/shim/t/acme/payments", []string{"client:ap-bot", "sso:ann"}
	e.Body.Subject = audit.Presented{Issuer: "prod", JTI: "s1", Hash: "aGFzaA", Alg: "ES256", KeyID: "k1"}
	e.Body.Policy = audit.Policy{Revision: "sha256:x", Rules: []string{"ap-bot-refunds"}}
	e.Body.Request = audit.Request{IP: netip.MustParseAddr("192.0.2.1"), Trace: "0af7651916cd43dd8448eb211c80319c"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Append(b.Context(), origin, e); err != nil {
			b.Fatal(err)
		}
	}
}
