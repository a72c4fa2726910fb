package keys_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// guarded is a tenant with a log, a vault, and what is sealed in it.
type guarded struct {
	t      *testing.T
	master keys.Master
	id     ledger.Tenant
	rows   logRows
	sealed []byte
}

func newGuarded(t *testing.T, m keys.Master, id ledger.Tenant) *guarded {
	t.Helper()
	rows, err := keys.CreateLog(m, id, logStart)
	if err != nil {
		t.Fatal(err)
	}
	dek, err := keys.CreateVault(m, id, logStart)
	if err != nil {
		t.Fatal(err)
	}
	g := &guarded{t: t, master: m, id: id, rows: append(rows, dek)}
	g.sealed = g.sealer().Seal("o", "1", "b", []byte("secret of "+string(id)))
	return g
}

func (g *guarded) sealer() *keys.Sealer {
	g.t.Helper()
	s, err := keys.OpenVault(g.master, g.id, g.rows)
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

func (g *guarded) shims() *keys.Shims {
	g.t.Helper()
	s, err := keys.OpenShims(g.master, g.id, g.rows)
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

// change makes a change together with the grants that it needs.
func (g *guarded) change(put []ledger.Row, gone []ledger.Key) error {
	more, err := keys.Granted(g.master, g.id, g.rows, put, gone)
	if err != nil {
		return err
	}
	g.rows = slices.DeleteFunc(g.rows.after(append(put, more...)), func(row ledger.Row) bool {
		return slices.Contains(gone, ledger.Key{Kind: row.Kind, ID: row.ID})
	})
	return nil
}

// trust makes the tenant trust a shim, and returns the shim's key with it.
func (g *guarded) trust(k *keys.ShimKey) *keys.ShimKey {
	g.t.Helper()
	put, grantor, err := g.shims().Trust(k.Public(), "edge", logStart)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.change(put, nil); err != nil {
		g.t.Fatal(err)
	}
	return k.Trusted(keys.ShimTenant{Slug: "slug-of-" + string(g.id), ID: g.id, Grantor: grantor})
}

func (g *guarded) rotate() error {
	g.t.Helper()
	put, err := g.sealer().Rotate(g.master, logStart)
	if err != nil {
		g.t.Fatal(err)
	}
	return g.change(put, nil)
}

// opens reports what the shim makes of the tenant's secret, from the rows.
func (g *guarded) opens(k *keys.ShimKey, rows []ledger.Row) (string, error) {
	s, err := k.OpenVault(g.id, rows)
	if err != nil {
		return "", err
	}
	plain, err := s.Open("o", "1", "b", g.sealed)
	return string(plain), err
}

// seen are the rows that a shim may read.
func (g *guarded) seen() (rows []ledger.Row) {
	for _, row := range g.rows {
		if row.Kind == keys.KindShim {
			rows = append(rows, row)
		}
	}
	return rows
}

func newShim(t *testing.T) *keys.ShimKey {
	t.Helper()
	k, err := keys.NewShimKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAShimOpensTheVaultsOfItsTenantsAndNoOther(t *testing.T) {
	m := newMaster(t)
	a, b := newGuarded(t, m, "a"), newGuarded(t, m, "b")
	ofA, other := a.trust(newShim(t)), b.trust(newShim(t))
	if plain, err := a.opens(ofA, a.seen()); err != nil || plain != "secret of a" {
		t.Errorf("of its own tenant: %q, %v", plain, err)
	}
	if _, err := ofA.Signer("a", a.seen()); err != nil {
		t.Error(err)
	}
	both := b.trust(ofA)
	for name, g := range map[string]*guarded{"a": a, "b": b} {
		if plain, err := g.opens(both, g.seen()); err != nil || plain != "secret of "+name {
			t.Errorf("of both: %q, %v", plain, err)
		}
	}
	// Its rows are in b too by now; the key that knows of a alone opens nothing with them.
	for name, rows := range map[string][]ledger.Row{
		"of b": b.seen(), "of a": a.seen(), "of both": append(a.seen(), b.seen()...),
	} {
		if plain, err := b.opens(ofA, rows); !errors.Is(err, keys.ErrShimRevoked) || plain != "" {
			t.Errorf("rows %s in b, by the shim of a: %q, %v", name, plain, err)
		}
		if _, err := ofA.Signer("b", rows); !errors.Is(err, keys.ErrShimRevoked) {
			t.Errorf("rows %s in b, signed by the shim of a: %v", name, err)
		}
	}
	if _, err := a.opens(other, append(a.seen(), b.seen()...)); !errors.Is(err, keys.ErrShimRevoked) {
		t.Errorf("another tenant's shim: %v", err)
	}
}

// With the row of another tenant, or of another shim, in the place of its own, a shim takes nothing.
func TestSwappedShimRowsOpenNothing(t *testing.T) {
	m := newMaster(t)
	a, b := newGuarded(t, m, "a"), newGuarded(t, m, "b")
	key := b.trust(a.trust(newShim(t)))
	second := a.trust(newShim(t))
	for name, rows := range map[string][]ledger.Row{
		"the other tenant's": b.seen(),
		"another shim's":     {renamed(t, rowOf(t, a, second.ID), key.ID)},
		"another shim's under its own name": {{Kind: keys.KindShim, ID: key.ID,
			Value: rowOf(t, a, second.ID).Value}},
	} {
		if plain, err := a.opens(key, rows); err == nil || plain != "" {
			t.Errorf("%s: %q", name, plain)
		}
		if _, err := key.Signer("a", rows); err == nil {
			t.Errorf("%s: it signs", name)
		}
	}
	// The server gives nothing to a row that came from elsewhere.
	a.rows = a.rows.after(b.seen())
	if err := a.rotate(); !errors.Is(err, keys.ErrSealed) {
		t.Errorf("rotated with the row of another tenant: %v", err)
	}
}

func rowOf(t *testing.T, g *guarded, id string) ledger.Row {
	t.Helper()
	i := slices.IndexFunc(g.rows, func(row ledger.Row) bool { return row.Kind == keys.KindShim && row.ID == id })
	if i < 0 {
		t.Fatalf("shim %s has no row", id)
	}
	return g.rows[i]
}

// edited returns a row with other members.
func edited(t *testing.T, row ledger.Row, with map[string]any) ledger.Row {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(row.Value, &all); err != nil {
		t.Fatal(err)
	}
	for name, value := range with {
		all[name] = value
	}
	value, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Row{Kind: row.Kind, ID: row.ID, Value: value}
}

func renamed(t *testing.T, row ledger.Row, id string) ledger.Row {
	row = edited(t, row, map[string]any{"id": id})
	row.ID = id
	return row
}

// Whoever can write to the store cannot make the server give the vault's keys to anybody, nor make a shim take others
// for them.
func TestAForgedShimRowIsGivenNothing(t *testing.T) {
	m := newMaster(t)
	thief := newShim(t)
	for name, forge := range map[string]func(g *guarded, key *keys.ShimKey) []ledger.Row{
		"a recipient of the thief's": func(g *guarded, key *keys.ShimKey) []ledger.Row {
			return []ledger.Row{edited(t, rowOf(t, g, key.ID), map[string]any{"recipient": thief.Public().Recipient})}
		},
		"another name": func(g *guarded, key *keys.ShimKey) []ledger.Row {
			return []ledger.Row{edited(t, rowOf(t, g, key.ID), map[string]any{"name": "other"})}
		},
		"no grants": func(g *guarded, key *keys.ShimKey) []ledger.Row {
			return []ledger.Row{edited(t, rowOf(t, g, key.ID), map[string]any{"grants": nil})}
		},
		"a grantor of the thief's": func(g *guarded, key *keys.ShimKey) []ledger.Row {
			return []ledger.Row{edited(t, rowOf(t, g, key.ID), map[string]any{"grantor": thief.Public().Event})}
		},
		"a shim of the thief's in its place": func(g *guarded, key *keys.ShimKey) []ledger.Row {
			return []ledger.Row{renamed(t, rowOf(t, g, key.ID), thief.ID)}
		},
		"a shim that another log trusts": func(g *guarded, key *keys.ShimKey) []ledger.Row {
			mine := newGuarded(t, newMaster(t), g.id) // made with a master key of the thief's
			mine.trust(thief)
			return mine.seen()
		},
		"rubbish": func(g *guarded, key *keys.ShimKey) []ledger.Row {
			return []ledger.Row{{Kind: keys.KindShim, ID: thief.ID, Value: []byte("rubbish")}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t, m, "a")
			key := g.trust(newShim(t))
			genuine := g.rows
			g.rows = g.rows.after(forge(g, key))
			before := g.seen()
			if err := g.rotate(); err == nil {
				t.Error("the server rotated the vault's key, and gave it away")
			}
			if !slices.EqualFunc(before, g.seen(), func(a, b ledger.Row) bool { return bytes.Equal(a.Value, b.Value) }) {
				t.Error("rows changed all the same")
			}
			unreadable := 0
			for _, s := range g.shims().All() {
				if !s.Readable {
					unreadable++
				}
			}
			if unreadable != 1 {
				t.Errorf("%d are told of as unreadable", unreadable)
			}
			if forged := g.seen(); len(forged) == 1 {
				if _, err := g.opens(key, forged); err == nil {
					t.Error("the shim takes what it finds for its own")
				}
			}
			g.rows = genuine
			if err := g.rotate(); err != nil {
				t.Errorf("without it: %v", err)
			}
		})
	}
}

// A shim that was revoked is given nothing again, though its row is put back.
func TestARevokedShimIsGivenNothing(t *testing.T) {
	g := newGuarded(t, newMaster(t), "a")
	key, other := g.trust(newShim(t)), g.trust(newShim(t))
	old := rowOf(t, g, key.ID)
	put, gone, err := g.shims().Revoke(key.ID, logStart.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	next, err := g.sealer().Rotate(g.master, logStart)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.change(append(put, next...), gone); err != nil {
		t.Fatal(err)
	}
	g.sealed = g.sealer().Seal("o", "1", "b", []byte("new"))
	if _, err := key.OpenVault("a", g.seen()); !errors.Is(err, keys.ErrShimRevoked) {
		t.Errorf("it opens: %v", err)
	}
	if _, err := key.Signer("a", g.seen()); !errors.Is(err, keys.ErrShimRevoked) {
		t.Errorf("it signs: %v", err)
	}
	if plain, err := g.opens(key, append(g.seen(), old)); !errors.Is(err, keys.ErrSealed) {
		t.Errorf("with the row that it had it opens %q, %v", plain, err)
	}
	if plain, err := g.opens(other, g.seen()); err != nil || plain != "new" {
		t.Errorf("the other shim: %q, %v", plain, err)
	}
	i := slices.IndexFunc(openLog2(t, g).EventKeys(), func(k auditor.EventKey) bool { return k.KeyID == key.ID })
	if i < 0 || openLog2(t, g).EventKeys()[i].Revoked != logStart.Add(time.Hour).Unix() {
		t.Error("its key is not published as revoked")
	}
	for range 2 { // what is done already is done
		put, gone, err = g.shims().Revoke(key.ID, logStart)
		if err != nil || len(put)+len(gone) != 0 {
			t.Errorf("revoked again: %d rows, %d gone, %v", len(put), len(gone), err)
		}
	}
	if _, _, err := g.shims().Trust(key.Public(), "", logStart); !errors.Is(err, keys.ErrShimKnown) {
		t.Errorf("trusted again: %v", err)
	}
	g.rows = append(g.rows, old)
	if err := g.rotate(); !errors.Is(err, keys.ErrShimRevoked) {
		t.Errorf("rotated with the row put back: %v", err)
	}
	put, gone, err = g.shims().Revoke(key.ID, logStart)
	if err != nil || len(put) != 0 || len(gone) != 1 {
		t.Errorf("revoked with the row put back: %d rows, %d gone, %v", len(put), len(gone), err)
	}
	if _, _, err := g.shims().Revoke("unknown", logStart); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("unknown: %v", err)
	}
	if _, _, err := g.shims().Revoke(openLog2(t, g).Events().KeyID, logStart); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("the key of the log: %v", err)
	}
}

func openLog2(t *testing.T, g *guarded) *keys.LogRing {
	t.Helper()
	r, err := keys.OpenLog(g.master, g.id, g.rows)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Grants follow the vault's data keys: a new one is given, one that is gone is taken back.
func TestGrantsFollowTheVault(t *testing.T) {
	m := newMaster(t)
	rows, err := keys.CreateLog(m, "a", logStart)
	if err != nil {
		t.Fatal(err)
	}
	g := &guarded{t: t, master: m, id: "a", rows: rows}
	key := g.trust(newShim(t))
	if _, err := key.OpenVault("a", g.seen()); !errors.Is(err, keys.ErrNoKey) {
		t.Fatalf("there is no vault: %v", err)
	}
	dek, err := keys.CreateVault(m, "a", logStart)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.change([]ledger.Row{dek}, nil); err != nil {
		t.Fatal(err)
	}
	versions := func() []int {
		t.Helper()
		s, err := key.OpenVault("a", g.seen())
		if err != nil {
			t.Fatal(err)
		}
		return s.Versions()
	}
	if got := versions(); !slices.Equal(got, []int{1}) {
		t.Errorf("a vault that was made later: %v", got)
	}
	first := rowOf(t, g, key.ID)
	for range 2 {
		if err := g.rotate(); err != nil {
			t.Fatal(err)
		}
	}
	if got := versions(); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("rotated twice: %v", got)
	}
	if !bytes.Contains(rowOf(t, g, key.ID).Value, grantOf(t, first)) {
		t.Error("what was given is given anew")
	}
	if err := g.change(nil, []ledger.Key{{Kind: keys.KindDEK, ID: "vault.1"}}); err != nil {
		t.Fatal(err)
	}
	if got := versions(); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("the first is gone: %v", got)
	}
	if err := g.change(nil, keys.VaultKeys(g.rows)); err != nil {
		t.Fatal(err)
	}
	if _, err := key.OpenVault("a", g.seen()); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("shredded: %v", err)
	}
	if more, err := keys.Granted(m, "a", g.rows, []ledger.Row{{Kind: "tool", ID: "x"}}, nil); err != nil || more != nil {
		t.Errorf("a change of something else: %d rows, %v", len(more), err)
	}
}

func grantOf(t *testing.T, row ledger.Row) []byte {
	t.Helper()
	var all struct {
		Grants []struct {
			Sealed json.RawMessage `json:"sealed"`
		} `json:"grants"`
	}
	if err := json.Unmarshal(row.Value, &all); err != nil || len(all.Grants) != 1 {
		t.Fatalf("%d grants, %v", len(all.Grants), err)
	}
	return all.Grants[0].Sealed
}
