package tenant

import "context"

// Entry returns the platform's record of a tenant.
func (d *Directory) Entry(ctx context.Context, slug string) (Entry, error) {
	s, err := d.find(ctx, slug)
	if err != nil {
		return Entry{}, err
	}
	return s.entry, nil
}

// Retired reports whether a client of that id was deleted; the id is never used again.
func (w *World) Retired(client string) bool {
	_, gone := w.Row(KindRetired, retiredClient(client))
	return gone
}
