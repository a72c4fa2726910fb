package harness

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
)

// Auditor looks at a log from outside: it has the log's key from before anything went wrong, and keeps every checkpoint
// that it was shown.
type Auditor struct {
	slug   string
	issuer string
	keys   []string

	mu    sync.Mutex
	shown map[string][]byte // signed checkpoints, each by its text
}

// Auditor returns an auditor of a tenant's log who takes its key now, and its first checkpoint.
func (s *Server) Auditor(t testing.TB, slug string) *Auditor {
	t.Helper()
	a := &Auditor{slug: slug, issuer: s.Issuer(slug), shown: map[string][]byte{}}
	var err error
	if a.keys, err = s.Operator.Log(slug).VerifierKeys(t.Context()); err == nil {
		_, err = a.Look(t.Context(), s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Look asks a server for the newest checkpoint, and keeps it.
func (a *Auditor) Look(ctx context.Context, s *Server) (signed []byte, err error) {
	if signed, err = s.Operator.Log(a.slug).Checkpoint(ctx); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shown[string(signed)] = signed
	return signed, nil
}

// Watch looks at each of the servers again and again, whether it answers or not, until stop is called.
func (a *Auditor) Watch(t testing.TB, servers ...*Server) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	for _, s := range servers {
		watching.Go(func() {
			for ctx.Err() == nil {
				_, _ = a.Look(ctx, s) // it may be down
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); watching.Wait() })
	t.Cleanup(stop)
	return stop
}

// Shown returns all checkpoints that were seen, the shortest log first.
func (a *Auditor) Shown(t testing.TB) (all []auditor.Checkpoint) {
	t.Helper()
	var verifiers []note.Verifier
	for _, key := range a.keys {
		v, err := note.NewVerifier(key)
		if err != nil {
			t.Fatal(err)
		}
		verifiers = append(verifiers, v)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, signed := range a.shown {
		c, _, err := auditor.OpenCheckpoint(signed, verifiers...)
		if err != nil {
			t.Fatalf("a checkpoint that was served: %v\n%s", err, signed)
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(x, y auditor.Checkpoint) int { return cmp.Compare(x.Size, y.Size) })
	return all
}

// Consistent fails the test unless a server proves of every checkpoint that was seen that the next longer one goes on
// from it.
func (a *Auditor) Consistent(t testing.TB, s *Server) {
	t.Helper()
	all := a.Shown(t)
	for i, newer := range all[1:] {
		older := all[i]
		var proof tlog.TreeProof
		if older.Size > 0 && older.Size < newer.Size {
			text, err := s.Operator.Log(a.slug).Consistency(t.Context(), older.Size, newer.Size)
			if err == nil {
				proof, err = hashesOf(text)
			}
			if err != nil {
				t.Fatalf("the proof from %d to %d: %v", older.Size, newer.Size, err)
			}
		}
		if err := auditor.CheckConsistency(older, newer, proof); err != nil {
			t.Error(err)
		}
	}
}

// hashesOf reads the hashes of a consistency proof, which follow its first line.
func hashesOf(text []byte) (proof tlog.TreeProof, err error) {
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(hash) != tlog.HashSize {
			return nil, fmt.Errorf("%q is not a hash", line)
		}
		proof = append(proof, tlog.Hash(hash))
	}
	return proof, nil
}

// Verify fetches the whole log from a server and verifies it: by the key from before, against every checkpoint that was
// seen, and that it has these tokens on record.
func (a *Auditor) Verify(t testing.TB, s *Server, tokens ...string) *auditor.Report {
	t.Helper()
	a.mu.Lock()
	old := slices.Collect(maps.Values(a.shown)) // before the export, which may be older than what is shown after it
	a.mu.Unlock()
	export, err := fetch(t.Context(), s.Operator.Log(a.slug))
	if err != nil {
		t.Fatalf("export the log of %s: %v", a.slug, err)
	}
	from, err := auditor.NewReader(bytes.NewReader(export))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	report, err := auditor.Verify(t.Context(), from,
		auditor.Options{Keys: a.keys, Issuer: a.issuer, Old: old, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// Passes fails the test unless the log verifies.
func (a *Auditor) Passes(t testing.TB, s *Server, tokens ...string) {
	t.Helper()
	r := a.Verify(t, s, tokens...)
	if !r.Passed() || r.Completeness != auditor.OK {
		t.Errorf("the log of %s, of %d entries, does not verify: %+v, not checked: %q",
			a.slug, r.Size, r.Findings[:min(len(r.Findings), 5)], r.NotChecked)
	}
}

// fetch makes an export of a log, file by file.
func fetch(ctx context.Context, l *operator.Log) ([]byte, error) {
	var out bytes.Buffer
	w := auditor.NewWriter(&out, false)
	add := func(name string, data []byte, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return w.Add(name, data)
	}
	signed, err := l.Checkpoint(ctx)
	if err := add(auditor.CheckpointFile, signed, err); err != nil {
		return nil, err
	}
	keys, err := l.Keys(ctx)
	if err := add(auditor.KeysFile, keys, err); err != nil {
		return nil, err
	}
	vkeys, err := l.VerifierKeys(ctx)
	if err := add(auditor.VKeyFile, []byte(strings.Join(vkeys, "\n")+"\n"), err); err != nil {
		return nil, err
	}
	body, _, _ := bytes.Cut(signed, []byte("\n\n"))
	c, err := auditor.ParseCheckpoint(string(body) + "\n")
	if err != nil {
		return nil, err
	}
	for f := range auditor.Layout(0, c.Size) {
		data, err := content(ctx, l, f)
		if err := add(f.Name, data, err); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

func content(ctx context.Context, l *operator.Log, f auditor.File) ([]byte, error) {
	if f.Level == auditor.Entries {
		return l.Bundle(ctx, f.Index, f.Width)
	}
	return l.Tile(ctx, f.Level, f.Index, f.Width)
}
