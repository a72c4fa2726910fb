package admin_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// under starts a process with another master key.
func (w *world) under(m keys.Master) *process {
	w.t.Helper()
	w.master = m
	return w.start()
}

func (w *world) rewrap(p *process, r admin.RewrapRequest) *admin.Rewrapped {
	w.t.Helper()
	done, err := p.svc.Rewrap(w.t.Context(), w.signIn(p, "", w.platform), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

// opens reports whether a process has the signing keys of a tenant, its log's, and its secret.
func (w *world) opens(p *process, slug string) bool {
	w.t.Helper()
	v, err := p.dir.Bare(w.t.Context(), slug)
	if err != nil {
		w.t.Fatal(err)
	}
	if !v.Readable() {
		return false
	}
	_, err = p.svc.LogKeys(w.t.Context(), w.signIn(p, slug, w.platform))
	return err == nil && w.call(p, slug, "crm") == "value of "+slug
}

// TestTheMasterKeyIsReplaced kills the work between two tenants, and amid the commits of two.
func TestTheMasterKeyIsReplaced(t *testing.T) {
	w := newWorld(t)
	slugs := []string{"acme", "globex", "initech", "umbrella"}
	for _, slug := range slugs {
		w.apply(slug, file(slug, "bot"))
		w.active(slug, "crm", "value of "+slug)
	}
	old, next := w.master, newMasterKey(t)
	both, err := keys.NewMasters(next, old)
	if err != nil {
		t.Fatal(err)
	}
	first := w.under(both)
	w.process = first
	for _, slug := range slugs {
		if !w.opens(first, slug) {
			t.Fatalf("before, %s does not open", slug)
		}
	}
	done := w.rewrap(first, admin.RewrapRequest{Limit: 2})
	if done.Master != next.ID() || done.Looked != 3 || done.Changed != 3 || done.Next != "globex" ||
		len(done.Failed) != 0 {
		t.Fatalf("first %+v", done)
	}
	w.deadline = 50 * time.Millisecond
	killed := w.under(both)
	w.signIn(killed, "", w.platform)
	w.store.Set(storagetest.Commit, storagetest.Applied)
	if done = w.rewrap(killed, admin.RewrapRequest{}); len(done.Failed) != 2 || done.Changed != 0 {
		t.Errorf("what was not confirmed was not told: %+v", done)
	}
	w.store.Set(storagetest.Commit, storagetest.Works)
	w.deadline = time.Minute
	second := w.under(both)
	for _, slug := range slugs {
		if !w.opens(second, slug) {
			t.Errorf("meanwhile, %s does not open", slug)
		}
	}
	done = w.rewrap(second, admin.RewrapRequest{})
	if done.Looked != 5 || done.Changed != 0 || done.Next != "" || len(done.Failed) != 0 { // the store had it
		t.Errorf("then %+v", done)
	}
	if done = w.rewrap(second, admin.RewrapRequest{}); done.Changed != 0 || done.Looked != 5 {
		t.Errorf("again %+v", done)
	}
	alone := w.under(next)
	for _, slug := range slugs {
		if !w.opens(alone, slug) {
			t.Errorf("with the new key alone, %s does not open", slug)
		}
		if w.opens(w.under(old), slug) {
			t.Errorf("the old key still opens %s", slug)
		}
		if n := w.count(slug, "admin.data-key.rewrap"); n != 3 {
			t.Errorf("%s has %d records", slug, n)
		}
	}
	w.master = next
	if done = w.rewrap(alone, admin.RewrapRequest{All: true}); done.Changed != 5 {
		t.Errorf("all %+v", done)
	}
}

func newMasterKey(t *testing.T) keys.Master {
	t.Helper()
	m, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A tenant whose keys do not open, or whose log must not be written, keeps no other from being done.
func TestATenantThatDoesNotOpenIsTold(t *testing.T) {
	w := newWorld(t)
	for _, slug := range []string{"acme", "globex", "initech"} {
		w.apply(slug, file(slug, "bot"))
	}
	rows, at, err := w.store.Rows(t.Context(), w.id("globex"), keys.KindDEK)
	if err != nil {
		t.Fatal(err)
	}
	swapped := slices.Clone(rows[:1]) // the data key of one purpose in the place of another's
	swapped[0].Value = rows[1].Value
	w.dirty("globex", ledger.Change{Expect: at.Revision, Put: swapped})
	both, err := keys.NewMasters(newMasterKey(t), w.master)
	if err != nil {
		t.Fatal(err)
	}
	p := w.under(both)
	done := w.rewrap(p, admin.RewrapRequest{})
	if done.Looked != 4 || done.Changed != 3 || len(done.Failed) != 1 || done.Failed[0].Tenant != "globex" ||
		done.Failed[0].Why == "" {
		t.Errorf("%+v", done)
	}
}

// dirty makes a change that no server makes.
func (w *world) dirty(slug string, c ledger.Change) {
	w.t.Helper()
	v, err := w.dir.Fresh(w.t.Context(), slug)
	if err != nil {
		w.t.Fatal(err)
	}
	e := audit.Event{Name: audit.WriterStart, Body: audit.Body{Outcome: audit.Allowed}} // which says nothing of it
	if _, err := w.log.Change(w.t.Context(), v.Origin(), c, e); err != nil {
		w.t.Fatal(err)
	}
}

func TestOnlyThePlatformReplacesTheMasterKey(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	for _, token := range []string{w.token("", admin.Auditor), w.platform} {
		p := w.process
		_, err := p.svc.Rewrap(context.Background(), w.signIn(p, "", token), admin.RewrapRequest{})
		if (err == nil) != (token == w.platform) || err != nil && fault.As(err).Kind != fault.Forbidden {
			t.Error(err)
		}
	}
	op := w.signIn(w.process, "acme", w.token("acme", admin.Admin))
	_, err := w.svc.Rewrap(t.Context(), op, admin.RewrapRequest{})
	wantKind(t, err, fault.Forbidden)
}
