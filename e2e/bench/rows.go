package main

import (
	"context"
	"fmt"
	"log"
	"net/url"
	"slices"
)

// row is one kind of operation.
type row struct {
	name   string
	fresh  bool // each subject token is used once; otherwise each has been seen before
	signs  int  // ES256 signatures that no implementation can do without
	checks int  // ES256 verifications likewise
	budget float64
	// requests returns the round's n requests from a number on.
	requests func(b *bench, s *server, from, n int) []request
}

// rows are what is measured on each store. Budgets are per core-second, on Redis; 0 is none.
var rows = []row{
	{name: "exchange for a user, fresh subject tokens", fresh: true, signs: 1, checks: 1, budget: 7000,
		requests: func(b *bench, s *server, from, n int) []request {
			return s.exchanges(s.agent, jwt, b.people.fresh[from:from+n])
		}},
	{name: "exchange for a user, re-used subject tokens", signs: 1, budget: 15000,
		requests: func(b *bench, s *server, _, n int) []request {
			return s.exchanges(s.agent, jwt, cycle(b.people.reused, n))
		}},
	{name: "exchange without a secret, fresh workload tokens", fresh: true, signs: 1, checks: 1, budget: 7000,
		requests: func(b *bench, s *server, from, n int) []request {
			return s.exchanges("", jwt, b.cluster.fresh[from:from+n])
		}},
	{name: "exchange without a secret, re-used workload tokens", signs: 1, budget: 15000,
		requests: func(b *bench, s *server, _, n int) []request {
			return s.exchanges("", jwt, cycle(b.cluster.reused, n))
		}},
	{name: "exchange of the server's own tokens, re-used", signs: 1, budget: 15000,
		requests: func(b *bench, s *server, _, n int) []request {
			return s.exchanges(s.runner, accessToken, cycle(b.issued[s], n))
		}},
	{name: "client credentials", signs: 1,
		requests: func(_ *bench, s *server, _, n int) []request {
			return cycle([]request{post("acme", "token", s.runner, url.Values{
				"grant_type": {"client_credentials"}, "resource": {payments}, "scope": {scope}})}, n)
		}},
	{name: "introspection", checks: 1, budget: 20000,
		requests: func(b *bench, s *server, _, n int) []request {
			var all []request
			for _, token := range b.issued[s] {
				all = append(all, post("acme", "introspect", s.payments, url.Values{"token": {token}}))
			}
			return cycle(all, n)
		}},
	{name: "GET /healthz: HTTP and routing alone",
		requests: func(_ *bench, _ *server, _, n int) []request { return cycle([]request{get("/healthz")}, n) }},
}

// The types of subject tokens (RFC 8693 §3).
const (
	jwt         = "urn:ietf:params:oauth:token-type:jwt"
	accessToken = "urn:ietf:params:oauth:token-type:access_token"
)

// exchanges returns a request for a token for each subject token.
func (s *server) exchanges(authorization, subjectType string, subjects []string) []request {
	requests := make([]request, len(subjects))
	for i, subject := range subjects {
		form := exchangeForm(subjectType, subject, "payments")
		form.Set("scope", scope)
		requests[i] = post("acme", "token", authorization, form)
	}
	return requests
}

// exchangeForm asks for a token for a tool.
func exchangeForm(subjectType, subject, tool string) url.Values {
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token": {subject}, "subject_token_type": {subjectType}, "audience": {tool}}
}

// cycle returns n elements, again from the start where there are fewer.
func cycle[T any](all []T, n int) []T {
	several := make([]T, n)
	for i := range several {
		several[i] = all[i%len(all)]
	}
	return several
}

// bench are the tokens to measure with.
type bench struct {
	people, cluster supply
	issued          map[*server][]string // tokens of the server's own, which live for five minutes
}

// supply are the tokens of one issuer. The fresh ones of a round serve every store once.
type supply struct{ reused, fresh []string }

// prepare mints what is used again and again.
func (w *world) prepare(ctx context.Context, distinct int) (*bench, error) {
	b := &bench{issued: map[*server][]string{}}
	var err error
	if b.people.reused, err = w.people.mint(ctx, distinct); err != nil {
		return nil, err
	}
	b.cluster.reused, err = w.cluster.mint(ctx, distinct)
	return b, err
}

