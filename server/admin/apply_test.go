package admin_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

func TestApplyCreatesUpdatesAndPrunes(t *testing.T) {
	w := newWorld(t)
	made := w.apply("acme", file("acme", "bot", "old")+tool)
	if !made.Created || made.Revision == 0 || len(made.Edits) != 3 {
		t.Fatalf("created %+v", made)
	}
	again := w.apply("acme", file("acme", "bot", "old")+tool)
	if again.Created || len(again.Edits) != 0 || again.Revision != made.Revision {
		t.Errorf("applied again: %+v", again)
	}
	before := len(w.records(w.id("acme")))
	unmanaged := []ledger.Key{{Kind: "client", ID: "old"}, {Kind: "tool", ID: "payments"}}
	kept := w.apply("acme", file("acme", "bot"))
	if len(kept.Edits) != 0 || !slices.Equal(kept.Unmanaged, unmanaged) {
		t.Errorf("without prune: %+v", kept)
	}
	if after := len(w.records(w.id("acme"))); after != before {
		t.Errorf("%d events of applies that changed nothing", after-before)
	}
	done, err := w.prune("acme", file("acme", "bot"))
	if err != nil || len(done.Edits) != 2 {
		t.Fatalf("prune: %+v, %v", done, err)
	}
	if w.slept <= 0 || w.slept > 1100*time.Millisecond { // what takes their place is not hit by the cutoffs
		t.Errorf("prune waited %v", w.slept)
	}
	events := w.records(w.id("acme"))[before:]
	var names []string
	for _, e := range events {
		names = append(names, e.Name+" "+e.Body.Change.ID+e.Body.Cutoff.Value)
	}
	want := []string{"admin.client.delete old", "admin.tool.delete payments", "cutoff.set old",
		"cutoff.set https://pay.example", "cutoff.set payments"}
	if !slices.Equal(names, want) {
		t.Errorf("recorded %q, want %q", names, want)
	}
	_, err = w.svc.Apply(t.Context(), w.root("acme"), put(file("acme", "bot", "old")))
	wantKind(t, err, fault.Invalid) // the id of a deleted client is never used again
}

func TestApplyRecordsEachObjectOnceInItsCommit(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot")+tool)
	all, platform := w.records(w.id("acme")), w.records(ledger.Platform)
	count := map[string]int{}
	for _, e := range all {
		count[e.Name]++
		if e.Body.Outcome != audit.Allowed || e.Body.Operator.ID != "admin.token" ||
			e.Body.Request.IP != netip.MustParseAddr("192.0.2.1") || e.Body.Change.Before != "" ||
			e.Name != audit.LogKeyEvent && !strings.HasPrefix(e.Body.Change.After, "sha256:") {
			t.Errorf("recorded %s", e.raw)
		}
	}
	if count["admin.client.create"] != 1 || count["admin.tool.create"] != 1 || count["admin.signing-key.create"] != 2 ||
		count[audit.LogKeyEvent] != 2 || len(count) != 4 {
		t.Errorf("recorded %v", count)
	}
	if len(platform) != 1 || platform[0].Name != "admin.tenant.create" || platform[0].Body.Change.ID != "acme" {
		t.Errorf("the platform's log has %v", platform)
	}
	before := w.position("acme")
	w.apply("acme", strings.Replace(file("acme", "bot"), "client_secret_basic", "client_secret_post", 1))
	after := w.position("acme")
	last := w.records(w.id("acme"))[len(all):]
	if len(last) != 1 || last[0].Name != "admin.client.update" ||
		!slices.Equal(last[0].Body.Change.Fields, []string{"auth"}) ||
		last[0].Body.Change.Before == last[0].Body.Change.After {
		t.Errorf("recorded %v", last)
	}
	if after.Revision != before.Revision+1 || after.Index != before.Index+1 {
		t.Errorf("one change went from %+v to %+v", before, after)
	}
}

