// Package ledger is the vocabulary of a tenant's durable state: rows of configuration, cutoffs, and the log, which
// change together or not at all. It holds types only. Backends (storage/...) implement the interfaces that the
// consumers declare over these types (audit.Store, tenant.Store, clients.Claims); values are bytes, so that a backend
// knows no rules.
package ledger

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"time"
)

// Tenant is a tenant's random internal id. It is the first part of every storage key, cache key and AAD, and is never
// used again; the slug of the URL leads to it.
type Tenant string

// Platform is the ledger of what crosses tenants: the directory of tenants, platform operators, the platform's log.
const Platform Tenant = "platform"

// Row is one stored object.
type Row struct {
	Kind  string // such as "client"
	ID    string // unique within tenant and kind
	Value []byte // JSON; opaque to the backend
}

// Key names a row.
type Key struct{ Kind, ID string }

// Commit is one append to a tenant's log, with the change that it records. It is applied whole or not at all.
type Commit struct {
	// Writer is the id of the appending process and boot (wid).
	Writer string
	// First is the writer's counter (wsn) of Entries[0]. A writer starts at 1 and never skips.
	// Repeating a writer's last commit unchanged is answered with its position again and writes nothing.
	First int64
	// Entries are the events, in order; 1 to MaxEntries.
	Entries [][]byte
	// Signed, unless nil, is the revision of the rows whose keys signed the entries. If it is another one now, nothing is
	// written and the error is fault.ErrStale: a key that was revoked signs nothing.
	Signed *int64
	// Change is what the entries record; its zero value changes nothing.
	Change Change
	// Claims are taken with the commit, at most MaxClaims. If somebody else has one of them, an earlier one of the same
	// commit included, nothing is written and the error is a *Taken.
	Claims []Claim
}

// MaxEntries and MaxClaims bound one commit, so that it stays short in the store.
const (
	MaxEntries = 256
	MaxClaims  = 4 * MaxEntries
)

// Claim takes a key that only one can have. It stays taken until then, and up to a minute more.
type Claim struct {
	Key   string
	Until time.Time
}

// UseClaim begins the keys of claims that a shim takes: those of tokens that are good for one call. A standalone shim
// may take no others, so that its user of the store need not be able to touch those of the servers.
const UseClaim = "use/"

// Taken is the error of a commit that claimed what somebody else has. Nothing of it was written.
type Taken struct {
	Claims []int // the indexes of those claims among the commit's, in order; never empty
}

// Error names no key.
func (*Taken) Error() string { return "claimed by somebody else" }

// Change is a conditional change of rows, and of cutoffs.
type Change struct {
	// Expect is the revision that the tenant's rows must still have; checked only if Put or Delete is not empty.
	Expect int64
	// Cutoffs, unless nil, is the number of the last cutoff that was known when the change was decided. A later one that
	// disables something is a conflict, too; checked when Expect is.
	Cutoffs *int64
	Put     []Row
	Delete  []Key
	// Cut revokes. At is the store's time, Seq the next cutoff number. An existing cutoff moves forward only.
	Cut []Cut
	// Enable lifts the disabling of cutoffs and leaves their times. Targets that were never cut are left alone.
	Enable []Key
}

// Empty reports whether the change changes nothing.
func (c Change) Empty() bool {
	return len(c.Put)+len(c.Delete)+len(c.Cut)+len(c.Enable) == 0
}

// Cut is a revocation to be made: everything of (Kind, Value) issued up to the store's time is revoked.
type Cut struct {
	Key
	// Keep is how long after the cut something that it hits can still be alive; the cutoff is forgotten after that,
	// unless it disables.
	Keep time.Duration
	// Disable also refuses everything new of the target until it is enabled.
	Disable bool
}

// Cutoff is a stored revocation.
type Cutoff struct {
	Key
	Seq      int64     // the number of its last change, unique and increasing in its tenant, from 1
	At       time.Time // everything issued up to here is revoked (millisecond precision)
	Until    time.Time // nothing that it hits is alive after this
	Disabled bool      // nothing of it is issued until enabled
}

// Position is where a tenant's ledger stands.
type Position struct {
	Index    int64     // after Commit: the log index of Entries[0], from 0; else the number of entries in the log
	Revision int64     // counts changes of rows
	Cutoffs  int64     // Seq of the newest change of a cutoff; 0 if there never was one
	Time     time.Time // the store's time, millisecond precision; never goes back within a tenant's commits
}

// Entry is one recorded event.
type Entry struct {
	Index int64
	Data  []byte
}

// NewID returns a time-ordered id: 48 bits of Unix milliseconds and 128 random bits, as 36 lower-case characters whose
// byte order is the order of time.
func NewID(now time.Time) string {
	var b [22]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails (crypto/rand)
	var text [36]byte
	idEncoding.Encode(text[:], b[:])
	return string(text[:])
}

// IDTime returns when an id was made, in whole milliseconds. It reports false for what NewID cannot have returned.
func IDTime(id string) (made time.Time, ok bool) {
	b, err := idEncoding.DecodeString(id)
	if err != nil || len(b) != 22 || idEncoding.EncodeToString(b) != id { // one spelling
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:8]) >> 16)), true
}

// NewTenant returns a fresh tenant id: 130 random bits, as 26 lower-case characters.
func NewTenant() Tenant {
	var b [17]byte
	_, _ = rand.Read(b[:])
	return Tenant(idEncoding.EncodeToString(b[:])[:26])
}

var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)
