package auditor

import (
	"fmt"
	"slices"
)

// conclude reports what the whole log shows.
func (v *verifier) conclude() {
	if v.next < 0 {
		v.begin(0)
	}
	v.aligner.finish()
	found, authentic := v.aligner.settle(), v.trees.authentic()
	v.judge(found, authentic)
	for _, d := range found {
		if d.kind == Deleted && authentic(d.tile/TileWidth) {
			v.order.deleted = append(v.order.deleted, d.tile)
		}
	}
	missed := v.order.conclude()
	if v.trees.signed(v.trees.entries) {
		v.checkTiles(found)
	} else {
		v.locate(found, authentic, missed)
	}
	v.compareOld()
	v.checkPruned()
	v.tokens.conclude(v.report, v.origin)
	v.report.Writers = len(v.order.writers)
}

// judge says of each entry that is not right whether somebody changed it, or it came into the log like that.
func (v *verifier) judge(found []divergence, authentic func(int64) bool) {
	changed := map[int64]bool{}
	for _, d := range found {
		if d.kind == Edited && authentic(d.tile/TileWidth) {
			changed[d.entry] = true
		}
	}
	for _, s := range v.suspects {
		switch {
		case !s.edited || v.trees.signed(v.trees.entries):
		case changed[s.index]:
			s.kind = Edited
		case s.misfit && !authentic(s.index/TileWidth):
			s.kind, s.message = Edited, s.message+": it was changed, or somebody without the key made it"
		}
		v.report.fail(s.code, s.kind, s.index, "entry %d: %s", s.index, s.message)
	}
}

// checkTiles reports what is wrong with the tiles of an export whose entries are those that were signed.
func (v *verifier) checkTiles(found []divergence) {
	for _, d := range found {
		v.report.fail(RootMismatch, Edited, d.tile, "the hash of entry %d in its tile was changed: the entry is the one "+
			"that was signed", d.tile)
	}
	for _, name := range v.trees.foreign() {
		v.report.fail(RootMismatch, Edited, -1, "the tile %s was changed: the entries are those that were signed", name)
	}
}

// locate reports where the entries are not those that were signed, as well as it can be told.
func (v *verifier) locate(found []divergence, authentic func(int64) bool, missed int64) {
	located := v.reportDivergences(found, authentic)
	if v.hopeless {
		return // what was not read is not missing
	}
	lack := v.report.Size - v.report.First - v.report.Entries - v.unread
	short := lack + located[Inserted] - located[Deleted]
	if located[Deleted] == 0 {
		short -= v.reportHoles(found)
	}
	_, at := v.known()
	switch {
	case short > 0 && missed >= short:
		v.report.fail(MissingEntries, Deleted, at, "%d entries are missing that the checkpoint has", short)
	case short > 0:
		v.report.failAmong(MissingEntries, Truncated, v.next, v.report.Size-1, "the checkpoint has %d entries, and the "+
			"export ends before entry %d: %d are missing", v.report.Size, v.next, short)
	case short < 0:
		if at < 0 {
			at = v.report.Size
		}
		v.report.fail(RootMismatch, Inserted, at, "the export has %d entries more than the checkpoint", -short)
	case len(located) == 0 && lack == 0 && v.unread == 0 && v.trees.entries != nil:
		v.reportMismatch()
	}
}

// reportHoles reports the ranges that lack entries, and returns how many these are.
func (v *verifier) reportHoles(found []divergence) (missing int64) {
	for i := 0; i < len(v.holes); i++ {
		h := v.holes[i]
		for ; i+1 < len(v.holes) && v.holes[i+1].from == h.to+1 && h.empty() && v.holes[i+1].empty(); i++ {
			h.to, h.missing = v.holes[i+1].to, h.missing+v.holes[i+1].missing
		}
		kind := Deleted
		if h.to == v.report.Size-1 && !slices.ContainsFunc(found, func(d divergence) bool { return d.tile >= h.from }) {
			kind, h.from = Truncated, h.to-h.missing+1 // those that are there are in their places
		}
		v.report.failAmong(MissingEntries, kind, h.from, h.to, "%d of the entries from %d to %d are missing",
			h.missing, h.from, h.to)
		missing += h.missing
	}
	return missing
}

// known returns what was found wrong with the first entry that is known to be wrong by itself or by its number: the
// best guess, where the tiles tell nothing. The index is -1 if there is none.
func (v *verifier) known() (kind Kind, index int64) {
	kind, index = Edited, -1
	for _, f := range v.report.Findings {
		switch f.Code {
		case BadEvent, ForgedEvent, ForeignEvent, MissingEvent, ReplayedEvent:
			if index < 0 || f.Index < index {
				kind, index = f.Kind, f.Index
			}
		}
	}
	return kind, index
}

// reportDivergences reports those that the signed root confirms, and returns how many there are of each kind.
func (v *verifier) reportDivergences(found []divergence, authentic func(int64) bool) map[Kind]int64 {
	located, pairs := map[Kind]int64{}, map[[2]int64]bool{}
	for _, d := range found {
		if !authentic(d.tile / TileWidth) {
			continue
		}
		located[d.kind]++
		switch d.kind {
		case Edited:
			v.report.fail(RootMismatch, Edited, d.tile, "entry %d is not the one that was recorded: the signed root has "+
				"another hash in its place", d.tile)
		case Deleted:
			v.report.fail(MissingEntries, Deleted, d.tile, "entry %d is missing: the signed root has a hash of it, and "+
				"those before and after it are there", d.tile)
		case Inserted:
			v.report.fail(RootMismatch, Inserted, d.entry, "what stands as entry %d is not in the signed tree; those "+
				"before and after it are", d.entry)
		case Reordered:
			pair := [2]int64{min(d.tile, d.other), max(d.tile, d.other)}
			if !pairs[pair] {
				v.report.failAmong(RootMismatch, Reordered, pair[0], pair[1], "the entries %d and %d are not in the order in "+
					"which they were recorded", pair[0], pair[1])
			}
			pairs[pair] = true
		}
	}
	return located
}

// reportMismatch reports entries of the right number that do not make the signed root, by whatever narrows them down.
func (v *verifier) reportMismatch() {
	kind, at := v.known()
	if first, last, found := v.trees.changed(); found {
		begin, end, more := first*TileWidth, first*TileWidth+TileWidth-1, ""
		if last > first {
			more = fmt.Sprintf("; nor are others, up to entry %d", last*TileWidth+TileWidth-1)
		}
		f := Finding{Severity: Error, Code: RootMismatch, Kind: Edited, Index: begin, To: end, Message: fmt.Sprintf(
			"the entries from %d to %d are not those that were recorded: the signed root has another hash of them%s",
			begin, end, more)}
		if at >= begin && at <= end { // which of them is known
			f.Kind, f.Index, f.To = kind, at, 0
		}
		v.report.add(f)
		return
	}
	same := v.agreed(v.trees.entriesAt, v.report.Size)
	switch {
	case at >= 0:
		v.report.fail(RootMismatch, kind, at, "the entries do not make the root that was signed; no hash that the signed "+
			"root confirms tells where, but what else is wrong with entry %d does", at)
	case same > 0:
		v.report.failAmong(RootMismatch, Edited, same, v.report.Size-1, "the entries do not make the root that was signed; "+
			"those before %d do make the one of an older checkpoint", same)
	default:
		v.report.fail(RootMismatch, Edited, -1, "the entries do not make the root that was signed, and no hash that the "+
			"signed root confirms tells where")
	}
}
