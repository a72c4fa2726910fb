package limit

import "context"

// Round tells the store what was taken, and learns.
func (l *Limiter) Round(ctx context.Context) { l.round(ctx) }

// Places is how many budgets of a kind there can be.
const Places = sets * ways

// Held returns how many budgets of a kind are in memory, and how many of them are a tenant's.
func (l *Limiter) Held(kind Kind, t Tenant) (all, own int) {
	for i := range l.tables[kind].sets {
		for j := range l.tables[kind].sets[i].ways {
			if b := l.tables[kind].sets[i].ways[j].Load(); b != nil {
				all++
				if b.tenant == t.ID {
					own++
				}
			}
		}
	}
	return all, own
}
