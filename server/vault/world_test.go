package vault_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

var start = time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)

// api is where the secrets of the tests go.
var api = &tools.Upstream{URL: "https://api.example:8443"}

// key returns a value that no other name has, and that is found if it is somewhere.
func key(name string) string { return "SK-" + name + "-7f3a9c2e51d84b06" }

// world is one tenant's stored rows.
type world struct {
	t       testing.TB
	master  keys.Master
	tenant  ledger.Tenant
	rows    []ledger.Row
	backend vault.Backend
	now     time.Time
}

func newWorld(t testing.TB, tenant ledger.Tenant) *world {
	t.Helper()
	m, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	return newWorldUnder(t, m, tenant)
}

func newWorldUnder(t testing.TB, m keys.Master, tenant ledger.Tenant) *world {
	t.Helper()
	row, err := keys.CreateVault(m, tenant, start)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, master: m, tenant: tenant, rows: []ledger.Row{row}, now: start}
}

// open reads what is stored.
func (w *world) open() *vault.Vault {
	w.t.Helper()
	s, err := keys.OpenVault(w.master, w.tenant, w.rows)
	if err != nil {
		w.t.Fatal(err)
	}
	return vault.Open(s, w.backend, w.rows)
}

// make stores a change.
func (w *world) make(c vault.Change, err error) vault.Change {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	w.store(c.Put, c.Delete)
	w.now = w.now.Add(time.Minute)
	return c
}

func (w *world) store(put []ledger.Row, gone []ledger.Key) {
	named := func(r ledger.Row) ledger.Key { return ledger.Key{Kind: r.Kind, ID: r.ID} }
	for _, row := range put {
		gone = append(gone, named(row))
	}
	w.rows = slices.DeleteFunc(slices.Clone(w.rows), func(r ledger.Row) bool { return slices.Contains(gone, named(r)) })
	w.rows = append(w.rows, put...)
}

func draft(name, value string) *vault.Draft {
	d := &vault.Draft{Name: name, Fields: map[string]string{vault.Plain: value},
		Binding: vault.Binding{Scheme: "https", Host: "api.example", Port: 8443}}
	d.Fill()
	return d
}

// put stores a version.
func (w *world) put(name, value string) vault.Info {
	w.t.Helper()
	d := draft(name, value)
	if problems := d.Check(); len(problems) > 0 {
		w.t.Fatal(problems)
	}
	v := w.open()
	if err := v.Keep(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
	return w.make(v.Put(d, "op-1", w.now)).Version
}

func (w *world) activate(name string, number int) {
	w.t.Helper()
	w.make(w.open().Activate(name, number, nil, w.now))
}

// use is what a call at the secret's destination gets: the value, or the reason why not.
func (w *world) use(name string) string { return use(w.open(), name) }

func use(v *vault.Vault, name string) string {
	ref, err := v.Active(name)
	if err != nil {
		return reason(err)
	}
	value, err := v.Open(context.Background(), ref, api.Destination(), tools.InHeader)
	if err != nil {
		return reason(err)
	}
	return value.Field(vault.Plain)
}

// reason returns the code of a refusal, and the text of everything else.
func reason(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Reason
	}
	return fmt.Sprint(err)
}

func (w *world) row(name string) *ledger.Row {
	w.t.Helper()
	i := slices.IndexFunc(w.rows, func(r ledger.Row) bool { return r.Kind == vault.Kind && r.ID == name })
	if i < 0 {
		w.t.Fatalf("there is no row of %s", name)
	}
	return &w.rows[i]
}

func (w *world) states(name string) string {
	s, err := w.open().Get(name)
	if err != nil {
		return reason(err)
	}
	text := []string{string(s.State) + ":"}
	for _, version := range slices.Backward(s.Versions) {
		text = append(text, fmt.Sprintf("%d=%s", version.Number, version.State))
	}
	return strings.Join(text, " ")
}

// shelf is a backend in the memory of the test.
type shelf struct {
	mu      sync.Mutex
	fields  map[string]map[string]string
	counter int
	down    error
}

func newShelf() *shelf { return &shelf{fields: map[string]map[string]string{}} }

func (*shelf) Name() string { return "shelf" }

func (s *shelf) Put(_ context.Context, t ledger.Tenant, secret string, f map[string]string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return "", s.down
	}
	s.counter++
	ref := fmt.Sprintf("%s/%s/%d", t, secret, s.counter)
	s.fields[ref] = maps.Clone(f)
	return ref, nil
}

func (s *shelf) Get(_ context.Context, _ ledger.Tenant, ref string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return nil, s.down
	}
	f, ok := s.fields[ref]
	if !ok {
		return nil, errors.New("gone")
	}
	return maps.Clone(f), nil
}

func (s *shelf) Destroy(_ context.Context, _ ledger.Tenant, ref string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.fields, ref)
	return s.down
}
