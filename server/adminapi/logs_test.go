package adminapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/backup"
	"github.com/bursar-sts/bursar/server/ledger"
)

// logKeysOf rotates and revokes the keys of both logs.
func (w *world) logKeysOf(t *testing.T) {
	ctx := t.Context()
	for name, log := range map[string]struct {
		list, rotate func(context.Context) ([]operator.LogKey, error)
		revoke       func(context.Context, string) ([]operator.LogKey, error)
	}{
		"platform": {w.PlatformLogKeys, w.RotatePlatformLogKeys, w.RevokePlatformLogKey},
		"acme": {func(ctx context.Context) ([]operator.LogKey, error) { return w.LogKeys(ctx, "acme") },
			func(ctx context.Context) ([]operator.LogKey, error) { return w.RotateLogKeys(ctx, "acme") },
			func(ctx context.Context, kid string) ([]operator.LogKey, error) {
				return w.RevokeLogKey(ctx, "acme", kid)
			}},
	} {
		first := ok[[]operator.LogKey](t)(log.list(ctx))
		if len(first) != 2 || first[0].Use != operator.LogEvents || first[1].Use != operator.LogCheckpoints ||
			first[0].State != operator.KeyActive || first[0].Alg != "EdDSA" {
			t.Errorf("%s: %+v", name, first)
		}
		second := ok[[]operator.LogKey](t)(log.rotate(ctx))
		third := ok[[]operator.LogKey](t)(log.revoke(ctx, second[2].KeyID))
		if len(second) != 4 || len(third) != 5 || third[3].State != operator.KeyRevoked ||
			third[3].KeyID != second[2].KeyID || second[3].Until.Sub(second[3].Since).Hours() != 7*24 {
			t.Errorf("%s: %+v\n%+v", name, second, third)
		}
		_, err := log.revoke(ctx, "none")
		wantCode(t, err, 404, operator.CodeNotFound)
	}
}

// losses accepts the loss of what the anchors know and the store does not.
func (w *world) losses(t *testing.T) {
	ctx := t.Context()
	origin := ok[audit.Origin](t)(w.directory.Origin(ctx, "acme"))
	for _, log := range []struct {
		audit.Origin
		accept func(context.Context) (*operator.Loss, error)
		read   func(context.Context, operator.EventQuery) (*operator.Events, error)
		origin string
	}{
		{origin, func(ctx context.Context) (*operator.Loss, error) { return w.AcceptLoss(ctx, "acme") },
			func(ctx context.Context, q operator.EventQuery) (*operator.Events, error) {
				return w.Events(ctx, "acme", q)
			},
			"sts.example/t/acme/log"},
		{w.directory.PlatformOrigin(), w.AcceptPlatformLoss, w.PlatformEvents, "sts.example/log"},
	} {
		before := ok[*operator.Events](t)(log.read(ctx, operator.EventQuery{Limit: operator.MaxEvents})).Next
		if err := w.anchors.Save(log.Tenant, ledger.Head{Epoch: 1, Size: 1000, Root: [32]byte{7},
			Note: []byte("signed")}); err != nil {
			t.Fatal(err)
		}
		l := ok[*operator.Loss](t)(log.accept(ctx))
		if l.Last != (operator.Head{Origin: log.origin, Epoch: 1, Size: 1000, Checkpoint: "signed"}) ||
			l.Recorded < before || l.Now.Epoch != 2 || l.Now.Origin != log.origin+"/e2" || l.Now.Size <= l.Recorded ||
			!strings.HasPrefix(l.Now.Checkpoint, l.Now.Origin+"\n") || !strings.Contains(l.Reason, "rolled back") {
			t.Errorf("%s: accepted %+v after %d entries", log.origin, l, before)
		}
		// Refusals of before may have been counted meanwhile.
		last := ok[*operator.Events](t)(log.read(ctx, operator.EventQuery{After: l.Recorded, Limit: 1}))
		if len(last.Events) != 1 || !strings.Contains(string(last.Events[0].Claims), `"urn:bursar:event:log.epoch:v1"`) ||
			!strings.Contains(string(last.Events[0].Claims), `"size":1000`) {
			t.Errorf("%s: recorded %+v", log.origin, last)
		}
		_, err := log.accept(ctx)
		if p := wantCode(t, err, 409, operator.CodeConflict); !strings.Contains(p.Detail, "misses nothing") {
			t.Errorf("refused with %q", p.Detail)
		}
	}
}

