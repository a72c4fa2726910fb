package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/audit/audittest"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/storage/bolt"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

const (
	baseURL = "https://sts.example"
	shimURL = baseURL + "/shim"
)

// world is a store with the processes that work on it, in one time that only the test moves.
type world struct {
	t        *testing.T
	store    *storagetest.Faulty
	master   keys.Master
	platform string        // the token of admin.token
	*process               // the first one
	deadline time.Duration // of the logs of further processes
	limits   limit.Rules   // of further processes

	mu    sync.Mutex
	now   time.Time
	slept time.Duration
}

// process is what one bursar process has of its own.
type process struct {
	svc *admin.Service
	log *audit.Log
	dir *tenant.Directory
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, platform: admin.NewToken(""), deadline: time.Minute, limits: limit.Unlimited(),
		now: time.Date(2030, 1, 2, 3, 4, 5, 600e6, time.UTC)}
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "bursar.db"), Now: w.time})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w.store = storagetest.Failing(db)
	t.Cleanup(w.checkLogs) // when the processes have ended
	if w.master, err = keys.FileMaster(keys.NewMasterFile()); err != nil {
		t.Fatal(err)
	}
	w.process = w.start()
	w.root("") // the sign-ins of tests are recorded by now; that those are is a test of its own
	return w
}

// checkLogs fails the test for each event that is not as its schema describes it.
func (w *world) checkLogs() {
	for _, op := range []storagetest.Op{storagetest.Position, storagetest.Rows} {
		w.store.Set(op, storagetest.Works)
	}
	tenants, err := w.dir.Tenants(context.Background())
	if err != nil {
		w.t.Errorf("read tenants: %v", err)
	}
	audittest.CheckLog(w.t, w.log, ledger.Platform)
	for _, e := range tenants {
		audittest.CheckLog(w.t, w.log, e.ID)
	}
}

// start starts another process.
func (w *world) start() *process { return w.startAs(func(*tenant.Config, *admin.Config) {}) }

// startAs starts another process, with a configuration of its own.
func (w *world) startAs(edit func(*tenant.Config, *admin.Config)) *process {
	w.t.Helper()
	sources := identity.NewSources(identity.Config{Now: w.time})
	log := audit.New(audit.Config{Store: w.store, Master: w.master, Now: w.time, Deadline: w.deadline,
		Logger: slog.New(slog.DiscardHandler)})
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = log.Close(ctx)
		sources.Close()
	})
	inDir := tenant.Config{Store: w.store, Master: w.master, Sources: sources, BaseURL: baseURL,
		ShimURL: shimURL, Now: w.time}
	in := admin.Config{Store: w.store, Log: log, PlatformTokenHash: admin.HashToken(w.platform),
		Sleep: w.sleep, Limits: limit.New(limit.Config{Rules: w.limits, Now: w.time})}
	edit(&inDir, &in)
	dir := tenant.NewDirectory(inDir)
	in.Directory = dir
	in.Trees = tree.New(tree.Config{Store: w.store, Master: w.master, Anchors: tree.NoAnchors{}, Now: w.time,
		Logger: slog.New(slog.DiscardHandler)})
	in.Judge = exchange.New(exchange.Config{Directory: dir, Log: log, Claims: w.store})
	return &process{log: log, dir: dir, svc: admin.New(in)}
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// sleep lets the time pass at once.
func (w *world) sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.slept = w.now.Add(d), w.slept+d
	return ctx.Err()
}

func (w *world) pass(d time.Duration) { _ = w.sleep(context.Background(), d) }

// signIn returns the operator that a token is on a tenant's paths, or on the platform's.
func (w *world) signIn(p *process, slug, token string) admin.Operator {
	w.t.Helper()
	op, err := p.svc.Authenticate(w.t.Context(), admin.Credentials{
		Tenant: slug, Token: token, IP: netip.MustParseAddr("192.0.2.1")})
	if err != nil {
		w.t.Fatalf("sign in at %q: %v", slug, err)
	}
	return op
}

// root returns the platform admin on a tenant's paths.
func (w *world) root(slug string) admin.Operator {
	w.t.Helper()
	return w.signIn(w.process, slug, w.platform)
}

