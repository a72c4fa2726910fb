package bolt

import (
	"context"
	"errors"
	"runtime"

	"go.etcd.io/bbolt"

	"github.com/bursar-sts/bursar/server/ledger"
)

// maxRound bounds one transaction, so that nobody waits for an endless one.
const maxRound = 512

// errNothing rolls back a round in which there was nothing to write; the file is not synced then.
var errNothing = errors.New("nothing to write")

// work is one caller's part of a round.
type work struct {
	tenant ledger.Tenant
	// plan looks at the state inside the transaction and either refuses or returns what to write. It writes nothing
	// itself, so that a refusal leaves the rest of the round untouched. A nil write is an answer without a change.
	plan func(l *tenantState, now int64) (write func(*tenantState) error, err error)
	err  error         // the answer, valid once done is closed
	done chan struct{} // closed after the round is on disk
}

// submit waits until w is on disk or refused. A caller whose context ends first does not know the outcome.
func (db *DB) submit(ctx context.Context, w *work) error {
	w.done = make(chan struct{})
	if ctx.Err() != nil {
		return unavailable("give up before the commit", ctx.Err())
	}
	select {
	case db.queue <- w:
	case <-ctx.Done():
		return unavailable("give up before the commit", ctx.Err())
	case <-db.stopped:
		return unavailable("commit", errors.New("the store is closed"))
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return unavailable("give up the wait for a commit", ctx.Err())
	case <-db.stopped:
	}
	select {
	case <-w.done: // its round was the last one
		return w.err
	default:
		return unavailable("commit", errors.New("the store is closed"))
	}
}

// run is the committer: whoever came while a round was being written is in the next one.
func (db *DB) run() {
	defer close(db.stopped)
	round := make([]*work, 0, maxRound)
	for {
		select {
		case <-db.closing:
			return
		case first := <-db.queue:
			round = db.gather(append(round[:0], first))
			db.settle(round)
			clear(round)
		}
	}
}

// gather takes whoever waits now. Those woken by the last round get one turn to come back first: without it rounds of
// one alternate with rounds of everybody else.
func (db *DB) gather(round []*work) []*work {
	runtime.Gosched()
	for len(round) < maxRound {
		select {
		case w := <-db.queue:
			round = append(round, w)
		default:
			return round
		}
	}
	return round
}

// settle writes a round in one transaction and answers everybody in it.
func (db *DB) settle(round []*work) {
	err := errors.New("an earlier write to the file failed; restart bursar")
	if !db.broken.Load() {
		err = db.file.Update(func(tx *bbolt.Tx) error { return db.write(tx, round) })
	}
	if err != nil && !errors.Is(err, errNothing) {
		db.broken.Store(true)
		for _, w := range round {
			w.err = unavailable("commit", err)
		}
	}
	for _, w := range round {
		close(w.done)
	}
}

func (db *DB) write(tx *bbolt.Tx, round []*work) error {
	now, wrote := db.tick(), false
	for _, w := range round {
		write, err := w.plan(find(tx, w.tenant), now)
		w.err = err
		if err != nil || write == nil {
			continue
		}
		l, err := findOrCreate(tx, w.tenant)
		if err != nil {
			return err
		}
		if err := write(l); err != nil {
			return err
		}
		wrote = true
	}
	if !wrote {
		return errNothing
	}
	return tx.Bucket(metaBucket).Put(timeKey, uint64s(now))
}
