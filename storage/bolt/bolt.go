// Package bolt is the embedded backend: one bbolt file, opened by one process, written by one group committer.
//
// The file:
//
//	meta                      format, time
//	tenant / <id>             head = entries, revision, cutoff sequence
//	tenant / <id> / row       kind/id → value
//	tenant / <id> / ev        be64 index → event
//	tenant / <id> / w         writer → last counter, index and length of its last batch
//	tenant / <id> / cut       kind:value → sequence, at, until, disabled
//	tenant / <id> / cutseq    be64 sequence → kind:value
//	tenant / <id> / cutexp    be64 until, kind:value → nothing; only of cutoffs that do not disable
//	tenant / <id> / once      SHA-256 of a claim's key → be64 until
//	tenant / <id> / onceexp   be64 until, SHA-256 → nothing
//	tenant / <id>             tree = the head of the log's Merkle tree, JSON
//	tenant / <id> / tile      level (1 byte), be64 index → hashes of 32 bytes
//	tenant / <id> / sink      name → epoch and index of its next event, dead letters; name/be64 number → dead letter
//
// Numbers are 8 bytes big-endian, times are Unix milliseconds.
package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/bursar-sts/bursar/server/fault"
)

const (
	format = 2 // of the file; another number stops Open

	lockTimeout = 250 * time.Millisecond
	queueLength = 1024
)

var (
	metaBucket   = []byte("meta")
	tenantBucket = []byte("tenant")
	formatKey    = []byte("format")
	timeKey      = []byte("time")
)

// Config says what to open.
type Config struct {
	// Path of the file, created with mode 0600 where there is none. Its folder must exist.
	Path string
	// Now is the store's clock; nil means time.Now. The store's time never goes back even if Now does.
	Now func() time.Time
}

// DB is an open file. Its methods are safe for concurrent use; all of them wrap fault.ErrUnavailable when the store
// did not confirm, which is for good once a write to the file has failed (the state of the page cache is unknown then).
type DB struct {
	path  string
	now   func() time.Time
	file  *bbolt.DB
	queue chan *work

	last   atomic.Int64 // the newest store time that anybody was told, in Unix milliseconds
	broken atomic.Bool  // a write to the file failed
	spent  spent        // of budgets
	turns  turns        // of sinks

	close   sync.Once
	closing chan struct{} // Close was called
	stopped chan struct{} // the committer has returned
}

// Open opens or creates the file and takes its lock.
func Open(cfg Config) (*DB, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	file, err := bbolt.Open(cfg.Path, 0o600, &bbolt.Options{
		Timeout:        lockTimeout,
		FreelistType:   bbolt.FreelistMapType,
		NoFreelistSync: true, // one page less in each commit; the list is rebuilt at the next open
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("open %s: another bursar has it open; stop that one first", cfg.Path)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", cfg.Path, err)
	}
	db := &DB{
		path: cfg.Path, now: cfg.Now, file: file,
		queue:   make(chan *work, queueLength),
		closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	if err := file.Update(db.prepare); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", cfg.Path, err), file.Close())
	}
	go db.run()
	return db, nil
}

// prepare makes a new file ours, or checks that an old one is, and reads the time of its last commit.
func (db *DB) prepare(tx *bbolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return errors.New("this is not a bursar store; name another file")
		}
		return create(tx)
	}
	if number := meta.Get(formatKey); len(number) != 8 || uint64At(number, 0) != format {
		return fmt.Errorf("the store has another format than the %d that this bursar reads; use the version that wrote it",
			format)
	}
	if stored := meta.Get(timeKey); len(stored) == 8 {
		db.last.Store(int64(uint64At(stored, 0)))
	}
	return nil
}

func create(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucket(metaBucket)
	if err != nil {
		return err
	}
	if _, err := tx.CreateBucket(tenantBucket); err != nil {
		return err
	}
	return meta.Put(formatKey, uint64s(format))
}

// Close lets the round that is being written finish, answers the others with fault.ErrUnavailable, and gives the file
// back.
func (db *DB) Close() error {
	db.close.Do(func() { close(db.closing) })
	<-db.stopped
	if err := db.file.Close(); err != nil {
		return fmt.Errorf("close %s: %w", db.path, err)
	}
	return nil
}

// Durability says what an acknowledged write survives.
func (db *DB) Durability() string {
	return "An acknowledged write has been synced to " + db.path +
		": it survives a crash of the process or of the machine, but not the loss of the disk."
}

// Addresses returns none: nothing but the file is the store.
func (db *DB) Addresses(context.Context) ([]netip.AddrPort, error) { return nil, nil }

// tick returns the store's time in Unix milliseconds; it is never before a time that was returned earlier.
func (db *DB) tick() int64 {
	now := db.now().UnixMilli()
	for {
		last := db.last.Load()
		if now <= last {
			return last
		}
		if db.last.CompareAndSwap(last, now) {
			return now
		}
	}
}

func unavailable(doing string, cause error) error {
	return fmt.Errorf("%s: %w: %w", doing, fault.ErrUnavailable, cause)
}

func uint64s(numbers ...int64) []byte {
	b := make([]byte, 0, 8*len(numbers))
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

// uint64At returns the i-th number of b; what is not there is 0.
func uint64At(b []byte, i int) uint64 {
	if len(b) < 8*i+8 {
		return 0
	}
	return binary.BigEndian.Uint64(b[8*i:])
}

func int64At(b []byte, i int) int64 { return int64(uint64At(b, i)) }
