package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/ledger"
)

//go:embed lua/append.lua
var appendSource string

var appendScript = goredis.NewScript(appendSource)

// errGuest means that a guest tried what only a server may do.
var errGuest = errors.New("this process may append to logs, and change nothing")

// append commits for a guest.
func (db *DB) append(ctx context.Context, t ledger.Tenant, c ledger.Commit) (ledger.Position, error) {
	foreign := func(claim ledger.Claim) bool { return !strings.HasPrefix(claim.Key, ledger.UseClaim) }
	if !c.Change.Empty() || slices.ContainsFunc(c.Claims, foreign) {
		return ledger.Position{}, fmt.Errorf("commit: %w", errGuest)
	}
	k := keys(t)
	names := []string{k.log(), k.events(), k.writers()}
	args := []any{c.Writer, c.First, len(c.Entries), db.seen.Load(), optionalNumber(c.Signed), k.meta()}
	for _, entry := range c.Entries {
		args = append(args, entry)
	}
	now := db.now()
	for _, claim := range c.Claims {
		names = append(names, k.claim(claim.Key))
		args = append(args, claimedFor(claim.Until, now).Milliseconds())
	}
	if !db.replicates() {
		return db.position(appendScript.Run(ctx, db.client, names, args...).Slice())
	}
	return db.runReplicated(ctx, appendScript, names, args)
}

// welcome checks that the store has our format. A guest marks none with it.
func (db *DB) welcome(ctx context.Context) error {
	found, err := db.client.Get(ctx, formatKey).Result()
	switch {
	case errors.Is(err, goredis.Nil):
		return errors.New("this Redis is no store of bursar yet: start a bursar server on it first")
	case err != nil:
		return unavailable("read the format number", err)
	}
	return sameFormat(found)
}

// GuestRights are what a Redis user may do who is a guest of some tenants and reads rows of some kinds, as the words of
// an ACL (ACL SETUSER), without name and password: read where the tenants stand and what was revoked, read those rows,
// append to the logs, and take the claims of a shim. Nothing else of the tenants can be read or written, and nothing of
// other tenants.
//
// Whoever has such a user can spoil the logs of its tenants, as whoever can append can: Redis has no right to append
// alone. Nothing can be changed or dropped so that it does not show.
func GuestRights(tenants []ledger.Tenant, kinds ...string) []string {
	words := []string{"resetkeys", "resetchannels", "-@all"}
	for _, command := range strings.Fields(guestCommands) {
		words = append(words, "+"+command)
	}
	words = append(words, "%R~"+pattern(formatKey))
	for _, t := range tenants {
		k := keys(t)
		for _, name := range []string{k.meta(), k.kinds(), k.cutoffs(), k.cutoffsBySeq()} {
			words = append(words, "%R~"+pattern(name))
		}
		for _, kind := range slices.Sorted(slices.Values(kinds)) {
			words = append(words, "%R~"+pattern(k.rows(kind)))
		}
		for _, name := range []string{k.log(), k.events(), k.writers()} {
			words = append(words, "~"+pattern(name))
		}
		words = append(words, "~"+k.uses())
	}
	return words
}

// guestCommands are those that a guest sends, or that its scripts do; and those by which the library finds its way.
const guestCommands = "auth hello ping select info wait get eval eval_ro evalsha evalsha_ro " +
	"hget hmget hset hgetall scard zrangebyscore xadd xrange exists set time " +
	"cluster|slots cluster|shards cluster|nodes readonly command"

// pattern returns the glob that matches one key alone.
func pattern(key string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(key)
}

// explain says what a Redis user lacks, where that is why something failed.
func explain(err error, guest bool) error {
	const prefix = "NOPERM"
	text := err.Error()
	i := strings.Index(text, prefix)
	if i < 0 {
		return err
	}
	need := "a server needs all commands on all keys of its database, and INFO"
	if guest {
		need = "give it what \"bursar keys shim\" printed for the Redis of this shim"
	}
	return fmt.Errorf("%w; the Redis user of the store lacks rights: %s", err, need)
}
