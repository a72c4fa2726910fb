package admin_test

import (
	"slices"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

const sso = `issuers: [{name: sso, issuer: "https://sso.example", jwks_uri: "https://sso.example/jwks", ` +
	`audiences: ["https://sts.example/t/acme"], use: [subject]}]` + "\n"

func TestRevokeAndEnable(t *testing.T) {
	id := ledger.NewID(time.Now())
	for kind, value := range map[string]string{
		"jti": id, "lineage": id, "run": id, "client": "bot", "tool": "payments", "tenant": "",
		"issuer": "sso", "subject": "sso:alice",
	} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			w.apply("acme", file("acme", "bot")+tool+sso)
			before := w.position("acme")
			r, err := w.svc.Revoke(t.Context(), w.root("acme"), kind, value, "")
			if err != nil || r.Seq != 1 || r.Index != before.Index || !r.At.Equal(w.time().Truncate(time.Millisecond)) {
				t.Fatalf("%+v, %v", r, err)
			}
			final := slices.Contains([]string{"jti", "lineage", "run"}, kind)
			list, err := w.svc.Cutoffs(t.Context(), w.root("acme"))
			if err != nil || len(list) != 1 || list[0].Kind != kind || list[0].ID != value || list[0].Disabled == final ||
				list[0].Seq != r.Seq || !list[0].At.Equal(r.At) {
				t.Fatalf("%+v, %v", list, err)
			}
			events := w.records(w.id("acme"))
			last := events[len(events)-1]
			if last.Name != audit.CutoffSet || last.Body.Cutoff != (audit.Cutoff{Kind: kind, Value: value}) {
				t.Errorf("recorded %s", last.raw)
			}
			on, err := w.svc.Enable(t.Context(), w.root("acme"), kind, value)
			if final {
				wantKind(t, err, fault.Invalid)
				return
			}
			if err != nil || !on.At.Equal(r.At) || on.Seq != 2 || on.Index != r.Index+1 {
				t.Fatalf("%+v, %v", on, err)
			}
			if list, _ := w.svc.Cutoffs(t.Context(), w.root("acme")); len(list) != 1 || list[0].Disabled {
				t.Errorf("%+v", list)
			}
		})
	}
}

// Why something was revoked is recorded, as a code that the log knows and nothing else.
func TestTheCauseOfARevocationIsRecorded(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot", "old"))
	for _, cause := range append(admin.Causes(), "") {
		if _, err := w.svc.Revoke(t.Context(), w.root("acme"), "client", "bot", cause); err != nil {
			t.Fatal(err)
		}
		all := w.records(w.id("acme"))
		if last := all[len(all)-1]; string(last.Body.Cutoff.Cause) != cause {
			t.Errorf("%s: recorded %s", cause, last.raw)
		}
	}
	before := w.position("acme")
	for _, cause := range []string{"change", "because", "Compromised", "compromised "} {
		_, err := w.svc.Revoke(t.Context(), w.root("acme"), "client", "bot", cause)
		wantKind(t, err, fault.Invalid)
	}
	if w.position("acme") != before {
		t.Error("something was changed")
	}
	if _, err := w.prune("acme", file("acme", "bot")); err == nil { // bot is disabled, and old is deleted
		all := w.records(w.id("acme"))
		if last := all[len(all)-1]; last.Name != audit.CutoffSet || last.Body.Cutoff.Cause != audit.CauseChange {
			t.Errorf("recorded %s", last.raw)
		}
	} else {
		t.Error(err)
	}
}

