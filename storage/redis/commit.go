package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

// sweepCutoffs is how many forgotten cutoffs one commit that cuts removes.
const sweepCutoffs = 16

var commitScript = goredis.NewScript(commitSource)

// Commit appends c's entries to t's log and applies its change: whole, or not at all.
//
// Errors: fault.ErrConflict (another revision, or something was disabled), fault.ErrStale (signed at another
// revision), fault.ErrSequence (the writer's counter does not continue) and *ledger.Taken (somebody has what c
// claims), all with nothing written; fault.ErrUnavailable with the outcome unknown, settled by repeating the commit.
// A repeated commit is answered with its own index and with the revision, cutoff sequence and time of now.
//
// A guest's commits have no change and no claims.
//
// Where Redis has replicas, a commit with a change is also waited for at one of them, and with ReplicateAppends every
// commit is. If none confirms, the answer is fault.ErrUnavailable although the primary has the commit.
func (db *DB) Commit(ctx context.Context, t ledger.Tenant, c ledger.Commit) (ledger.Position, error) {
	if err := accept.Commit(t, c); err != nil {
		return ledger.Position{}, fmt.Errorf("commit: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if db.guest {
		return db.append(ctx, t, c)
	}
	names, args := arguments(keys(t), c, db.seen.Load(), db.now())
	if c.Change.Empty() && !db.replicates() {
		return db.position(commitScript.Run(ctx, db.client, names, args...).Slice())
	}
	return db.runReplicated(ctx, commitScript, names, args)
}

// replicates reports whether commits without a change wait for a replica too. One may have come since the last look, so
// that a commit looks again every so often.
func (db *DB) replicates() bool {
	if !db.replicateAppends || db.replicated.Load() {
		return db.replicateAppends
	}
	now, looked := db.now().UnixNano(), db.looked.Load()
	return time.Duration(now-looked) >= lookAgain && db.looked.CompareAndSwap(looked, now)
}

// runReplicated commits and waits for a replica on one connection, because WAIT waits for the writes of its own.
func (db *DB) runReplicated(ctx context.Context, script *goredis.Script, names []string, args []any) (
	ledger.Position, error,
) {
	node, err := db.node(ctx, names[0])
	if err != nil {
		return ledger.Position{}, unavailable("find the primary", err)
	}
	conn := node.Conn()
	defer func() { _ = conn.Close() }()
	reply, err := script.Run(ctx, conn, names, args...).Slice()
	if moved(err) {
		// The slot went to another primary, and nothing was written here; the next call finds it.
		db.client.(*goredis.ClusterClient).ReloadState(ctx)
	}
	position, err := db.position(reply, err)
	if err != nil {
		return ledger.Position{}, err
	}
	if err := db.waitForReplica(ctx, conn); err != nil {
		return ledger.Position{}, unavailable("committed, but no replica confirmed", err)
	}
	return position, nil
}

// node returns the primary of a key.
func (db *DB) node(ctx context.Context, key string) (*goredis.Client, error) {
	if cluster, ok := db.client.(*goredis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, key)
	}
	return db.client.(*goredis.Client), nil
}

func moved(err error) bool {
	return err != nil && (strings.HasPrefix(err.Error(), "MOVED ") || strings.HasPrefix(err.Error(), "ASK "))
}

func (db *DB) waitForReplica(ctx context.Context, conn *goredis.Conn) error {
	if !db.replicated.Load() {
		info, err := conn.Info(ctx, "replication").Result()
		if err != nil {
			return err
		}
		if parseInfo(info)["connected_slaves"] == "0" {
			return nil
		}
		db.replicated.Store(true)
	}
	confirmed, err := conn.Wait(ctx, 1, waitTimeout).Result()
	if err != nil {
		return err
	}
	if confirmed < 1 {
		return errors.New("the replicas are behind or gone; restart bursar if they were removed on purpose")
	}
	return nil
}

