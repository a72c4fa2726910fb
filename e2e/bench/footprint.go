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

// measureTenants measures a server by the number of its tenants: the resident memory with all of them loaded and
// nothing to do, and what an exchange costs for one of them and for all in turn. The stores are new; before each
// measurement the server has just been started, and each tenant has been asked for once.
func (w *world) measureTenants(ctx context.Context, p plan, r *report) error {
	for _, s := range w.servers {
		s.stop()
	}
	vars, err := w.smallVars(ctx)
	if err != nil {
		return err
	}
	for i, busy := range w.servers {
		s, err := w.newServer(ctx, setup{store: busy.store, purpose: "idle", url: idleStores(w.redis)[i]})
		if err != nil {
			return err
		}
		w.servers = append(w.servers, s)
		counts := []int{1, p.tenants}
		if i == len(idleStores(w.redis))-1 {
			counts = append(counts, p.many)
		}
		if err := s.grow(ctx, vars, counts, r); err != nil {
			return err
		}
		if i == len(idleStores(w.redis))-1 {
			if err := w.measureSpread(ctx, s, p, r); err != nil {
				return err
			}
		}
		s.stop()
	}
	return nil
}

// idleStores are new stores, in the order of the servers; the last one has room for the most tenants.
func idleStores(redis string) []string { return []string{"bolt:bursar.db", "redis://" + redis + "/1"} }

// smallVars fills in what is the same in all small tenants. They have the keys of their issuer at hand, so that as many
// of them do not fetch as many copies.
func (w *world) smallVars(ctx context.Context) ([]string, error) {
	jwks, err := w.cluster.keys(ctx)
	return []string{"${cluster}", w.cluster.url, "${audience}", audience, "${jwks}", jwks}, err
}

// grow makes tenants up to each of the counts, and measures the idle server with them.
func (s *server) grow(ctx context.Context, vars []string, counts []int, r *report) error {
	made := 0
	for _, count := range counts {
		log.Printf("making tenants up to %d, %s", count, s.store)
		each, err := s.makeTenants(ctx, vars, made, count)
		if err != nil {
			return err
		}
		made = count
		memory, ready, err := s.idle(ctx, count)
		if err != nil {
			return err
		}
		f := footprint{Store: s.store, State: plural(count, "idle tenant"), MB: memory}
		if count > 1 {
			r.Start = append(r.Start, startup{Store: s.store, Tenants: count, Millis: ready})
			r.Tenants = append(r.Tenants, creation{Store: s.store, Tenants: count, Millis: each})
		}
		if count == budgetedTenants {
			f.Budget = memoryBudget
		}
		r.Memory = append(r.Memory, f)
	}
	return nil
}

func slugOf(i int) string { return fmt.Sprintf("tenant-%d", i) }

// makeTenants makes the tenants from one number to before another, and returns how long one took, in ms.
func (s *server) makeTenants(ctx context.Context, vars []string, from, to int) (each float64, err error) {
	began := time.Now()
	for i := from; i < to; i++ {
		file := strings.NewReplacer(append(vars, "${tenant}", slugOf(i))...).Replace(smallFile)
		if _, err := s.operator.Apply(ctx, slugOf(i), []byte(file), operator.ApplyOptions{}); err != nil {
			return 0, fmt.Errorf("make a tenant: %w", err)
		}
	}
	return millis(time.Since(began)) / float64(to-from), nil
}

// measureSpread measures exchanges with fresh tokens for one tenant, and for all of them in turn. The tokens are the
// same: what one tenant remembers is nothing to another.
func (w *world) measureSpread(ctx context.Context, s *server, p plan, r *report) error {
	log.Printf("exchanging for one of %d tenants, and for all", p.many)
	var one, all []float64
	for range p.rounds {
		tokens, err := w.cluster.mint(ctx, p.operations)
		if err != nil {
			return err
		}
		for _, to := range []struct {
			tenant func(i int) string
			cpu    *[]float64
		}{
			{func(int) string { return slugOf(0) }, &one},
			{func(i int) string { return slugOf(1 + i%(p.many-1)) }, &all},
		} {
			requests := make([]request, len(tokens))
			for i, token := range tokens {
				requests[i] = post(to.tenant(i), "token", "", exchangeForm(jwt, token, "files"))
			}
			measured, err := s.load(ctx, p.connections, requests)
			if err != nil {
				return err
			}
			*to.cpu = append(*to.cpu, measured.each())
		}
	}
	r.Spread = append(r.Spread, spread{Store: s.store, Tenants: p.many,
		One: 1e6 / median(one), All: 1e6 / median(all), Share: median(one) / median(all)})
	return nil
}

// calm is how long a server is left alone before its memory is looked at: by then it has noticed that it is idle.
const calm = 4 * time.Second

// idle starts the server again, loads its tenants by asking for their keys, and returns its resident memory in MB and
// how many ms it took to be ready.
func (s *server) idle(ctx context.Context, tenants int) (memory, ready float64, err error) {
	s.stop()
	took, err := s.serve(ctx)
	if err != nil {
		return 0, 0, err
	}
	for i := range tenants {
		resp, err := http.Get("http://" + s.address + "/t/" + slugOf(i) + "/jwks.json")
		if err != nil {
			return 0, 0, err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return 0, 0, fmt.Errorf("load tenant %d: status %d", i, resp.StatusCode)
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
