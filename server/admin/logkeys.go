package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// LogKey is a key that signs the events or the checkpoints of a log, without its private part. Until is when a
// checkpoint key that was replaced ceases to sign beside the one that replaced it.
type LogKey struct {
	Key
	Use string // of LogUses
}

// LogUses are those of a LogKey, in the order in which LogKeys lists them.
func LogUses() (all []string) {
	for _, use := range keys.LogUses() {
		all = append(all, string(use))
	}
	return all
}

// LogKeys lists the keys of the log of what op acts on, its tenant or the platform: those of events first, the newest
// first. None is ever forgotten.
func (s *Service) LogKeys(ctx context.Context, op Operator) ([]LogKey, error) {
	if err := s.allow(ctx, op, op.either(ReadConfig, ReadPlatform)); err != nil {
		return nil, err
	}
	return s.logKeys(ctx, op)
}

func (s *Service) logKeys(ctx context.Context, op Operator) ([]LogKey, error) {
	ring, _, err := s.ring(ctx, op)
	if err != nil {
		return nil, err
	}
	list := []LogKey{}
	for _, use := range LogUses() {
		all := ring.Keys()
		for i := len(all) - 1; i >= 0; i-- {
			if string(all[i].Use) == use {
				list = append(list, logKey(all[i]))
			}
		}
	}
	return list, nil
}

func logKey(k keys.LogKey) LogKey {
	l := LogKey{Use: string(k.Use), Key: Key{ID: k.ID, Alg: string(keys.EdDSA), Created: k.Created, Since: k.Created,
		State: string(keys.StateActive)}}
	switch {
	case !k.Revoked.IsZero():
		l.State, l.Since = string(keys.StateRevoked), k.Revoked
	case !k.Retired.IsZero():
		l.State, l.Since = string(keys.StateRetired), k.Retired
		if k.Use == keys.Checkpoints {
			l.Until = k.Retired.Add(keys.Overlap)
		}
	}
	return l
}

// ring reads the keys of a log.
func (s *Service) ring(ctx context.Context, op Operator) (*keys.LogRing, ledger.Position, error) {
	ring, at, err := s.cfg.Trees.Ring(ctx, op.origin)
	switch {
	case errors.Is(err, keys.ErrNoKey) && at.Index == 0:
		return nil, at, fault.Wrap(fault.NotFound, "log.empty", "The log has not begun, so that it has no keys.", err)
	case err != nil:
		return nil, at, fmt.Errorf("read the keys of the log: %w", err)
	}
	s.cfg.Directory.Observe(at)
	return ring, at, nil
}

// RotateLogKeys lets other keys sign the log of what op acts on, events and checkpoints both, from the next event on.
// It returns the keys after that.
func (s *Service) RotateLogKeys(ctx context.Context, op Operator) ([]LogKey, error) {
	return s.changeLogKeys(ctx, op, func(r *keys.LogRing) ([]ledger.Row, error) {
		return r.Rotate(s.cfg.Directory.Now())
	})
}

// RevokeLogKey ends a key of the log at once: what it signed before stays good, and what it seems to have signed from
// now on is forged. If it was the newest of its use, another one takes its place. It returns the keys after that. A
// revoked key stays as it is.
func (s *Service) RevokeLogKey(ctx context.Context, op Operator, kid string) ([]LogKey, error) {
	return s.changeLogKeys(ctx, op, func(r *keys.LogRing) ([]ledger.Row, error) {
		put, err := r.Revoke(kid, s.cfg.Directory.Now())
		switch {
		case errors.Is(err, keys.ErrNoKey):
			err = fault.Wrap(fault.NotFound, "key.unknown", "The log has no such key.", err)
		case errors.Is(err, keys.ErrShimKey):
			err = fault.Wrap(fault.Conflict, "key.of_shim",
				"It is the key of a shim, of which there is more to revoke: revoke the shim.", err)
		}
		return put, err
	})
}

// changeLogKeys makes a change of the keys of a log, with its events, in one commit.
func (s *Service) changeLogKeys(ctx context.Context, op Operator, change func(*keys.LogRing) ([]ledger.Row, error)) (
	[]LogKey, error,
) {
	if err := s.allow(ctx, op, op.either(WriteKeys, WritePlatform)); err != nil {
		return nil, err
	}
	err := s.alone(ctx, op, func() error {
		ring, at, err := s.ring(ctx, op)
		if err != nil {
			return err
		}
		put, err := change(ring)
		if err != nil || len(put) == 0 {
			return err
		}
		p, err := s.cfg.Log.Change(ctx, op.origin, ledger.Change{Expect: at.Revision, Put: put},
			op.logKeyEvents(ring.Keys(), put)...)
		if err != nil {
			return fmt.Errorf("change the keys of the log: %w", err)
		}
		s.cfg.Directory.Observe(p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.logKeys(ctx, op)
}

// logKeyEvents are those of a change of a log's keys that the operator makes.
func (o Operator) logKeyEvents(before []keys.LogKey, put []ledger.Row) []audit.Event {
	events := audit.LogKeyEvents(before, put)
	for i, e := range events {
		events[i] = o.event(e.Name, audit.Change{})
		events[i].Body.LogKey = e.Body.LogKey
	}
	return events
}
