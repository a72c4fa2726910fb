package adminapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/adminapi"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/audit/audittest"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/retain"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/storage/bolt"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// world is the API over a real store, behind real HTTP, and a client of the platform's admin.
type world struct {
	*operator.Client
	watch     *watch
	store     *storagetest.Faulty
	exchanger *exchange.Exchanger
	url       string
	directory *tenant.Directory
	anchors   tree.Folder
	trees     *tree.Trees
	lost      atomic.Bool // what is backed up has no entries
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "bursar.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	store := storagetest.Failing(db)
	master, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	sources := identity.NewSources(identity.Config{})
	log := audit.New(audit.Config{Store: store, Master: master, Logger: quiet, Deadline: time.Minute})
	dir := tenant.NewDirectory(tenant.Config{Store: store, Master: master, Sources: sources,
		BaseURL: "https://sts.example", ShimURL: "https://sts.example/shim"})
	token := admin.NewToken("")
	w := &world{store: store, directory: dir, anchors: tree.Folder(t.TempDir()),
		exchanger: exchange.New(exchange.Config{Directory: dir, Log: log, Claims: store})}
	trees := tree.New(tree.Config{Store: store, Master: master, Anchors: w.anchors, Logger: quiet})
	w.trees = trees
	svc := admin.New(admin.Config{Directory: dir, Store: store, Log: log, Judge: w.exchanger,
		Copies: lossy{store, &w.lost}, Trees: trees, Prober: prober{},
		Pruner: retain.New(retain.Config{Store: store, Trees: trees, Keys: trees, Recorder: log,
			Archive: t.TempDir(), Logger: quiet, Logs: func(ctx context.Context) ([]retain.Log, error) {
				acme, err := dir.Origin(ctx, "acme")
				return []retain.Log{{Origin: acme}, {Origin: dir.PlatformOrigin()}}, err
			}}),
		PlatformTokenHash: admin.HashToken(token)})
	w.watch = newWatch(t, adminapi.New(adminapi.Config{Service: svc, Version: "v1.2.3", Logger: quiet}))
	t.Cleanup(func() { // when the process has ended
		store.Set(storagetest.Position, storagetest.Works)
		store.Set(storagetest.Rows, storagetest.Works)
		all, err := dir.Tenants(context.Background())
		if err != nil {
			t.Errorf("read tenants: %v", err)
		}
		audittest.CheckLog(t, log, ledger.Platform)
		for _, e := range all {
			audittest.CheckLog(t, log, e.ID)
		}
	})
	server := httptest.NewServer(w.watch)
	t.Cleanup(func() {
		server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = log.Close(ctx)
		sources.Close()
	})
	w.url = server.URL
	w.Client = w.as(token)
	return w
}

func (w *world) as(token string) *operator.Client {
	return &operator.Client{BaseURL: w.url, Token: token}
}

const file = `apiVersion: bursar/v1
tenant: acme
issuers:
  - {name: sso, issuer: "https://sso.example", jwks_uri: "https://sso.example/jwks",
     audiences: ["https://sts.example/t/acme"], use: [workload]}
clients:
  - {id: bot, kind: agent, auth: {method: client_secret_basic}}
  - {id: ci, kind: agent, identities: [{issuer: sso, subject: ci}]}
tools:
  - {name: payments, resource: "https://pay.example", actions: [refunds.read]}
  - name: legacy
    resource: https://sts.example/shim/t/acme/legacy
    actions: [notes.read, notes.create]
    upstream:
      url: https://legacy.example
      inject: [{in: header, name: X-Key, secret: legacy-key}]
      allow:
        - {action: notes.read, methods: [GET], path: "/v1/notes/{id}", query: [page]}
        - {action: notes.create, methods: [POST], path: /v1/notes, max_body: 1KiB, json: {/kind: [note]}}
policies:
  - {id: notes, clients: [bot], delegates: [ci], tool: legacy, actions: [notes.read], condition: depth == 0}
  - {id: read, clients: [bot], tool: payments, actions: [refunds.read]}
`

func ok[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t *testing.T, err error, status int, code string) *operator.Problem {
	t.Helper()
	p, isProblem := errors.AsType[*operator.Problem](err)
	if !isProblem || p.Status != status || p.Code() != code {
		t.Fatalf("answered %v, want %d %s", err, status, code)
	}
	return p
}

