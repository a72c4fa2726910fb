package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

const module = "github.com/bursar-sts/bursar"

// patience bounds every wait for a process.
const patience = 20 * time.Second

// world is everything that runs: a server on each store, Redis, and the issuers of what agents present.
type world struct {
	dir          string
	profiled     bool // the server has a profiler in it
	processes    []*process
	redis        string // its address
	redisSetting string
	servers      []*server // embedded first
	outposts     []*outpost
	people       *issuer // whom agents act for
	cluster      *issuer // of the agents' own tokens
}

// newWorld returns a world of which nothing runs yet.
func newWorld(ctx context.Context, profiled bool) (_ *world, err error) {
	w := &world{profiled: profiled}
	if w.dir, err = os.MkdirTemp("", "bursar-bench-"); err != nil {
		return nil, err
	}
	if err := w.build(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// populate starts everything.
func (w *world) populate(ctx context.Context) (err error) {
	if w.people, err = w.startIssuer("oidc"); err != nil {
		return err
	}
	if w.cluster, err = w.startIssuer("kubernetes"); err != nil {
		return err
	}
	if w.redis, w.redisSetting, err = w.startRedis(ctx); err != nil {
		return err
	}
	for _, s := range []struct{ name, url string }{{"embedded", "bolt:bursar.db"}, {"Redis", "redis://" + w.redis}} {
		one, err := w.newServer(ctx, setup{store: s.name, purpose: "busy", url: s.url})
		if err != nil {
			return err
		}
		w.servers = append(w.servers, one)
		if err := one.prepare(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) program(name string) string { return filepath.Join(w.dir, name) }

// run starts a program that ends with the world.
func (w *world) run(out string, env []string, program string, args ...string) error {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // the program has its own
	p, err := start(f, env, program, args...)
	if err != nil {
		return err
	}
	w.processes = append(w.processes, p)
	return nil
}

// depopulate ends everything that runs.
func (w *world) depopulate() {
	for _, o := range w.outposts {
		o.stop()
	}
	for _, s := range w.servers {
		s.stop()
	}
	for _, p := range w.processes {
		p.stop()
	}
	w.outposts, w.servers, w.processes, w.redis = nil, nil, nil, ""
}

func (w *world) close() {
	w.depopulate()
	_ = os.RemoveAll(w.dir) // in the system's folder for such things anyway
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// eventually waits until a condition holds that nothing announces.
func eventually(ctx context.Context, holds func() bool) error {
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("waited in vain")
		}
	}
	return nil
}