// reads lets the platform admin read a tenant's log for the first time, which is an event of it, and returns how many
// events it has then.
func (w *world) reads(svc *admin.Service, slug string) int64 {
	w.t.Helper()
	if _, err := svc.Log(w.t.Context(), w.root(slug)); err != nil {
		w.t.Fatal(err)
	}
	return w.position(slug).Index
}

// token makes an operator token on a tenant, or on the platform.
func (w *world) token(slug string, role admin.Role) string {
	w.t.Helper()
	plain, _, err := w.svc.CreateOperator(w.t.Context(), w.root(slug), role, time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	return plain
}

// apply applies a file that must be accepted.
func (w *world) apply(slug, file string) *admin.Applied {
	w.t.Helper()
	done, err := w.svc.Apply(w.t.Context(), w.root(slug), put(file))
	if err != nil {
		w.t.Fatalf("apply: %v %q", err, fault.As(err).Problems)
	}
	w.root(slug)
	return done
}

func (w *world) prune(slug, file string) (*admin.Applied, error) {
	w.t.Helper()
	return w.svc.Apply(w.t.Context(), w.root(slug), admin.ApplyRequest{File: []byte(file), Prune: true})
}

func put(file string) admin.ApplyRequest { return admin.ApplyRequest{File: []byte(file)} }

func at(revision int64, file string) admin.ApplyRequest {
	return admin.ApplyRequest{File: []byte(file), Revision: revision}
}

// file describes a tenant with clients of those ids, which authenticate by secret.
func file(slug string, clients ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: bursar/v1\ntenant: %s\nclients:\n", slug)
	for _, id := range clients {
		fmt.Fprintf(&b, "  - {id: %s, kind: agent, auth: {method: client_secret_basic}}\n", id)
	}
	return b.String()
}

const tool = "tools: [{name: payments, resource: https://pay.example, actions: [refunds.read]}]\n"

// record is an event as the log has it.
type record struct {
	Name string
	Body audit.Body
	raw  string
}

// records reads a whole log, without the entries that the log makes by itself, and without those of visits.
func (w *world) records(t ledger.Tenant) []record {
	w.t.Helper()
	return slices.DeleteFunc(w.everything(t), func(r record) bool {
		switch r.Name {
		case audit.AuthAdmin:
			return r.Body.Outcome == audit.Allowed
		case audit.LogKeyEvent:
			return r.Body.Operator.ID == "" // the log was begun with it
		case audit.WriterStart, audit.WriterStop, audit.AuditRead:
			return true
		}
		return false
	})
}

// everything reads a whole log.
func (w *world) everything(t ledger.Tenant) []record {
	w.t.Helper()
	entries, err := w.store.Events(w.t.Context(), t, 0, 100_000)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []record
	for _, e := range entries {
		var set struct {
			Events map[string]audit.Body `json:"events"`
		}
		claims, err := audit.Claims(e.Data)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := json.Unmarshal(claims, &set); err != nil {
			w.t.Fatal(err)
		}
		for name, body := range set.Events {
			name = strings.TrimSuffix(strings.TrimPrefix(name, "urn:bursar:event:"), ":v1")
			all = append(all, record{name, body, string(claims)})
		}
	}
	return all
}

// id returns the tenant's internal id.
func (w *world) id(slug string) ledger.Tenant {
	w.t.Helper()
	if slug == "" {
		return ledger.Platform
	}
	v, err := w.dir.Fresh(w.t.Context(), slug)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.ID
}

func (w *world) position(slug string) ledger.Position {
	w.t.Helper()
	p, err := w.store.Position(w.t.Context(), w.id(slug))
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func wantKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if err == nil {
		t.Fatalf("nothing was refused, want %v", want)
	}
	if got := fault.As(err).Kind; got != want {
		t.Fatalf("refused as %v (%v), want %v", got, err, want)
	}
}

func wantReason(t *testing.T, err error, want string) {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Reason != want {
		t.Fatalf("refused with %v, want the reason %s", err, want)
	}
}
