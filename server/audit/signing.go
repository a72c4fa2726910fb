package audit

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// record brings a batch into the store, signed with the keys that the log has at its place.
func (a *appender) record(batch []*request) (c ledger.Commit, p ledger.Position, err error) {
	a.origin = batch[0].origin
	for {
		if c, p, err = a.sign(batch); !errors.Is(err, fault.ErrStale) {
			return c, p, err
		}
	}
}

func (a *appender) sign(batch []*request) (c ledger.Commit, p ledger.Position, err error) {
	if !a.opened() {
		err = a.insist(func(ctx context.Context) error { return a.open(ctx, batch[0]) })
	}
	if err == nil {
		c, err = a.number(batch)
	}
	if err != nil {
		return c, p, unavailable(err)
	}
	// The commit stays as it is for as long as it takes to know what became of it.
	err = a.insist(func(ctx context.Context) error {
		p, err = a.log.cfg.Store.Commit(ctx, a.tenant, c)
		return err
	})
	if err != nil {
		a.forget()
	}
	return c, p, err
}

// number seals the events of a batch. Their numbers are used up only when the store confirms them.
func (a *appender) number(batch []*request) (ledger.Commit, error) {
	c := ledger.Commit{Writer: a.writer, First: a.last + 1, Change: batch[0].change}
	c.Change.Put = slices.Concat(c.Change.Put, a.fresh)
	signed := a.revision
	c.Signed = &signed
	var drafts []draft
	if a.last == 0 {
		start, err := a.start(batch[0].origin)
		if err != nil {
			return c, err
		}
		drafts = append(drafts, start)
	}
	made, err := a.made(batch[0].origin)
	if err != nil {
		return c, err
	}
	drafts = append(drafts, made...)
	for _, r := range batch {
		drafts = append(drafts, r.drafts...)
		c.Claims = append(c.Claims, r.claims...)
	}
	key, err := a.signer(c.Change.Put)
	if err != nil {
		return c, err
	}
	c.Entries, err = a.seal(drafts, key)
	return c, err
}

// start is the event with which a writer begins.
func (a *appender) start(o Origin) (draft, error) {
	body := Body{Outcome: Allowed, Request: Request{Node: a.log.cfg.Node}}
	return encode(o, &Event{Name: WriterStart, Body: body}, a.log.cfg.Now())
}

// alone is how many signatures are not worth sharing.
const alone = 8

// seal signs drafts as the events after the last one, on all processors if they are many.
func (a *appender) seal(drafts []draft, key *keys.Signer) ([][]byte, error) {
	now := a.log.cfg.Now()
	sealed, errs := make([][]byte, len(drafts)), make([]error, len(drafts))
	each := func(from, step int) {
		for i := from; i < len(drafts); i += step {
			sealed[i], errs[i] = seal(drafts[i], now, a.writer, a.last+1+int64(i), key)
		}
	}
	workers := max(1, min(runtime.GOMAXPROCS(0), len(drafts)/alone))
	var working sync.WaitGroup
	for w := 1; w < workers; w++ {
		working.Go(func() { each(w, workers) })
	}
	each(0, workers)
	working.Wait()
	return sealed, errors.Join(errs...)
}