// refill mints what a round uses once, and what does not live for much longer.
func (b *bench) refill(ctx context.Context, w *world, n int) (err error) {
	if b.people.fresh, err = w.people.mint(ctx, n); err != nil {
		return err
	}
	if b.cluster.fresh, err = w.cluster.mint(ctx, n); err != nil {
		return err
	}
	for _, s := range w.servers {
		if b.issued[s], err = s.tokens(ctx, s.exchanges(s.runner, jwt, b.people.reused)); err != nil {
			return err
		}
	}
	return nil
}

// measureThroughput measures every row on every store once a round, so that what disturbs the machine for a while
// disturbs all of them.
func (w *world) measureThroughput(ctx context.Context, p plan, r *report) error {
	log.Print("minting subject tokens")
	b, err := w.prepare(ctx, p.distinct)
	if err != nil {
		return err
	}
	series := make([]series, len(rows)*len(w.servers))
	var pures []pure
	for round := range p.rounds {
		log.Printf("round %d of %d", round+1, p.rounds)
		if err := b.refill(ctx, w, p.operations+p.paced); err != nil {
			return err
		}
		for i, row := range rows {
			for j, s := range w.servers {
				bare, err := measurePure(p.pure) // each time, because others use the machine too
				if err != nil {
					return err
				}
				pures = append(pures, bare)
				one, err := row.measure(ctx, b, s, p)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", row.name, s.store, err)
				}
				half, err := s.pace(ctx, 2*p.connections, row.requests(b, s, p.operations, p.paced), one.rate()/2)
				if err != nil {
					return fmt.Errorf("%s at half of the rate, %s: %w", row.name, s.store, err)
				}
				series[i*len(w.servers)+j].add(row, one, half, bare)
			}
		}
	}
	for i, row := range rows {
		for j, s := range w.servers {
			r.Rows = append(r.Rows, series[i*len(w.servers)+j].figures(row, s.store))
		}
	}
	r.Pure = medianPure(pures)
	for _, s := range w.servers {
		used, err := s.memory()
		if err != nil {
			return err
		}
		r.Memory = append(r.Memory, footprint{Store: s.store, State: "1 tenant, right after the exchanges above", MB: used})
	}
	return nil
}

// measure measures the row once. What is re-used is presented once before, because the server forgets in the meantime.
func (r row) measure(ctx context.Context, b *bench, s *server, p plan) (sample, error) {
	if !r.fresh {
		if _, err := s.load(ctx, p.connections, r.requests(b, s, 0, p.distinct)); err != nil {
			return sample{}, err
		}
	}
	return s.load(ctx, p.connections, r.requests(b, s, 0, p.operations))
}

// series are the measurements of one row on one store.
type series struct{ cpu, kernel, floor, ratio, p50, p99, tail []float64 }

// add takes in a measurement at the maximum rate, and one at half of it for the latencies.
func (s *series) add(row row, one, half sample, bare pure) {
	floor := float64(row.signs)*bare.Sign + float64(row.checks)*bare.Verify
	each, ratio := one.each(), 0.0
	if floor > 0 {
		ratio = each / floor
	}
	s.cpu, s.kernel = append(s.cpu, each), append(s.kernel, one.kernel())
	s.floor, s.ratio = append(s.floor, floor), append(s.ratio, ratio)
	p50, p99 := millis(half.quantile(.5)), millis(half.quantile(.99))
	s.p50, s.p99, s.tail = append(s.p50, p50), append(s.p99, p99), append(s.tail, p99/p50)
}

func (s *series) figures(row row, store string) figures {
	cpu := median(s.cpu)
	return figures{Row: row.name, Store: store,
		PerCoreSecond: 1e6 / cpu, CPU: cpu, Kernel: median(s.kernel), Least: slices.Min(s.cpu), Most: slices.Max(s.cpu),
		Floor: median(s.floor), Ratio: median(s.ratio),
		P50: median(s.p50), P99: median(s.p99), Tail: median(s.tail), Budget: row.budget}
}
