package keys_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

func newVault(t testing.TB, m keys.Master, tenant ledger.Tenant) (rows []ledger.Row) {
	t.Helper()
	row, err := keys.CreateVault(m, tenant, logStart)
	if err != nil {
		t.Fatal(err)
	}
	return []ledger.Row{row}
}

func openVault(t testing.TB, m keys.Master, tenant ledger.Tenant, rows []ledger.Row) *keys.Sealer {
	t.Helper()
	s, err := keys.OpenVault(m, tenant, rows)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rotateVault(t testing.TB, m keys.Master, tenant ledger.Tenant, rows []ledger.Row) []ledger.Row {
	t.Helper()
	put, err := openVault(t, m, tenant, rows).Rotate(m, logStart)
	if err != nil {
		t.Fatal(err)
	}
	return logRows(rows).after(put)
}

func TestWhatASealerSealsOpensInItsOwnPlaceOnly(t *testing.T) {
	m := newMaster(t)
	s := openVault(t, m, "t1", newVault(t, m, "t1"))
	sealed := s.Seal("secret:crm", "1", "https api.example", []byte("K"))
	if plain, err := s.Open("secret:crm", "1", "https api.example", sealed); err != nil || string(plain) != "K" {
		t.Fatalf("opened %q, %v", plain, err)
	}
	other := openVault(t, m, "t2", newVault(t, m, "t2"))
	short := bytes.Clone(sealed[:3])
	later := bytes.Clone(sealed)
	later[3]++
	for name, open := range map[string]func() ([]byte, error){
		"object":       func() ([]byte, error) { return s.Open("secret:crn", "1", "https api.example", sealed) },
		"version":      func() ([]byte, error) { return s.Open("secret:crm", "2", "https api.example", sealed) },
		"binding":      func() ([]byte, error) { return s.Open("secret:crm", "1", "https evil.example", sealed) },
		"tenant":       func() ([]byte, error) { return other.Open("secret:crm", "1", "https api.example", sealed) },
		"another cut":  func() ([]byte, error) { return s.Open("secret:cr", "m1", "https api.example", sealed) },
		"no key":       func() ([]byte, error) { return s.Open("secret:crm", "1", "https api.example", later) },
		"too short":    func() ([]byte, error) { return s.Open("secret:crm", "1", "https api.example", short) },
		"without text": func() ([]byte, error) { return s.Open("", "", "", nil) },
	} {
		if plain, err := open(); !errors.Is(err, keys.ErrSealed) {
			t.Errorf("%s: opened %q, %v", name, plain, err)
		}
	}
}

func TestARotationSealsWithAnotherKeyAndOpensWithBoth(t *testing.T) {
	m := newMaster(t)
	rows := newVault(t, m, "t1")
	first := openVault(t, m, "t1", rows)
	old := first.Seal("o", "1", "", []byte("before"))
	rows = rotateVault(t, m, "t1", rotateVault(t, m, "t1", rows))
	s := openVault(t, m, "t1", rows)
	if got := s.Versions(); !slices.Equal(got, []int{1, 2, 3}) || s.Version() != 3 {
		t.Fatalf("versions %v, and %d seals", got, s.Version())
	}
	if plain, err := s.Open("o", "1", "", old); err != nil || string(plain) != "before" {
		t.Errorf("what an old key sealed: %q, %v", plain, err)
	}
	sealed := s.Seal("o", "1", "", []byte("after"))
	if keys.SealedWith(old) != 1 || keys.SealedWith(sealed) != 3 {
		t.Errorf("sealed with %d and %d", keys.SealedWith(old), keys.SealedWith(sealed))
	}
	if _, err := first.Open("o", "1", "", sealed); !errors.Is(err, keys.ErrSealed) {
		t.Errorf("the old key alone opened what the new one sealed: %v", err)
	}
	if first.Fingerprint([]byte("v")) != s.Fingerprint([]byte("v")) {
		t.Error("a rotation changed the fingerprint of a value")
	}
	// Once nothing needs the old ones they can go, and nothing they sealed opens.
	rows = slices.DeleteFunc(rows, func(r ledger.Row) bool {
		return slices.Contains(s.Old(), ledger.Key{Kind: r.Kind, ID: r.ID})
	})
	s = openVault(t, m, "t1", rows)
	if _, err := s.Open("o", "1", "", old); !errors.Is(err, keys.ErrSealed) || len(s.Versions()) != 1 {
		t.Errorf("versions %v: %v", s.Versions(), err)
	}
}

func TestFingerprintsTellNothingAndDifferFromTenantToTenant(t *testing.T) {
	m := newMaster(t)
	s := openVault(t, m, "t1", newVault(t, m, "t1"))
	other := openVault(t, m, "t2", newVault(t, m, "t2"))
	print := s.Fingerprint([]byte("v"))
	switch {
	case len(print) != 2*keys.PrintSize:
		t.Errorf("fingerprint %q", print)
	case print == s.Fingerprint([]byte("w")):
		t.Error("two values have one fingerprint")
	case print == other.Fingerprint([]byte("v")):
		t.Error("two tenants' values have one fingerprint: whoever sees both can compare them")
	}
}

func TestDataKeysThatWerePutBackDoNotSeal(t *testing.T) {
	m := newMaster(t)
	first := newVault(t, m, "t1")
	rows := rotateVault(t, m, "t1", first)
	rename := func(id string, row ledger.Row) ledger.Row { row.ID = id; return row }
	next := rows[slices.IndexFunc(rows, func(r ledger.Row) bool { return r.ID == "vault" })]
	for name, rows := range map[string][]ledger.Row{
		"the old key seals again beside the new one": {first[0], rename("vault.2", next)},
		"both have version 1":                        {first[0], rename("vault.1", first[0])},
		"under another number":                       {next, rename("vault.7", first[0])},
		"only old keys":                              {rename("vault.1", first[0])},
		"the key of another tenant":                  newVault(t, m, "t2"),
		"the key that signs":                         {rename("vault", signKey(t, m))},
	} {
		if s, err := keys.OpenVault(m, "t1", rows); err == nil {
			t.Errorf("%s: opened versions %v", name, s.Versions())
		}
	}
	if _, err := keys.OpenVault(m, "t1", nil); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("no rows: %v", err)
	}
	if _, err := keys.OpenVault(newMaster(t), "t1", first); err == nil {
		t.Error("another master key opened the vault")
	}
}

