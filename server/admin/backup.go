package admin

import (
	"context"
	"io"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/backup"
	"github.com/bursar-sts/bursar/server/fault"
)

// Backup returns what writes a backup of what op acts on, its tenant or the platform, which must be called then. That
// it is made is recorded first. For operators of the platform only: it holds every key, though sealed.
func (s *Service) Backup(ctx context.Context, op Operator) (write func(context.Context, io.Writer) error, err error) {
	if err := s.allow(ctx, op, op.either(CopyTenant, WritePlatform)); err != nil {
		return nil, err
	}
	if s.cfg.Copies == nil {
		return nil, fault.New(fault.Conflict, "backup.none", "This server makes no backups.")
	}
	h := backup.Header{Issuer: op.origin.Issuer, Tenant: op.origin.Tenant, Version: s.cfg.Version,
		Made: s.cfg.Directory.Now().UTC()}
	object := audit.Change{Object: "tenant", ID: "platform"}
	if op.slug != "" {
		entry, err := s.cfg.Directory.Entry(ctx, op.slug)
		if err != nil {
			return nil, err
		}
		h.Slug, h.Created, object.ID = op.slug, entry.Created, op.slug
	}
	if _, err := s.cfg.Log.Append(ctx, op.origin, op.event("admin.tenant.backup", object)); err != nil {
		return nil, err
	}
	return func(ctx context.Context, w io.Writer) error { return backup.Write(ctx, s.cfg.Copies, h, w) }, nil
}
