package keys_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

func replacing(t *testing.T, present keys.Master, previous ...keys.Master) keys.Master {
	t.Helper()
	m, err := keys.NewMasters(present, previous...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// allKeys returns the rows of a tenant that has every kind of key, with two versions of the vault's.
func allKeys(t *testing.T, m keys.Master) logRows {
	t.Helper()
	g := newGuarded(t, m, "t1")
	ring, err := keys.Create(m, "t1", time.Now(), keys.ES256)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.rotate(); err != nil {
		t.Fatal(err)
	}
	return append(g.rows, ring...)
}

// opensAll reports whether every key of a tenant opens.
func opensAll(m keys.Master, rows []ledger.Row) error {
	if _, err := keys.Open(m, "t1", rows); err != nil {
		return err
	}
	if _, err := keys.OpenLog(m, "t1", rows); err != nil {
		return err
	}
	_, err := keys.OpenVault(m, "t1", rows)
	return err
}

func TestAMasterKeyIsReplaced(t *testing.T) {
	old, present, stranger := newMaster(t), newMaster(t), newMaster(t)
	rows := allKeys(t, old)
	both := replacing(t, present, old)
	if both.ID() != present.ID() {
		t.Error("the old one seals")
	}
	for name, row := range map[string]struct {
		m    keys.Master
		fine bool
	}{
		"the old one":           {old, true},
		"both":                  {both, true},
		"the old one, of three": {replacing(t, stranger, present, old), true},
		"the present one":       {present, false},
		"neither":               {replacing(t, present, stranger), false},
	} {
		if err := opensAll(row.m, rows); (err == nil) != row.fine {
			t.Errorf("before: %s: %v", name, err)
		}
	}
	put, err := keys.Rewrap(both, "t1", rows, false)
	if err != nil || len(put) != 4 { // of purposes log and sign, and two of the vault
		t.Fatalf("%d rows, %v", len(put), err)
	}
	half := rows.after(put[:2]) // as after a process was killed amid several commits
	if err := opensAll(both, half); err != nil {
		t.Errorf("half of it: %v", err)
	}
	rest, err := keys.Rewrap(both, "t1", half, false)
	if err != nil || len(rest) != 2 {
		t.Fatalf("the rest: %d rows, %v", len(rest), err)
	}
	rows = half.after(rest)
	for name, m := range map[string]keys.Master{"both": both, "the present one": present} {
		if err := opensAll(m, rows); err != nil {
			t.Errorf("after: %s: %v", name, err)
		}
	}
	if err := opensAll(old, rows); err == nil || !strings.Contains(err.Error(), present.ID()) {
		t.Errorf("after: the old one: %v", err)
	}
	if put, err := keys.Rewrap(both, "t1", rows, false); err != nil || len(put) != 0 {
		t.Errorf("again: %d rows, %v", len(put), err)
	}
	again, err := keys.Rewrap(present, "t1", rows, true)
	if err != nil || len(again) != 4 {
		t.Fatalf("all: %d rows, %v", len(again), err)
	}
	for _, row := range again {
		for _, before := range rows {
			if row.Kind == before.Kind && row.ID == before.ID && bytes.Equal(row.Value, before.Value) {
				t.Errorf("%s is sealed as it was", row.ID)
			}
		}
	}
	if err := opensAll(present, rows.after(again)); err != nil {
		t.Error(err)
	}
}

// A data key is moved to no other tenant by sealing it anew.
func TestNothingIsRewrappedThatDoesNotOpen(t *testing.T) {
	old, present := newMaster(t), newMaster(t)
	rows := allKeys(t, old)
	for name, try := range map[string]func() ([]ledger.Row, error){
		"another tenant's": func() ([]ledger.Row, error) {
			return keys.Rewrap(replacing(t, present, old), "t2", rows, false)
		},
		"an unknown master key's": func() ([]ledger.Row, error) { return keys.Rewrap(present, "t1", rows, false) },
		"another purpose's": func() ([]ledger.Row, error) {
			moved := make([]ledger.Row, 0, len(rows))
			for _, row := range rows {
				if row.Kind == keys.KindDEK && row.ID == "log" {
					row.ID = "sign"
				}
				moved = append(moved, row)
			}
			return keys.Rewrap(replacing(t, present, old), "t1", moved, false)
		},
		"rubbish": func() ([]ledger.Row, error) {
			return keys.Rewrap(present, "t1", []ledger.Row{{Kind: keys.KindDEK, ID: "log", Value: []byte("x")}}, false)
		},
	} {
		if put, err := try(); err == nil || put != nil {
			t.Errorf("%s: %d rows", name, len(put))
		}
	}
	if _, err := keys.NewMasters(present, old, present); err == nil {
		t.Error("a master key took its own place")
	}
	if _, err := keys.NewMasters(present, old, old); err == nil {
		t.Error("a master key is there twice")
	}
}
