package tenant_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tenant"
)

// edits are what a draft changes, in its order.
func edits(d *tenant.Draft) []string {
	var all []string
	for _, e := range d.Edits {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", e.Action, e.Kind, e.ID, strings.Join(e.Fields, ","))))
	}
	return all
}

func names(keys []ledger.Key) []string {
	var all []string
	for _, k := range keys {
		all = append(all, k.Kind+"/"+k.ID)
	}
	return all
}

func newAcme(t *testing.T) *servertest.World {
	t.Helper()
	w := servertest.New(t, servertest.Options{})
	w.Create(servertest.Acme())
	return w
}

func draft(t *testing.T, w *servertest.World, file string, prune bool) *tenant.Draft {
	t.Helper()
	d, err := w.Draft(file, prune)
	if err != nil {
		t.Fatal(err, servertest.Problems(err))
	}
	return d
}

func TestADraftOfTheSameFileChangesNothing(t *testing.T) {
	w := newAcme(t)
	for _, prune := range []bool{false, true} {
		if d := draft(t, w, servertest.Acme(), prune); len(d.Edits)+len(d.Unmanaged) != 0 || !d.Change.Empty() {
			t.Errorf("%+v", d)
		}
	}
}

func TestWhatAFileDoesNotNameIsKeptUnlessPruned(t *testing.T) {
	w := newAcme(t)
	w.Secret("payments-api")
	smaller := servertest.Acme(
		"  - {id: mail-night, clients: [ap-bot], tool: mail, actions: [send], condition: \"request.hour_utc > 24\"}\n", "",
		"  - {name: mail, resource: \"https://tools.example/mail\", actions: [send]}\n", "",
		"  - {id: payments-api, kind: resource_server, tools: [payments], auth: {method: client_secret_basic}}\n", "",
		"ttl: 2m", "ttl: 3m", "max_ttl: 1m", "max_ttl: 1m, disabled: true")
	kept := draft(t, w, smaller, false)
	want := []string{"update tool/ledger disabled", "update policy/payments-self ttl"}
	if got := edits(kept); !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
	want = []string{"client/payments-api", "tool/mail", "policy/mail-night"}
	if got := names(kept.Unmanaged); !slices.Equal(got, want) {
		t.Errorf("keeps %q, want %q", got, want)
	}
	if len(kept.Change.Delete)+len(kept.Change.Cut) != 0 {
		t.Errorf("deletes %v, cuts %v", kept.Change.Delete, kept.Change.Cut)
	}

	pruned := draft(t, w, smaller, true)
	want = []string{"delete client/payments-api", "delete tool/mail", "update tool/ledger disabled",
		"delete policy/mail-night", "update policy/payments-self ttl"}
	if got := edits(pruned); !slices.Equal(sorted(got), sorted(want)) {
		t.Errorf("changes %q, want %q", got, want)
	}
	want = []string{"client/payments-api", "client_secret/payments-api", "policy/mail-night", "tool/mail"}
	if got := names(pruned.Change.Delete); !slices.Equal(sorted(got), want) {
		t.Errorf("deletes %q, want %q", got, want)
	}
	var cut []string
	for _, c := range pruned.Change.Cut {
		if c.Disable || c.Keep != revoke.Keep {
			t.Errorf("cuts %+v", c)
		}
		cut = append(cut, c.Kind+"/"+c.ID)
	}
	want = []string{"client/payments-api", "tool/https://tools.example/mail", "tool/mail"}
	if !slices.Equal(sorted(cut), want) {
		t.Errorf("cuts %q, want %q", cut, want)
	}
	w.Commit("acme", pruned.Change)

	// The id of a deleted client is gone for good; names of other things are free.
	_, err := w.Draft(servertest.Acme(), false)
	if got := servertest.Problems(err); len(got) != 1 ||
		got[0] != "clients[5].id: belonged to a client that was deleted and cannot be used again" {
		t.Errorf("a deleted client comes back: %v %q", err, got)
	}
	v, err := w.Directory.Fresh(t.Context(), "acme")
	if err != nil || !v.Retired("payments-api") || v.Retired("ap-bot") {
		t.Errorf("retired: %v %v", v.Retired("payments-api"), err)
	}
}

func sorted(all []string) []string { return slices.Sorted(slices.Values(all)) }

