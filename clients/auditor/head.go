package auditor

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// oldHead is an older checkpoint that is to be compared.
type oldHead struct {
	Checkpoint
	signed []byte
}

// readHead reads the three files that come first, and returns the one after them.
func (v *verifier) readHead(ctx context.Context, from *Reader) (File, error) {
	texts := map[string][]byte{}
	f, more, err := v.read(ctx, from)
	for ; more && f.Width == 0; f, more, err = v.read(ctx, from) {
		texts[f.Name] = f.Data
	}
	if err != nil {
		return File{}, err
	}
	if signed, found := texts[CheckpointFile]; !found {
		v.report.fail(NoCheckpoint, BadCheckpoint, -1, "the export does not begin with a checkpoint: nothing can "+
			"be verified")
	} else if v.trustHead(signed, texts[VKeyFile]) {
		v.openEventKeys(texts[KeysFile])
		v.openOld()
		var sizes []int64
		for _, old := range v.old {
			sizes = append(sizes, old.Size)
		}
		head, err := ParseCheckpoint(textOf(signed))
		if err != nil {
			return File{}, err // it was read before
		}
		v.trees = newTrees(head, sizes)
		v.order = &order{report: v.report, writers: map[string]*writer{}}
	}
	return f, nil
}

// textOf returns what a signed note says, whoever signed it.
func textOf(signed []byte) string {
	text, _, _ := strings.Cut(string(signed), "\n\n")
	return text + "\n"
}

// trustHead checks who signed the checkpoint, and for which log. It returns false if it says nothing that the entries
// could be held against.
func (v *verifier) trustHead(signed, vkey []byte) bool {
	head, err := ParseCheckpoint(textOf(signed))
	if err != nil {
		v.report.fail(BadCheckpointSig, BadCheckpoint, -1, "the checkpoint cannot be read: %v", err)
		return false
	}
	v.report.Origin, v.report.Size, v.report.Root = head.Origin, head.Size, head.Root.String()
	v.report.Checkpoint = string(signed)
	if len(v.Keys) == 0 {
		v.report.notChecked("whose log it is, and that nobody made all of it anew: no key was given, so the one in the " +
			"export was used, and whoever made the export chose it")
		for _, line := range strings.Fields(string(vkey)) {
			if key, err := note.NewVerifier(line); err == nil {
				v.keys = append(v.keys, key)
			}
		}
	}
	base, _ := splitEpoch(head.Origin)
	if v.origin = base; len(v.keys) > 0 {
		v.origin = v.keys[0].Name()
	}
	if _, n, err := OpenCheckpoint(signed, v.keys...); err != nil {
		v.report.fail(BadCheckpointSig, BadCheckpoint, -1, "none of the keys of the log signed the checkpoint: %v", err)
	} else if v.origin = n.Sigs[0].Name; base != v.origin {
		v.report.fail(BadCheckpointSig, WrongTenant, -1, "the checkpoint is of %q, and the key is of %s",
			head.Origin, v.origin)
	}
	if v.Issuer != "" && base != KeyName(v.Issuer) {
		v.report.fail(BadCheckpointSig, WrongTenant, -1, "the checkpoint is of %q, and the log of %s is %s",
			head.Origin, v.Issuer, KeyName(v.Issuer))
	}
	v.countWitnesses(signed)
	return true
}

// splitEpoch returns the origin of a log in its first epoch, and the number of the epoch.
func splitEpoch(origin string) (base string, epoch int64) {
	at := strings.LastIndex(origin, "/log/e")
	if at < 0 {
		return origin, 1
	}
	base, digits := origin[:at+len("/log")], origin[at+len("/log/e"):]
	epoch, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || epoch < 2 || strconv.FormatInt(epoch, 10) != digits {
		return origin, 1
	}
	return base, epoch
}

func (v *verifier) countWitnesses(signed []byte) {
	v.report.Witnesses = witnessed(signed, v.witnesses)
	if len(v.report.Witnesses) < v.Quorum {
		v.report.fail(FewWitnesses, Unwitnessed, -1, "%d of %d witnesses signed the checkpoint, and %d must have",
			len(v.report.Witnesses), len(v.witnesses), v.Quorum)
	}
}

// openEventKeys reads the keys of the events.
func (v *verifier) openEventKeys(signed []byte) {
	keys, err := func() (map[string]eventKey, error) {
		if len(signed) == 0 {
			return nil, fmt.Errorf("the export does not hold %s", KeysFile)
		}
		all, err := OpenKeys(signed, v.origin, v.keys...)
		if err != nil {
			return nil, err
		}
		return byName(all)
	}()
	if err != nil {
		v.report.fail(BadKeys, Forged, -1, "the keys of the events are not to be trusted: %v", err)
		v.report.notChecked("who signed the events: their keys are not known")
		return
	}
	v.events = keys
}

// openOld reads the older checkpoints.
func (v *verifier) openOld() {
	if len(v.Old)+len(v.witnesses) == 0 {
		v.report.notChecked("that the log was never longer, and was never rewritten by somebody who has its keys: that " +
			"takes an older checkpoint, or witnesses")
	}
	for i, signed := range v.Old {
		old, _, err := OpenCheckpoint(signed, v.keys...)
		if err != nil {
			v.report.fail(BadOldCheckpoint, BadCheckpoint, -1, "older checkpoint %d shows nothing: %v", i+1, err)
			continue
		}
		if base, _ := splitEpoch(old.Origin); base != v.origin {
			v.report.fail(BadOldCheckpoint, WrongTenant, -1, "older checkpoint %d is of %s, another log", i+1, old.Origin)
			continue
		}
		v.old = append(v.old, oldHead{old, signed})
	}
}
