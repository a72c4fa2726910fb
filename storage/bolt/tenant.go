package bolt

import (
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/bursar-sts/bursar/server/ledger"
)

// The buckets of a tenant, and a key beside them.
const (
	rows        = "row"
	events      = "ev"
	writers     = "w"
	cutoffs     = "cut"
	cutSeq      = "cutseq"
	cutExpiry   = "cutexp"
	claims      = "once"
	claimExpiry = "onceexp"
	hashTiles   = "tile"

	headKey = "head"
)

var parts = [...]string{rows, events, writers, cutoffs, cutSeq, cutExpiry, claims, claimExpiry, hashTiles}

// tenantState is a tenant's part of the file within one transaction. That of an unknown tenant is nil and has an
// empty head, no writers and no claims.
type tenantState struct{ root *bbolt.Bucket }

func find(tx *bbolt.Tx, t ledger.Tenant) *tenantState {
	if root := tx.Bucket(tenantBucket).Bucket([]byte(t)); root != nil {
		return &tenantState{root: root}
	}
	return nil
}

func findOrCreate(tx *bbolt.Tx, t ledger.Tenant) (*tenantState, error) {
	if l := find(tx, t); l != nil {
		return l, nil
	}
	root, err := tx.Bucket(tenantBucket).CreateBucket([]byte(t))
	if err != nil {
		return nil, fmt.Errorf("create tenant: %w", err)
	}
	for _, part := range parts {
		if _, err := root.CreateBucket([]byte(part)); err != nil {
			return nil, fmt.Errorf("create tenant: %w", err)
		}
	}
	return &tenantState{root: root}, nil
}

// bucket returns one of the tenant's parts; all of them exist.
func (l *tenantState) bucket(part string) *bbolt.Bucket {
	b := l.root.Bucket([]byte(part))
	if part == events || part == cutSeq {
		b.FillPercent = 1 // these grow only at their end, so no page is written half full
	}
	return b
}

// head is where a tenant stands.
type head struct{ entries, revision, cutoffs int64 }

func (l *tenantState) head() head {
	if l == nil {
		return head{}
	}
	b := l.root.Get([]byte(headKey))
	return head{entries: int64At(b, 0), revision: int64At(b, 1), cutoffs: int64At(b, 2)}
}

func (l *tenantState) putHead(h head) error {
	return l.root.Put([]byte(headKey), uint64s(h.entries, h.revision, h.cutoffs))
}

func (h head) position(now int64) ledger.Position {
	return ledger.Position{Index: h.entries, Revision: h.revision, Cutoffs: h.cutoffs, Time: toTime(now)}
}