// TestTheClientAndTheServerAgree makes every call of the client; the watch holds every answer against the description.
func TestTheClientAndTheServerAgree(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	if v := ok[*operator.Version](t)(w.Version(ctx)); v.Version != "v1.2.3" || !strings.HasPrefix(v.Go, "go") {
		t.Errorf("version %+v", v)
	}
	ok[json.RawMessage](t)(w.OpenAPI(ctx))
	dry := ok[*operator.Applied](t)(w.Apply(ctx, "acme", []byte(file), operator.ApplyOptions{DryRun: true}))
	made := ok[*operator.Applied](t)(w.Apply(ctx, "acme", []byte(file), operator.ApplyOptions{}))
	if !dry.Created || !dry.DryRun || dry.Revision != 0 || !made.Created || made.DryRun || made.Revision == 0 ||
		len(made.Changes) != 7 ||
		made.Changes[0].Ref != (operator.Ref{Kind: operator.KindIssuer, ID: "sso"}) ||
		made.Changes[0].Action != operator.ActionCreate {
		t.Errorf("%+v, then %+v", dry, made)
	}
	if all := ok[[]operator.TenantEntry](t)(w.Tenants(ctx)); len(all) != 1 ||
		all[0].Issuer != "https://sts.example/t/acme" {
		t.Errorf("tenants %+v", all)
	}
	for _, kind := range operator.Kinds() {
		all := ok[[]json.RawMessage](t)(w.Objects(ctx, "acme", kind))
		if len(all) == 0 {
			t.Errorf("no %s", kind)
		}
	}
	for ref, holds := range map[operator.Ref]string{
		{Kind: operator.KindClient, ID: "bot"}:    `"client_secret_basic"`,
		{Kind: operator.KindIssuer, ID: "sso"}:    `"https://sso.example/jwks"`,
		{Kind: operator.KindTool, ID: "payments"}: `"https://pay.example"`,
		{Kind: operator.KindPolicy, ID: "read"}:   `"refunds.read"`,
	} {
		if raw := ok[json.RawMessage](t)(w.Object(ctx, "acme", ref)); !strings.Contains(string(raw), holds) {
			t.Errorf("%s is %s", ref.Kind, raw)
		}
	}
	w.explanations(t)
	w.routes(t)
	w.vaults(t)
	w.credentials(t)
	w.revocations(t)
	w.logs(t)
	w.logKeysOf(t)
	w.losses(t)
	w.shimsOf(t)
	w.rewraps(t)
	w.prunings(t)
	w.backups(t)
	for path, methods := range w.watch.doc["paths"].(object) {
		for method, op := range methods.(object) {
			id, done := op.(object)["operationId"].(string), false
			for _, success := range []string{" 200", " 201", " 204"} {
				done = done || w.watch.seen[id+success]
			}
			if !done {
				t.Errorf("%s %s (%s) was never answered well", method, path, id)
			}
		}
	}
}

func (w *world) credentials(t *testing.T) {
	ctx := t.Context()
	secret := ok[*operator.NewSecret](t)(w.CreateSecret(ctx, "acme", "bot"))
	if all := ok[[]operator.Secret](t)(w.Secrets(ctx, "acme", "bot")); len(all) != 1 || all[0] != secret.Secret ||
		secret.ClientID != "bot" {
		t.Errorf("secrets %+v", all)
	}
	if err := w.DeleteSecret(ctx, "acme", "bot", secret.ID); err != nil {
		t.Error(err)
	}
	wantCode(t, w.DeleteSecret(ctx, "acme", "bot", secret.ID), 404, operator.CodeNotFound)
	_, err := w.CreateSecret(ctx, "acme", "ci")
	wantCode(t, err, 409, operator.CodeConflict)

	all := ok[[]operator.Key](t)(w.Keys(ctx, "acme"))
	if len(all) != 2 || all[0].State != operator.KeyNext || all[1].State != operator.KeyActive || !all[1].Until.IsZero() {
		t.Errorf("keys %+v", all)
	}
	ok[[]operator.Key](t)(w.RotateKeys(ctx, "acme", ""))
	after := ok[[]operator.Key](t)(w.RevokeKey(ctx, "acme", all[1].KeyID))
	if n := len(after); after[n-1].KeyID != all[1].KeyID || after[n-1].State != operator.KeyRevoked {
		t.Errorf("keys %+v", after)
	}
	_, err = w.RotateKeys(ctx, "acme", "HS256")
	if p := wantCode(t, err, 422, operator.CodeInvalid); len(p.Problems) != 1 {
		t.Errorf("problems %q", p.Problems)
	}

	made := ok[*operator.NewOperator](t)(w.CreateOperator(ctx, "acme",
		operator.OperatorRequest{Role: operator.RoleAuditor, TTL: "90m"}))
	if all := ok[[]operator.Operator](t)(w.Operators(ctx, "acme")); len(all) != 1 || all[0] != made.Operator ||
		made.Expires.Sub(made.Created) != 90*time.Minute {
		t.Errorf("operators %+v", all)
	}
	_, err = w.as(made.Token).CreateSecret(ctx, "acme", "bot")
	wantCode(t, err, 403, operator.CodeForbidden)
	_, err = w.as(made.Token).Tenant(ctx, "other")
	wantCode(t, err, 404, operator.CodeNotFound)
	_, err = w.Tenant(ctx, "other")
	wantCode(t, err, 404, operator.CodeNotFound)
	if err := w.DeleteOperator(ctx, "acme", made.ID); err != nil {
		t.Error(err)
	}
	_, err = w.as(made.Token).Tenant(ctx, "acme")
	wantCode(t, err, 401, operator.CodeUnauthenticated)

	top := ok[*operator.NewOperator](t)(w.CreatePlatformOperator(ctx, operator.OperatorRequest{Role: operator.RoleAdmin,
		TTL: "1h"}))
	if all := ok[[]operator.Operator](t)(w.as(top.Token).PlatformOperators(ctx)); len(all) != 1 {
		t.Errorf("operators %+v", all)
	}
	_, err = w.CreatePlatformOperator(ctx, operator.OperatorRequest{Role: "root", TTL: "soon"})
	if p := wantCode(t, err, 422, operator.CodeInvalid); len(p.Problems) != 2 {
		t.Errorf("problems %q", p.Problems)
	}
	if err := w.DeletePlatformOperator(ctx, top.ID); err != nil {
		t.Error(err)
	}
}

