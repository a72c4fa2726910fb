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
// tenant, and again with many. Each time the server has just been started, and each tenant has been asked for once.
func (w *world) measureMemory(ctx context.Context, p plan, r *report) error {
	for _, s := range w.servers {
		log.Printf("making %d tenants, %s", p.tenants, s.store)
		one, err := s.idle(ctx, []string{"acme"})
		if err != nil {
			return err
		}
		slugs := []string{"acme"}
		began := time.Now()
		for len(slugs) < p.tenants {
			slug := fmt.Sprintf("tenant-%d", len(slugs))
			file := strings.ReplaceAll(smallFile, "${tenant}", slug)
			if _, err := s.operator.Apply(ctx, slug, []byte(file), operator.ApplyOptions{}); err != nil {
				return fmt.Errorf("make a tenant: %w", err)
			}
			slugs = append(slugs, slug)
		}
		made := millis(time.Since(began)) / float64(len(slugs)-1)
		s.stop()
		ready, err := s.serve(ctx)
		if err != nil {
			return err
		}
		r.Start = append(r.Start, startup{Store: s.store, Tenants: p.tenants, Millis: millis(ready)})
		many, err := s.idle(ctx, slugs)
		if err != nil {
			return err
		}
		r.Memory = append(r.Memory, footprint{Store: s.store, Tenants: p.tenants, One: one, Many: many, MillisPerTenant: made})
	}
	return nil
}

// calm is how long a server is left alone before its memory is looked at: two cycles of Go's background collector
// would take longer, and give a figure that a busy server never has.
const calm = 2 * time.Second

// idle starts the server again, loads tenants by asking for their keys, and returns its resident memory in MB.
func (s *server) idle(ctx context.Context, slugs []string) (float64, error) {
	s.stop()
	if _, err := s.serve(ctx); err != nil {
		return 0, err
	}
	for _, slug := range slugs {
		resp, err := http.Get("http://" + s.address + "/t/" + slug + "/jwks.json")
		if err != nil {
			return 0, err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("load tenant %s: status %d", slug, resp.StatusCode)
		}
	}
	time.Sleep(calm)
	bytes, err := s.process.memory()
	return float64(bytes) / 1e6, err
}
