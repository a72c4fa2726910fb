package tree_test

import (
	"errors"
	"io"
	"testing"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// headless puts the store back to an earlier head of the log, of less than 256 entries, with all entries as change
// leaves them.
func (w *world) headless(head ledger.Head, change func(entries [][]byte) [][]byte) {
	w.t.Helper()
	ctx, id := w.t.Context(), w.origin.Tenant
	s, err := w.store.Snapshot(ctx, id)
	if err != nil {
		w.t.Fatal(err)
	}
	s.Head = head
	tiles, err := w.store.Tiles(ctx, id, []ledger.TileID{{}})
	if err != nil {
		w.t.Fatal(err)
	}
	entries, err := w.store.Events(ctx, id, 0, int(s.Position.Index))
	if err != nil {
		w.t.Fatal(err)
	}
	parts := []ledger.Part{{Tiles: []ledger.Tile{{Hashes: tiles[0][:32*head.Size]}}}, {}}
	for _, e := range entries {
		parts[1].Entries = append(parts[1].Entries, e.Data)
	}
	parts[1].Entries = change(parts[1].Entries)
	s.Position.Index = int64(len(parts[1].Entries))
	err = w.store.Load(ctx, id, s, func() (ledger.Part, error) {
		if len(parts) == 0 {
			return ledger.Part{}, io.EOF
		}
		part := parts[0]
		parts = parts[1:]
		return part, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// A store that lost a head and no entry, as a backup has lost it that was made just before, is gone on from: what is
// signed again is what was signed.
func TestAHeadThatIsLostIsSignedAgain(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(20)
		early := p.head()
		p.append(30)
		late := p.head()
		p.stop()
		w.headless(early, func(all [][]byte) [][]byte { return all })
		p = w.start()
		if err := p.try(); err != nil {
			t.Fatal(err)
		}
		p.passes(p.head().Size, early.Note, late.Note)
	})
}

func TestAHeadThatIsLostWithEntriesIsMissed(t *testing.T) {
	for name, change := range map[string]func(all [][]byte) [][]byte{
		"without some entries": func(all [][]byte) [][]byte { return all[:len(all)-9] },
		"with others": func(all [][]byte) [][]byte {
			all[40], all[41] = all[41], all[40]
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world) {
				p := w.start()
				p.append(20)
				early := p.head()
				p.append(30)
				p.head()
				p.kill()
				w.headless(early, change)
				if err := w.start().try(); !errors.Is(err, fault.ErrUnavailable) {
					t.Errorf("the log goes on: %v", err)
				}
			})
		})
	}
}
