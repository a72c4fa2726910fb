package auditor

import (
	"encoding/json"
	"fmt"
)

// begin takes the index of the first entry of the export.
func (v *verifier) begin(first int64) {
	v.next, v.report.First, v.aligner.tile = first, first, first
	v.order.pruned = first > 0
	if err := v.trees.begin(first); err != nil {
		v.report.failAmong(MissingEntries, Deleted, 0, first-1, "the entries before %d are missing, and the tiles that "+
			"hold the tree before it are too", first)
	}
}

// add takes the next bundle, when it has been checked.
func (v *verifier) add(j *job) {
	first := j.index * TileWidth
	last := first + int64(j.width) - 1
	if v.next < 0 {
		v.begin(first)
	}
	if first > v.next {
		v.holes = append(v.holes, hole{v.next, first - 1, first - v.next})
		v.aligner.skip(first)
	}
	switch missing := int64(j.width - len(j.records)); {
	case j.err != nil:
		v.report.failAmong(BadEvent, Malformed, first, last, "the entries from %d to %d cannot be read: %v",
			first, last, j.err)
		v.unread += missing
		for index := first; index <= last; index++ {
			v.order.damage(index, nil)
		}
	case missing > 0:
		v.holes = append(v.holes, hole{first, last, missing})
	}
	hashes, entries := j.hashes()
	v.trees.add(j.index, hashes, j.tile)
	if j.tile != nil && j.data != nil && j.err == nil {
		v.aligner.push(j.tile, entries)
	} else {
		v.aligner.skip(last + 1)
	}
	for i := range j.records {
		v.entry(first+int64(i), &j.records[i])
	}
	v.next = last + 1
	v.stopIfHopeless()
}

// stopIfHopeless ends the reading when so much is wrong that more would tell nothing, and would take memory.
func (v *verifier) stopIfHopeless() {
	if v.broken {
		return
	}
	if len(v.report.Findings)+len(v.suspects)+len(v.holes)+len(v.order.gaps) >= maxFindings || v.order.full {
		v.report.notChecked("what comes after entry %d: too much is wrong before", v.next-1)
		v.broken, v.hopeless = true, true
	}
}

// entry takes the next entry.
func (v *verifier) entry(index int64, r *record) {
	v.report.Entries++
	if r.err != nil {
		v.suspect(suspect{index: index, code: BadEvent, kind: Malformed, edited: true}, "it is no event of bursar: %v", r.err)
		v.order.damage(index, nil)
		return
	}
	if r.secret {
		v.report.fail(SecretInLog, Secret, index, "event %q holds what looks like a token", shown(r.set.ID))
	}
	switch set := r.set; {
	case set.Audience != set.Issuer+"/log" || KeyName(set.Issuer) != v.origin:
		// Whoever names a key of this log without its signature has changed an event of this log.
		ours := r.signature == wrong
		v.suspect(suspect{index: index, code: ForeignEvent, kind: WrongTenant, edited: ours, misfit: ours},
			"it is an event of another log, %q", shown(set.Audience))
		v.order.damage(index, nil)
	case r.signature == unknownKey:
		v.suspect(suspect{index: index, code: ForgedEvent, kind: Forged, edited: true}, "it names a key that is none of "+
			"the log's, %q", shown(set.KeyID))
		v.order.damage(index, nil)
	case r.signature == wrong:
		v.suspect(suspect{index: index, code: ForgedEvent, kind: Forged, edited: true, misfit: true},
			"the key that it names, %q, did not sign it", set.KeyID)
		v.order.damage(index, set)
	default:
		v.genuine(index, r)
	}
}

// genuine takes an event that a key of the log signed.
func (v *verifier) genuine(index int64, r *record) {
	set := r.set
	if v.report.FirstTime == 0 {
		v.report.FirstTime = set.IssuedAt
	}
	v.report.LastTime = set.IssuedAt
	v.order.see(index, set)
	v.checkKey(index, set)
	if !v.events[set.KeyID].MaySign(set.Name) {
		v.suspect(suspect{index: index, code: MisusedKey, kind: Misused}, "its key %q may not sign an event %s",
			set.KeyID, set.Name)
		return // so that it shows nothing of the log
	}
	switch set.Name {
	case "audit.prune":
		v.pruned = max(v.pruned, droppedBy(set))
	case "log.key":
		if kid := revokedBy(set); kid != "" {
			v.revoked[kid] = index
		}
	}
	if v.tokens.wanted() {
		v.tokens.see(index, r.token)
	}
}

// Slack that clocks of servers may have, in seconds.
const (
	clockSlack  = 5 * 60
	retireSlack = 60 * 60 // and time for each server to learn of a new key
)

// checkKey reports an event by a key that did not sign any more. Nothing that a key signs is recorded after the event
// that tells of its revocation; where that event was pruned, the time that an event tells must do.
func (v *verifier) checkKey(index int64, set *SET) {
	key := v.events[set.KeyID]
	end, told := v.revoked[set.KeyID]
	switch {
	case told:
		v.suspect(suspect{index: index, code: RevokedKey, kind: Forged}, "its key %q was revoked by entry %d",
			set.KeyID, end)
	case key.Revoked == 0:
		v.newest = max(v.newest, set.IssuedAt)
	case set.IssuedAt > key.Revoked+clockSlack:
		v.suspect(suspect{index: index, code: RevokedKey, kind: Forged}, "it says that it was recorded after its key %q was "+
			"revoked", set.KeyID)
	case v.newest >= key.Revoked+clockSlack:
		v.warnOfKey(index, key, "key %q was revoked; this event says that it was recorded before, and stands after others "+
			"that were recorded later")
	}
	if key.Expires > 0 && set.IssuedAt > key.Expires+retireSlack {
		v.warnOfKey(index, key, "another key has taken the place of key %q long before this event")
	}
}

// warnOfKey warns of the first event of a key, and passes over others like it.
func (v *verifier) warnOfKey(index int64, key eventKey, format string) {
	if kind := key.KeyID + format; !v.warned[kind] {
		v.warned[kind] = true
		v.report.warn(RevokedKey, Forged, index, format, key.KeyID)
	}
}

// revokedBy returns the kid of the event key that an event log.key tells the end of.
func revokedBy(set *SET) string {
	var body struct {
		Outcome string `json:"outcome"`
		Key     struct {
			Action string `json:"action"`
			KeyID  string `json:"kid"`
		} `json:"log_key"`
	}
	if err := json.Unmarshal(set.Body, &body); err != nil || body.Outcome != "allowed" || body.Key.Action != "revoke" {
		return ""
	}
	return body.Key.KeyID
}

// droppedBy returns before which entry all were dropped, as an event audit.prune says.
func droppedBy(set *SET) int64 {
	var body struct {
		Outcome string `json:"outcome"`
		Range   struct {
			First int64 `json:"first"`
			Count int64 `json:"count"`
		} `json:"range"`
	}
	if err := json.Unmarshal(set.Body, &body); err != nil || body.Outcome != "allowed" {
		return 0
	}
	return body.Range.First + body.Range.Count
}

func (v *verifier) suspect(s suspect, format string, args ...any) {
	s.message = fmt.Sprintf(format, args...)
	v.suspects = append(v.suspects, s)
}