func signKey(t *testing.T, m keys.Master) ledger.Row {
	rows, err := keys.Create(m, "t1", logStart, keys.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	return rows[slices.IndexFunc(rows, func(r ledger.Row) bool { return r.Kind == keys.KindDEK })]
}

func TestShreddingNamesEveryDataKeyOfTheVaultAndNoOther(t *testing.T) {
	m := newMaster(t)
	rows := append(rotateVault(t, m, "t1", newVault(t, m, "t1")), signKey(t, m))
	got := keys.VaultKeys(rows)
	slices.SortFunc(got, func(a, b ledger.Key) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) })
	want := []ledger.Key{{Kind: "dek", ID: "vault"}, {Kind: "dek", ID: "vault.1"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestAStoredDataKeyShowsNothing(t *testing.T) {
	m := newMaster(t)
	rows := newVault(t, m, "t1")
	var d struct{ Sealed, Prints []byte }
	if err := json.Unmarshal(rows[0].Value, &d); err != nil || len(d.Sealed) < 60 || len(d.Prints) < 60 {
		t.Fatalf("row %s: %v", rows[0].Value, err)
	}
}

// TestNoTwoPlacesShareWhatWasSealed puts what was sealed for one place at any other.
func TestNoTwoPlacesShareWhatWasSealed(t *testing.T) {
	m := newMaster(t)
	sealers := []*keys.Sealer{}
	for _, tenant := range []ledger.Tenant{"t1", "t2"} {
		rows := rotateVault(t, m, tenant, newVault(t, m, tenant))
		sealers = append(sealers, openVault(t, m, tenant, rows))
	}
	type place struct {
		tenant                   int
		object, version, binding string
	}
	text := rapid.StringMatching(`[a-c]{0,3}`)
	draw := rapid.Custom(func(t *rapid.T) place {
		return place{rapid.IntRange(0, 1).Draw(t, "tenant"), text.Draw(t, "object"),
			strconv.Itoa(rapid.IntRange(1, 3).Draw(t, "version")), text.Draw(t, "binding")}
	})
	rapid.Check(t, func(t *rapid.T) {
		from, to := draw.Draw(t, "from"), draw.Draw(t, "to")
		sealed := sealers[from.tenant].Seal(from.object, from.version, from.binding, []byte("K"))
		_, err := sealers[to.tenant].Open(to.object, to.version, to.binding, sealed)
		if opened := err == nil; opened != (from == to) {
			t.Fatalf("opened: %v", opened)
		}
	})
}
