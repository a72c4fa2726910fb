// Package storage opens the backend that a URL names. There are two, each complete: storage/bolt, embedded in the
// process, and storage/redis, shared by several. storage/storagetest is the suite that both pass.
package storage

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage/bolt"
	"github.com/bursar-sts/bursar/storage/redis"
)

// Store is a whole backend, for whoever opens and closes it. Those who use it declare the part they need.
//
// An unknown tenant is an empty one. A call sees every commit that was acknowledged before it. No position's time is
// before one that the process was told earlier. Errors wrap fault.ErrUnavailable where the store did not confirm.
type Store interface {
	// Commit appends, claims and changes as a whole. Errors: fault.ErrConflict, fault.ErrStale, fault.ErrSequence and
	// *ledger.Taken, with nothing written; fault.ErrUnavailable, with the outcome unknown until the commit is repeated.
	Commit(ctx context.Context, t ledger.Tenant, c ledger.Commit) (ledger.Position, error)
	// Position returns where the tenant's ledger stands.
	Position(ctx context.Context, t ledger.Tenant) (ledger.Position, error)
	// Rows returns the rows of the kinds (none given: of all) by kind and id, as of the position.
	Rows(ctx context.Context, t ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position, error)
	// Cutoffs returns what changed after a sequence number, in that order, as of the position, without those cutoffs
	// that are over and do not disable. Who reads less often than every 30 days must begin again at 0.
	Cutoffs(ctx context.Context, t ledger.Tenant, after int64) ([]ledger.Cutoff, ledger.Position, error)
	// Events returns at most limit entries from an index on, in order; fewer only at the end of the log.
	Events(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]ledger.Entry, error)
	// Head returns where the Merkle tree of the log stands, and where the tenant stood at that moment.
	Head(ctx context.Context, t ledger.Tenant) (ledger.Head, ledger.Position, error)
	// Advance makes a step, whole and durably, or not at all. First stays as it is. fault.ErrConflict: the head or the
	// revision is another one, or the log is shorter than the next head; nothing was written. An error that wraps
	// fault.ErrUnavailable leaves the outcome open.
	Advance(ctx context.Context, t ledger.Tenant, s ledger.Step) error
	// Tiles returns the hashes of each tile, nil of one that is not stored.
	Tiles(ctx context.Context, t ledger.Tenant, ids []ledger.TileID) ([][]byte, error)
	// Prune forgets the entries before the given one, a multiple of 256 that the tree covers, and the hash tiles of level
	// 0 that hold nothing else. Repeating it is harmless.
	Prune(ctx context.Context, t ledger.Tenant, before int64) error
	// Snapshot returns the tenant at one moment. Events and Tiles have the rest of it, as long as nobody prunes.
	Snapshot(ctx context.Context, t ledger.Tenant) (ledger.Snapshot, error)
	// Load makes the tenant what a snapshot and its parts say, in place of what it was: whole and durably, or not at
	// all. next returns the parts, and io.EOF after the last one; any other error of it is returned, and changes
	// nothing. How far sinks have come stays as it is, and so does what is claimed. Nobody else may use the tenant
	// meanwhile.
	Load(ctx context.Context, t ledger.Tenant, s ledger.Snapshot, next func() (ledger.Part, error)) error
	// Claim reports whether nobody had claimed key before; of any number of claims in any number of processes, those of
	// commits included, exactly one is fresh. The claim is kept until then, and up to a minute more. An error
	// (fault.ErrUnavailable) leaves open whether the key is taken.
	Claim(ctx context.Context, t ledger.Tenant, key string, until time.Time) (fresh bool, err error)
	// Spend takes from budgets of rate limits, and returns for each how long it takes until it is full again. It is the
	// one thing here that need not be durable.
	Spend(ctx context.Context, all []limit.Spent) ([]time.Duration, error)
	// TakeSink makes owner the one who copies t's log to a sink, for d from now on by the store's clock; an owner extends
	// so what he has. fault.ErrConflict: somebody else copies, or nobody may yet, and the Sink tells for how long. It is
	// returned without its Letters.
	TakeSink(ctx context.Context, t ledger.Tenant, sink, owner string, d time.Duration) (ledger.Sink, error)
	// MoveSink makes a step, whole and durable, or not at all. fault.ErrConflict: the owner or the place is another.
	MoveSink(ctx context.Context, t ledger.Tenant, sink string, m ledger.Move) error
	// Sink returns how far the copying of a log to a sink has come.
	Sink(ctx context.Context, t ledger.Tenant, sink string) (ledger.Sink, error)
	// Durability says in one sentence what an acknowledged write survives.
	Durability() string
	// Addresses returns where the store is in the network, as far as can be found out; none for an embedded one. Beside
	// an error it returns what was known before. It can change at any time.
	Addresses(ctx context.Context) ([]netip.AddrPort, error)
	Close() error
}

var (
	_ Store = (*bolt.DB)(nil)
	_ Store = (*redis.DB)(nil)
)

// Config says which store to open.
type Config struct {
	// URL is bolt:PATH or one of Redis (redis://, rediss://, redis-sentinel://, redis-cluster://).
	URL string
	// Dir is where a relative PATH begins.
	Dir string
	// AcceptVolatile allows a Redis that may lose what it acknowledged.
	AcceptVolatile bool
	// ReplicateAppends makes every commit wait for a Redis replica where there is one, not only changes.
	ReplicateAppends bool
	// Now is the clock of the embedded store, and the one by which claims are kept in Redis; nil means time.Now.
	Now func() time.Time
}

// Open opens the store that cfg.URL names. Its errors say what to correct, and never repeat the URL of a Redis.
func Open(ctx context.Context, cfg Config) (Store, error) {
	scheme, rest, _ := strings.Cut(cfg.URL, ":")
	switch {
	case scheme == "bolt" && rest != "" && !strings.HasPrefix(rest, "//"):
		if !filepath.IsAbs(rest) {
			rest = filepath.Join(cfg.Dir, rest)
		}
		db, err := bolt.Open(bolt.Config{Path: rest, Now: cfg.Now})
		if err != nil {
			return nil, err // a nil *bolt.DB in a Store would not be nil
		}
		return db, nil
	case slices.Contains(redis.Schemes(), scheme):
		db, err := redis.Open(ctx, redis.Config{
			URL: cfg.URL, AcceptVolatile: cfg.AcceptVolatile, ReplicateAppends: cfg.ReplicateAppends, Now: cfg.Now,
		})
		if err != nil {
			return nil, err
		}
		return db, nil
	}
	return nil, fmt.Errorf("open the store: its URL is bolt:PATH or begins with one of %s://",
		strings.Join(redis.Schemes(), "://, "))
}
