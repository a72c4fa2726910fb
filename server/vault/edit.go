package vault

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// maxDestroyed bounds the versions that a row still tells of after they were destroyed; the log tells of all.
const maxDestroyed = MaxVersions

// edit returns a copy of a secret's row that may be changed. Errors are *fault.Error: secret.unknown, secret.sealed.
func (v *Vault) edit(name string) (*secretRow, error) {
	s := v.find(name)
	switch {
	case v.sealer == nil && v.broken != nil:
		return nil, sealed(v.broken)
	case v.sealer == nil:
		return nil, errUnknown()
	case s == nil:
		return nil, errUnknown()
	case s.broken != nil:
		return nil, fault.Wrap(fault.Conflict, "secret.sealed", "The secret is unreadable: what is stored of it was changed "+
			"or put back. Destroy it whole, and put it anew.", s.broken)
	}
	r := s.row
	r.Versions = slices.Clone(r.Versions)
	return &r, nil
}

func errUnknown() error {
	return fault.New(fault.NotFound, "secret.unknown", "The tenant has no such secret.")
}

func isUnknown(err error) bool { return hasReason(err, "secret.unknown") }

func isSealed(err error) bool { return hasReason(err, "secret.sealed") }

func hasReason(err error, reason string) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return ok && f.Reason == reason
}

// remains is the row that takes the place of one that nobody believes: it has no version, and goes on behind the
// numbers that the other one claims.
func (v *Vault) remains(name string) *secretRow {
	r := &secretRow{Name: name}
	const most = 1 << 30
	claimed := v.secrets[name].row
	r.Last = max(0, claimed.Last)
	for _, n := range claimed.Versions {
		r.Last = max(r.Last, n.Number)
	}
	r.Last = min(r.Last, most)
	return r
}

// changed ends a change of a row: it is sealed anew, whole.
func (v *Vault) changed(r *secretRow, number int, now time.Time) (Change, error) {
	r.Change = max(r.Change+1, v.newest[r.Name]+1, now.UnixMilli())
	r.forget()
	if err := v.reseal(r); err != nil {
		return Change{}, err
	}
	row, err := r.seal(v.sealer)
	if err != nil {
		return Change{}, err
	}
	c := Change{Put: []ledger.Row{row}, Secret: (&secret{row: *r}).info()}
	if n := r.find(number); n != nil {
		c.Version = n.info()
	}
	return c, nil
}

// same is the change that is not needed.
func (v *Vault) same(name string, n *versionRow) Change {
	c := Change{Secret: v.secrets[name].info()}
	if n != nil {
		c.Version = n.info()
	}
	return c
}

// reseal seals with the newest data key what an older one sealed.
func (v *Vault) reseal(r *secretRow) error {
	for i := range r.Versions {
		n := &r.Versions[i]
		if n.State == Destroyed || keys.SealedWith(n.Sealed) == v.sealer.Version() {
			continue
		}
		b, err := v.open(r.Name, n)
		if err != nil {
			return sealed(err)
		}
		if err := sealBody(v.sealer, r.Name, n, *b); err != nil {
			return err
		}
	}
	return nil
}

// expect refuses a change that was decided when another version was active.
func (r *secretRow) expect(active *int) error {
	if active == nil || *active == r.Active {
		return nil
	}
	return fault.New(fault.Conflict, "secret.moved",
		fmt.Sprintf("Version %d is active, which is not the one that is to be replaced.", r.Active))
}

// activate makes a version the active one, and remembers which one it replaces.
func (r *secretRow) activate(n *versionRow, now time.Time) {
	n.Previous = r.Active
	r.point(n, now)
}

// destroy makes a version's value irretrievable, as far as it is here.
func (r *versionRow) destroy(now time.Time) {
	if r.State != Destroyed {
		r.State, r.Since = Destroyed, now.UTC()
	}
	if r.Terms.Backend == "" {
		r.Sealed = nil
	}
}

// point makes a version the active one.
func (r *secretRow) point(n *versionRow, now time.Time) {
	if old := r.find(r.Active); old != nil {
		old.State, old.Since = Retired, now.UTC()
	}
	n.State, n.Since = Active, now.UTC()
	r.Active = n.Number
}

func (r *secretRow) find(number int) *versionRow {
	for i := range r.Versions {
		if r.Versions[i].Number == number {
			return &r.Versions[i]
		}
	}
	return nil
}

// newestStaged returns the newest staged version, if it is newer than the active one: an older one was left behind.
func (r *secretRow) newestStaged() *versionRow {
	for i := range slices.Backward(r.Versions) {
		if r.Versions[i].State == Staged && r.Versions[i].Number > r.Active {
			return &r.Versions[i]
		}
	}
	return nil
}

// left is how many versions are not destroyed.
func (r *secretRow) left() (n int) {
	for _, version := range r.Versions {
		if version.State != Destroyed {
			n++
		}
	}
	return n
}

// forget drops the oldest of many destroyed versions.
func (r *secretRow) forget() {
	gone := len(r.Versions) - r.left() - maxDestroyed
	r.Versions = slices.DeleteFunc(r.Versions, func(n versionRow) bool {
		if n.State != Destroyed || gone <= 0 {
			return false
		}
		gone--
		return true
	})
}

// dataKey is the oldest data key that seals something of the row.
func (r *secretRow) dataKey() int {
	oldest := keys.SealedWith(r.Sealed)
	for _, n := range r.Versions {
		if n.State != Destroyed {
			oldest = min(oldest, keys.SealedWith(n.Sealed))
		}
	}
	return oldest
}

// state is that of the whole secret.
func (s *secret) state() State {
	switch {
	case s.broken != nil:
		return Unreadable
	case !s.row.Disabled.IsZero():
		return Disabled
	case s.row.Active != 0:
		return Active
	}
	for _, state := range []State{Staged, Retired} {
		if slices.ContainsFunc(s.row.Versions, func(n versionRow) bool { return n.State == state }) {
			return state
		}
	}
	return Destroyed
}

// info is what anybody may know of a secret. Of one that is not believed that is its name.
func (s *secret) info() Secret {
	i := Secret{Name: s.row.Name, State: s.state()}
	if s.broken != nil {
		return i
	}
	i.Active, i.Disabled, i.DataKey = s.row.Active, s.row.Disabled, s.row.dataKey()
	for _, n := range slices.Backward(s.row.Versions) {
		i.Versions = append(i.Versions, n.info())
	}
	return i
}
