package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

// restoreBucket holds tenants that are being loaded, in the form in which tenantBucket has them.
var restoreBucket = []byte("restore")

// Snapshot returns t at one moment.
func (db *DB) Snapshot(ctx context.Context, t ledger.Tenant) (ledger.Snapshot, error) {
	var s ledger.Snapshot
	var broken error
	position, err := db.view(ctx, t, func(l *tenantState, _ int64) {
		s.Head, broken = l.treeHead()
		s.Rows = appendRows(nil, l.bucket(rows).Cursor(), nil)
		broken = errors.Join(broken, l.bucket(cutoffs).ForEach(func(name, _ []byte) error {
			c, _ := l.cutoff(parseCutoffKey(name))
			s.Cutoffs = append(s.Cutoffs, c)
			return nil
		}), l.bucket(writers).ForEach(func(id, b []byte) error {
			s.Writers = append(s.Writers, ledger.Writer{ID: string(id), Last: int64At(b, 0), Index: int64At(b, 1),
				Count: int64At(b, 2)})
			return nil
		}))
	})
	s.Position = position
	if err == nil && broken != nil {
		err = unavailable("read a snapshot", broken)
	}
	return s, err
}

// Load makes t what s and its parts say, in place of what it was: whole and on disk, or not at all. next returns the
// parts, and io.EOF after the last one; any other error of it is returned, and changes nothing. How far sinks have come
// stays as it is, and so does what is claimed.
func (db *DB) Load(ctx context.Context, t ledger.Tenant, s ledger.Snapshot, next func() (ledger.Part, error)) error {
	if err := accept.Snapshot(t, s); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if err := db.usable(ctx); err != nil {
		return err
	}
	err := db.file.Update(func(tx *bbolt.Tx) error { return stage(tx, t, s) })
	if err != nil {
		return unavailable("load", err)
	}
	err = db.loadParts(ctx, t, s.Head.First, s.Position.Index, next)
	end := func(tx *bbolt.Tx) error { return db.exchange(tx, t, s) }
	if err != nil {
		end = func(tx *bbolt.Tx) error { return tx.Bucket(restoreBucket).DeleteBucket([]byte(t)) }
	}
	if ended := db.file.Update(end); ended != nil {
		err = errors.Join(err, unavailable("load", ended))
	}
	return err
}

// stage begins a tenant that is loaded.
func stage(tx *bbolt.Tx, t ledger.Tenant, s ledger.Snapshot) error {
	all, err := tx.CreateBucketIfNotExists(restoreBucket)
	if err != nil {
		return err
	}
	if err := all.DeleteBucket([]byte(t)); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
		return err // of an attempt that died
	}
	root, err := all.CreateBucket([]byte(t))
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := root.CreateBucket([]byte(part)); err != nil {
			return err
		}
	}
	l := &tenantState{root}
	for _, row := range s.Rows {
		if err := l.bucket(rows).Put([]byte(row.Kind+"/"+row.ID), row.Value); err != nil {
			return err
		}
	}
	for _, c := range s.Cutoffs {
		if err := l.putCutoff(ledger.Cutoff{}, c); err != nil {
			return err
		}
	}
	for _, w := range s.Writers {
		if err := l.bucket(writers).Put([]byte(w.ID), uint64s(w.Last, w.Index, w.Count)); err != nil {
			return err
		}
	}
	if s.Head.Epoch > 0 {
		if err := l.putTreeHead(s.Head); err != nil {
			return err
		}
	}
	return l.putHead(head{entries: s.Position.Index, revision: s.Position.Revision, cutoffs: s.Position.Cutoffs})
}

// loadParts stores the parts of a tenant that is loaded, each in a transaction of its own.
func (db *DB) loadParts(ctx context.Context, t ledger.Tenant, first, end int64,
	next func() (ledger.Part, error)) error {
	for {
		part, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		err = db.file.Update(func(tx *bbolt.Tx) error {
			l := &tenantState{tx.Bucket(restoreBucket).Bucket([]byte(t))}
			for _, tile := range part.Tiles {
				if err := l.bucket(hashTiles).Put(tileKey(tile.TileID), bytes.Clone(tile.Hashes)); err != nil {
					return err
				}
			}
			for i, entry := range part.Entries {
				if err := l.bucket(events).Put(uint64s(first+int64(i)), bytes.Clone(entry)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return unavailable("load", err)
		}
		first += int64(len(part.Entries))
	}
	if first != end {
		return fmt.Errorf("load: the entries end before %d, and there are %d", first, end)
	}
	return nil
}

// exchange puts the tenant that was loaded in the place of the one that there is.
func (db *DB) exchange(tx *bbolt.Tx, t ledger.Tenant, s ledger.Snapshot) error {
	staged, all := tx.Bucket(restoreBucket), tx.Bucket(tenantBucket)
	kept := map[string][]byte{} // of the sinks
	if old := all.Bucket([]byte(t)); old != nil {
		if b := old.Bucket([]byte(sinks)); b != nil {
			_ = b.ForEach(func(k, v []byte) error { kept[string(k)] = bytes.Clone(v); return nil })
		}
		if err := all.DeleteBucket([]byte(t)); err != nil {
			return err
		}
	}
	if err := staged.MoveBucket([]byte(t), all); err != nil {
		return err
	}
	if len(kept) > 0 {
		b, err := all.Bucket([]byte(t)).CreateBucket([]byte(sinks))
		for k, v := range kept {
			if err == nil {
				err = b.Put([]byte(k), v)
			}
		}
		if err != nil {
			return err
		}
	}
	now := max(db.tick(), s.Position.Time.UnixMilli())
	return tx.Bucket(metaBucket).Put(timeKey, uint64s(now))
}
