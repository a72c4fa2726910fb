package shim

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/tools"
)

// every is how often it is looked whether a call under way was revoked.
const every = 250 * time.Millisecond

// watch ends calls that were revoked after they had begun. What was judged before a call holds for its first moment
// only; a stream can last longer than the token that opened it.
type watch struct {
	shim *Shim

	running sync.WaitGroup // calls
	looking sync.WaitGroup // those who look after them, until ctx ends
	ctx     context.Context
	close   context.CancelFunc

	mu      sync.Mutex
	stopped bool                             // every call ends at once
	tenants map[string]map[*watched]struct{} // by slug; those that somebody looks after
}

// watched is a call under way.
type watched struct {
	grant *Grant // of the call's own goroutine alone
	// judged is the grant as it was judged last, for whoever looks after the call.
	judged atomic.Pointer[Grant]
	proven int64 // revision of the keys that its token was last found to be signed by; the looker's alone

	ctx   context.Context
	end   context.CancelCauseFunc
	timer *time.Timer // of the time that it may take altogether, or until its token is too old
	until time.Time   // the latter, by the process's clock
}

// cutoff is why a call was ended before its end: a code.
type cutoff string

// The cutoffs.
const (
	cutExpired cutoff = "cut.expired" // the token, and the time that streams have after it
	cutRevoked cutoff = "cut.revoked"
	cutTarget  cutoff = "cut.target" // the tool is gone, or switched off
	cutSecret  cutoff = "cut.secret" // it is disabled, or destroyed
	cutStale   cutoff = "cut.stale"  // nobody knows what is revoked
	cutIdle    cutoff = "cut.idle"
	cutTotal   cutoff = "cut.total"     // it took too long altogether
	cutGuesses cutoff = "limit.guesses" // see guesses
	cutStopped cutoff = "cut.stopped"   // the shim ends
	// cutUnscrubbable: a message cannot be searched.
	cutUnscrubbable cutoff = "answer.unscrubbable"
)

func (c cutoff) Error() string { return "the call was ended: " + string(c) }

// refusal is what an agent is told of a call that was ended before any answer had come.
func (c cutoff) refusal() error {
	switch c {
	case cutExpired:
		return badToken("expired")
	case cutRevoked:
		return fault.New(fault.Unauthenticated, "revoked.token", "")
	case cutTarget:
		return fault.New(fault.Unauthenticated, "target.disabled", "")
	case cutSecret:
		return fault.New(fault.Forbidden, "secret.disabled", "The secret is disabled.")
	case cutStopped:
		return fault.New(fault.Unavailable, "cut.stopped", "This shim ends; try again.")
	case cutStale:
		return fault.New(fault.Unavailable, "store.stale", "It cannot be known what is revoked; try again shortly.")
	}
	return fault.New(fault.Unavailable, "upstream.timeout", "The upstream did not answer in time.")
}

// causeOf returns why ctx ended the call, if it was we who ended it.
func causeOf(ctx context.Context) (c cutoff, cut bool) {
	return errors.AsType[cutoff](context.Cause(ctx))
}

// ended returns what an agent is told of an error: why ctx was ended, if the error came of that and it was we who did.
func ended(ctx context.Context, err error) error {
	if !errors.Is(err, context.Canceled) && fault.As(err).Kind != fault.Unavailable {
		return err
	}
	if why, cut := causeOf(ctx); cut {
		return why.refusal()
	}
	return err
}

// begin watches over a call until done. Its context ends when the call is revoked, or its time is over.
func (w *watch) begin(ctx context.Context, g *Grant) *watched {
	left := time.Unix(g.claims.Expiry, 0).Sub(w.shim.cfg.Tenants.Now())
	if g.tool.Upstream.Stream.OnExpiry != tools.ExpiryCut {
		left += overtime
	}
	c := &watched{grant: g, proven: g.view.Revision, until: time.Now().Add(left)}
	c.judged.Store(g.copy())
	c.ctx, c.end = context.WithCancelCause(ctx)
	why, wait := cutTotal, g.timeouts().total
	if left < wait {
		why, wait = cutExpired, left
	}
	if wait <= 0 { // a timer would take its time
		c.end(why)
	}
	c.timer = time.AfterFunc(wait, func() { c.end(why) })
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tenants == nil {
		w.tenants = map[string]map[*watched]struct{}{}
	}
	calls, looked := w.tenants[g.call.Slug]
	if !looked {
		calls = map[*watched]struct{}{}
		w.tenants[g.call.Slug] = calls
		w.looking.Go(func() { w.look(g.call.Slug) })
	}
	calls[c] = struct{}{}
	if w.stopped {
		c.end(cutStopped)
	}
	w.running.Add(1)
	return c
}

