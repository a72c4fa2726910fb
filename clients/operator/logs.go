package operator

import (
	"context"
	"net/http"
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
	// Kept is how many entries the log kept. Those from here up to Last.Size are gone; if that is none, other entries
	// stand in the place of those that were signed.
	Kept int64 `json:"kept"`
	Now  Head  `json:"now"` // the first head of the new epoch
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
