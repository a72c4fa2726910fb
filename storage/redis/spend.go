package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

//go:embed lua/spend.lua
var spendSource string

var spendScript = goredis.NewScript(spendSource)

// spendMost bounds the budgets of one script, so that it stays short.
const spendMost = 500

// spending is one call of the script.
type spending struct {
	names []string
	args  []any
	at    []int // where in the answer each belongs
	reply *goredis.Cmd
}

// Spend takes from each budget and returns how long it takes until it is full again. All of it is one round trip to
// each node. Where Redis did not confirm, the error wraps fault.ErrUnavailable and the time is zero.
func (db *DB) Spend(ctx context.Context, all []limit.Spent) ([]time.Duration, error) {
	calls, err := spendings(all)
	if err != nil || len(calls) == 0 {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	left := make([]time.Duration, len(all))
	err = db.spend(ctx, calls, left)
	if noScript(err) { // a node that was started, or joined, since
		if err = db.loadSpend(ctx); err == nil {
			err = db.spend(ctx, calls, left)
		}
	}
	if err != nil {
		return left, unavailable("spend", err)
	}
	return left, nil
}

func noScript(err error) bool { return goredis.HasErrorPrefix(err, "NOSCRIPT") }

// spend makes those calls that were not made yet, and returns the first of all errors.
func (db *DB) spend(ctx context.Context, calls []*spending, left []time.Duration) (err error) {
	pipe := db.client.Pipeline()
	for _, c := range calls {
		if c.reply == nil || noScript(c.reply.Err()) {
			c.reply = spendScript.EvalSha(ctx, pipe, c.names, c.args...)
		}
	}
	_, _ = pipe.Exec(ctx) // each call has its own error
	for _, c := range calls {
		reply, failed := c.reply.Int64Slice()
		if err == nil {
			err = failed
		}
		for i, us := range reply {
			left[c.at[i]] = time.Duration(us) * time.Microsecond
		}
	}
	return err
}

// loadSpend gives the script to every primary.
func (db *DB) loadSpend(ctx context.Context) error {
	load := func(ctx context.Context, node *goredis.Client) error { return spendScript.Load(ctx, node).Err() }
	if cluster, ok := db.client.(*goredis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, load)
	}
	return load(ctx, db.client.(*goredis.Client))
}

// spendings sorts the budgets into calls, each for one tenant.
func spendings(all []limit.Spent) ([]*spending, error) {
	var calls []*spending
	open := map[ledger.Tenant]*spending{}
	for i, s := range all {
		if err := errors.Join(accept.Tenant(s.Tenant), accept.Budget(s.Budget, s.Worth)); err != nil {
			return nil, fmt.Errorf("spend: %w", err)
		}
		c := open[s.Tenant]
		if c == nil || len(c.names) == spendMost {
			c = &spending{}
			open[s.Tenant] = c
			calls = append(calls, c)
		}
		c.names = append(c.names, keys(s.Tenant).budget(s.Budget))
		c.args = append(c.args, s.Worth.Microseconds())
		c.at = append(c.at, i)
	}
	return calls, nil
}
