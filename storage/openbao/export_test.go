package openbao

import "context"

// Renew looks after the token now, instead of in the middle of its life.
func (c *Client) Renew(ctx context.Context) error { return c.session.Renew(ctx) }

// Cached returns how many values are remembered.
func (b *Backend) Cached() int {
	b.cache.mu.Lock()
	defer b.cache.mu.Unlock()
	return len(b.cache.entries)
}