func TestApplyOfManyObjectsIsOneCommit(t *testing.T) {
	w := newWorld(t)
	ids := make([]string, 700)
	for i := range ids {
		ids[i] = fmt.Sprintf("client-%03d", i)
	}
	done := w.apply("acme", file("acme", ids...)+tool)
	if len(done.Edits) != 701 || done.Revision != 1 {
		t.Fatalf("%d edits, revision %d", len(done.Edits), done.Revision)
	}
	total := int64(0)
	for _, e := range w.records(w.id("acme")) {
		total += e.Body.Count
		if e.Name == "admin.client.create" && (e.Body.Count != 700 || !strings.HasPrefix(e.Body.Change.After, "sha256:")) {
			t.Errorf("recorded %s", e.raw)
		}
	}
	if total != 700+1+2 {
		t.Errorf("the events stand for %d changes", total)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	w := newWorld(t)
	root, empty := w.root("acme"), w.position("")
	dry, err := w.svc.Apply(t.Context(), root, admin.ApplyRequest{File: []byte(file("acme", "bot")), DryRun: true})
	if err != nil || !dry.Created || !dry.DryRun || dry.Revision != 0 || len(dry.Edits) != 1 {
		t.Fatalf("%+v, %v", dry, err)
	}
	if p := w.position(""); p.Index != empty.Index || p.Revision != empty.Revision {
		t.Fatalf("the platform is at %+v", p)
	}
	w.apply("acme", file("acme", "bot"))
	before := w.position("acme")
	dry, err = w.svc.Apply(t.Context(), root, admin.ApplyRequest{File: []byte(file("acme", "next")), DryRun: true,
		Prune: true})
	if err != nil || dry.Created || len(dry.Edits) != 2 || dry.Revision != before.Revision {
		t.Fatalf("%+v, %v", dry, err)
	}
	if after := w.position("acme"); after.Index != before.Index || after.Revision != before.Revision ||
		after.Cutoffs != before.Cutoffs {
		t.Errorf("a dry run went from %+v to %+v", before, after)
	}
	_, err = w.svc.Apply(t.Context(), root, admin.ApplyRequest{File: []byte(file("acme", "-")), DryRun: true})
	wantKind(t, err, fault.Invalid)
}

func TestApplyRefuses(t *testing.T) {
	w := newWorld(t)
	done := w.apply("acme", file("acme", "bot"))
	for name, row := range map[string]struct {
		slug string
		r    admin.ApplyRequest
		want fault.Kind
	}{
		"another tenant's file":            {"acme", put(file("other", "bot")), fault.Invalid},
		"what is no file":                  {"acme", put("\x00"), fault.Invalid},
		"an older revision":                {"acme", at(done.Revision+1, file("acme", "x")), fault.Conflict},
		"an older revision without change": {"acme", at(99, file("acme", "bot")), fault.Conflict},
		"a revision of no tenant":          {"fresh", at(1, file("fresh", "x")), fault.Conflict},
		"a slug that is none":              {"-", put(file("-")), fault.Invalid},
		"a policy without client and tool": {"acme",
			put(file("acme") + "policies: [{id: p, clients: [x], tool: y, actions: [z]}]\n"), fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.position("acme")
			_, err := w.svc.Apply(t.Context(), w.root(row.slug), row.r)
			wantKind(t, err, row.want)
			if row.want == fault.Invalid && len(fault.As(err).Problems) == 0 {
				t.Error("no problem is listed")
			}
			if w.position("acme").Index != before.Index {
				t.Error("something was written")
			}
		})
	}
}

// TestConcurrentAppliesLoseNothing lets two processes apply 64 files at once, none of which knows of the others.
func TestConcurrentAppliesLoseNothing(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "first"))
	processes := []*process{w.process, w.start()}
	var wg sync.WaitGroup
	revisions := make([]int64, 64)
	for i := range revisions {
		p := processes[i%2]
		op := w.signIn(p, "acme", w.platform)
		wg.Go(func() {
			done, err := p.svc.Apply(t.Context(), op, put(file("acme", fmt.Sprintf("bot-%d", i))))
			if err != nil {
				t.Errorf("apply %d: %v", i, err)
				return
			}
			revisions[i] = done.Revision
		})
	}
	wg.Wait()
	slices.Sort(revisions)
	for i, r := range revisions {
		if r != int64(i)+2 {
			t.Fatalf("revisions %v", revisions)
		}
	}
	objects, err := w.svc.Objects(t.Context(), w.root("acme"), "client")
	if err != nil || len(objects) != 65 {
		t.Errorf("%d clients, %v", len(objects), err)
	}
	created := 0
	for _, e := range w.records(w.id("acme")) {
		if e.Name == "admin.client.create" {
			created++
		}
	}
	if created != 65 {
		t.Errorf("%d creations are recorded", created)
	}
}

