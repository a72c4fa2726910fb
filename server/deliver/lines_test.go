package deliver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/deliver"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// readLines returns the lines of some files, one after the other. What is no JSON is left out and counted.
func readLines(t *testing.T, paths ...string) (lines []parsed, torn int) {
	t.Helper()
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.Lines(string(data)) {
			var l parsed
			if json.Unmarshal([]byte(text), &l) != nil {
				torn++
				continue
			}
			lines = append(lines, l)
		}
	}
	return lines, torn
}

func indexes(lines []parsed, origin string) (all []int64) {
	for _, l := range lines {
		if l.Origin == origin {
			all = append(all, l.Index)
		}
	}
	return all
}

// TestAFileHasALineForEachEvent in each format: the SET as it was recorded, or its claims with nothing escaped.
func TestAFileHasALineForEachEvent(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		dir := t.TempDir()
		sets, claims := filepath.Join(dir, "sets"), filepath.Join(dir, "claims")
		d := w.start(w.config(
			deliver.Target{Name: "sets", Sink: deliver.NewFile(sets, deliver.SETs), All: true},
			deliver.Target{Name: "claims", Sink: deliver.NewFile(claims, deliver.Claims), All: true}))
		w.append(acme, names(200)...)
		w.stands("sets", acme, 200)
		w.stands("claims", acme, 200)
		w.stop(d)
		signed, torn := readLines(t, sets)
		said, tornToo := readLines(t, claims)
		if torn+tornToo > 0 || !slices.Equal(indexes(signed, origin(acme)), upTo(200)) ||
			!slices.Equal(indexes(said, origin(acme)), upTo(200)) {
			t.Fatalf("%d and %d lines, %d torn", len(signed), len(said), torn+tornToo)
		}
		records, err := w.Read(ctx, acme.Tenant, 0, 200)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range records {
			if signed[i].SET != r.SET || signed[i].Claims != nil {
				t.Fatalf("line %d is not the SET", i)
			}
			if !bytes.Equal(said[i].Claims, r.Claims) || said[i].SET != "" {
				t.Fatalf("line %d has the claims %s, not %s", i, said[i].Claims, r.Claims)
			}
		}
		if info, err := os.Stat(sets); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
	})
}

// TestACrashBeforeTheCursorMovesRepeatsLines and loses none.
func TestACrashBeforeTheCursorMovesRepeatsLines(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		path := filepath.Join(t.TempDir(), "log")
		w.append(acme, names(5)...)
		cfg := w.config(deliver.Target{Name: "file", Sink: deliver.NewFile(path, deliver.Claims), All: true})
		cfg.Lease, cfg.Store = 50*time.Millisecond, stuck{w.store}
		d := w.start(cfg)
		w.eventually(func() error {
			if _, err := os.Stat(path); err != nil {
				return err
			}
			if lines, _ := readLines(t, path); len(lines) < 5 {
				return fmt.Errorf("%d lines", len(lines))
			}
			return nil
		})
		w.stop(d)
		cfg.Store, cfg.Targets[0].Sink = w.store, deliver.NewFile(path, deliver.Claims)
		w.start(cfg)
		w.append(acme, names(3)...)
		w.stands("file", acme, 8)
		lines, torn := readLines(t, path)
		if err := gapless(indexes(lines, origin(acme)), 8); err != nil || torn > 0 || len(lines) < 13 {
			t.Errorf("%d lines, %d torn: %v", len(lines), torn, err)
		}
	})
}

// stuck is a store in which no sink moves past an event.
type stuck struct{ deliver.Store }

func (s stuck) MoveSink(ctx context.Context, t ledger.Tenant, sink string, m ledger.Move) error {
	if m.To.Index != m.From.Index {
		return fault.ErrUnavailable
	}
	return s.Store.MoveSink(ctx, t, sink, m)
}

