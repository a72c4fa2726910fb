package servertest

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/shim"
)

// Shim returns a shim of the first process that limits nothing. It ends with the test.
func (w *World) Shim(log shim.Log) *shim.Shim {
	w.T.Helper()
	limits := limit.New(limit.Config{Rules: limit.Unlimited()})
	w.T.Cleanup(limits.Close)
	s, err := shim.New(shim.Config{URL: ShimURL, Tenants: w.ShimTenants(), Log: log, Limits: limits,
		Deny: func() []netip.AddrPort { return nil }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(s.Close)
	return s
}

// AccessToken returns a token of ap-bot of acme for a tool behind the shim, as acme would issue it.
func (w *World) AccessToken(tool, scope string) string {
	return w.AccessTokenWith(tool, scope, "scope", scope)
}

// AccessTokenWith returns one with another claim.
func (w *World) AccessTokenWith(tool, scope, claim string, value any) string {
	now := w.Directory.Now()
	claims := map[string]any{"iss": BaseURL + "/t/acme", "sub": "client:ap-bot", "client_id": "ap-bot",
		"aud": ShimURL + "/t/acme/" + tool, "scope": scope, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"jti": ledger.NewID(now), "txn": ledger.NewID(now)}
	claims[claim] = value
	return w.Signed(claims)
}
