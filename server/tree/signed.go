package tree

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// signed checks that a head was signed with a key of the log: whoever can write to the store must not have us go on
// from what they made. A key that was revoked has signed only what does not cover its revocation.
func (t *Trees) signed(ctx context.Context, l *log, head ledger.Head, entries int64) error {
	if head.Epoch == 0 {
		return nil
	}
	r, _, err := t.keysOf(ctx, l.tenant)
	if err != nil {
		return err
	}
	issuer := l.origin().Issuer
	verifiers, revoked, err := r.Verifiers(auditor.KeyName(issuer))
	if err != nil {
		return err
	}
	want := auditor.Checkpoint{Origin: auditor.Origin(issuer, head.Epoch), Size: head.Size, Root: head.Root}
	opens := func(all ...note.Verifier) bool {
		c, _, err := auditor.OpenCheckpoint(head.Note, all...)
		return err == nil && c == want
	}
	if opens(verifiers...) {
		return nil
	}
	for kid, v := range revoked {
		if !opens(v) {
			continue
		}
		later, err := t.revokes(ctx, l.tenant, r, kid, head.Size, entries)
		if err != nil || later {
			return err
		}
	}
	return t.halt(l, "its head of %d entries was not signed by a key of this log", head.Size)
}

// revokes reports whether one of the entries from ≤ i < to is the event that a key was revoked, signed by a key of
// the log.
func (t *Trees) revokes(ctx context.Context, id ledger.Tenant, r *keys.LogRing, kid string, from, to int64) (
	bool, error,
) {
	events := map[string]ed25519.PublicKey{}
	for _, k := range r.EventKeys() {
		public, err := k.Public()
		if err != nil {
			return false, fmt.Errorf("read the keys of the log: %w", err)
		}
		if k.MaySign(audit.LogKeyEvent) {
			events[k.KeyID] = public
		}
	}
	for from < to {
		entries, err := t.cfg.Store.Events(ctx, id, from, ledger.MaxEntries)
		if err != nil {
			return false, fmt.Errorf("read entries: %w", err)
		}
		if len(entries) == 0 {
			return false, nil
		}
		for _, e := range entries {
			set, err := auditor.ParseSET(e.Data)
			if err == nil && revocationOf(set) == kid && set.Verify(events[set.KeyID]) {
				return true, nil
			}
		}
		from = entries[len(entries)-1].Index + 1
	}
	return false, nil
}

// revocationOf returns the key of the log whose revocation an event is; "" if it is another event.
func revocationOf(set *auditor.SET) string {
	var body struct {
		LogKey audit.LogKey `json:"log_key"`
	}
	if set.Name != audit.LogKeyEvent || json.Unmarshal(set.Body, &body) != nil || body.LogKey.Action != audit.KeyRevoked {
		return ""
	}
	return body.LogKey.KeyID
}