// TestTokensIssuedAfterEnableAreNotHit asks the state that decides about tokens.
// TestTokensIssuedAfterEnableAreNotHit (T-54).
func TestTokensIssuedAfterEnableAreNotHit(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	if _, err := w.svc.Revoke(t.Context(), w.root("acme"), "client", "bot", ""); err != nil {
		t.Fatal(err)
	}
	issued := token.Claims{ClientID: "bot", Subject: "client:bot", ID: "1", Txn: "2"}
	hit := func(at time.Time) bool {
		issued.IssuedAt = at.Unix()
		v, err := w.dir.Fresh(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		_, hit := v.Cutoffs.Hits(issued, "payments")
		return hit
	}
	if !hit(w.dir.Now()) || !hit(w.dir.Now().Add(time.Minute)) {
		t.Error("a disabled client is not hit")
	}
	if _, err := w.svc.Enable(t.Context(), w.root("acme"), "client", "bot"); err != nil {
		t.Fatal(err)
	}
	if hit(w.dir.Now()) {
		t.Error("a token issued after enable is hit")
	}
	if !hit(w.dir.Now().Add(-time.Second)) {
		t.Error("a token issued before revoke is not hit any more")
	}
	if w.slept <= 0 || w.slept > 1100*time.Millisecond {
		t.Errorf("enable waited %v", w.slept)
	}
	waited := w.slept
	w.pass(time.Hour)
	if _, err := w.svc.Enable(t.Context(), w.root("acme"), "client", "bot"); err != nil || w.slept != waited+time.Hour {
		t.Errorf("enable waited for a second long past: %v, %v", w.slept, err)
	}
}

func TestRevokeRefuses(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot", "old")+tool+sso)
	_, err := w.prune("acme", file("acme", "bot")+tool+sso)
	if err != nil {
		t.Fatal(err)
	}
	before := w.position("acme")
	for name, row := range map[string]struct {
		target ledger.Key
		want   fault.Kind
	}{
		"no kind":                {ledger.Key{ID: "bot"}, fault.Invalid},
		"an unknown kind":        {ledger.Key{Kind: "clients", ID: "bot"}, fault.Invalid},
		"a tenant with a value":  {ledger.Key{Kind: "tenant", ID: "acme"}, fault.Invalid},
		"a client without value": {ledger.Key{Kind: "client"}, fault.Invalid},
		"what is no jti":         {ledger.Key{Kind: "jti", ID: "xyz"}, fault.Invalid},
		"what is no root":        {ledger.Key{Kind: "lineage", ID: "xyz"}, fault.Invalid},
		"what is no run":         {ledger.Key{Kind: "run", ID: "xyz"}, fault.Invalid},
		"an unknown client":      {ledger.Key{Kind: "client", ID: "bto"}, fault.NotFound},
		"an unknown tool":        {ledger.Key{Kind: "tool", ID: "bot"}, fault.NotFound},
		"an unknown issuer":      {ledger.Key{Kind: "issuer", ID: "bot"}, fault.NotFound},
		"a subject of ours":      {ledger.Key{Kind: "subject", ID: "client:bot"}, fault.Invalid},
		"a subject of nobody":    {ledger.Key{Kind: "subject", ID: "nobody:bot"}, fault.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.svc.Revoke(t.Context(), w.root("acme"), row.target.Kind, row.target.ID, "")
			wantKind(t, err, row.want)
		})
	}
	_, err = w.svc.Enable(t.Context(), w.root("acme"), "client", "bot")
	wantKind(t, err, fault.NotFound) // it was never revoked
	if w.position("acme").Index != before.Index {
		t.Error("something was written")
	}
	if _, err := w.svc.Revoke(t.Context(), w.root("acme"), "client", "old", ""); err != nil {
		t.Errorf("a deleted client cannot be revoked: %v", err)
	}
}

// TestARevocationWhoseAnswerIsLost is in force although its caller was told that it may not be.
func TestARevocationWhoseAnswerIsLost(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	w.deadline = 50 * time.Millisecond
	p := w.start()
	op := w.signIn(p, "acme", w.platform)
	w.store.Set(storagetest.Commit, storagetest.Applied)
	_, err := p.svc.Revoke(t.Context(), op, "client", "bot", "")
	wantKind(t, err, fault.Unavailable)
	w.store.Set(storagetest.Commit, storagetest.Works)
	if list, err := w.svc.Cutoffs(t.Context(), w.root("acme")); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestASubjectThatIsAClient: its tokens name the client, so that a cutoff of the subject would leave them active.
func TestASubjectThatIsAClient(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", `apiVersion: bursar/v1
tenant: acme
clients: [{id: bot, kind: agent, identities: [{issuer: cluster, subject: "ns:bot"}]}]
issuers: [{name: cluster, issuer: "https://cluster.example", jwks_uri: "https://cluster.example/jwks",
  audiences: ["https://sts.example/t/acme"], use: [workload, subject]}]
`)
	_, err := w.svc.Revoke(t.Context(), w.root("acme"), "subject", "cluster:ns:bot", "")
	wantReason(t, err, "cutoff.subject")
	if _, err := w.svc.Revoke(t.Context(), w.root("acme"), "subject", "cluster:alice", ""); err != nil {
		t.Error(err)
	}
}