// outlive lets a call go on for as long as its token does: it is a stream.
func (c *watched) outlive() {
	c.timer.Stop()
	c.timer = time.AfterFunc(time.Until(c.until), func() { c.end(cutExpired) })
}

// done ends the watching.
func (w *watch) done(c *watched) {
	w.mu.Lock()
	delete(w.tenants[c.grant.call.Slug], c)
	w.mu.Unlock()
	c.timer.Stop()
	c.end(nil)
	w.running.Done()
}

// Stop ends the calls under way, and those that still come, and returns when their outcomes are recorded, or on their
// way.
func (s *Shim) Stop() {
	s.watch.mu.Lock()
	s.watch.stopped = true
	for _, calls := range s.watch.tenants {
		for c := range calls {
			c.end(cutStopped)
		}
	}
	s.watch.mu.Unlock()
	s.watch.running.Wait()
}

// overtime is how long a call may go on after its token has expired, unless the tool says that it ends then.
const overtime = 15 * time.Minute

// look looks after the calls of a tenant, as long as there are any.
func (w *watch) look(slug string) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	known := time.Now() // when it was last known what is revoked
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-ticker.C:
		}
		if w.idle(slug) {
			return
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(w.ctx, w.shim.cfg.MaxStaleness)
		v, err := w.shim.cfg.Tenants.Fresh(ctx, slug)
		cancel()
		switch {
		case err == nil:
			known = began
			w.each(slug, func(c *watched) (cutoff, bool) { return c.revoked(v) })
		case fault.As(err).Kind != fault.Unavailable, time.Since(known) > w.shim.cfg.MaxStaleness:
			w.each(slug, func(*watched) (cutoff, bool) { return cutStale, true })
		}
	}
}

// idle reports whether there is nothing to look after, and forgets the tenant then.
func (w *watch) idle(slug string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.tenants[slug]) > 0 {
		return false
	}
	delete(w.tenants, slug)
	return true
}

func (w *watch) each(slug string, over func(*watched) (why cutoff, over bool)) {
	w.mu.Lock()
	calls := slices.Collect(maps.Keys(w.tenants[slug])) // others begin and end meanwhile
	w.mu.Unlock()
	for _, c := range calls {
		if why, is := over(c); is {
			c.end(why)
		}
	}
}

// copy returns the grant as it is now.
func (g *Grant) copy() *Grant {
	now := *g
	return &now
}

// revoked reports whether the call would be refused by now, and why.
func (c *watched) revoked(v *View) (why cutoff, is bool) {
	g := c.judged.Load()
	if v.Revision != c.proven && g.lasts() { // the key that signed the token may have been revoked
		_, err := g.shim.verify(v, g.call.Token, g.shim.cfg.Tenants.Now())
		if err != nil && fault.As(err).Kind == fault.Unauthenticated {
			return cutRevoked, true
		}
		if err == nil {
			c.proven = v.Revision
		}
	}
	return g.revoked(v)
}

func (g *Grant) revoked(v *View) (why cutoff, is bool) {
	if _, hit := v.Cutoffs.Hits(*g.claims, g.tool.Name); hit {
		return cutRevoked, true
	}
	if tool, ok := v.Tools.Named(g.tool.Name); !ok || tool.Disabled || tool.Resource != g.claims.Audience {
		return cutTarget, true
	}
	for _, ref := range g.refs {
		if _, err := v.Secrets.Version(ref.Name, ref.Version); err != nil {
			return cutSecret, true
		}
	}
	return "", false
}
