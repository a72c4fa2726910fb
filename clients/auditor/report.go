package auditor

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity says whether a finding makes the verification fail.
type Severity string

const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Kind says what was done to the log.
type Kind string

const (
	Edited        Kind = "edited"         // an entry, or a hash of it, was changed
	Deleted       Kind = "deleted"        // an entry is missing amid others
	Inserted      Kind = "inserted"       // an entry is there that is not in the signed tree
	Reordered     Kind = "reordered"      // an entry is in another's place
	Truncated     Kind = "truncated"      // entries are missing at the end
	Forked        Kind = "forked"         // two different histories were signed
	RolledBack    Kind = "rolled-back"    // the log was longer once
	Forged        Kind = "forged"         // an event, by a key that may not sign
	Misused       Kind = "misused"        // an event, by a key that may sign others only
	WrongTenant   Kind = "wrong-tenant"   // it belongs to another log
	Replayed      Kind = "replayed"       // an event that was recorded before
	Secret        Kind = "secret"         // an event holds a token
	Malformed     Kind = "malformed"      // it is not what bursar writes
	BadCheckpoint Kind = "bad-checkpoint" // no head that can be trusted
	Unwitnessed   Kind = "unwitnessed"    // too few witnesses signed the head
	Unrecorded    Kind = "unrecorded"     // a token is not on record
	Clock         Kind = "clock"          // a clock went back
)

// Code says which check failed.
type Code string

const (
	NoCheckpoint     Code = "no-checkpoint"
	BadCheckpointSig Code = "bad-checkpoint"
	BadOldCheckpoint Code = "bad-old-checkpoint"
	BadKeys          Code = "bad-keys" // the document of the events' keys
	Fork             Code = "fork"
	Rollback         Code = "rollback"
	Rewritten        Code = "rewritten"
	RootMismatch     Code = "root-mismatch"
	MissingEntries   Code = "missing-entries"
	ExtraBytes       Code = "extra-bytes"
	BadEvent         Code = "bad-event"
	ForgedEvent      Code = "forged-event"
	RevokedKey       Code = "revoked-key"
	MisusedKey       Code = "misused-key"
	ForeignEvent     Code = "wrong-tenant"
	SecretInLog      Code = "secret-in-log"
	MissingEvent     Code = "missing-event"
	ReplayedEvent    Code = "replayed-event"
	FewWitnesses     Code = "few-witnesses"
	TokenNotOnRecord Code = "token-not-on-record"
	ClockBack        Code = "clock"
)

// Finding is one thing that is wrong.
type Finding struct {
	Severity Severity `json:"sev"`
	Code     Code     `json:"code"`
	Kind     Kind     `json:"kind"`
	Index    int64    `json:"index"`          // of the entry, from 0; the first one that can be meant; -1 if none is
	To       int64    `json:"to,omitempty"`   // the last one that can be meant, or the other one of two; 0 if Index is it
	Message  string   `json:"msg"`            // for people
	Evidence []string `json:"evid,omitempty"` // of a fork: both signed checkpoints
}

// Verdict is what was found out about one property.
type Verdict string

const (
	OK     Verdict = "ok"
	Failed Verdict = "failed"
	Partly Verdict = "partly" // nothing wrong was found, and NotChecked says what could not be looked for
)

// Report is what Verify found out.
type Report struct {
	Origin       string        `json:"origin"` // as in the checkpoint
	Size         int64         `json:"size"`   // as in the checkpoint
	Root         string        `json:"root"`   // as in the checkpoint, base64
	First        int64         `json:"first"`  // index of the first entry that the export holds
	Entries      int64         `json:"entries"`
	Writers      int           `json:"writers"`              // servers, each from its start to its end
	FirstTime    int64         `json:"first_time,omitempty"` // iat of the first entry and of the last one, Unix seconds
	LastTime     int64         `json:"last_time,omitempty"`
	Integrity    Verdict       `json:"integrity"`      // what is there was not changed
	Completeness Verdict       `json:"completeness"`   // nothing is missing
	Findings     []Finding     `json:"findings"`       // by index
	More         int64         `json:"more,omitempty"` // findings that are not listed
	NotChecked   []string      `json:"not_checked"`    // for people
	Witnesses    []Witnessed   `json:"witnesses,omitempty"`
	Tokens       []TokenRecord `json:"tokens,omitempty"`
	Checkpoint   string        `json:"checkpoint"` // the signed note; the older checkpoint of the next verification
}

// Witnessed is a cosignature on the checkpoint.
type Witnessed struct {
	Name string `json:"name"`
	Time int64  `json:"time"` // Unix seconds
}

// TokenRecord is where a token is recorded.
type TokenRecord struct {
	ID    string `json:"jti"`
	Index int64  `json:"index"` // of the entry
}

// Passed reports whether everything that was looked at is as it should be, by a key that the caller gave.
func (r *Report) Passed() bool {
	return r.Integrity == OK && r.Completeness != Failed && r.FirstError() == nil
}

// FirstError returns the first finding that is an error, by its position in the log, or nil. Those about the log as a
// whole come after those that name an entry.
func (r *Report) FirstError() *Finding {
	for i := range r.Findings {
		if r.Findings[i].Severity == Error {
			return &r.Findings[i]
		}
	}
	return nil
}

// maxFindings bounds the findings of a report; a verification ends when there are more.
const maxFindings = 1000

func (r *Report) add(f Finding) {
	if len(r.Findings) >= maxFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, f)
}

// fail adds an error.
func (r *Report) fail(code Code, kind Kind, index int64, format string, args ...any) {
	r.add(Finding{Severity: Error, Code: code, Kind: kind, Index: index, Message: fmt.Sprintf(format, args...)})
}

// failAmong adds an error that is at one of the entries from index to last, or at both.
func (r *Report) failAmong(code Code, kind Kind, index, last int64, format string, args ...any) {
	f := Finding{Severity: Error, Code: code, Kind: kind, Index: index, Message: fmt.Sprintf(format, args...)}
	if last != index {
		f.To = last
	}
	r.add(f)
}

func (r *Report) warn(code Code, kind Kind, index int64, format string, args ...any) {
	r.add(Finding{Severity: Warning, Code: code, Kind: kind, Index: index, Message: fmt.Sprintf(format, args...)})
}

func (r *Report) notChecked(format string, args ...any) {
	r.NotChecked = append(r.NotChecked, fmt.Sprintf(format, args...))
}

// missing are the codes that are about completeness, and neither those that are about integrity.
var (
	missing = []Code{Rollback, MissingEntries, MissingEvent, FewWitnesses, TokenNotOnRecord, BadOldCheckpoint}
	neither = []Code{SecretInLog}
)

// conclude orders the findings and draws the verdicts from them. trusted: the entries are those that a key of the
// caller's signed; anchored: something outside the export shows how long the log was.
func (r *Report) conclude(trusted, anchored bool) {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		// as unsigned numbers, -1 comes last
		return cmp.Or(cmp.Compare(uint64(a.Index), uint64(b.Index)), cmp.Compare(a.Severity, b.Severity))
	})
	r.Integrity, r.Completeness = OK, OK
	if !trusted {
		r.Integrity = Partly
	}
	if !trusted || !anchored {
		r.Completeness = Partly
	}
	for _, f := range r.Findings {
		switch {
		case f.Severity != Error || slices.Contains(neither, f.Code):
		case slices.Contains(missing, f.Code):
			r.Completeness = Failed
		default:
			r.Integrity = Failed
		}
	}
	if r.More > 0 && r.Integrity == OK {
		r.Integrity = Partly
	}
}
