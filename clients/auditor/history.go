package auditor

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// CheckConsistency reports why the log of an older checkpoint does not go on in the one of a newer checkpoint, by the
// proof that the log gives (RFC 6962 §2.1.2). Both checkpoints have been opened, and are of one log.
func CheckConsistency(older, newer Checkpoint, proof tlog.TreeProof) error {
	base, _ := splitEpoch(older.Origin)
	if other, _ := splitEpoch(newer.Origin); base != other {
		return fmt.Errorf("check consistency: %s and %s are different logs", older.Origin, newer.Origin)
	}
	switch {
	case older.Size > newer.Size:
		return fmt.Errorf("check consistency: the log was rolled back from %d entries to %d", older.Size, newer.Size)
	case older.Size == newer.Size:
		if older.Root != newer.Root {
			return fmt.Errorf("check consistency: the log was forked: two roots were signed for %d entries", older.Size)
		}
		return nil
	case older.Size == 0:
		return nil // everything goes on from nothing
	}
	if err := tlog.CheckTree(proof, newer.Size, newer.Root, older.Size, older.Root); err != nil {
		return fmt.Errorf("check consistency: the entries before %d were rewritten, or the proof is not of these two "+
			"checkpoints: %w", older.Size, err)
	}
	return nil
}

// compareOld holds the log against the older checkpoints.
func (v *verifier) compareOld() {
	_, epoch := splitEpoch(v.report.Origin)
	for _, old := range v.old {
		accepted := ""
		if _, before := splitEpoch(old.Origin); before < epoch {
			accepted = fmt.Sprintf("; an operator accepted a loss since, and the log went on as epoch %d", epoch)
		}
		root, known := v.trees.rootAt(old.Size)
		if known || old.Size > v.report.Size {
			v.compared++
		}
		switch {
		case old.Size > v.report.Size:
			v.report.failAmong(Rollback, RolledBack, v.report.Size, old.Size-1, "an older checkpoint has %d entries, and "+
				"this one %d: the entries from %d on are gone%s", old.Size, v.report.Size, v.report.Size, accepted)
		case !known:
			v.report.notChecked("that the log goes on from the older checkpoint of %d entries: the export does not hold "+
				"the tree of that size, or not the one that was signed", old.Size)
		case root == old.Root:
		case accepted != "":
			v.report.failAmong(Rollback, RolledBack, v.agreed(v.trees.rootAt, old.Size), old.Size-1, "an older checkpoint "+
				"has %d entries, and this log has not all of them%s", old.Size, accepted)
		case old.Size == v.report.Size:
			v.fork(Fork, -1, 0, old, "two checkpoints of %d entries have different roots: two histories were signed",
				old.Size)
		default:
			same := v.agreed(v.trees.rootAt, old.Size)
			v.fork(Rewritten, same, old.Size-1, old, "the entries before %d are not those of an older checkpoint: they "+
				"were rewritten, and signed again", old.Size)
		}
	}
}

// agreed returns the size of the largest of the older checkpoints, up to a size, whose root a tree had at its size.
func (v *verifier) agreed(rootAt func(int64) (tlog.Hash, bool), most int64) (size int64) {
	for _, old := range v.old {
		if root, known := rootAt(old.Size); known && old.Size <= most && root == old.Root {
			size = max(size, old.Size)
		}
	}
	return size
}

// fork reports two signed checkpoints that cannot both be true.
func (v *verifier) fork(code Code, index, last int64, old oldHead, format string, args ...any) {
	v.report.add(Finding{Severity: Error, Code: code, Kind: Forked, Index: index, To: last,
		Message: fmt.Sprintf(format, args...), Evidence: []string{string(old.signed), v.report.Checkpoint}})
}

// checkPruned reports entries that are missing at the beginning, unless the log says that they were dropped.
func (v *verifier) checkPruned() {
	first := v.report.First
	if first == 0 {
		return
	}
	v.report.notChecked("the entries before %d, which are not in the export, and whether the servers that were running "+
		"then wrote all that they should have", first)
	if v.pruned < first && v.trees.entries != nil {
		v.report.failAmong(MissingEntries, Deleted, 0, first-1, "the export begins with entry %d, and no event of the log "+
			"(audit.prune) says that those before it were dropped", first)
	}
}