func (w *world) revocations(t *testing.T) {
	ctx := t.Context()
	target := operator.Target{Kind: operator.CutoffTenant}
	r := ok[*operator.Revoked](t)(w.Revoke(ctx, "acme", target))
	if r.Target != target || r.Seq != 1 || time.Since(r.At).Abs() > time.Minute {
		t.Errorf("revoked %+v", r)
	}
	if s := ok[*operator.Tenant](t)(w.Tenant(ctx, "acme")); !s.Disabled || s.Counts.Cutoffs != 1 ||
		s.Counts.Clients != 2 || s.Counts.Events <= r.Index {
		t.Errorf("tenant %+v", s)
	}
	on := ok[*operator.Revoked](t)(w.Enable(ctx, "acme", target))
	if !on.At.Equal(r.At) || on.Seq != 2 {
		t.Errorf("enabled %+v", on)
	}
	for _, cause := range operator.Causes() {
		r := ok[*operator.Revoked](t)(w.RevokeFor(ctx, "acme", operator.Revocation{
			Target: operator.Target{Kind: operator.CutoffRun, Value: ledger.NewID(time.Now())}, Cause: cause}))
		page := ok[*operator.Events](t)(w.Events(ctx, "acme", operator.EventQuery{After: r.Index, Limit: 1}))
		if text := string(page.Events[0].Claims); !strings.Contains(text, `"cause":"`+string(cause)+`"`) {
			t.Errorf("recorded %s", text)
		}
	}
	if !slices.Equal(admin.Causes(), words(operator.Causes())) {
		t.Errorf("the causes are %v", admin.Causes())
	}
	_, err := w.RevokeFor(ctx, "acme", operator.Revocation{Target: target, Cause: "free text"})
	wantCode(t, err, 422, operator.CodeInvalid)
	if all := ok[[]operator.Cutoff](t)(w.Cutoffs(ctx, "acme")); len(all) != 1+len(operator.Causes()) || all[0].Disabled ||
		all[0].Target != target {
		t.Errorf("cutoffs %+v", all)
	}
	_, err = w.Enable(ctx, "acme", operator.Target{Kind: operator.CutoffToken, Value: "abc"})
	wantCode(t, err, 422, operator.CodeInvalid)
	_, err = w.Revoke(ctx, "acme", operator.Target{Kind: operator.CutoffClient, Value: "bto"})
	wantCode(t, err, 404, operator.CodeNotFound)
}

func (w *world) logs(t *testing.T) {
	ctx := t.Context()
	page := ok[*operator.Events](t)(w.Events(ctx, "acme", operator.EventQuery{Limit: 2}))
	if len(page.Events) != 2 || page.Events[1].Index != 1 || page.Next != 2 ||
		!strings.Contains(string(page.Events[1].Claims), "urn:bursar:event:") {
		t.Errorf("events %+v", page)
	}
	rest := ok[*operator.Events](t)(w.Events(ctx, "acme", operator.EventQuery{After: -1, Wait: 30 * time.Second}))
	if len(rest.Events) != 1 || rest.Next != rest.Events[0].Index+1 {
		t.Errorf("events %+v", rest)
	}
	if none := ok[*operator.Events](t)(w.Events(ctx, "acme",
		operator.EventQuery{After: rest.Next})); none.Events == nil || len(none.Events) != 0 || none.Next != rest.Next {
		t.Errorf("events %+v", none)
	}
	ok[*operator.Events](t)(w.PlatformEvents(ctx, operator.EventQuery{}))
}

func words[T ~string](values []T) (all []string) {
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}
