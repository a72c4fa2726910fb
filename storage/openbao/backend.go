package openbao

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/openbao/openbao/api/v2"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Backend keeps the values of one tenant's secrets. Each is written once, under a name that was never used, and never
// changed: whoever may write for bursar needs the right to create and not the one to update, and no version is lost
// because there are many. It is safe for concurrent use.
type Backend struct {
	c      *Client
	tenant ledger.Tenant
	layout Layout
	cache  *cache
	broken error // the tenant has no place; nil if it has
}

// Name is how a version says where its value is.
func (*Backend) Name() string { return "openbao" }

// Backends are those of all tenants. Each tenant has one, which remembers what it read. It is safe for concurrent use.
type Backends struct {
	c         *Client
	layout    Layout
	staleness time.Duration

	mu   sync.Mutex
	made map[ledger.Tenant]*Backend
}

// Backends returns those of all tenants, in a layout that has been checked. For as long as staleness says, what was
// read is given again without asking; then it is read anew, or not given.
func (c *Client) Backends(l Layout, staleness time.Duration) *Backends {
	return &Backends{c: c, layout: l, staleness: staleness, made: map[ledger.Tenant]*Backend{}}
}

// Of returns that of a tenant, by its name and its id.
func (a *Backends) Of(slug string, t ledger.Tenant) *Backend {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b := a.made[t]; b != nil {
		return b
	}
	b := &Backend{c: a.c, tenant: t, cache: newCache(a.staleness, a.c.cfg.Timeout, a.c.cfg.Now)}
	if b.layout, b.broken = a.layout.of(slug); b.broken != nil { // and it keeps nothing, instead of keeping it elsewhere
		return b
	}
	if b.layout.Namespace == "" {
		b.layout.Namespace = a.c.cfg.Namespace
	}
	a.made[t] = b
	return b
}

// Put stores the fields of a new version under a reference that was never given, or nothing. If it is not known whether
// they were stored, they are destroyed.
func (b *Backend) Put(ctx context.Context, t ledger.Tenant, secret string, fields map[string]string) (string, error) {
	if err := b.check(t, secret); err != nil {
		return "", err
	}
	for _, value := range fields {
		if !utf8.ValidString(value) { // JSON would have something else in its place
			return "", fault.New(fault.Invalid, "openbao.text", "OpenBao keeps text in UTF-8 alone; encode the value.")
		}
	}
	id := newID(b.c.cfg.Now())
	path := b.layout.data("data", secret, id)
	what := "put " + path
	answer, err := b.c.do(ctx, b.layout.Namespace, what, func(ctx context.Context, to *api.Logical) (*api.Secret, error) {
		return to.WriteWithContext(ctx, path, map[string]any{
			"options": map[string]any{"cas": 0}, // only if there is nothing yet
			"data":    map[string]any{"tenant": string(t), "secret": secret, "id": id, "fields": fields},
		})
	})
	if err == nil {
		if version, ok := number(answer, "version"); !ok || version != 1 {
			err = failed(reasonAnswer, "OpenBao does not answer as expected.", what,
				errors.New("the mount is no KV engine of version 2"))
		}
	}
	ref := secret + "/" + id
	if err != nil {
		if statusOf(err) == 0 {
			b.forget(ctx, ref)
		}
		return "", err
	}
	return ref, nil
}

// forget destroys what may have been put. If that fails, there is a value that nothing refers to.
func (b *Backend) forget(ctx context.Context, ref string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.c.cfg.Timeout)
	defer cancel()
	if err := b.Destroy(ctx, b.tenant, ref); err != nil {
		b.c.cfg.Logger.WarnContext(ctx, "a value may be left in OpenBao that nothing refers to", "ref", ref, "error", err)
	}
}

// Get returns exactly what was put.
func (b *Backend) Get(ctx context.Context, t ledger.Tenant, ref string) (map[string]string, error) {
	secret, id, err := b.split(t, ref)
	if err != nil {
		return nil, err
	}
	return b.cache.get(ctx, ref, func(ctx context.Context) (map[string]string, error) { return b.fetch(ctx, secret, id) })
}

func (b *Backend) fetch(ctx context.Context, secret, id string) (map[string]string, error) {
	path := b.layout.data("data", secret, id)
	what := "get " + path
	answer, err := b.c.do(ctx, b.layout.Namespace, what, func(ctx context.Context, to *api.Logical) (*api.Secret, error) {
		return read(ctx, to, path)
	})
	if err != nil {
		return nil, err
	}
	if answer == nil {
		return nil, gone(what)
	}
	data, ok := answer.Data["data"].(map[string]any)
	if !ok { // deleted and destroyed versions have metadata, and no data
		return nil, gone(what)
	}
	if data["tenant"] != string(b.tenant) || data["secret"] != secret || data["id"] != id {
		return nil, failed(reasonMoved, "OpenBao has something else in the place of a value.", what,
			errors.New("it belongs to another place"))
	}
	all, ok := data["fields"].(map[string]any)
	if !ok {
		return nil, unexpected(what)
	}
	fields := make(map[string]string, len(all))
	for name, value := range all {
		if fields[name], ok = value.(string); !ok {
			return nil, unexpected(what)
		}
	}
	return fields, nil
}

func gone(what string) error {
	return failed(reasonGone, "OpenBao has no such value: it was deleted there.", what, errors.New("there is no value"))
}

// Destroy makes the fields irretrievable; what is gone already is no error.
func (b *Backend) Destroy(ctx context.Context, t ledger.Tenant, ref string) error {
	secret, id, err := b.split(t, ref)
	if err != nil {
		return err
	}
	b.cache.drop(ref)
	path := b.layout.data("destroy", secret, id)
	_, err = b.c.do(ctx, b.layout.Namespace, "destroy "+path,
		func(ctx context.Context, to *api.Logical) (*api.Secret, error) {
			return to.WriteWithContext(ctx, path, map[string]any{"versions": []int{1}})
		})
	b.cache.drop(ref) // what was read meanwhile
	return err
}

// check: a path is made of names that no server reads in two ways, and of one tenant's alone.
func (b *Backend) check(t ledger.Tenant, secret string) error {
	switch {
	case b.broken != nil:
		return failed(reasonMoved, "The tenant has no place in OpenBao.", "check", b.broken)
	case t != b.tenant:
		return failed(reasonMoved, "The value belongs to another tenant.", "check", errors.New("another tenant's"))
	case scopes.CheckSlug(secret) != nil:
		return failed(reasonMoved, "The secret has a name that cannot be.", "check", errors.New("the name is no slug"))
	}
	return nil
}

func (b *Backend) split(t ledger.Tenant, ref string) (secret, id string, err error) {
	secret, id, _ = strings.Cut(ref, "/")
	if err := b.check(t, secret); err != nil {
		return "", "", err
	}
	if scopes.CheckSlug(id) != nil {
		return "", "", failed(reasonMoved, "The reference to a value cannot be.", "check", errors.New("no reference"))
	}
	return secret, id, nil
}

// newID names a value: by the second in which it was put, for whoever looks into OpenBao, and by 80 random bits.
func newID(now time.Time) string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return now.UTC().Format("20060102t150405-") + strings.ToLower(base32.HexEncoding.EncodeToString(b[:]))
}
