package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
)

// Bounds of operator tokens.
const (
	MinTTL = time.Minute
	MaxTTL = 365 * 24 * time.Hour
	// MaxOperators is how many valid tokens a tenant, or the platform, has at most.
	MaxOperators = 256
)

// OperatorToken is an operator token, without its value.
type OperatorToken struct {
	ID      string
	Role    Role
	Created time.Time
	Expires time.Time
}

// staff is where the operators of a tenant, or of the platform, are kept.
type staff struct {
	tokens []operatorRow
	rows   []ledger.Row
	commit func(ledger.Change, audit.Event) error
}

// CreateOperator makes an operator token for what op acts on, its tenant or the platform, and returns it in plain, this
// one time. Platform operators are Admin or Auditor. Tokens that have expired are removed on the way.
//
// After Unavailable the new token may exist though nobody knows it; asking again is safe.
func (s *Service) CreateOperator(ctx context.Context, op Operator, role Role, ttl time.Duration) (
	string, OperatorToken, error) {
	if err := s.allow(ctx, op, op.either(WriteOperators, WritePlatform)); err != nil {
		return "", OperatorToken{}, err
	}
	if problems := op.checkToken(role, ttl); len(problems) > 0 {
		return "", OperatorToken{}, invalid("operator.request", problems...)
	}
	plain := NewToken(op.slug)
	var token operatorRow
	err := s.changeStaff(ctx, op, func(at staff) error {
		now := s.cfg.Directory.Now().UTC().Truncate(time.Millisecond)
		var c ledger.Change
		for _, old := range at.tokens {
			if old.expired(now) {
				c.Delete = append(c.Delete, ledger.Key{Kind: tenant.KindOperator, ID: old.ID})
			}
		}
		if len(at.tokens)-len(c.Delete) >= MaxOperators {
			return fault.New(fault.Conflict, "operator.many", "There are too many operator tokens; delete one first.")
		}
		token = operatorRow{ID: ledger.NewID(now), Role: role, Hash: HashToken(plain), Created: now,
			Expires: now.Add(ttl)}
		value, err := json.Marshal(token)
		if err != nil {
			return fmt.Errorf("encode operator: %w", err)
		}
		c.Put = []ledger.Row{{Kind: tenant.KindOperator, ID: token.ID, Value: value}}
		return at.commit(c, op.event("admin.operator.create",
			audit.Change{Object: tenant.KindOperator, ID: token.ID, After: audit.Digest(value)}))
	})
	if err != nil {
		return "", OperatorToken{}, err
	}
	return plain, token.public(), nil
}

// Operators lists the tokens of op's tenant, or of the platform, that have not expired, in the order of their ids,
// which is the order of their making.
func (s *Service) Operators(ctx context.Context, op Operator) ([]OperatorToken, error) {
	if err := s.allow(ctx, op, op.either(ReadConfig, ReadPlatform)); err != nil {
		return nil, err
	}
	at, err := s.staff(ctx, op)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Directory.Now()
	list := []OperatorToken{}
	for _, token := range at.tokens {
		if !token.expired(now) {
			list = append(list, token.public())
		}
	}
	return list, nil
}

// DeleteOperator ends a token at once.
func (s *Service) DeleteOperator(ctx context.Context, op Operator, id string) error {
	if err := s.allow(ctx, op, op.either(WriteOperators, WritePlatform)); err != nil {
		return err
	}
	return s.changeStaff(ctx, op, func(at staff) error {
		i := slices.IndexFunc(at.rows, func(row ledger.Row) bool { return row.ID == id })
		if i < 0 {
			return fault.New(fault.NotFound, "operator.absent", "There is no such operator.")
		}
		return at.commit(ledger.Change{Delete: []ledger.Key{{Kind: tenant.KindOperator, ID: id}}},
			op.event("admin.operator.delete",
				audit.Change{Object: tenant.KindOperator, ID: id, Before: audit.Digest(at.rows[i].Value)}))
	})
}

// either returns the action that is meant on a tenant, or on the platform.
func (o Operator) either(onTenant, onPlatform Action) Action {
	if o.slug == "" {
		return onPlatform
	}
	return onTenant
}

func (o Operator) checkToken(role Role, ttl time.Duration) (problems []string) {
	allowed, words := []Role{Admin, Editor, Keeper, Responder, Auditor}, "admin, editor, keeper, responder or auditor"
	if o.slug == "" {
		allowed, words = []Role{Admin, Auditor}, "admin or auditor"
	}
	if !slices.Contains(allowed, role) {
		problems = append(problems, "role: must be "+words)
	}
	if ttl < MinTTL || ttl > MaxTTL {
		problems = append(problems, "ttl: must be between 1m and 8760h")
	}
	return problems
}

// staff reads the operators of what op acts on.
func (s *Service) staff(ctx context.Context, op Operator) (staff, error) {
	var at staff
	if op.slug == "" {
		rows, p, err := s.cfg.Store.Rows(ctx, ledger.Platform, tenant.KindOperator)
		if err != nil {
			return at, fmt.Errorf("read operators: %w", err)
		}
		s.cfg.Directory.Observe(p)
		at.rows = rows
		at.commit = func(c ledger.Change, e audit.Event) error {
			c.Expect = p.Revision
			_, err := s.cfg.Log.Change(ctx, op.origin, c, e)
			return err
		}
	} else {
		v, err := s.cfg.Directory.Fresh(ctx, op.slug)
		if err != nil {
			return at, err
		}
		at.rows = v.Rows(tenant.KindOperator)
		at.commit = func(c ledger.Change, e audit.Event) error {
			_, err := s.commit(ctx, v, c, e)
			return err
		}
	}
	var err error
	at.tokens, err = readOperators(at.rows)
	return at, err
}

// changeStaff lets change commit to what op acts on.
func (s *Service) changeStaff(ctx context.Context, op Operator, change func(staff) error) error {
	return s.alone(ctx, op, func() error {
		at, err := s.staff(ctx, op)
		if err != nil {
			return err
		}
		return change(at)
	})
}

// alone makes a change of what op acts on, its tenant or the platform, as change does.
func (s *Service) alone(ctx context.Context, op Operator, try func() error) error {
	if op.slug != "" {
		return s.change(ctx, op.slug, try)
	}
	leave, err := s.platform.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return s.retry(ctx, try)
}

func (r operatorRow) public() OperatorToken {
	return OperatorToken{ID: r.ID, Role: r.Role, Created: r.Created, Expires: r.Expires}
}
