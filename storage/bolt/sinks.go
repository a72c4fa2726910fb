package bolt

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

// sinks is the bucket of a tenant that says what its sinks have. It comes with the first that has something.
const sinks = "sink"

// turns are who copies to which sink. They are memory and not part of the file: nobody else has the file open, and who
// copied before a restart copies no more.
type turns struct {
	mu   sync.Mutex // guards what follows
	held map[sinkKey]turn
}

type sinkKey struct {
	tenant ledger.Tenant
	name   string
}

// turn lasts until a time, in Unix milliseconds.
type turn struct {
	owner string
	until int64
}

// TakeSink makes owner the one who copies t's log to a sink, for d from now on; an owner extends so what he has. If
// somebody else copies, or nobody may yet, the error is fault.ErrConflict and the Sink tells how long that lasts.
// fault.ErrUnavailable leaves open who copies. Letters are not among what is returned.
func (db *DB) TakeSink(ctx context.Context, t ledger.Tenant, sink, owner string, d time.Duration) (ledger.Sink, error) {
	if err := accept.Turn(owner, d); err != nil {
		return ledger.Sink{}, fmt.Errorf("take a sink: %w", err)
	}
	s, err := db.sink(ctx, t, sink, func(now int64, held turn) (turn, error) {
		if held.owner != owner && held.until > now {
			return held, fmt.Errorf("take a sink: %w: it is not free", fault.ErrConflict)
		}
		return turn{owner, now + d.Milliseconds()}, nil
	})
	s.Letters = nil
	return s, err
}

// Sink returns how far the copying of t's log to a sink has come.
func (db *DB) Sink(ctx context.Context, t ledger.Tenant, sink string) (ledger.Sink, error) {
	return db.sink(ctx, t, sink, func(_ int64, held turn) (turn, error) { return held, nil })
}

// sink reads a sink and decides about its turn at the same time.
func (db *DB) sink(ctx context.Context, t ledger.Tenant, name string, decide func(int64, turn) (turn, error)) (
	s ledger.Sink, err error,
) {
	if err := accept.Sink(name); err != nil {
		return s, fmt.Errorf("read a sink: %w", err)
	}
	db.turns.mu.Lock()
	defer db.turns.mu.Unlock()
	if _, err := db.view(ctx, t, func(l *tenantState, _ int64) { s = l.sink(name) }); err != nil {
		return s, err
	}
	now, key := db.tick(), sinkKey{t, name}
	held, err := decide(now, db.turns.held[key])
	db.turns.set(key, held, now)
	s.Owner, s.Wait = held.owner, time.Duration(max(held.until-now, 0))*time.Millisecond
	return s, err
}

// set keeps a turn, unless it says nothing. The caller holds the lock.
func (ts *turns) set(key sinkKey, held turn, now int64) {
	if held.owner == "" && held.until <= now {
		delete(ts.held, key)
		return
	}
	if ts.held == nil {
		ts.held = map[sinkKey]turn{}
	}
	ts.held[key] = held
}

// MoveSink makes a step, whole and on disk. If m.Owner is not the owner, or the sink does not stand at m.From, the
// error is fault.ErrConflict and nothing was changed; fault.ErrUnavailable leaves open whether the step was made.
func (db *DB) MoveSink(ctx context.Context, t ledger.Tenant, sink string, m ledger.Move) error {
	for _, err := range []error{accept.Tenant(t), accept.Sink(sink), accept.Move(m)} {
		if err != nil {
			return fmt.Errorf("move a sink: %w", err)
		}
	}
	key := sinkKey{t, sink}
	db.turns.mu.Lock()
	held := db.turns.held[key]
	db.turns.mu.Unlock()
	if held.owner != m.Owner {
		return fmt.Errorf("move a sink: %w: another owner has it", fault.ErrConflict)
	}
	// Whoever became the owner since moves from the same place; the file lets one of both.
	if err := db.submit(ctx, stepOf(t, sink, m)); err != nil {
		return err
	}
	db.turns.mu.Lock()
	defer db.turns.mu.Unlock()
	now := db.tick()
	if db.turns.held[key].owner == m.Owner {
		next := turn{m.Owner, now + m.For.Milliseconds()}
		if m.Leave {
			next.owner = ""
		}
		db.turns.set(key, next, now)
	}
	return nil
}

// stepOf is the part of a step that is written to the file.
func stepOf(t ledger.Tenant, sink string, m ledger.Move) *work {
	return &work{tenant: t, plan: func(l *tenantState, now int64) (func(*tenantState) error, error) {
		s := l.sink(sink)
		if s.Next != m.From {
			return nil, fmt.Errorf("move a sink: %w: it is at event %d, and not at %d", fault.ErrConflict, s.Next.Index,
				m.From.Index)
		}
		if m.To == m.From && len(m.Dead) == 0 {
			return nil, nil
		}
		return func(l *tenantState) error { return l.putStep(sink, m, s.Dead, now) }, nil
	}}
}

func (l *tenantState) putStep(name string, m ledger.Move, dead, now int64) error {
	b, err := l.root.CreateBucketIfNotExists([]byte(sinks))
	if err != nil {
		return fmt.Errorf("create the bucket of sinks: %w", err)
	}
	for _, letter := range m.Dead {
		value := append(uint64s(letter.Epoch, letter.Index, now), letter.Code...)
		if err := b.Put(letterKey(name, dead), value); err != nil {
			return fmt.Errorf("keep a dead letter: %w", err)
		}
		dead++
	}
	return b.Put([]byte(name), uint64s(m.To.Epoch, m.To.Index, dead))
}

// letterKey is where the dead letter of a number is kept, in the place of one that is MaxLetters older. A name holds no
// slash.
func letterKey(name string, number int64) []byte {
	return append([]byte(name+"/"), uint64s(number%ledger.MaxLetters)...)
}

// sink returns what the file has of a sink.
func (l *tenantState) sink(name string) (s ledger.Sink) {
	if l == nil {
		return s
	}
	b := l.root.Bucket([]byte(sinks))
	if b == nil {
		return s
	}
	value := b.Get([]byte(name))
	s.Next, s.Dead = ledger.Mark{Epoch: int64At(value, 0), Index: int64At(value, 1)}, int64At(value, 2)
	s.Letters = letters(b, name, s.Dead)
	return s
}

func letters(b *bbolt.Bucket, name string, dead int64) (all []ledger.DeadLetter) {
	for number := max(dead-ledger.MaxLetters, 0); number < dead; number++ {
		value := b.Get(letterKey(name, number))
		if len(value) < 24 {
			continue
		}
		all = append(all, ledger.DeadLetter{Mark: ledger.Mark{Epoch: int64At(value, 0), Index: int64At(value, 1)},
			At: toTime(int64At(value, 2)), Code: string(value[24:])})
	}
	return all
}
