// Package vault keeps a tenant's secrets: what a legacy API wants to see, in versions, sealed, and bound to where it
// may go. Nothing that is put in comes out again but to be put on a request to the destination that it is bound to. It
// makes and reads rows and never stores them.
//
// A version is staged when it is put, active when calls use it, retired when another one took its place, destroyed when
// its value is gone. A secret as a whole can be disabled, so that the next call is refused.
package vault

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
)

// Kind is the kind of the rows that hold secrets; the id is the secret's name. One row holds all versions.
const Kind = "secret"

// State is where a version is in its life. That of a secret is its active version's, or the best that it has, or
// Disabled or Unreadable.
type State string

// The states.
const (
	Staged     State = "staged"
	Active     State = "active"
	Retired    State = "retired"
	Disabled   State = "disabled"
	Destroyed  State = "destroyed"
	Unreadable State = "unreadable" // its row was changed or moved by somebody else, so that nothing of it is believed
)

// Info is what anybody may know of a version.
type Info struct {
	Number       int
	State        State
	Created      time.Time
	Since        time.Time // when it came into its state
	By           string    // id of the operator who put it
	Fingerprint  string    // see keys.Sealer.Fingerprint
	Fields       []string  // their names, sorted
	Binding      Binding
	DecisionMode bool   // may be handed to a front proxy
	Unscrubbable bool   // is too short to be found in every answer
	Size         string // a class: see sizes
	Backend      string // where the value is, if not in the row
}

// Secret is what anybody may know of a secret.
type Secret struct {
	Name     string
	State    State
	Active   int       // number of the version that calls use; 0 if none
	Disabled time.Time // zero unless it is
	DataKey  int       // version of the tenant's data key that seals it
	Versions []Info    // the newest first
}

// Ref names one version of a secret.
type Ref struct {
	Name        string
	Version     int
	Fingerprint string
	trial       bool // a staged version is tried, which a disabled secret may have
}

// Backend keeps values somewhere else, of one tenant. The row has the reference then, sealed and bound as a value is.
// Errors are *fault.Error, or wrap fault.ErrUnavailable; they hold nothing of a value.
type Backend interface {
	// Name is what Info.Backend says, such as "openbao".
	Name() string
	// Put stores the fields of a new version of a secret, durably, and returns by what they are found. A reference
	// is never given twice.
	Put(ctx context.Context, t ledger.Tenant, secret string, fields map[string]string) (ref string, err error)
	// Get returns exactly what was put.
	Get(ctx context.Context, t ledger.Tenant, ref string) (fields map[string]string, err error)
	// Destroy makes the fields irretrievable. It succeeds for what is gone already.
	Destroy(ctx context.Context, t ledger.Tenant, ref string) error
}

// Vault is a tenant's secrets at one revision of its rows. It is immutable and safe for concurrent use. A nil Vault has
// no secrets.
type Vault struct {
	sealer  *keys.Sealer // nil: there was never a secret
	backend Backend      // nil: values are in the rows
	secrets map[string]*secret
	broken  error            // why no secret can be opened; nil if all is well
	newest  map[string]int64 // by secret, the last change that was ever seen of it
}

// Open reads a tenant's secrets; rows of other kinds are passed over. A row that this vault did not write makes its
// secret Unreadable, and no other one. The sealer is nil for a tenant that has none; the backend is nil where values
// are kept in the rows.
func Open(sealer *keys.Sealer, backend Backend, rows []ledger.Row) *Vault {
	v := &Vault{sealer: sealer, backend: backend, secrets: map[string]*secret{}, newest: map[string]int64{}}
	for _, row := range rows {
		if row.Kind != Kind {
			continue
		}
		s := v.read(row)
		v.secrets[row.ID] = s
		if s.broken == nil {
			v.newest[row.ID] = s.row.Change
		}
	}
	return v
}

// After returns the vault as it is to be used after an earlier one of the same tenant. A row that the store gives back
// in an older state than it had is not believed: somebody has put it back.
func (v *Vault) After(before *Vault) *Vault {
	if before == nil || before == v {
		return v
	}
	next := *v
	next.secrets, next.newest = maps.Clone(v.secrets), maps.Clone(before.newest)
	if next.newest == nil {
		next.newest = map[string]int64{}
	}
	for name, s := range v.secrets {
		if s.broken != nil {
			continue
		}
		if s.row.Change < next.newest[name] {
			next.secrets[name] = &secret{row: s.row, broken: errors.New("the store gave an older state than it had")}
			continue
		}
		next.newest[name] = s.row.Change
	}
	return &next
}

