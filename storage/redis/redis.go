// Package redis is the backend for several bursar processes: one Redis node, one behind Sentinel, or a cluster.
//
// Every change of a tenant is one script and so one atomic step; keys.go says where things are. Redis is refused at
// start-up unless it keeps what it acknowledged.
package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/bursar-sts/bursar/server/fault"
)

// Together these answer every call within callTimeout when Redis is away.
const (
	dialTimeout = 500 * time.Millisecond
	ioTimeout   = time.Second
	callTimeout = 1500 * time.Millisecond
	waitTimeout = 500 * time.Millisecond // for a replica to confirm

	lookAgain = time.Minute // after a look for replicas that found none
)

// Config says which Redis, and what of it is good enough.
type Config struct {
	// URL is redis://, rediss://, redis-sentinel:// or redis-cluster://.
	URL string
	// AcceptVolatile allows a Redis that may lose or evict what it acknowledged.
	AcceptVolatile bool
	// ReplicateAppends makes commits without a change wait for a replica too, within a minute after the first one joined.
	ReplicateAppends bool
	// Guest is for a process that is no server: it reads, and appends to logs, as a user who has GuestRights. It does not
	// mark an empty Redis as a store.
	Guest bool
	// Now is the clock by which callers judge what they claim; nil means time.Now. The store's time is Redis's own.
	Now func() time.Time
}

// DB is a connected store. Its methods are safe for concurrent use; all of them wrap fault.ErrUnavailable when Redis
// did not confirm in time, and work again when it is back.
type DB struct {
	client           goredis.UniversalClient
	now              func() time.Time
	replicateAppends bool
	guest            bool
	durability       string

	seeds []string // host:port of the URL
	nodes nodes

	// replicated is set once a replica was seen and stays set: a primary that lost its replicas may be one that they
	// have already replaced.
	replicated atomic.Bool
	// looked is when a commit without a change last looked for replicas, in Unix nanoseconds.
	looked atomic.Int64
	// seen is the newest store time that anybody here was told, in Unix milliseconds; no later commit is dated before.
	seen atomic.Int64
}

//go:embed lua/commit.lua
var commitSource string

//go:embed lua/advance.lua
var advanceSource string

//go:embed lua/prune.lua
var pruneSource string

//go:embed lua/read.lua
var readSource string

// Open connects, checks that this Redis is fit to be the store, and marks it with our format number.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	options, err := parseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("open redis: %w", err)
	}
	// The library would print each failed connection to standard error, whatever the program does with its logs. Every
	// failure reaches a caller as an error, which says as much.
	goredis.SetLogger(silent{})
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	db := &DB{now: cfg.Now, replicateAppends: cfg.ReplicateAppends, guest: cfg.Guest, seeds: options.Addrs}
	db.client = connect(options, &db.nodes)
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	db.looked.Store(cfg.Now().UnixNano())
	if err := db.check(ctx, cfg.AcceptVolatile); err != nil {
		return nil, errors.Join(fmt.Errorf("open redis: %w", explain(err, cfg.Guest)), db.client.Close())
	}
	return db, nil
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func connect(o *goredis.UniversalOptions, n *nodes) goredis.UniversalClient {
	o.Protocol = 2
	o.DialTimeout, o.DialerRetries = dialTimeout, 1
	o.Dialer = n.dialer(o)
	o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = ioTimeout, ioTimeout, ioTimeout
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1 // whoever calls knows whether repeating is harmless
	o.PipelinePoolSize = -1
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return goredis.NewUniversalClient(o)
}

// Close gives the connections back.
func (db *DB) Close() error {
	if err := db.client.Close(); err != nil && !errors.Is(err, goredis.ErrClosed) {
		return fmt.Errorf("close redis: %w", err)
	}
	return nil
}

// Durability says what an acknowledged write survives.
func (db *DB) Durability() string { return db.durability }

// observe turns a store time in Unix milliseconds into one that is not before any other that was handed out.
func (db *DB) observe(ms int64) time.Time {
	for {
		seen := db.seen.Load()
		if ms <= seen {
			return time.UnixMilli(seen).UTC()
		}
		if db.seen.CompareAndSwap(seen, ms) {
			return time.UnixMilli(ms).UTC()
		}
	}
}

// unavailable wraps whatever Redis answered instead of a confirmation. A refusal of its own (no memory, no disk, not
// the primary, loading) is as much an outage as silence.
func unavailable(doing string, cause error) error {
	return fmt.Errorf("%s: %w: %w", doing, fault.ErrUnavailable, cause)
}
