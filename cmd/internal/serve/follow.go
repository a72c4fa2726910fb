package serve

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/keys"
)

const (
	// following is how often the logs are looked at that standalone shims write, which sign no heads; so many at a time.
	following     = 50 * time.Millisecond
	followAtOnce  = 50
	followTimeout = 2 * time.Second
	// followFor is how long a log is followed after this process has last had the tenant in memory: no token of the tenant
	// lives longer, nor a call that was made with one.
	followFor = 40 * time.Minute
)

// follower has what standalone shims append covered by signed heads, as soon as what servers append.
type follower struct {
	server *Server
	logs   map[string]followed // by slug
	next   string              // the slug that comes next
}

type followed struct {
	audit.Origin
	until time.Time
}

// follow follows the logs until ctx ends.
func (s *Server) follow(ctx context.Context) {
	f := &follower{server: s, logs: map[string]followed{}}
	if err := f.begin(ctx); err != nil && ctx.Err() == nil {
		s.cfg.Logger.WarnContext(ctx, "it is not known of every log whether a standalone shim writes it", "error", err)
	}
	ticker := time.NewTicker(following)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.meet()
			f.look(ctx)
		}
	}
}

// begin finds the logs that shims may be writing since before this process.
func (f *follower) begin(ctx context.Context) error {
	entries, err := f.server.directory.Tenants(ctx)
	for slug, e := range entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rows, _, failed := f.server.store.Rows(ctx, e.ID, keys.KindShim)
		if err = errors.Join(err, failed); len(rows) > 0 {
			origin := audit.Origin{Tenant: e.ID, Issuer: f.server.directory.IssuerURL(slug)}
			f.logs[slug] = followed{origin, time.Now().Add(followFor)}
		}
	}
	return err
}

// meet takes in the tenants that this process has in memory.
func (f *follower) meet() {
	for _, v := range f.server.directory.Held() {
		if v.Shimmed {
			f.logs[v.Slug] = followed{v.Origin(), time.Now().Add(followFor)}
		}
	}
}

// look has what is new in some of the logs covered, going round. What fails is seen at the next turn, or by whoever
// asks for the head.
func (f *follower) look(ctx context.Context) {
	maps.DeleteFunc(f.logs, func(_ string, l followed) bool { return time.Now().After(l.until) })
	slugs := slices.Sorted(maps.Keys(f.logs))
	at, _ := slices.BinarySearch(slugs, f.next)
	for n := range min(len(slugs), followAtOnce) {
		slug := slugs[(at+n)%len(slugs)]
		ctx, cancel := context.WithTimeout(ctx, followTimeout)
		_, _ = f.server.trees.Latest(ctx, f.logs[slug].Origin)
		cancel()
		f.next = slug + "\x00" // the one after it
	}
}
