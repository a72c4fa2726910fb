package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

//go:embed lua/sink.lua
var sinkSource string

var sinkScript = goredis.NewScript(sinkSource)

// TakeSink makes owner the one who copies t's log to a sink, for d from now on; an owner extends so what he has. If
// somebody else copies, or nobody may yet, the error is fault.ErrConflict and the Sink tells how long that lasts.
// fault.ErrUnavailable leaves open who copies. Letters are not among what is returned.
func (db *DB) TakeSink(ctx context.Context, t ledger.Tenant, sink, owner string, d time.Duration) (ledger.Sink, error) {
	if err := accept.Turn(owner, d); err != nil {
		return ledger.Sink{}, fmt.Errorf("take a sink: %w", err)
	}
	return db.sink(ctx, t, sink, "take", owner, d.Milliseconds())
}

// MoveSink makes a step, whole. If m.Owner is not the owner, or the sink does not stand at m.From, the error is
// fault.ErrConflict and nothing was changed; fault.ErrUnavailable leaves open whether the step was made. It does not
// wait for a replica: a step that is lost is made again, and a sink is given again what it has.
func (db *DB) MoveSink(ctx context.Context, t ledger.Tenant, sink string, m ledger.Move) error {
	if err := accept.Move(m); err != nil {
		return fmt.Errorf("move a sink: %w", err)
	}
	args := []any{m.Owner, m.For.Milliseconds(), m.Leave, m.From.Epoch, m.From.Index, m.To.Epoch, m.To.Index,
		ledger.MaxLetters}
	for _, letter := range m.Dead {
		args = append(args, letter.Epoch, letter.Index, letter.Code)
	}
	_, err := db.sink(ctx, t, sink, "move", args...)
	return err
}

// Sink returns how far the copying of t's log to a sink has come.
func (db *DB) Sink(ctx context.Context, t ledger.Tenant, sink string) (ledger.Sink, error) {
	return db.sink(ctx, t, sink, "read", ledger.MaxLetters)
}

// sink runs the script.
func (db *DB) sink(ctx context.Context, t ledger.Tenant, name, what string, args ...any) (s ledger.Sink, err error) {
	for _, err := range []error{accept.Tenant(t), accept.Sink(name)} {
		if err != nil {
			return s, fmt.Errorf("%s a sink: %w", what, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := sinkScript.Run(ctx, db.client, []string{keys(t).sink(name)}, append([]any{what}, args...)...).Slice()
	if err != nil {
		return s, unavailable(what+" a sink", err)
	}
	r := &replyReader{rest: reply}
	status := r.text()
	s = ledger.Sink{Next: ledger.Mark{Epoch: r.number(), Index: r.number()}, Owner: r.text(),
		Wait: time.Duration(r.number()) * time.Millisecond, Dead: r.number()}
	for len(r.rest) > 0 {
		letter, err := parseLetter(r.text())
		if err != nil {
			return ledger.Sink{}, unavailable(what+" a sink", err)
		}
		s.Letters = append(s.Letters, letter)
	}
	switch {
	case r.err != nil:
		return ledger.Sink{}, r.err
	case status == "ok":
		return s, nil
	case status == "conflict":
		return s, fmt.Errorf("%s a sink: %w: another owner has it, or it is elsewhere", what, fault.ErrConflict)
	}
	return ledger.Sink{}, notUnderstood()
}

func parseLetter(value string) (ledger.DeadLetter, error) {
	fields := strings.Split(value, ":")
	if len(fields) != 4 {
		return ledger.DeadLetter{}, errors.New("a stored dead letter has another form")
	}
	var n [3]int64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return ledger.DeadLetter{}, errors.New("a stored dead letter has another form")
		}
	}
	return ledger.DeadLetter{Mark: ledger.Mark{Epoch: n[0], Index: n[1]}, At: time.UnixMilli(n[2]).UTC(),
		Code: fields[3]}, nil
}
