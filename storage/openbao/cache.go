package openbao

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// MaxStaleness bounds how long a value may be given without asking for it again.
const MaxStaleness = 30 * time.Second

// maxCached bounds how many values are remembered of one tenant.
const maxCached = 1024

// cache remembers values for a short while. In the second half of that time a value that is asked for is read again in
// the background, so that calls seldom wait; after it, whoever asks waits for OpenBao, and gets nothing if it is away.
type cache struct {
	life    time.Duration // 0 remembers nothing
	timeout time.Duration
	now     func() time.Time
	flight  singleflight.Group

	mu      sync.Mutex
	entries map[string]*cached
}

type cached struct {
	fields map[string]string
	read   time.Time   // when it was asked for
	end    *time.Timer // removes it
}

type fetch func(context.Context) (map[string]string, error)

func newCache(life, timeout time.Duration, now func() time.Time) *cache {
	return &cache{life: min(life, MaxStaleness), timeout: timeout, now: now, entries: map[string]*cached{}}
}

// get returns a value that was read less than life ago. What it returns is the caller's own.
func (c *cache) get(ctx context.Context, key string, read fetch) (map[string]string, error) {
	c.mu.Lock()
	e := c.entries[key]
	c.mu.Unlock()
	if e != nil {
		switch age := c.now().Sub(e.read); {
		case age < 0 || age >= c.life:
		case age >= c.life/2:
			c.fly(ctx, key, read) // and whoever comes after it has arrived gets it
			return maps.Clone(e.fields), nil
		default:
			return maps.Clone(e.fields), nil
		}
	}
	select {
	case r := <-c.fly(ctx, key, read):
		if r.Err != nil {
			return nil, r.Err
		}
		return maps.Clone(r.Val.(map[string]string)), nil
	case <-ctx.Done():
		return nil, failed(reasonAway, "OpenBao cannot be reached.", "get", errors.New("it took too long"))
	}
}

// fly reads a value, once for all who wait for it. It goes on if the one who began it gives up.
func (c *cache) fly(ctx context.Context, key string, read fetch) <-chan singleflight.Result {
	return c.flight.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
		defer cancel()
		began := c.now()
		fields, err := read(ctx)
		switch {
		case err == nil:
			c.keep(key, fields, began)
		case !Away(err): // it is known that there is no such value, or that it may not be read
			c.drop(key)
		}
		return fields, err
	})
}

func (c *cache) keep(key string, fields map[string]string, read time.Time) {
	if c.life <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxCached && c.entries[key] == nil {
		for other := range c.entries { // any of them
			c.remove(other)
			break
		}
	}
	c.remove(key)
	e := &cached{fields: fields, read: read}
	e.end = time.AfterFunc(c.life, func() { // nothing stays in memory because nobody asks for it
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.entries[key] == e {
			delete(c.entries, key)
		}
	})
	c.entries[key] = e
}

// drop forgets a value at once.
func (c *cache) drop(key string) {
	c.flight.Forget(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
}

// remove forgets a value; the lock is held.
func (c *cache) remove(key string) {
	if e := c.entries[key]; e != nil {
		e.end.Stop()
		delete(c.entries, key)
	}
}
