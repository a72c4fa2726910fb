package audit_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

func use() audit.Event {
	return audit.Event{Name: audit.KeyUse, Txn: "run", Agent: "spiffe://acme.example/ap-bot", Body: audit.Body{
		Outcome: audit.Allowed, DecisionID: "d", ClientID: "ap-bot", Use: audit.Use{Phase: audit.UseIntent}}}
}

// change makes a change of the tenant's shims, as a server does.
func changeShims(t *testing.T, s *faulty, l *audit.Log, change func(*keys.Shims) ([]ledger.Row, []ledger.Key, error)) {
	t.Helper()
	rows, at, err := s.DB.Rows(t.Context(), origin.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	shims, err := keys.OpenShims(master, origin.Tenant, rows)
	if err != nil {
		t.Fatal(err)
	}
	put, gone, err := change(shims)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.OpenLog(master, origin.Tenant, rows)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Change(t.Context(), origin, ledger.Change{Expect: at.Revision, Put: put, Delete: gone},
		audit.LogKeyEvents(ring.Keys(), put)...)
	if err != nil {
		t.Fatal(err)
	}
}

// trusted makes the tenant trust a shim, and returns the shim's key.
func trusted(t *testing.T, s *faulty, l *audit.Log) *keys.ShimKey {
	t.Helper()
	key, err := keys.NewShimKey()
	if err != nil {
		t.Fatal(err)
	}
	changeShims(t, s, l, func(shims *keys.Shims) ([]ledger.Row, []ledger.Key, error) {
		put, grantor, err := shims.Trust(key.Public(), "edge", time.Now())
		key = key.Trusted(keys.ShimTenant{Slug: "acme", ID: origin.Tenant, Grantor: grantor})
		return put, nil, err
	})
	return key
}

func TestAShimSignsWhatItDoesUntilItIsRevoked(t *testing.T) {
	s := newBareStore(t)
	server := configured(t, audit.Config{Store: s, Deadline: time.Minute})
	if err := appendOnly(server, origin, event("a")); err != nil {
		t.Fatal(err)
	}
	key, other := trusted(t, s, server), trusted(t, s, server)
	shim := configured(t, audit.Config{Store: s, Signer: key, Deadline: time.Minute})
	second := configured(t, audit.Config{Store: s, Signer: other, Deadline: time.Minute})
	for _, l := range []*audit.Log{shim, second, shim, server} {
		if err := appendOnly(l, origin, use()); err != nil {
			t.Fatal(err)
		}
	}
	changeShims(t, s, server, func(shims *keys.Shims) ([]ledger.Row, []ledger.Key, error) {
		return shims.Revoke(key.ID, time.Now())
	})
	err := appendOnly(shim, origin, use())
	wantUnavailable(t, err)
	if !errors.Is(err, keys.ErrShimRevoked) {
		t.Errorf("the refusal does not say why: %v", err)
	}
	if err := appendOnly(second, origin, use()); err != nil {
		t.Errorf("the other shim: %v", err)
	}
	byKey := map[string][]string{}
	page, err := server.Read(t.Context(), origin.Tenant, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range page {
		kid := verify(t, master, r, storedRows(t, s))
		set, err := auditor.ParseSET([]byte(r.SET))
		if err != nil {
			t.Fatal(err)
		}
		byKey[kid] = append(byKey[kid], set.Name)
	}
	for kid, want := range map[string][]string{key.ID: {"writer.start", "key.use", "key.use"},
		other.ID: {"writer.start", "key.use", "key.use"}} {
		if !slices.Equal(byKey[kid], want) {
			t.Errorf("shim %s signed %q, want %q", kid, byKey[kid], want)
		}
	}
	ring, err := keys.OpenLog(master, origin.Tenant, storedRows(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if names := byKey[ring.Events().KeyID]; len(names) != len(page)-6 {
		t.Errorf("the server signed %q", names)
	}
}

// Each shim has a key of its own: none takes the place of another.
func TestTheKeysOfShimsAreMadeAndRevoked(t *testing.T) {
	s := newBareStore(t)
	server := configured(t, audit.Config{Store: s, Deadline: time.Minute})
	if err := appendOnly(server, origin, event("a")); err != nil {
		t.Fatal(err)
	}
	first, _ := trusted(t, s, server), trusted(t, s, server)
	changeShims(t, s, server, func(shims *keys.Shims) ([]ledger.Row, []ledger.Key, error) {
		return shims.Revoke(first.ID, time.Now())
	})
	page, err := server.Read(t.Context(), origin.Tenant, 4, 100)
	if err != nil || len(page) != 3 {
		t.Fatalf("%d records, %v", len(page), err)
	}
	for i, want := range []audit.LogKey{{Action: audit.KeyCreated}, {Action: audit.KeyCreated},
		{Action: audit.KeyRevoked, KeyID: first.ID}} {
		got := bodyOf(t, page[i]).LogKey
		if got.Use != audit.KeyShim || got.Action != want.Action || got.Replaces != "" ||
			want.KeyID != "" && got.KeyID != want.KeyID {
			t.Errorf("record %d: %+v", i, got)
		}
	}
}

// A process that signs as a shim records what shims do, and changes nothing.
func TestAShimRecordsNothingElse(t *testing.T) {
	s := newBareStore(t)
	server := configured(t, audit.Config{Store: s, Deadline: time.Minute})
	if err := appendOnly(server, origin, event("a")); err != nil {
		t.Fatal(err)
	}
	shim := configured(t, audit.Config{Store: s, Signer: trusted(t, s, server), Deadline: time.Minute})
	if err := appendOnly(shim, origin, event("b")); err == nil || fault.As(err).Kind != fault.Internal {
		t.Errorf("an event of a server: %v", err)
	}
	_, err := shim.Change(t.Context(), origin, put(0, "x"), use())
	if err == nil || fault.As(err).Kind != fault.Internal {
		t.Errorf("a change: %v", err)
	}
	if _, err := shim.Change(t.Context(), origin, ledger.Change{Cut: []ledger.Cut{{
		Key: ledger.Key{Kind: "client", ID: "x"}, Keep: time.Hour}}}, use()); err == nil {
		t.Error("it made a cutoff")
	}
	wantUnavailable(t, appendOnly(shim, audit.Origin{Tenant: "tenant-b", Issuer: "https://sts.example/t/b"}, use()))
	rows, at, err := s.DB.Rows(t.Context(), "tenant-b")
	if err != nil || len(rows) != 0 || at.Index != 0 {
		t.Errorf("it began a log: %d rows, %d events, %v", len(rows), at.Index, err)
	}
}

// What a shim may sign is what there is to record.
func TestTheEventsOfAShimAreEvents(t *testing.T) {
	want := []string{audit.DenyFlood, audit.KeyUse, audit.WriterStart, audit.WriterStop}
	if got := keys.ShimEvents(); !slices.Equal(got, want) {
		t.Errorf("a shim signs %q, want %q", got, want)
	}
}

// bodyOf returns what an event of bursar says.
func bodyOf(t *testing.T, r audit.Record) (b audit.Body) {
	t.Helper()
	set, err := auditor.ParseSET([]byte(r.SET))
	if err == nil {
		err = json.Unmarshal(set.Body, &b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}