// position reads the reply of the commit script.
func (db *DB) position(reply []any, err error) (ledger.Position, error) {
	if err != nil {
		return ledger.Position{}, unavailable("commit", err)
	}
	r := replyReader{rest: reply}
	switch status := r.text(); status {
	case "ok":
		return db.readPosition(&r)
	case "taken":
		return ledger.Position{}, r.taken()
	case "conflict":
		return ledger.Position{}, fmt.Errorf("commit: %w: found %d", fault.ErrConflict, r.number())
	case "stale":
		return ledger.Position{}, fmt.Errorf("commit: %w: found revision %d", fault.ErrStale, r.number())
	case "sequence":
		return ledger.Position{}, fmt.Errorf("commit: %w: the last counter is %d", fault.ErrSequence, r.number())
	}
	return ledger.Position{}, notUnderstood()
}

// taken reads which claims somebody else has.
func (r *replyReader) taken() error {
	taken := new(ledger.Taken)
	for len(r.rest) > 0 && r.err == nil {
		taken.Claims = append(taken.Claims, int(r.number()))
	}
	switch {
	case r.err != nil:
		return r.err
	case len(taken.Claims) == 0:
		return notUnderstood()
	}
	return fmt.Errorf("commit: %w", taken)
}

// arguments writes c as the script reads it. Claims are kept by the clock of those who judge the claimed things.
func arguments(k keys, c ledger.Commit, floor int64, now time.Time) (names []string, args []any) {
	names = []string{
		k.meta(), k.log(), k.events(), k.writers(), k.cutoffs(), k.cutoffsBySeq(), k.cutoffsByEnd(), k.kinds(),
	}
	numbers := map[string]int{}
	rows := func(kind string) int {
		if numbers[kind] == 0 {
			names = append(names, k.rows(kind))
			numbers[kind] = len(names)
		}
		return numbers[kind]
	}
	ch := c.Change
	args = []any{
		c.Writer, c.First, len(c.Entries), floor, strconv.FormatInt(ch.Expect, 10),
		len(ch.Put), len(ch.Delete), len(ch.Cut), len(ch.Enable), len(c.Claims),
		accept.EnabledFor.Milliseconds(), sweepCutoffs, optionalNumber(ch.Cutoffs), optionalNumber(c.Signed),
	}
	for _, entry := range c.Entries {
		args = append(args, entry)
	}
	for _, row := range ch.Put {
		args = append(args, rows(row.Kind), row.Kind, row.ID, row.Value)
	}
	for _, key := range ch.Delete {
		args = append(args, rows(key.Kind), key.ID)
	}
	for _, cut := range ch.Cut {
		args = append(args, cutoffName(cut.Key), cut.Keep.Milliseconds(), cut.Disable)
	}
	for _, key := range ch.Enable {
		args = append(args, cutoffName(key))
	}
	for _, claim := range c.Claims {
		names = append(names, k.claim(claim.Key))
		args = append(args, len(names), claimedFor(claim.Until, now).Milliseconds())
	}
	return names, args
}

// optionalNumber writes a number that may be nil.
func optionalNumber(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

func cutoffName(key ledger.Key) string { return key.Kind + ":" + key.ID }

// Claim takes key for t and reports whether nobody had it: of any number of claims of one key exactly one is fresh.
// It is remembered until a little after until. An error (fault.ErrUnavailable) leaves open whether the key is taken.
func (db *DB) Claim(ctx context.Context, t ledger.Tenant, key string, until time.Time) (fresh bool, err error) {
	if err := accept.Tenant(t); err != nil {
		return false, fmt.Errorf("claim: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// A cluster client may send a command twice when a connection breaks; our own mark is then still our claim.
	mark := ledger.NewID(db.now())
	holder, err := db.client.SetArgs(ctx, keys(t).claim(key), mark, goredis.SetArgs{
		Mode: "NX", Get: true, TTL: claimedFor(until, db.now()),
	}).Result()
	switch {
	case errors.Is(err, goredis.Nil):
		return true, nil
	case err != nil:
		return false, unavailable("claim", err)
	}
	return holder == mark, nil
}

func claimedFor(until, now time.Time) time.Duration {
	return max(until.Sub(now), 0) + accept.ClaimMargin
}