// prunings prune both logs, the platform's of its first 256 events.
func (w *world) prunings(t *testing.T) {
	ctx := t.Context()
	for range 150 { // each is recorded, and so is its end
		made := ok[*operator.NewOperator](t)(w.CreatePlatformOperator(ctx, operator.OperatorRequest{
			Role: operator.RoleAuditor, TTL: "1h"}))
		if err := w.DeletePlatformOperator(ctx, made.ID); err != nil {
			t.Fatal(err)
		}
	}
	ok[ledger.Head](t)(w.trees.Head(ctx, w.directory.PlatformOrigin()))
	if left := ok[*operator.Pruned](t)(w.PrunePlatformLog(ctx, operator.PruneRequest{Index: 300})); left.First != 256 {
		t.Errorf("the platform's log begins with %d", left.First)
	}
	page := ok[*operator.Events](t)(w.PlatformEvents(ctx, operator.EventQuery{Limit: 10}))
	if page.Events[0].Index != 256 || page.Next != 266 {
		t.Errorf("its first page begins with %d and goes on with %d", page.Events[0].Index, page.Next)
	}
	before := operator.PruneRequest{Before: time.Now()}
	if left := ok[*operator.Pruned](t)(w.PruneLog(ctx, "acme", before)); left.First != 0 {
		t.Errorf("the log of acme begins with %d, and has one part", left.First)
	}
	for name, r := range map[string]operator.PruneRequest{"nothing": {}, "an index": {Index: -1},
		"a time to come": {Before: time.Now().Add(time.Hour)}} {
		_, err := w.PruneLog(ctx, "acme", r)
		if p := wantCode(t, err, 422, operator.CodeInvalid); len(p.Problems) != 1 {
			t.Errorf("%s: problems %q", name, p.Problems)
		}
	}
}

// backups copies the tenant and the platform.
func (w *world) backups(t *testing.T) {
	ctx := t.Context()
	for slug, write := range map[string]func(io.Writer) error{
		"acme": func(to io.Writer) error { return w.Backup(ctx, "acme", to) },
		"":     func(to io.Writer) error { return w.PlatformBackup(ctx, to) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		r, err := backup.Verify(&b)
		if err != nil {
			t.Fatal(err)
		}
		entry := ok[audit.Origin](t)(w.directory.Origin(ctx, "acme"))
		if slug == "" {
			entry = w.directory.PlatformOrigin()
		}
		if r.Slug != slug || r.Tenant != entry.Tenant || r.Issuer != entry.Issuer || r.Created.IsZero() != (slug == "") ||
			r.Snapshot.Position.Index == 0 || len(r.Snapshot.Rows) == 0 {
			t.Errorf("the backup of %q is of %+v", slug, r.Header)
		}
	}
	wantCode(t, w.Backup(ctx, "nobody", io.Discard), 404, operator.CodeNotFound)
	tenant := ok[*operator.NewOperator](t)(w.CreateOperator(ctx, "acme", operator.OperatorRequest{Role: operator.RoleAdmin,
		TTL: "1h"}))
	wantCode(t, w.as(tenant.Token).Backup(ctx, "acme", io.Discard), 403, operator.CodeForbidden)
}

// A backup that fails on its way has no end, and is not taken for one.
func TestABackupThatFailsHasNoEnd(t *testing.T) {
	w := newWorld(t)
	ok[*operator.Applied](t)(w.Apply(t.Context(), "acme", []byte(file), operator.ApplyOptions{}))
	w.lost.Store(true)
	var b bytes.Buffer
	if err := w.Backup(t.Context(), "acme", &b); !errors.Is(err, operator.ErrNoAnswer) {
		t.Errorf("%v", err)
	}
	if _, err := backup.Verify(&b); !errors.Is(err, backup.ErrFormat) {
		t.Errorf("what there is of it: %v", err)
	}
}

// lossy is a store that loses its entries while it is copied.
type lossy struct {
	backup.Source
	lost *atomic.Bool
}

func (l lossy) Events(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]ledger.Entry, error) {
	if l.lost.Load() {
		return nil, nil
	}
	return l.Source.Events(ctx, t, from, limit)
}
