package main

import (
	"context"
	_ "embed"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
)

// measureStart measures the time from starting the process until it says that it is ready, with one tenant.
func (w *world) measureStart(ctx context.Context, p plan, r *report) error {
	log.Print("starting and stopping")
	for _, s := range w.servers {
		var took []float64
		for range p.starts {
			s.stop()
			d, err := s.serve(ctx)
			if err != nil {
				return err
			}
			took = append(took, millis(d))
		}
		r.Start = append(r.Start, startup{Store: s.store, Tenants: 1, Millis: median(took)})
	}
	return nil
}

//go:embed testdata/small.yaml
var smallFile string

// measureMemory measures the resident memory of a server that has all of its tenants loaded and nothing to do: with one
// tenant, and again with many. The stores are new, each time the server has just been started, and each tenant has been
// asked for once.
func (w *world) measureMemory(ctx context.Context, p plan, r *report) error {
	for _, s := range w.servers {
		s.stop()
	}
	for i, busy := range w.servers {
		log.Printf("making %d tenants, %s", p.tenants, busy.store)
		s, err := w.newServer(ctx, busy.store, "idle", idleStores(w.redis)[i])
		if err != nil {
			return err
		}
		w.servers = append(w.servers, s)
		slugs, _, err := s.makeTenants(ctx, 0, 1)
		if err != nil {
			return err
		}
		one, _, err := s.idle(ctx, slugs)
		if err != nil {
			return err
		}
		more, each, err := s.makeTenants(ctx, 1, p.tenants)
		if err != nil {
			return err
		}
		many, ready, err := s.idle(ctx, append(slugs, more...))
		if err != nil {
			return err
		}
		s.stop()
		r.Memory = append(r.Memory,
			footprint{Store: s.store, State: "1 idle tenant", MB: one},
			footprint{Store: s.store, State: thousands(float64(p.tenants)) + " idle tenants", MB: many, Budget: memoryBudget})
		r.Start = append(r.Start, startup{Store: s.store, Tenants: p.tenants, Millis: ready})
		r.Tenants = append(r.Tenants, creation{Store: s.store, Tenants: p.tenants, Millis: each})
	}
	return nil
}

// idleStores are new stores, in the order of the servers.
func idleStores(redis string) []string { return []string{"bolt:bursar.db", "redis://" + redis + "/1"} }

// makeTenants makes the tenants from one number to before another, and returns how long one took, in ms.
func (s *server) makeTenants(ctx context.Context, from, to int) (slugs []string, each float64, err error) {
	began := time.Now()
	for i := from; i < to; i++ {
		slug := fmt.Sprintf("tenant-%d", i)
		file := strings.ReplaceAll(smallFile, "${tenant}", slug)
		if _, err := s.operator.Apply(ctx, slug, []byte(file), operator.ApplyOptions{}); err != nil {
			return nil, 0, fmt.Errorf("make a tenant: %w", err)
		}
		slugs = append(slugs, slug)
	}
	return slugs, millis(time.Since(began)) / float64(to-from), nil
}

// calm is how long a server is left alone before its memory is looked at: two cycles of Go's background collector
// would take longer, and give a figure that a busy server never has.
const calm = 2 * time.Second

// idle starts the server again, loads tenants by asking for their keys, and returns its resident memory in MB and how
// many ms it took to be ready.
func (s *server) idle(ctx context.Context, slugs []string) (memory, ready float64, err error) {
	s.stop()
	took, err := s.serve(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, slug := range slugs {
		resp, err := http.Get("http://" + s.address + "/t/" + slug + "/jwks.json")
		if err != nil {
			return 0, 0, err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return 0, 0, fmt.Errorf("load tenant %s: status %d", slug, resp.StatusCode)
		}
	}
	time.Sleep(calm)
	memory, err = s.memory()
	return memory, millis(took), err
}

// memory returns the resident memory of the server, in MB.
func (s *server) memory() (float64, error) {
	bytes, err := s.process.memory()
	return float64(bytes) / 1e6, err
}
