package keys_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

const keyName = "sts.example/t/acme/log"

var logStart = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// logRows are the stored rows of a log's keys, by kind and id.
type logRows []ledger.Row

func (rows logRows) after(put []ledger.Row) logRows {
	all := slices.Clone(rows)
	for _, row := range put {
		all = slices.DeleteFunc(all, func(r ledger.Row) bool { return r.Kind == row.Kind && r.ID == row.ID })
		all = append(all, row)
	}
	return all
}

func newLog(t *testing.T) (keys.Master, logRows) {
	t.Helper()
	m := newMaster(t)
	rows, err := keys.CreateLog(m, "t1", logStart)
	if err != nil {
		t.Fatal(err)
	}
	return m, rows
}

func openLog(t *testing.T, m keys.Master, rows logRows) *keys.LogRing {
	t.Helper()
	r, err := keys.OpenLog(m, "t1", rows)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func verifierKeys(t *testing.T, signers []*auditor.NoteSigner) (all []string) {
	t.Helper()
	for _, s := range signers {
		key, err := s.VerifierKey()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, key)
	}
	return all
}

func TestALogHasAKeyOfEachUse(t *testing.T) {
	m, rows := newLog(t)
	r := openLog(t, m, rows)
	events := r.EventKeys()
	if len(events) != 1 || events[0].KeyID != r.Events().KeyID || events[0].NotBefore != logStart.Unix() {
		t.Errorf("event keys %+v, and %s signs", events, r.Events().KeyID)
	}
	if _, err := events[0].Public(); err != nil {
		t.Error(err)
	}
	signers := r.Notes(keyName, logStart)
	signed, err := note.Sign(&note.Note{Text: auditor.Checkpoint{Origin: keyName}.Text()}, signers[0])
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(verifierKeys(t, signers)[0])
	if err != nil {
		t.Fatal(err)
	}
	if c, _, err := auditor.OpenCheckpoint(signed, verifier); err != nil || c.Origin != keyName {
		t.Errorf("checkpoint %+v: %v", c, err)
	}
}

func TestLogKeysOpenOnlyWhereTheyBelong(t *testing.T) {
	m, rows := newLog(t)
	if _, err := keys.OpenLog(m, "t2", rows); err == nil {
		t.Error("another tenant opens them")
	}
	if _, err := keys.OpenLog(newMaster(t), "t1", rows); err == nil {
		t.Error("another master key opens them")
	}
	if _, err := keys.OpenLog(m, "t1", nil); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("no rows: %v", err)
	}
	put, err := openLog(t, m, rows).Rotate(logStart.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	rows = rows.after(put)
	for old, other := range map[string]string{
		`"use":"event"`:                    `"use":"checkpoint"`,
		`"retired":"2026-11-29T13:00:00Z"`: `"retired":"2027-11-29T13:00:00Z"`,
		`"created":"2026-11-29T12:00:00Z"`: `"created":"2025-11-29T12:00:00Z"`,
	} {
		changed := slices.Clone(rows)
		for i, row := range changed {
			changed[i].Value = bytes.ReplaceAll(row.Value, []byte(old), []byte(other))
		}
		if _, err := keys.OpenLog(m, "t1", changed); err == nil {
			t.Errorf("%s opens as %s", old, other)
		}
	}
}

func TestRotatedLogKeysAreVerifiedForEver(t *testing.T) {
	m, rows := newLog(t)
	first := openLog(t, m, rows)
	put, err := first.Rotate(logStart.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	second := openLog(t, m, rows.after(put))
	events := second.EventKeys()
	if len(events) != 2 || events[0].KeyID != first.Events().KeyID || events[1].KeyID != second.Events().KeyID ||
		events[0].Expires != logStart.Add(time.Hour).Unix() || events[1].Expires != 0 || events[0].Revoked != 0 {
		t.Errorf("event keys %+v", events)
	}
	old := verifierKeys(t, first.Notes(keyName, logStart))[0]
	for at, want := range map[time.Duration]int{time.Hour: 2, keys.Overlap: 2, keys.Overlap + time.Hour: 1} {
		signing := verifierKeys(t, second.Notes(keyName, logStart.Add(at)))
		if len(signing) != want || (want == 2) != slices.Contains(signing, old) || signing[0] == old {
			t.Errorf("after %s %d keys sign checkpoints, want %d", at, len(signing), want)
		}
	}
}

func TestARevokedLogKeySignsNoMore(t *testing.T) {
	m, rows := newLog(t)
	first := openLog(t, m, rows)
	kids := map[keys.LogUse]string{}
	for _, k := range first.Keys() {
		kids[k.Use] = k.ID
	}
	for use, kid := range kids {
		put, err := first.Revoke(kid, logStart.Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		r := openLog(t, m, rows.after(put))
		switch use {
		case keys.Events:
			if r.Events().KeyID == kid || r.EventKeys()[0].Revoked != logStart.Add(time.Minute).Unix() {
				t.Errorf("%s signs events; published %+v", r.Events().KeyID, r.EventKeys())
			}
		case keys.Checkpoints:
			signing := verifierKeys(t, r.Notes(keyName, logStart.Add(2*time.Minute)))
			if len(signing) != 1 || signing[0] == verifierKeys(t, first.Notes(keyName, logStart))[0] {
				t.Errorf("%v sign checkpoints", signing)
			}
		}
		if again, err := r.Revoke(kid, logStart.Add(time.Hour)); err != nil || again != nil {
			t.Errorf("revoked again: %v, %v", again, err)
		}
	}
	if _, err := first.Revoke("none", logStart); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("an unknown key: %v", err)
	}
}

// What a change leaves behind is known before it is stored.
func TestLogKeysAfterAChange(t *testing.T) {
	m, rows := newLog(t)
	r := openLog(t, m, rows)
	now := logStart.Add(time.Hour)
	put, err := r.Rotate(now)
	if err != nil {
		t.Fatal(err)
	}
	next, err := r.With(append(put, ledger.Row{Kind: "client", ID: "x", Value: []byte("{}")}))
	if err != nil {
		t.Fatal(err)
	}
	stored := openLog(t, m, rows.after(put))
	if next.Events().KeyID != stored.Events().KeyID || next.Events().KeyID == r.Events().KeyID ||
		!slices.Equal(next.Keys(), stored.Keys()) || len(r.Keys()) != 2 {
		t.Errorf("before %+v, predicted %+v, stored %+v", r.Keys(), next.Keys(), stored.Keys())
	}
	var read []keys.LogKey
	for _, row := range put {
		k, ok := keys.ReadLogKey(row)
		if !ok {
			t.Fatalf("%s %s is no key of a log", row.Kind, row.ID)
		}
		read = append(read, k)
	}
	for _, k := range read {
		if !slices.Contains(stored.Keys(), k) {
			t.Errorf("read %+v, stored are %+v", k, stored.Keys())
		}
	}
	for _, row := range []ledger.Row{
		{Kind: keys.KindKey, Value: put[0].Value}, {Kind: keys.KindLogKey, Value: []byte("x")},
	} {
		if k, ok := keys.ReadLogKey(row); ok {
			t.Errorf("read %+v", k)
		}
	}
	foreign, err := keys.CreateLog(m, "t2", now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.With(foreign); err == nil {
		t.Error("keys of another log are taken")
	}
}
