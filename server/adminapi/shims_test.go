package adminapi_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/keys"
)

// shimsOf makes shims trusted, lists and revokes them.
func (w *world) shimsOf(t *testing.T) {
	ctx := t.Context()
	key := ok[*keys.ShimKey](t)(keys.NewShimKey())
	public, b64 := key.Public(), base64.RawURLEncoding
	r := operator.ShimRequest{Name: "edge-1", EventKey: b64.EncodeToString(public.Event),
		RecipientKey: b64.EncodeToString(public.Recipient)}
	done := ok[*operator.TrustedShim](t)(w.TrustShim(ctx, "acme", r))
	grantor := ok[[]byte](t)(b64.DecodeString(done.Grantor))
	if done.ID != key.ID || done.Name != "edge-1" || len(grantor) != 32 || len(done.TenantID) != 26 {
		t.Errorf("trusted %+v", done)
	}
	_, err := w.TrustShim(ctx, "acme", r)
	wantCode(t, err, 409, operator.CodeConflict)
	for member, bad := range map[string]operator.ShimRequest{
		"event_key": {EventKey: r.EventKey + "=", RecipientKey: r.RecipientKey}, "recipient_key": {EventKey: r.EventKey,
			RecipientKey: r.RecipientKey + "!"}, "event_key, recipient_key": {EventKey: r.EventKey, RecipientKey: r.EventKey},
		"name": {Name: "Edge", EventKey: r.EventKey, RecipientKey: r.RecipientKey},
	} {
		_, err := w.TrustShim(ctx, "acme", bad)
		p := wantCode(t, err, 422, operator.CodeInvalid)
		if len(p.Problems) != 1 || !strings.HasPrefix(p.Problems[0], member+":") {
			t.Errorf("%s: %q", member, p.Problems)
		}
	}
	all := ok[[]operator.Shim](t)(w.Shims(ctx, "acme"))
	if len(all) != 1 || all[0] != done.Shim || all[0].State != operator.ShimTrusted {
		t.Errorf("listed %+v", all)
	}
	logKeys := ok[[]operator.LogKey](t)(w.LogKeys(ctx, "acme"))
	own := func(k operator.LogKey) bool { return k.Use == operator.LogShim && k.KeyID == key.ID }
	if !slices.ContainsFunc(logKeys, own) {
		t.Errorf("keys of the log: %+v", logKeys)
	}
	_, err = w.RevokeLogKey(ctx, "acme", key.ID)
	wantCode(t, err, 409, operator.CodeConflict)
	if done := ok[*operator.RevokedShim](t)(w.RevokeShim(ctx, "acme", key.ID)); done.Secrets != 0 {
		t.Errorf("revoked %+v", done)
	}
	_, err = w.RevokeShim(ctx, "acme", "unknown")
	wantCode(t, err, 404, operator.CodeNotFound)
	if all := ok[[]operator.Shim](t)(w.Shims(ctx, "acme")); len(all) != 0 {
		t.Errorf("listed %+v", all)
	}
}

// rewraps seals the keys of both logs and of the tenant anew.
func (w *world) rewraps(t *testing.T) {
	ctx := t.Context()
	tenants := ok[[]operator.TenantEntry](t)(w.Tenants(ctx))
	logs, last := len(tenants)+1, tenants[len(tenants)-1].Tenant
	done := ok[*operator.Rewrapped](t)(w.Rewrap(ctx, operator.RewrapRequest{}))
	if done.Looked != logs || done.Changed != 0 || done.Next != "" || len(done.Failed) != 0 || done.Master == "" {
		t.Errorf("%+v", done)
	}
	if done = ok[*operator.Rewrapped](t)(w.Rewrap(ctx, operator.RewrapRequest{All: true})); done.Changed != logs {
		t.Errorf("all: %+v", done)
	}
	if done = ok[*operator.Rewrapped](t)(w.Rewrap(ctx, operator.RewrapRequest{After: last})); done.Looked != 0 {
		t.Errorf("after the last: %+v", done)
	}
}

// What is written in two rooms is the same in both.
func TestTheStatesOfShimsAgree(t *testing.T) {
	var words []string
	for _, s := range operator.ShimStates() {
		words = append(words, string(s))
	}
	if !slices.Equal(words, admin.ShimStates()) {
		t.Errorf("the client knows %q, and the server %q", words, admin.ShimStates())
	}
	words = nil
	for _, use := range operator.LogUses() {
		words = append(words, string(use))
	}
	if !slices.Equal(words, admin.LogUses()) {
		t.Errorf("the client knows %q, and the server %q", words, admin.LogUses())
	}
}
