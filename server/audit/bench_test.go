package audit_test

import (
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
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

// BenchmarkAppend records events one after the other, each in a commit of its own.
func BenchmarkAppend(b *testing.B) {
	l := audit.New(audit.Config{Store: &memory{}, Master: master, Node: "r1"})
	e := servertest.Issued(1)
	b.ReportAllocs()
	servertest.ReportCPU(b, func() {
		for range b.N {
			if _, err := l.Append(b.Context(), origin, e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEvent tells what one event costs by its parts, in the order in which they are done; what a head costs, which
// covers all events of 50 ms; and what a bare signature of as many bytes as an event's costs.
func BenchmarkEvent(b *testing.B) {
	e, now, writer := servertest.Issued(1), time.Now(), ledger.NewID(time.Now())
	ring, err := keys.OpenLog(master, origin.Tenant, keyRows(origin.Tenant))
	if err != nil {
		b.Fatal(err)
	}
	draft, err := audit.Encode(origin, &e, now)
	if err != nil {
		b.Fatal(err)
	}
	set, err := audit.Seal(draft, now, writer, 1, ring.Events())
	if err != nil {
		b.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	edge := grown()
	parts := []struct {
		name string
		do   func()
	}{
		{"encode", func() { _, _ = audit.Encode(origin, &e, now) }},
		{"seal", func() { _, _ = audit.Seal(draft, now, writer, 1, ring.Events()) }},
		{"leaf", func() { tlog.RecordHash(set) }},
		{"tree", func() { edge.Append(tlog.Hash{}) }},
		{"head", func() { head(edge, auditor.NewNoteSigner("sts.example/t/acme/log", private)) }},
		{"bare", func() { ed25519.Sign(private, set[:len(set)-87]) }}, // but for the signature and its dot
	}
	for _, part := range parts {
		b.Run(part.name, func(b *testing.B) {
			b.ReportAllocs()
			servertest.ReportCPU(b, func() {
				for range b.N {
					part.do()
				}
			})
			b.ReportMetric(float64(len(set)), "bytes/event")
		})
	}
}

// grown is the edge of a tree of usual size.
func grown() *auditor.Edge {
	edge := new(auditor.Edge)
	for range 100_000 {
		edge.Append(tlog.Hash{})
	}
	return edge
}

// head makes the signed checkpoint of a tree, and the tiles that are stored with it.
func head(edge *auditor.Edge, s note.Signer) {
	c := auditor.Checkpoint{Origin: s.Name(), Size: edge.Size(), Root: edge.Root()}
	_, _ = note.Sign(&note.Note{Text: c.Text()}, s)
	edge.Partial()
}
