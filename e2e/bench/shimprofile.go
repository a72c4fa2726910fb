package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

// shimShares are those of a call through the shim, or through the plain proxy.
var shimShares = division{
	{"tree and signed heads", []string{module + "/server/tree"}},
	{"signatures of the two events", []string{"crypto/ed25519.Sign", "crypto/ed25519.PrivateKey.Sign",
		"crypto/ed25519.(*PrivateKey).Sign"}},
	{"garbage collection", []string{
		"runtime.gcBgMarkWorker", "runtime.gcAssist", "runtime.bgsweep", "runtime.bgscavenge"}},
	{"store", []string{module + "/storage", "github.com/redis/", "go.etcd.io/bbolt"}},
	{"record of the call", []string{module + "/server/audit"}},
	{"TLS to the upstream", []string{"crypto/tls."}},
	{"HTTP to the upstream", []string{"net/http.(*persistConn)", "net/http.(*Transport)"}},
	{"opening the key", []string{module + "/server/vault", module + "/server/keys"}},
	{"putting it on the call", []string{module + "/server/inject"}},
	{"searching the answer for it", []string{module + "/server/scrub"}},
	{"token, cutoffs, rule, limits", []string{module + "/server/shim.(*Shim).Authorize", module + "/server/tenant"}},
	{"the shim's other steps", []string{module + "/server/shim", "net/http/httputil."}},
	{"routes and metrics", []string{module + "/server."}},
	{"HTTP to the agent", []string{"net/http."}},
	{"scheduler and the rest", []string{""}},
}

// profileShim takes a CPU profile of the plain proxy and of each shim while many call them, and prints where the time
// went.
func (w *world) profileShim(ctx context.Context, o options) error {
	if err := os.MkdirAll(o.profile, 0o755); err != nil {
		return err
	}
	x, err := w.newStreet(ctx)
	if err != nil {
		return err
	}
	if err := x.enter(ctx); err != nil {
		return err
	}
	spent := shimShares.table()
	for i, d := range x.doors[1:] {
		log.Printf("profile of %s", d.name)
		file := filepath.Join(o.profile, fmt.Sprintf("shim-%d", i+1))
		if err := d.profileCalls(ctx, o.plan, file); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		if err := shimShares.column(ctx, &spent, d.name, file+".pprof"); err != nil {
			return err
		}
	}
	fmt.Print(spent.markdown())
	if o.doc == "" {
		return nil
	}
	return replace(o.doc, "shim-profile", spent.markdown())
}

// profileCalls takes the profiles of a process while its door is called.
func (d *door) profileCalls(ctx context.Context, p plan, file string) error {
	done := make(chan error, 1)
	if _, err := d.load(ctx, p.connections, d.calls(itemPath, p.operations)); err != nil { // as warm as it gets
		return err
	}
	go func() { done <- d.fetchProfiles(ctx, file) }()
	for {
		if _, err := d.load(ctx, p.connections, d.calls(itemPath, p.operations)); err != nil {
			return err
		}
		select {
		case err := <-done:
			return err
		default:
		}
	}
}
