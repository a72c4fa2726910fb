package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Where the records of a decision are looked for: its id tells when it was made, and records are in the order in which
// they were made durable, each with the time of its writer's clock.
const (
	// findBefore is how far the clocks of a tenant's writers may be apart for every record to be found: a minute, as a
	// token may be dated ahead.
	findBefore = time.Minute
	// findAfter allows besides for the time between a decision and its record. No caller is told an id whose record took
	// longer than a request may.
	findAfter = 2 * time.Minute
)

// Find returns the records of a decision, in order: usually one, more if a token that was recorded was withheld. It
// reads the log from a little before the decision to a little after it. Errors are *fault.Error, InvalidRequest for
// what is no id of a decision and NotFound for an id that the log does not have, or the store's.
func (l *Log) Find(ctx context.Context, t ledger.Tenant, decision string) ([]Record, error) {
	made, ok := ledger.IDTime(decision)
	if !ok {
		return nil, fault.New(fault.InvalidRequest, "decision.malformed",
			"This is no decision_id: those have 36 characters, digits and the letters a to v.")
	}
	found, err := l.around(ctx, t, made, decision, func(r Record) bool { return r.decision() == decision })
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "decision.unknown", "The tenant's log has no decision of this id.")
	}
	return found, err
}

// Named returns the records whose own id (jti) is the given one, or which are of the token that has it and were made
// within minutes of it, in order: of a token, its issue comes first. Errors are those of Find.
func (l *Log) Named(ctx context.Context, t ledger.Tenant, jti string) ([]Record, error) {
	made, ok := ledger.IDTime(jti)
	if !ok {
		return nil, fault.New(fault.InvalidRequest, "jti.malformed",
			"This is no id of an event or a token: those have 36 characters, digits and the letters a to v.")
	}
	found, err := l.around(ctx, t, made, jti, func(r Record) bool { return r.id() == jti || r.token() == jti })
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "jti.unknown", "The log has no event of this id, and none of a token of this id.")
	}
	return found, err
}

// Since returns an index before which nothing was recorded at or after the given time, as long as the clocks of a
// tenant's writers are no further apart than a minute.
func (l *Log) Since(ctx context.Context, t ledger.Tenant, at time.Time) (int64, error) {
	return l.seek(ctx, t, at.Add(-findBefore).Unix())
}

// around returns the records about something that was made at a given time and has an id, of those which were made at
// about that time.
func (l *Log) around(ctx context.Context, t ledger.Tenant, made time.Time, id string, about func(Record) bool) (
	found []Record, err error) {
	index, err := l.Since(ctx, t, made)
	if err != nil {
		return nil, err
	}
	for last := made.Add(findAfter).Unix(); ; {
		page, err := l.Read(ctx, t, index, MaxPage)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			// Most records are passed over without being parsed.
			if bytes.Contains(r.Claims, []byte(id)) && about(r) {
				found = append(found, r)
			}
		}
		if len(page) < MaxPage || page[len(page)-1].time() > last {
			return found, nil
		}
		index = page[len(page)-1].Index + 1 // the first page of a pruned log begins later than it was asked to
	}
}

// seek returns an index before which no record was made at or after the given time, Unix seconds, provided that the
// times of records go up. It reads few records: first ever later ones, since nothing says how many there are, then
// halfway between.
func (l *Log) seek(ctx context.Context, t ledger.Tenant, at int64) (int64, error) {
	from, to := int64(0), int64(1) // all before from are earlier; to is not, or there is none
	for {
		earlier, err := l.earlier(ctx, t, to, at)
		if err != nil {
			return 0, err
		}
		if !earlier {
			break
		}
		from, to = to+1, 2*to+1
	}
	for from < to {
		middle := from + (to-from)/2
		earlier, err := l.earlier(ctx, t, middle, at)
		if err != nil {
			return 0, err
		}
		if earlier {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from, nil
}

// earlier reports whether there is a record at the index, made before the given time.
func (l *Log) earlier(ctx context.Context, t ledger.Tenant, index, at int64) (bool, error) {
	page, err := l.Read(ctx, t, index, 1)
	return len(page) == 1 && page[0].time() < at, err
}

// Time returns when the record was made by its writer's clock, in whole seconds; 1970 if it does not say.
func (r Record) Time() time.Time { return time.Unix(r.time(), 0) }

// time returns when the record was made by its writer's clock, Unix seconds; 0 if it does not say.
func (r Record) time() int64 {
	var c struct {
		Issued int64 `json:"iat"`
	}
	_ = json.Unmarshal(r.Claims, &c)
	return c.Issued
}

// id returns the record's own id, "" if it does not say.
func (r Record) id() string {
	var c struct {
		ID string `json:"jti"`
	}
	_ = json.Unmarshal(r.Claims, &c)
	return c.ID
}

// token returns the id of the token that the record is of, "" if it is of none.
func (r Record) token() string {
	_, b, err := r.Open()
	if err != nil {
		return ""
	}
	return b.Token.JTI
}

func (r Record) decision() string {
	_, b, err := r.Open()
	if err != nil {
		return ""
	}
	return b.DecisionID
}

// Open returns the name of the event that was recorded, and what was recorded of it.
func (r Record) Open() (name string, b Body, err error) {
	var c struct {
		Events map[string]Body `json:"events"`
	}
	if err := json.Unmarshal(r.Claims, &c); err != nil {
		return "", b, fmt.Errorf("open record %d: %w", r.Index, err)
	}
	if len(c.Events) != 1 {
		return "", b, fmt.Errorf("open record %d: %w", r.Index, errors.New("it is not of one event"))
	}
	for uri, body := range c.Events {
		name, b = strings.TrimSuffix(strings.TrimPrefix(uri, "urn:bursar:event:"), ":v1"), body
	}
	return name, b, nil
}
