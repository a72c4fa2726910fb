// Package restore puts a tenant back into the store as a backup has it. It is for a store that no server uses.
package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/custody"
	"github.com/bursar-sts/bursar/cmd/internal/envelope"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/backup"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/storage"
)

// Config is what Run needs.
type Config struct {
	*config.Config
	Secrets *config.Secrets
	File    string // the backup
	// Identities open the backup, if it is encrypted.
	Identities envelope.Identities
	Replace    bool // even what is newer
}

// ErrNewer is in the refusal to replace what is newer than the backup.
var ErrNewer = errors.New("the store has something newer")

// Restored is what was put back.
type Restored struct {
	Tenant  string    `json:"tenant,omitempty"` // its slug; none for the platform
	Made    time.Time `json:"made"`             // the backup
	Entries int64     `json:"entries"`
	Covered int64     `json:"covered"` // by a signed head
	Rows    int       `json:"rows"`
}

// Run verifies a backup, records that it is put back, and puts it back.
func Run(ctx context.Context, cfg Config) (*Restored, error) {
	b, err := verified(cfg)
	if err != nil {
		return nil, err
	}
	kept, err := custody.Open(ctx, cfg.Config, cfg.Secrets, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer kept.Close(ctx)
	if err := belongs(cfg, kept.Master, b); err != nil {
		return nil, err
	}
	store, err := storage.Open(ctx, storage.Config{URL: cfg.Secrets.StoreURL,
		AcceptVolatile: cfg.VolatileStore == "accept", ReplicateAppends: cfg.ReplicateIssuance})
	if err != nil {
		return nil, err
	}
	r := restoring{cfg: cfg, store: store, backup: b,
		log: audit.New(audit.Config{Store: store, Master: kept.Master, Deadline: time.Minute})}
	err = r.run(ctx)
	err = errors.Join(err, r.log.Close(context.WithoutCancel(ctx)), store.Close())
	if err != nil {
		return nil, err
	}
	s := b.Snapshot
	return &Restored{Tenant: b.Slug, Made: b.Made, Entries: s.Position.Index, Covered: s.Head.Size, Rows: len(s.Rows)}, nil
}

// verified reads a whole backup.
func verified(cfg Config) (*backup.Reader, error) {
	f, err := os.Open(cfg.File)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := cfg.Identities.Open(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.File, err)
	}
	b, err := backup.Verify(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.File, err)
	}
	return b, nil
}

// belongs checks that a backup is of this server.
func belongs(cfg Config, master keys.Master, b *backup.Reader) error {
	issuer := cfg.BaseURL
	if b.Slug != "" {
		issuer += "/t/" + b.Slug
	}
	if b.Issuer != issuer || (b.Slug == "") != (b.Tenant == ledger.Platform) {
		return fmt.Errorf("the backup is of %s, and base_url makes that %s: its log and its tokens would be another's",
			b.Issuer, issuer)
	}
	_, err := keys.OpenLog(master, b.Tenant, b.Snapshot.Rows)
	if err == nil && b.Slug != "" {
		_, err = keys.Open(master, b.Tenant, b.Snapshot.Rows)
	}
	if err != nil && !(errors.Is(err, keys.ErrNoKey) && b.Snapshot.Position.Index == 0) {
		return fmt.Errorf("the keys in the backup do not open; was it made under another master key? %w", err)
	}
	return nil
}

type restoring struct {
	cfg    Config
	store  storage.Store
	log    *audit.Log
	backup *backup.Reader
}

func (r restoring) run(ctx context.Context) error {
	if err := r.older(ctx); err != nil {
		return err
	}
	if r.backup.Slug == "" { // what is recorded before would be replaced with the log
		if err := r.load(ctx); err != nil {
			return err
		}
		return r.record(ctx, "platform", ledger.Change{}, audit.Change{})
	}
	if err := r.enroll(ctx); err != nil {
		return err
	}
	return r.load(ctx)
}

// older refuses to replace what is newer than the backup.
func (r restoring) older(ctx context.Context) error {
	if r.cfg.Replace {
		return nil
	}
	head, at, err := r.store.Head(ctx, r.backup.Tenant)
	if err != nil {
		return err
	}
	s := r.backup.Snapshot
	if at.Index > s.Position.Index || at.Revision > s.Position.Revision || at.Cutoffs > s.Position.Cutoffs ||
		head.Epoch > s.Head.Epoch {
		return fmt.Errorf("%w: %d entries of the log and revision %d; the backup of %s has %d and %d", ErrNewer, at.Index,
			at.Revision, r.backup.Made.Format(time.RFC3339), s.Position.Index, s.Position.Revision)
	}
	return nil
}

// enroll makes the tenant one of the platform, if it is none, and records that it is put back.
func (r restoring) enroll(ctx context.Context) error {
	rows, at, err := r.store.Rows(ctx, ledger.Platform, tenant.KindTenant)
	if err != nil {
		return err
	}
	var before []byte
	for _, row := range rows {
		var e tenant.Entry
		if row.ID != r.backup.Slug {
			continue
		}
		if before = row.Value; json.Unmarshal(row.Value, &e) != nil || e.ID != r.backup.Tenant && !r.cfg.Replace {
			return fmt.Errorf("%w: another tenant of the name %s", ErrNewer, r.backup.Slug)
		}
	}
	after, err := json.Marshal(tenant.Entry{ID: r.backup.Tenant, Created: r.backup.Created})
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	return r.record(ctx, r.backup.Slug, ledger.Change{Expect: at.Revision,
		Put: []ledger.Row{{Kind: tenant.KindTenant, ID: r.backup.Slug, Value: after}}},
		audit.Change{Before: audit.Digest(before), After: audit.Digest(after)})
}

// record records in the platform's log, with a change of its rows.
func (r restoring) record(ctx context.Context, name string, change ledger.Change, what audit.Change) error {
	what.Object, what.ID = "tenant", name
	_, err := r.log.Change(ctx, audit.Origin{Tenant: ledger.Platform, Issuer: r.cfg.BaseURL}, change,
		audit.Event{Name: "admin.tenant.restore", Body: audit.Body{Outcome: audit.Allowed, Change: what,
			Operator: audit.Operator{ID: "restore"}}})
	if err != nil {
		return fmt.Errorf("record that %s is restored: %w", name, err)
	}
	return nil
}

// load reads the backup again, into the store.
func (r restoring) load(ctx context.Context) error {
	f, err := os.Open(r.cfg.File)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := r.cfg.Identities.Open(f)
	if err != nil {
		return fmt.Errorf("%s: %w", r.cfg.File, err)
	}
	b, err := backup.Open(text)
	if err != nil {
		return fmt.Errorf("%s: %w", r.cfg.File, err)
	}
	return r.store.Load(ctx, b.Tenant, b.Snapshot, func() (ledger.Part, error) {
		part, err := b.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s: %w", r.cfg.File, err)
		}
		return part, err
	})
}
