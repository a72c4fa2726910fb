package tree

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/ledger"
)

// errHalted is wrapped by the reasons for which a head is not believed.
var errHalted = errors.New("the store is not the one that it was")

// halt notes why the head is not believed, and says so once.
func (t *Trees) halt(l *log, format string, args ...any) error {
	why := fmt.Errorf("%w: "+format, append([]any{errHalted}, args...)...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.halted == nil {
		t.cfg.Logger.Error("nothing is issued in this log until an operator accepts the loss",
			"log", auditor.KeyName(l.issuer), "error", why)
	}
	if l.halted == nil && l.end > 0 {
		e := Evidence{Epoch: l.head.Epoch, End: l.end, Own: l.own}
		if err := t.cfg.Anchors.Keep(l.tenant, e); err != nil {
			t.cfg.Logger.Error("a restart would forget that", "log", auditor.KeyName(l.issuer), "error", err)
		}
	}
	l.looked, l.edge, l.halted = time.Now(), nil, why
	return why
}

// recall takes up what an earlier process knew of a log that it did not believe.
func (t *Trees) recall(l *log, epoch int64) error {
	e, err := t.cfg.Anchors.Evidence(l.tenant)
	if err != nil {
		return fmt.Errorf("read the evidence of a loss: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.End == 0 || epoch > e.Epoch && e.Epoch > 0 { // somebody has accepted the loss
		return nil
	}
	l.end = max(l.end, e.End)
	for index, hash := range e.Own {
		if _, known := l.own[index]; !known {
			l.own[index] = hash
		}
	}
	return nil
}

// known returns the end of the log as far as this process knows. What is read from the store afterwards is not before
// it.
func (l *log) known() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// believed reads the head that the store has, and where the tenant stands, and checks that they can be.
func (t *Trees) believed(ctx context.Context, l *log) (ledger.Head, ledger.Position, error) {
	end := l.known()
	head, at, err := t.cfg.Store.Head(ctx, l.tenant)
	if err != nil {
		return head, at, fmt.Errorf("read head: %w", err)
	}
	return head, at, t.believe(ctx, l, head, at.Index, end)
}

// believe compares a head that the store has shown with the one that was seen last, here or, the first time, by the
// anchor. end is what was known of the log's end before the head was read. The sequencer's part of the log must be
// held.
func (t *Trees) believe(ctx context.Context, l *log, head ledger.Head, entries, end int64) error {
	l.mu.Lock()
	last, checked, halted := l.head, l.checked, l.halted
	l.mu.Unlock()
	seen := last.Epoch
	if checked && halted == nil && head.Same(last) && entries >= max(head.Size, end) {
		t.covered(l, head)
		return nil
	}
	if !checked || halted != nil {
		anchor, err := t.cfg.Anchors.Load(l.tenant)
		if err != nil {
			return fmt.Errorf("read the anchor: %w", err)
		}
		if anchor.Epoch > last.Epoch || anchor.Epoch == last.Epoch && anchor.Size > last.Size {
			last = anchor
		}
		if !checked {
			if err := t.recall(l, head.Epoch); err != nil {
				return err
			}
			end = max(end, l.known())
		}
	}
	err := t.follows(ctx, l, last, head, entries)
	if err == nil {
		err = t.signed(ctx, l, head, entries)
	}
	another := seen > 0 && head.Epoch > seen
	if err == nil && another {
		l.disown()
	}
	if err == nil && !another && entries < end {
		err = t.halt(l, "the log has %d entries, and had %d", entries, end)
	}
	if err == nil {
		err = t.owned(ctx, l, head)
	}
	if err == nil && (!checked || halted != nil) {
		err = t.kept(ctx, l, head)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.checked = true
	l.mu.Unlock()
	t.covered(l, head)
	if another {
		t.accepted(l.tenant)
	}
	return nil
}

func (l *log) isHalted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.halted != nil
}

// trust ends a halt: the head is believed, and whatever the store has beyond it could be covered.
func (t *Trees) trust(l *log) error {
	if !l.isHalted() {
		return nil
	}
	if err := t.cfg.Anchors.Keep(l.tenant, Evidence{}); err != nil {
		return fmt.Errorf("remove the evidence of a loss: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halted = nil
	return nil
}

// follows checks that the tree of head is that of last, or has grown from it.
func (t *Trees) follows(ctx context.Context, l *log, last, head ledger.Head, entries int64) error {
	switch {
	case entries < head.Size:
		return t.halt(l, "the log has %d entries, and a head of %d was signed", entries, head.Size)
	case head.Epoch > last.Epoch && last.Epoch > 0: // an operator has accepted a loss
		return nil
	case head.Epoch == last.Epoch && head.Size < last.Size && last.Size <= entries:
		return t.regrows(ctx, l, last, head)
	case head.Epoch < last.Epoch || head.Size < last.Size:
		return t.halt(l, "it was rolled back: its head is of %d entries, and one of %d was signed", head.Size, last.Size)
	case last.Epoch == 0 || last.Size == 0 || head.Same(last):
		return nil
	case last.Size < head.First: // what would tell was pruned
		return nil
	}
	then, err := t.resumed(ctx, l, last.Size)
	if err != nil {
		return err
	}
	if then.Root() != tlog.Hash(last.Root) {
		return t.halt(l, "its first %d entries are others than those that were signed", last.Size)
	}
	return nil
}

// regrows checks that the store lost nothing but a head: its entries make the one that was signed.
func (t *Trees) regrows(ctx context.Context, l *log, last, head ledger.Head) error {
	e, err := t.edgeOf(ctx, l, head)
	if err != nil {
		return err
	}
	again := e.Clone()
	for again.Size() < last.Size {
		leaves, err := t.leaves(ctx, l, again.Size(), min(last.Size, again.Size()+maxStep))
		if err != nil {
			return err
		}
		for _, leaf := range leaves {
			again.Append(leaf)
		}
	}
	if again.Root() != tlog.Hash(last.Root) {
		return t.halt(l, "its first %d entries are others than those that were signed", last.Size)
	}
	return nil
}

// owned checks that a head which another process signed covers our events as we appended them.
func (t *Trees) owned(ctx context.Context, l *log, head ledger.Head) error {
	l.mu.Lock()
	wanted := map[int64][]int64{} // indexes by tile
	own := make(map[int64]tlog.Hash, len(l.own))
	for index, hash := range l.own {
		if index < head.Size {
			tile := index / auditor.TileWidth
			wanted[tile] = append(wanted[tile], index)
			own[index] = hash
		}
	}
	l.mu.Unlock()
	if len(wanted) == 0 {
		return nil
	}
	var ids []ledger.TileID
	for tile := range wanted {
		ids = append(ids, ledger.TileID{Index: tile})
	}
	tiles, err := t.cfg.Store.Tiles(ctx, l.tenant, ids)
	if err != nil {
		return fmt.Errorf("read tiles: %w", err)
	}
	for i, id := range ids {
		signed := hashes(tiles[i])
		for _, index := range wanted[id.Index] {
			at := int(index % auditor.TileWidth)
			if at >= len(signed) || signed[at] != own[index] {
				return t.halt(l, "entry %d is another one than was recorded", index)
			}
		}
	}
	return nil
}
