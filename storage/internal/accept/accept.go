// Package accept is what both backends accept and how long they remember, so that what one of them refuses or forgets
// the other does too. Its errors are mistakes of the calling code, not of a caller of the service.
package accept

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// EnabledFor is how long a cutoff that was enabled stays readable, however old it is: a follower that reads at least
// this often learns that its target is enabled again.
const EnabledFor = 30 * 24 * time.Hour

// ClaimMargin is how much longer than asked a claim is remembered: the clocks of the store and of those who judge the
// claimed thing's expiry differ by less.
const ClaimMargin = time.Minute

// Limits of one stored thing, in bytes. They keep every key within what bbolt can index.
const (
	maxTenant = 128
	maxKind   = 64
	maxID     = 4 << 10
	maxWriter = 256
	maxValue  = 1 << 20
	maxKeep   = 10 * 365 * 24 * time.Hour
)

// Tenant refuses an id that could leave the tenant's own part of the key space.
func Tenant(t ledger.Tenant) error {
	switch {
	case t == "":
		return errors.New("the tenant id is empty")
	case len(t) > maxTenant:
		return fmt.Errorf("the tenant id is longer than %d bytes", maxTenant)
	case strings.ContainsAny(string(t), "{}"):
		return errors.New("the tenant id holds a brace")
	}
	return nil
}

// Kinds refuses a kind that is not one word of lower-case letters, digits and underscores. Separators between a kind
// and an id are therefore unambiguous.
func Kinds(kinds ...string) error {
	for _, kind := range kinds {
		if kind == "" || len(kind) > maxKind || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return errors.New("a kind is not a short word of lower-case letters, digits and underscores")
		}
	}
	return nil
}

// Commit refuses a commit that no state of the store could accept.
func Commit(t ledger.Tenant, c ledger.Commit) error {
	if err := Tenant(t); err != nil {
		return err
	}
	if c.Writer == "" || len(c.Writer) > maxWriter || c.First < 1 {
		return errors.New("the writer has no id or its counter is below 1")
	}
	if len(c.Entries) == 0 || len(c.Entries) > ledger.MaxEntries {
		return fmt.Errorf("a commit has 1 to %d entries", ledger.MaxEntries)
	}
	for _, entry := range c.Entries {
		if len(entry) == 0 || len(entry) > maxValue {
			return fmt.Errorf("an entry has 1 to %d bytes", maxValue)
		}
	}
	if len(c.Claims) > ledger.MaxClaims {
		return fmt.Errorf("a commit has at most %d claims", ledger.MaxClaims)
	}
	return change(c.Change)
}

func change(c ledger.Change) error {
	for _, row := range c.Put {
		if len(row.Value) > maxValue {
			return fmt.Errorf("a row's value is longer than %d bytes", maxValue)
		}
		if err := key(ledger.Key{Kind: row.Kind, ID: row.ID}); err != nil {
			return err
		}
	}
	for _, k := range c.Delete {
		if err := key(k); err != nil {
			return err
		}
	}
	for _, cut := range c.Cut {
		if cut.Keep < 0 || cut.Keep > maxKeep {
			return errors.New("a cut is kept for less than nothing or more than ten years")
		}
		if err := key(cut.Key); err != nil {
			return err
		}
	}
	for _, k := range c.Enable {
		if err := key(k); err != nil {
			return err
		}
	}
	return nil
}

func key(k ledger.Key) error {
	if len(k.ID) > maxID {
		return fmt.Errorf("an id is longer than %d bytes", maxID)
	}
	return Kinds(k.Kind)
}

// maxBudget is in bytes.
const maxBudget = 128

// Budget refuses the name of a budget that could leave its part of the key space, and what would give to it.
func Budget(name string, worth time.Duration) error {
	if name == "" || len(name) > maxBudget || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_:") != "" {
		return errors.New("a budget has no short name of lower-case letters, digits, underscores and colons")
	}
	if worth < 0 || worth > maxKeep {
		return errors.New("less than nothing, or more than ten years, is taken from a budget")
	}
	return nil
}