// Broken returns the vault of a tenant whose data keys cannot be opened: every secret is Unreadable.
func Broken(err error, rows []ledger.Row) *Vault {
	v := &Vault{secrets: map[string]*secret{}, broken: err}
	for _, row := range rows {
		if row.Kind == Kind {
			v.secrets[row.ID] = &secret{row: secretRow{Name: row.ID}, broken: err}
		}
	}
	return v
}

// Active returns the version of a secret that calls use. Errors are *fault.Error: secret.unknown, secret.disabled,
// secret.none_active, secret.sealed.
func (v *Vault) Active(name string) (Ref, error) {
	s, err := v.usable(name)
	if err != nil {
		return Ref{}, err
	}
	version := s.version(s.row.Active)
	if version == nil {
		return Ref{}, fault.New(fault.Unavailable, "secret.none_active", "The secret has no active version.")
	}
	return version.ref(name), nil
}

// Version returns a version of a secret to be tried, whether calls use it or not; of a disabled one only a staged
// version. Errors are those of Active, and secret.version.
func (v *Vault) Version(name string, number int) (Ref, error) {
	s, err := v.readable(name)
	if err != nil {
		return Ref{}, err
	}
	version := s.version(number)
	if version == nil || version.State == Destroyed {
		return Ref{}, errVersion()
	}
	if version.State != Staged {
		if _, err := v.usable(name); err != nil {
			return Ref{}, err
		}
	}
	ref := version.ref(name)
	ref.trial = version.State == Staged
	return ref, nil
}

func errVersion() error {
	return fault.New(fault.NotFound, "secret.version", "The secret has no such version.")
}

func (v *Vault) readable(name string) (*secret, error) {
	s := v.find(name)
	switch {
	case s == nil:
		return nil, fault.New(fault.Unavailable, "secret.unknown", "There is no such secret.")
	case s.broken != nil:
		return nil, sealed(s.broken)
	}
	return s, nil
}

func (v *Vault) usable(name string) (*secret, error) {
	s, err := v.readable(name)
	if err == nil && !s.row.Disabled.IsZero() {
		return nil, fault.New(fault.Forbidden, "secret.disabled", "The secret is disabled.")
	}
	return s, err
}

func (v *Vault) find(name string) *secret {
	if v == nil {
		return nil
	}
	return v.secrets[name]
}

// sealed is the error for what does not open. The cause is for the operator's log.
func sealed(cause error) error {
	return fault.Wrap(fault.Unavailable, "secret.sealed", "The secret cannot be opened.", cause)
}

// For opens a version for one injection of an upstream: what Open checks, and for kind oauth2 both where the client
// credentials go and where the token goes that they get. Errors are those of Open.
func (v *Vault) For(ctx context.Context, ref Ref, u *tools.Upstream, i *tools.Injection) (*Value, error) {
	return v.openAt(ctx, ref, i.In, func(b Binding) bool { return b.reaches(u, i) })
}

// Open opens a version for one destination and one kind of injection; for oauth2 that is where the client credentials
// go. Nothing that is destroyed, of a disabled secret, or bound to elsewhere opens. Errors are *fault.Error: those of
// Active, secret.version, secret.host_not_bound, secret.kind_not_bound, secret.backend.
func (v *Vault) Open(ctx context.Context, ref Ref, to tools.Destination, kind tools.Kind) (*Value, error) {
	return v.openAt(ctx, ref, kind, func(b Binding) bool {
		if kind == tools.InOAuth2 {
			return b.tokens() == to
		}
		return b.destination() == to
	})
}

func (v *Vault) openAt(ctx context.Context, ref Ref, kind tools.Kind, bound func(Binding) bool) (*Value, error) {
	look := v.usable
	if ref.trial {
		look = v.readable
	}
	s, err := look(ref.Name)
	if err != nil {
		return nil, err
	}
	version := s.version(ref.Version)
	if version == nil || version.State == Destroyed || version.Fingerprint != ref.Fingerprint {
		return nil, errVersion()
	}
	body, err := v.open(ref.Name, version)
	switch {
	case err != nil:
		return nil, sealed(err)
	case version.Terms.Binding.Host == "" || !bound(version.Terms.Binding):
		return nil, errHost()
	case !version.Terms.Binding.allows(kind):
		return nil, fault.New(fault.Forbidden, "secret.kind_not_bound", "The secret may not be put on a request like this.")
	}
	return v.value(ctx, version, body)
}

func errHost() error {
	return fault.New(fault.Forbidden, "secret.host_not_bound", "The secret is not bound to this destination.")
}

// DecisionMode reports whether a version may be handed to a front proxy.
func (v *Vault) DecisionMode(ref Ref) bool {
	s := v.find(ref.Name)
	if s == nil || s.broken != nil {
		return false
	}
	version := s.version(ref.Version)
	return version != nil && version.Terms.DecisionMode
}