func TestDeletingWhatAPolicyNamesIsRefused(t *testing.T) {
	w := newAcme(t)
	for _, row := range []struct{ gone, want string }{
		{"  - {id: other-bot, kind: agent, identities: " +
			"[{issuer: cluster, subject: \"system:serviceaccount:prod:other-bot\"}]}\n",
			"policies[2].clients[1]: is not a client of this tenant"},
		{"  - {name: mail, resource: \"https://tools.example/mail\", actions: [send]}\n",
			"policies[3].tool: is not a tool of this tenant"},
	} {
		_, err := w.Draft(servertest.Acme(row.gone, ""), true)
		if got := servertest.Problems(err); !slices.Equal(got, []string{row.want}) {
			t.Errorf("%v %q, want %q", err, got, row.want)
		}
	}
}

// What is disabled after a change was drafted is not led around by it.
func TestADraftKnowsWhatIsDisabled(t *testing.T) {
	servertest.EachStore(t, func(t *testing.T, w *servertest.World) {
		w.Create(servertest.Acme())
		first := draft(t, w, servertest.Acme("tools.example/mail", "tools.example/post"), false)
		commit := func(d *tenant.Draft) error {
			_, err := w.Log.Change(t.Context(), audit.Origin{Tenant: w.ID("acme"), Issuer: servertest.BaseURL + "/t/acme"},
				d.Change, audit.Event{Name: audit.CutoffEnable, Body: audit.Body{Outcome: audit.Allowed,
					Cutoff: audit.Cutoff{Kind: "tenant"}, Operator: audit.Operator{ID: "test"}}})
			return err
		}
		w.Cut("acme", "tool", "mail", true)
		if err := commit(first); !errors.Is(err, fault.ErrConflict) {
			t.Errorf("the tool was disabled in between, and the change made: %v", err)
		}
		second := draft(t, w, servertest.Acme("ttl: 2m", "ttl: 3m"), false)
		w.Cut("acme", "jti", "some-token", false)
		if err := commit(second); err != nil {
			t.Errorf("a token was revoked in between, and the change not made: %v", err)
		}
	})
}

// A change that was drafted on an older configuration is not made.
func TestADraftIsOfOneRevision(t *testing.T) {
	w := newAcme(t)
	first := draft(t, w, servertest.Acme("ttl: 2m", "ttl: 3m"), false)
	w.Apply(servertest.Acme("ttl: 2m", "ttl: 4m"), false)
	_, err := w.Store.Commit(t.Context(), w.ID("acme"),
		ledger.Commit{Writer: "w", First: 1, Entries: [][]byte{[]byte("{}")}, Change: first.Change})
	if !errors.Is(err, fault.ErrConflict) {
		t.Errorf("committed: %v", err)
	}
}

func TestAToolsAlgorithmGetsKeysWithTheTool(t *testing.T) {
	w := newAcme(t)
	file := servertest.Acme("actions: [send]}", "actions: [send], signing_alg: EdDSA}")
	d := draft(t, w, file, false)
	keys := 0
	for _, row := range d.Change.Put {
		if row.Kind == "key" {
			keys++
		}
	}
	if keys != 2 {
		t.Errorf("%d keys are made, want one to sign and one to follow it", keys)
	}
	w.Commit("acme", d.Change)
	v, err := w.Directory.Fresh(t.Context(), "acme")
	if err != nil || !v.Ring.Has("EdDSA") || !v.Ring.Has("ES256") {
		t.Fatalf("the ring has %v: %v", v.Ring.Algs(), err)
	}
	if d := draft(t, w, file, false); !d.Change.Empty() {
		t.Errorf("the second draft changes %+v", d.Change)
	}
}

// A platform that opens less than before still lets the tenant be read, and mended.
func TestALowerCeilingDoesNotLockATenantOut(t *testing.T) {
	w := newAcme(t)
	low := tenant.NewDirectory(tenant.Config{Store: w.Store, Master: w.Master, Sources: newSources(w),
		BaseURL: servertest.BaseURL, Now: w.Clock.Now})
	v, err := low.Fresh(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	f, err := tenant.ParseFile([]byte(servertest.Acme()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := low.Draft(v, f, false); len(servertest.Problems(err)) != 4 {
		t.Errorf("drafted: %v %q", err, servertest.Problems(err))
	}
}
