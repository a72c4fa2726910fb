package tree_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// revoke ends the key of a use, as an operator does, without that anybody signs a head. It returns the keys before.
func (w *world) revoke(use keys.LogUse) *keys.LogRing {
	w.t.Helper()
	rows, at, err := w.store.Rows(w.t.Context(), w.origin.Tenant)
	if err != nil {
		w.t.Fatal(err)
	}
	ring, err := keys.OpenLog(w.master, w.origin.Tenant, rows)
	if err != nil {
		w.t.Fatal(err)
	}
	var put []ledger.Row
	for _, k := range ring.Keys() {
		if k.Use == use && k.Retired.IsZero() {
			put, err = ring.Revoke(k.ID, time.Now())
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	log := audit.New(audit.Config{Store: w.store, Master: w.master, Logger: slog.New(slog.DiscardHandler)})
	defer func() { _ = log.Close(w.t.Context()) }()
	_, err = log.Change(w.t.Context(), w.origin, ledger.Change{Expect: at.Revision, Put: put},
		audit.LogKeyEvents(ring.Keys(), put)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return ring
}

// A key of checkpoints is revoked, and nobody lives to sign a head with the next one: the head that the revoked key
// signed before is believed, and gone on from.
func TestAHeadThatWasSignedBeforeItsKeyWasRevoked(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(300)
		p.head()
		p.stop()
		w.revoke(keys.Checkpoints)
		p = w.start()
		if err := p.try(); err != nil {
			t.Fatal(err)
		}
		p.passes(p.head().Size)
	})
}

// Whoever stole the key that was revoked then signs a head that covers the revocation.
func TestAHeadByARevokedKeyIsNotBelieved(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(20)
		p.head()
		p.stop()
		stolen := w.revoke(keys.Checkpoints)
		head, at, err := w.store.Head(t.Context(), w.origin.Tenant)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := w.store.Events(t.Context(), w.origin.Tenant, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		var edge auditor.Edge
		for _, e := range entries {
			edge.Append(tlog.RecordHash(e.Data))
		}
		c := auditor.Checkpoint{Origin: auditor.Origin(issuer, 1), Size: edge.Size(), Root: edge.Root()}
		signed, err := note.Sign(&note.Note{Text: c.Text()}, stolen.Notes(auditor.KeyName(issuer), time.Now())[0])
		if err != nil {
			t.Fatal(err)
		}
		var tiles []ledger.Tile
		for _, tile := range edge.Partial() {
			var hashes []byte
			for _, h := range tile.Hashes {
				hashes = append(hashes, h[:]...)
			}
			tiles = append(tiles, ledger.Tile{TileID: ledger.TileID{Level: tile.Level, Index: tile.Index}, Hashes: hashes})
		}
		err = w.store.Advance(t.Context(), w.origin.Tenant, ledger.Step{From: head, Revision: at.Revision, Tiles: tiles,
			To: ledger.Head{Epoch: 1, Size: c.Size, Root: c.Root, Note: signed}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.start().try(); !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("the log goes on: %v", err)
		}
	})
}

// The key of events is revoked while others write: nothing is refused, and the log verifies.
func TestAnEventKeyIsRevokedWhileOthersWrite(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		one, two := w.start(), w.start()
		one.append(20)
		two.append(20)
		w.revoke(keys.Events)
		one.append(20)
		two.append(20)
		one.passes(one.head().Size)
		two.passes(two.head().Size)
	})
}
