package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// profiledSeconds is how long one profile takes; rounds are repeated until it is complete.
const profiledSeconds = 8

// profile takes a CPU profile of every row on every store while it is measured, and prints where the time went.
func (w *world) profile(ctx context.Context, o options) error {
	if err := os.MkdirAll(o.profile, 0o755); err != nil {
		return err
	}
	b, err := w.prepare(ctx, o.plan.distinct)
	if err != nil {
		return err
	}
	spent := shares.table()
	for i, row := range rows {
		for _, s := range w.servers {
			log.Printf("profile of %s, %s", row.name, s.store)
			file := filepath.Join(o.profile, fmt.Sprintf("%d-%s", i+1, s.store))
			if err := w.profileRow(ctx, b, row, s, o.plan, file); err != nil {
				return err
			}
			if err := shares.column(ctx, &spent, fmt.Sprintf("%d %s", i+1, s.store), file+".pprof"); err != nil {
				return err
			}
		}
	}
	var text strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&text, "%d. %s\n", i+1, row.name)
	}
	fmt.Fprintf(&text, "\n%s", spent.markdown())
	fmt.Print(text.String())
	if o.doc == "" {
		return nil
	}
	return replace(o.doc, "profile", text.String())
}

func (w *world) profileRow(ctx context.Context, b *bench, row row, s *server, p plan, file string) error {
	done := make(chan error, 1)
	if err := b.refill(ctx, w, p.operations); err != nil {
		return err
	}
	if _, err := row.measure(ctx, b, s, p); err != nil { // what is re-used has been seen before
		return err
	}
	go func() { done <- s.fetchProfiles(ctx, file) }()
	for {
		if row.fresh { // the server is idle meanwhile, and its profile has no samples
			if err := b.refill(ctx, w, p.operations); err != nil {
				return err
			}
		}
		if _, err := s.load(ctx, p.connections, row.requests(b, s, 0, p.operations)); err != nil {
			return err
		}
		select {
		case err := <-done:
			return err
		default:
		}
	}
}

// fetchProfiles writes what the process's CPU does and, beside it, what it allocates.
func (t *target) fetchProfiles(ctx context.Context, file string) error {
	var group errgroup.Group
	for kind, suffix := range map[string]string{"profile": ".pprof", "allocs": ".allocs.pprof"} {
		group.Go(func() error {
			target := fmt.Sprintf("http://%s/debug/pprof/%s?seconds=%d", t.profiler, kind, profiledSeconds)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer func() { _ = resp.Body.Close() }()
			profile, err := io.ReadAll(resp.Body)
			if err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("take a profile: %s", profile)
			}
			if err != nil {
				return err
			}
			return os.WriteFile(file+suffix, profile, 0o644)
		})
	}
	return group.Wait()
}

// division divides a profile by what is on the stack of a sample: the first that matches has it.
type division []share

type share struct {
	name string
	on   []string // beginnings of functions' names
}

// table returns one without columns.
func (d division) table() table {
	t := table{head: []string{"% of the CPU time"}}
	for _, share := range d {
		t.rows = append(t.rows, []string{share.name})
	}
	return t
}

// column adds the percentages of a profile to a table.
func (d division) column(ctx context.Context, t *table, head, file string) error {
	percent, err := d.classify(ctx, file)
	if err != nil {
		return err
	}
	t.head = append(t.head, head)
	for i := range t.rows {
		t.rows[i] = append(t.rows[i], fmt.Sprintf("%.1f", percent[i]))
	}
	return nil
}

// shares are those of the token endpoint.
var shares = division{
	{"ES256 verification", []string{"crypto/ecdsa.Verify"}},
	{"ES256 signature", []string{"crypto/ecdsa.Sign", "crypto/ecdsa.(*PrivateKey).Sign"}},
	{"tree and signed heads", []string{module + "/server/tree"}},
	{"signature of the event", []string{"crypto/ed25519.Sign", "crypto/ed25519.PrivateKey.Sign"}},
	{"garbage collection", []string{
		"runtime.gcBgMarkWorker", "runtime.gcAssist", "runtime.bgsweep", "runtime.bgscavenge"}},
	{"store", []string{module + "/storage", "github.com/redis/", "go.etcd.io/bbolt"}},
	{"record of the decision", []string{module + "/server/audit"}},
	{"subject token, but for its signature", []string{module + "/server/identity"}},
	{"policy and conditions", []string{module + "/scopes", "cel.dev/", "github.com/google/cel-go"}},
	{"client", []string{module + "/clients."}},
	{"issued token, but for its signature", []string{module + "/server/keys", module + "/clients/token"}},
	{"exchange", []string{module + "/server/exchange", module + "/server/tenant", module + "/server/revoke"}},
	{"form, fosite, response", []string{module + "/server/oauth"}},
	{"routes and metrics", []string{module + "/server."}},
	{"HTTP", []string{"net/http."}},
	{"scheduler and the rest", []string{""}},
}

// classify returns the percentage of each share.
func (d division) classify(ctx context.Context, file string) ([]float64, error) {
	traces, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", "-sample_index=samples", file).Output()
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	percent, total := make([]float64, len(d)), 0.0
	var stack []string
	count := 0.0
	flush := func() {
		for i, share := range d {
			if slices.ContainsFunc(stack, func(function string) bool {
				return slices.ContainsFunc(share.on, func(prefix string) bool { return strings.HasPrefix(function, prefix) })
			}) {
				percent[i] += count
				total += count
				break
			}
		}
		stack, count = nil, 0
	}
	lines := bufio.NewScanner(bytes.NewReader(traces))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case strings.HasPrefix(lines.Text(), "---"):
			flush()
		case len(fields) == 0 || !strings.HasPrefix(lines.Text(), " "):
		case stack == nil: // the leaf, with the number of samples before it
			if count, err = strconv.ParseFloat(fields[0], 64); err != nil || len(fields) < 2 {
				return nil, fmt.Errorf("read profile: %q is not understood", lines.Text())
			}
			stack = []string{fields[1]}
		default:
			stack = append(stack, fields[0])
		}
	}
	flush()
	for i := range percent {
		percent[i] *= 100 / max(total, 1)
	}
	return percent, lines.Err()
}
