package operator

import (
	"context"
	"net/http"
	"time"
)

// Head is a signed head of a log.
type Head struct {
	Origin string `json:"origin"` // with the number of the epoch, from the second one on
	Epoch  int64  `json:"epoch"`  // from 1
	Size   int64  `json:"size"`   // entries that it covers
	// Checkpoint is the signed note (C2SP tlog-checkpoint).
	Checkpoint string `json:"checkpoint"`
}

// Loss is what a log lost, and how it goes on.
type Loss struct {
	Reason string `json:"reason"` // what was found wrong
	// Last is the newest head that is known to have been signed before. Its checkpoint is the evidence: keep it.
	Last Head `json:"last"`
	// Kept is how many of the entries that were signed the store's own head covers. Those from here up to Last.Size are
	// gone; others may stand in their place.
	Kept int64 `json:"kept"`
	// Recorded is the entry that tells of the loss.
	Recorded int64 `json:"recorded"`
	Now      Head  `json:"now"` // the first head of the new epoch
}

// AcceptLoss makes a tenant's log go on, under another origin, although its store lost or changed what was signed.
// Nothing is issued in it before. Admin.
//
//	POST /t/{tenant}/log/accept-loss, no body → 200 Loss
//	409 conflict: the log misses nothing
func (c *Client) AcceptLoss(ctx context.Context, tenant string) (*Loss, error) {
	return one[Loss](ctx, c, at(http.MethodPost, tenant, "log", "accept-loss"))
}

// AcceptPlatformLoss does so with the platform's log. Platform admin.
//
//	POST /platform/log/accept-loss, no body → 200 Loss
//	409 conflict: the log misses nothing
func (c *Client) AcceptPlatformLoss(ctx context.Context) (*Loss, error) {
	return one[Loss](ctx, c, api(http.MethodPost, "platform", "log", "accept-loss"))
}

// LogUse is what a key of a log signs.
type LogUse string

// The uses of the keys of a log.
const (
	LogEvents      LogUse = "event"
	LogCheckpoints LogUse = "checkpoint"
	LogShim        LogUse = "shim" // some events, of one standalone shim
)

// LogUses returns every use.
func LogUses() []LogUse { return []LogUse{LogEvents, LogCheckpoints, LogShim} }

// LogKey is a key that signs the events or the checkpoints of a log, without its private part. Its state is active,
// retired or revoked; Until is when a retired key of checkpoints ceases to sign beside the one that replaced it.
type LogKey struct {
	Key
	Use LogUse `json:"use"`
}

// LogKeys lists the keys of a tenant's log: those of events first, then the newest first. Any role.
//
//	GET /t/{tenant}/log/keys → 200 {"items": [LogKey]}
func (c *Client) LogKeys(ctx context.Context, tenant string) ([]LogKey, error) {
	return list[LogKey](ctx, c, at(http.MethodGet, tenant, "log", "keys"))
}

// RotateLogKeys lets other keys sign the log, events and checkpoints both, from the next event on. It answers all keys
// after that. Admin.
//
//	POST /t/{tenant}/log/keys/rotate, no body → 200 {"items": [LogKey]}
func (c *Client) RotateLogKeys(ctx context.Context, tenant string) ([]LogKey, error) {
	return list[LogKey](ctx, c, at(http.MethodPost, tenant, "log", "keys", "rotate"))
}

// RevokeLogKey ends a key of the log at once: what it signed before stays good, what it seems to have signed later is
// forged. If it was active, another one takes its place. It answers all keys after that. Revoking a revoked key changes
// nothing. Admin.
//
//	POST /t/{tenant}/log/keys/{kid}/revoke, no body → 200 {"items": [LogKey]}
func (c *Client) RevokeLogKey(ctx context.Context, tenant, kid string) ([]LogKey, error) {
	return list[LogKey](ctx, c, at(http.MethodPost, tenant, "log", "keys", kid, "revoke"))
}

// PlatformLogKeys lists the keys of the platform's log as LogKeys does. Platform operators only.
//
//	GET /platform/log/keys → 200 {"items": [LogKey]}
func (c *Client) PlatformLogKeys(ctx context.Context) ([]LogKey, error) {
	return list[LogKey](ctx, c, api(http.MethodGet, "platform", "log", "keys"))
}

// RotatePlatformLogKeys does with the platform's log what RotateLogKeys does. Platform admin.
//
//	POST /platform/log/keys/rotate, no body → 200 {"items": [LogKey]}
func (c *Client) RotatePlatformLogKeys(ctx context.Context) ([]LogKey, error) {
	return list[LogKey](ctx, c, api(http.MethodPost, "platform", "log", "keys", "rotate"))
}

// RevokePlatformLogKey does with the platform's log what RevokeLogKey does. Platform admin.
//
//	POST /platform/log/keys/{kid}/revoke, no body → 200 {"items": [LogKey]}
func (c *Client) RevokePlatformLogKey(ctx context.Context, kid string) ([]LogKey, error) {
	return list[LogKey](ctx, c, api(http.MethodPost, "platform", "log", "keys", kid, "revoke"))
}

// PruneRequest is the body of PruneLog. One of the two at least is required; what both allow is dropped.
type PruneRequest struct {
	Index  int64     `json:"index,omitempty"` // entries before this one
	Before time.Time `json:"before,omitzero"` // entries that were recorded before
}

// Pruned is what PruneLog left.
type Pruned struct {
	First int64 `json:"first"` // the first entry that is kept, a multiple of 256
}

// PruneLog drops the beginning of a tenant's log, in whole parts of 256 entries, after they were archived as the server
// is configured. The newest part stays, and what a sink does not have yet. Platform admin.
//
//	POST /t/{tenant}/log/prune PruneRequest → 200 Pruned
//	409 conflict: the log is being pruned, or the server has no audit.retention.archive
//	422 invalid: neither an index nor a time, or one that is yet to come
func (c *Client) PruneLog(ctx context.Context, tenant string, r PruneRequest) (*Pruned, error) {
	return one[Pruned](ctx, c, at(http.MethodPost, tenant, "log", "prune").with(r))
}

// PrunePlatformLog does so with the platform's log. Platform admin.
//
//	POST /platform/log/prune PruneRequest → 200 Pruned
//	409 conflict, 422 invalid: as for PruneLog
func (c *Client) PrunePlatformLog(ctx context.Context, r PruneRequest) (*Pruned, error) {
	return one[Pruned](ctx, c, api(http.MethodPost, "platform", "log", "prune").with(r))
}