// TestOneOfSeveralAppliesAtARevisionWins compares and sets.
func TestOneOfSeveralAppliesAtARevisionWins(t *testing.T) {
	w := newWorld(t)
	revision := w.apply("acme", file("acme", "first")).Revision
	processes := []*process{w.process, w.start()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 16 {
		p := processes[i%2]
		op := w.signIn(p, "acme", w.platform)
		wg.Go(func() {
			_, err := p.svc.Apply(t.Context(), op, at(revision, file("acme", fmt.Sprintf("bot-%d", i))))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case fault.As(err).Kind != fault.Conflict:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d applies won", won)
	}
}

// TestACreationRaceHasOneWinner creates one slug 16 times at once, through two processes.
func TestACreationRaceHasOneWinner(t *testing.T) {
	w := newWorld(t)
	processes := []*process{w.process, w.start()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	created := 0
	for i := range 16 {
		p := processes[i%2]
		op := w.signIn(p, "acme", w.platform)
		wg.Go(func() {
			done, err := p.svc.Apply(t.Context(), op, put(file("acme", fmt.Sprintf("bot-%d", i))))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case done.Created:
				created++
			}
		})
	}
	wg.Wait()
	if created != 1 {
		t.Errorf("created %d times", created)
	}
	if n := len(w.records(ledger.Platform)); n != 1 {
		t.Errorf("the platform's log has %d events", n)
	}
	objects, err := w.svc.Objects(t.Context(), w.root("acme"), "client")
	if err != nil || len(objects) != 16 {
		t.Errorf("%d clients, %v", len(objects), err)
	}
	if list, err := w.svc.Tenants(t.Context(), w.root("")); err != nil || len(list) != 1 || list[0].Tenant != "acme" {
		t.Errorf("tenants %v, %v", list, err)
	}
}

func TestManyTenantsAreCreatedAtOnce(t *testing.T) {
	w := newWorld(t)
	processes := []*process{w.process, w.start()}
	var wg sync.WaitGroup
	for i := range 24 {
		slug, p := fmt.Sprintf("t-%d", i), processes[i%2]
		op := w.signIn(p, slug, w.platform)
		wg.Go(func() {
			done, err := p.svc.Apply(t.Context(), op, put(file(slug, "bot")))
			if err != nil || !done.Created {
				t.Error(done, err)
			}
		})
	}
	wg.Wait()
	if list, err := w.svc.Tenants(t.Context(), w.root("")); err != nil || len(list) != 24 {
		t.Errorf("%d tenants, %v", len(list), err)
	}
}

// TestAStoreThatFailsChangesNothing makes every change while the store refuses to commit.
func TestAStoreThatFailsChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	_, _, err := w.svc.CreateSecret(t.Context(), w.root("acme"), "bot")
	if err != nil {
		t.Fatal(err)
	}
	w.put("acme", "crm", "one")
	secrets, _ := w.svc.Secrets(t.Context(), w.root("acme"), "bot")
	w.token("acme", admin.Auditor)
	list, _ := w.svc.Operators(t.Context(), w.root("acme"))
	keys, _ := w.svc.Keys(t.Context(), w.root("acme"))
	if _, err := w.svc.Revoke(t.Context(), w.root("acme"), "client", "bot", ""); err != nil {
		t.Fatal(err)
	}
	changes := map[string]func(*process, admin.Operator) error{
		"apply": func(p *process, o admin.Operator) error {
			_, err := p.svc.Apply(t.Context(), o, put(file("acme", "more")))
			return err
		},
		"create secret": func(p *process, o admin.Operator) error {
			_, _, err := p.svc.CreateSecret(t.Context(), o, "bot")
			return err
		},
		"delete secret": func(p *process, o admin.Operator) error {
			return p.svc.DeleteSecret(t.Context(), o, "bot", secrets[0].ID)
		},
		"rotate": func(p *process, o admin.Operator) error { _, err := p.svc.RotateKeys(t.Context(), o, ""); return err },
		"revoke key": func(p *process, o admin.Operator) error {
			_, err := p.svc.RevokeKey(t.Context(), o, keys[0].ID)
			return err
		},
		"revoke": func(p *process, o admin.Operator) error {
			_, err := p.svc.Revoke(t.Context(), o, "tenant", "", "")
			return err
		},
		"enable": func(p *process, o admin.Operator) error {
			_, err := p.svc.Enable(t.Context(), o, "client", "bot")
			return err
		},
		"operator": func(p *process, o admin.Operator) error {
			_, _, err := p.svc.CreateOperator(t.Context(), o, admin.Admin, admin.MinTTL)
			return err
		},
		"put secret": func(p *process, o admin.Operator) error {
			_, err := p.svc.PutSecret(t.Context(), o, secretDraft("crm", "two"))
			return err
		},
		"activate secret": func(p *process, o admin.Operator) error {
			_, err := p.svc.ActivateSecret(t.Context(), o, "crm", 0, nil)
			return err
		},
		"disable secret": func(p *process, o admin.Operator) error {
			_, err := p.svc.DisableSecret(t.Context(), o, "crm")
			return err
		},
		"destroy secret": func(p *process, o admin.Operator) error {
			_, err := p.svc.DestroySecret(t.Context(), o, "crm", 0, false)
			return err
		},
		"shred secrets": func(p *process, o admin.Operator) error {
			_, err := p.svc.ShredSecrets(t.Context(), o, "acme")
			return err
		},
		"rotate vault": func(p *process, o admin.Operator) error {
			_, err := p.svc.RotateVaultKey(t.Context(), o)
			return err
		},
		"delete operator": func(p *process, o admin.Operator) error {
			return p.svc.DeleteOperator(t.Context(), o, list[0].ID)
		},
	}
	root := w.root("acme")
	rows, before, _ := w.store.Rows(t.Context(), w.id("acme"))
	w.store.Set(storagetest.Commit, storagetest.NotApplied)
	w.deadline = 50 * time.Millisecond
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			p := w.start() // whose log does not know yet that the store is away
			err := change(p, root)
			if !errors.Is(err, fault.ErrUnavailable) {
				t.Fatal(err)
			}
			wantKind(t, err, fault.Unavailable)
			now, after, _ := w.store.Rows(t.Context(), w.id("acme"))
			if after.Index != before.Index || after.Revision != before.Revision || after.Cutoffs != before.Cutoffs ||
				len(now) != len(rows) {
				t.Errorf("from %+v to %+v", before, after)
			}
		})
	}
}