// TestAFileThatIsRotatedIsFollowed: what was renamed keeps what it has, and a new file goes on.
func TestAFileThatIsRotatedIsFollowed(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		acme := w.log("acme")
		path := filepath.Join(t.TempDir(), "log")
		w.start(w.config(deliver.Target{Name: "file", Sink: deliver.NewFile(path, deliver.SETs), All: true}))
		var all []string
		for i := range 5 {
			w.append(acme, names(10)...)
			w.stands("file", acme, int64(10*i+10))
			old := fmt.Sprint(path, ".", i)
			if err := os.Rename(path, old); err != nil {
				t.Fatal(err)
			}
			all = append(all, old)
		}
		lines, torn := readLines(t, all...)
		if got := indexes(lines, origin(acme)); torn > 0 || !slices.Equal(got, upTo(50)) {
			t.Errorf("in all files are %v", got)
		}
	})
}

// TestATornLineStandsAlone: what a crash in the middle of a line left behind spoils no other line.
func TestATornLineStandsAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(`{"origin":"sts.example/t/acme/log","index":0,"se`), 0o600); err != nil {
		t.Fatal(err)
	}
	f := deliver.NewFile(path, deliver.SETs)
	for range 2 {
		if n, err := f.Give(ctx, batch(3)); n != 3 || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	lines, torn := readLines(t, path)
	if got := indexes(lines, "sts.example/t/acme/log"); torn != 1 || !slices.Equal(got, []int64{0, 1, 2, 0, 1, 2}) {
		t.Errorf("%v, %d torn", got, torn)
	}
}

// batch has so many events of acme.
func batch(n int) deliver.Batch {
	b := deliver.Batch{Log: deliver.Log{Tenant: "t", Slug: "acme"}, Origin: "sts.example/t/acme/log"}
	for i := range n {
		claims := fmt.Sprintf(`{"jti":"%d","iat":1790000001,"toe":1790000000,`+
			`"events":{"urn:bursar:event:token.exchange:v1":{"outcome":"allowed"}}}`, i)
		b.Events = append(b.Events, deliver.Event{Name: "token.exchange",
			Record: deliver.Record{Index: int64(i), SET: signed(claims), Claims: json.RawMessage(claims)}})
	}
	return b
}

// TestAFileThatCannotBeWrittenIsAnError that names it, and it works when that is mended.
func TestAFileThatCannotBeWrittenIsAnError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "log")
	f := deliver.NewFile(path, deliver.SETs)
	if n, err := f.Give(ctx, batch(1)); n != 0 || err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("without a folder: %d %v", n, err)
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Give(ctx, batch(1)); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	for _, special := range []string{dir, "/dev/null"} {
		if n, err := deliver.NewFile(special, deliver.SETs).Give(ctx, batch(1)); n != 0 || err == nil {
			t.Errorf("%s is taken for a file: %d %v", special, n, err)
		}
	}
	unsigned := batch(1)
	unsigned.Events[0].SET = ""
	if n, err := deliver.NewFile(path, deliver.SETs).Give(ctx, unsigned); n != 0 || err == nil {
		t.Errorf("an event without a signature: %d %v", n, err)
	}
	if n, err := deliver.NewFile(filepath.Join(dir, "x"), "").Give(ctx, batch(1)); n != 0 || err == nil {
		t.Errorf("without a format: %d %v", n, err)
	}
}

// pipe is what is written to, and fails as often as a test wants, in the middle of a line.
type pipe struct {
	bytes.Buffer
	fails int
}

func (p *pipe) Write(data []byte) (int, error) {
	if p.fails > 0 {
		p.fails--
		n, _ := p.Buffer.Write(data[:len(data)/2])
		return n, errors.New("broken")
	}
	return p.Buffer.Write(data)
}

func (p *pipe) Close() error { return nil }

func TestAStreamHasWholeLinesAfterAFailure(t *testing.T) {
	p := &pipe{fails: 1}
	s := deliver.NewStream(p, deliver.Claims)
	if n, err := s.Give(ctx, batch(1)); n != 0 || err == nil {
		t.Fatal(n, err)
	}
	if n, err := s.Give(ctx, batch(2)); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.Give(ctx, batch(1)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	lines := strings.Split(p.String(), "\n")
	if len(lines) != 5 || lines[4] != "" {
		t.Fatalf("%q", lines)
	}
	for i, text := range lines[1:4] {
		var l parsed
		if err := json.Unmarshal([]byte(text), &l); err != nil || l.Index != int64(i%2) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
