package logapi_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/servertest"
)

// must returns what a call answers.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// export fetches a log as it is, or what is left of it.
func export(t *testing.T, l *operator.Log) []byte {
	t.Helper()
	ctx := t.Context()
	var out bytes.Buffer
	w := auditor.NewWriter(&out, false)
	add := func(name string, data []byte) {
		t.Helper()
		if err := w.Add(name, data); err != nil {
			t.Fatal(err)
		}
	}
	signed := must(l.Checkpoint(ctx))(t)
	vkeys := must(l.VerifierKeys(ctx))(t)
	add(auditor.CheckpointFile, signed)
	add(auditor.KeysFile, must(l.Keys(ctx))(t))
	add(auditor.VKeyFile, []byte(vkeys[0]+"\n"))
	body, _, _ := bytes.Cut(signed, []byte("\n\n"))
	c := must(auditor.ParseCheckpoint(string(body) + "\n"))(t)
	var first int64
	if _, err := l.Bundle(ctx, 0, int(min(256, c.Size))); err != nil {
		p, ok := errors.AsType[*operator.Problem](err)
		if !ok || p.Code() != operator.CodeGone {
			t.Fatal(err)
		}
		first = p.First
	}
	for f := range auditor.Layout(first, c.Size) {
		if f.Level == auditor.Entries {
			add(f.Name, must(l.Bundle(ctx, f.Index, f.Width))(t))
		} else {
			add(f.Name, must(l.Tile(ctx, f.Level, f.Index, f.Width))(t))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestAnOutsiderVerifiesTheLog exports logs by the client, and verifies them and their proofs with the public key.
func TestAnOutsiderVerifiesTheLog(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.record("acme", 600)
		verify := func(l *operator.Log) *auditor.Report {
			t.Helper()
			from := must(auditor.NewReader(bytes.NewReader(export(t, l))))(t)
			defer from.Close()
			return must(auditor.Verify(t.Context(), from, auditor.Options{Keys: must(l.VerifierKeys(t.Context()))(t)}))(t)
		}
		acme := w.admin.Log("acme")
		for name, l := range map[string]*operator.Log{"acme": acme, "globex": w.admin.Log("globex"),
			"the platform": w.admin.PlatformLog()} {
			if r := verify(l); !r.Passed() {
				t.Errorf("%s: %+v", name, r)
			}
		}
		for e, err := range acme.Stream(operator.StreamQuery{After: -4}).Events(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			proof := must(auditor.ParseProof(must(acme.Proof(t.Context(), operator.EventID{Index: e.Index}))(t)))(t)
			if _, err := proof.Verify([]byte(e.SET), must(acme.VerifierKeys(t.Context()))(t)...); err != nil {
				t.Error(err)
			}
		}
		w.prune("acme", 512)
		if from := must(auditor.NewReader(bytes.NewReader(export(t, acme))))(t); from != nil {
			defer from.Close()
			r := must(auditor.Verify(t.Context(), from, auditor.Options{Keys: must(acme.VerifierKeys(t.Context()))(t)}))(t)
			// What is left is right; that the rest was to go, no event says in this test.
			if r.Integrity != auditor.OK || r.First != 512 || len(r.Findings) != 1 || r.Findings[0].To != 511 {
				t.Errorf("pruned: %+v", r)
			}
		}
		_, err := drain(t.Context(), acme.Stream(operator.StreamQuery{}), 1)
		if p, ok := errors.AsType[*operator.Problem](err); !ok || p.Code() != operator.CodeGone || p.First != 512 {
			t.Errorf("pruned: %v", err)
		}
		got, err := drain(t.Context(), acme.Stream(operator.StreamQuery{After: operator.All}), 2)
		if err != nil || !slices.Equal(got, []int64{512, 513}) {
			t.Errorf("pruned: %v, %v", got, err)
		}
	})
}

func drain(ctx context.Context, s *operator.Stream, most int) (indexes []int64, err error) {
	for e, err := range s.Events(ctx) {
		if err != nil {
			return indexes, err
		}
		if indexes = append(indexes, e.Index); len(indexes) == most {
			break
		}
	}
	return indexes, nil
}

// TestAFollowerSurvivesItsConnections breaks all connections again and again while events are recorded.
func TestAFollowerSurvivesItsConnections(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	first := w.size()
	var lost int
	s := w.admin.Log("acme").Stream(operator.StreamQuery{After: first, Follow: true, Tool: "files",
		Lost: func(error) { lost++ }})
	ctx, cancel := context.WithCancel(t.Context())
	var recording sync.WaitGroup
	recording.Go(func() {
		for ctx.Err() == nil {
			w.record("acme", 2, func(i int, e *audit.Event) {
				if i == 1 {
					e.Body.Tool = "files"
				}
			})
		}
	})
	var got []int64
	for e, err := range s.Events(t.Context()) {
		if err != nil {
			t.Error(err)
			break
		}
		if got = append(got, e.Index); len(got) == 40 {
			break
		}
		if len(got)%10 == 0 {
			w.server.CloseClientConnections()
		}
	}
	cancel()
	recording.Wait()
	for i, n := range got {
		if n != first+1+2*int64(i) {
			t.Fatalf("events %v from %d on", got, first)
		}
	}
	if lost == 0 {
		t.Error("no connection was lost")
	}
	if s.Next() != got[len(got)-1]+1 {
		t.Errorf("goes on at %d", s.Next())
	}
}
