package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bursar-sts/bursar/cmd/internal/build"
	"github.com/bursar-sts/bursar/cmd/internal/metric"
	"github.com/bursar-sts/bursar/cmd/internal/port"
	"github.com/bursar-sts/bursar/cmd/internal/shimstats"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/decide"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/outpost"
	"github.com/bursar-sts/bursar/server/peer"
	"github.com/bursar-sts/bursar/server/shim"
	"github.com/bursar-sts/bursar/server/vault"
	"github.com/bursar-sts/bursar/storage/openbao"
	"github.com/bursar-sts/bursar/storage/redis"
)

// process is a running shim.
type process struct {
	cfg      *Config
	secrets  *secrets
	logger   *slog.Logger
	registry *prometheus.Registry
	ports    []*port.Port
	store    *redis.DB
	bao      *openbao.Client // nil without one
	tenants  *outpost.Directory
	log      *audit.Log
	limits   *limit.Limiter
	shim     *shim.Shim
	failed   chan error
	warming  sync.WaitGroup
	own      atomic.Pointer[[]netip.AddrPort] // what is never dialled for a tenant
	server   whereabouts
	vault    whereabouts // of OpenBao
}

const (
	// maintenance is how often it is looked where the store is, and which connections nobody uses.
	maintenance = time.Minute
	// idle is how long a connection to an upstream stays that nobody uses.
	idle = 10 * time.Minute
)

// start opens the store and begins to serve. run must follow.
func start(ctx context.Context, c *Config, s *secrets, logger *slog.Logger) (_ *process, err error) {
	p := &process{cfg: c, secrets: s, logger: logger, registry: metric.NewRegistry(build.Version()),
		failed: make(chan error, 3)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close(context.WithoutCancel(ctx)))
		}
	}()
	p.store, err = redis.Open(ctx, redis.Config{URL: s.StoreURL, Guest: true, AcceptVolatile: c.VolatileStore == "accept",
		ReplicateAppends: c.ReplicateCalls})
	if err != nil {
		return nil, err
	}
	logger.InfoContext(ctx, "store opened", "durability", p.store.Durability())
	if s.OpenBao != nil {
		if p.bao, err = c.OpenBao.Open(ctx, *s.OpenBao, false, logger); err != nil {
			return nil, fmt.Errorf("openbao: %w", err)
		}
	}
	if err := p.listen(); err != nil {
		return nil, err
	}
	if err := p.lookAround(ctx); err != nil {
		return nil, err
	}
	if err := p.assemble(); err != nil {
		return nil, err
	}
	p.warming.Go(func() { p.tenants.Warm(context.WithoutCancel(ctx)) })
	for _, x := range p.ports {
		go x.Serve(p.failed)
	}
	return p, nil
}

// listen opens the sockets before anything is assembled, because the dial guard must know their addresses.
func (p *process) listen() error {
	for _, l := range []struct {
		name, address string
		plain         bool
	}{{"shim", p.cfg.Listen, false}, {"metrics", p.cfg.Metrics.Listen, true}} {
		if l.address == "" {
			continue
		}
		x, err := port.Open(l.name, l.address, p.logger)
		if err != nil {
			return err
		}
		if first := p.secrets.Certificate; first != nil && !l.plain {
			x.Certificate = port.NewCertificate(p.cfg.TLS, first, p.logger, time.Now)
			metric.ShowExpiry(p.registry, x.Certificate.Expiry)
		}
		p.ports = append(p.ports, x)
	}
	return p.openDoor()
}

// openDoor opens the listener at which front proxies ask.
func (p *process) openDoor() error {
	if !p.cfg.Decide.Given() {
		return nil
	}
	door, err := port.OpenDoor("decide", p.cfg.Decide, p.secrets.Decide, p.logger)
	if err == nil {
		p.ports = append(p.ports, door)
	}
	return err
}

// assemble builds the handlers of the open ports.
func (p *process) assemble() (err error) {
	private := make(map[string][]netip.Prefix, len(p.cfg.Tenants))
	for slug, t := range p.cfg.Tenants {
		private[slug] = t.PrivateCIDRs
	}
	p.tenants = outpost.New(outpost.Config{Store: p.store, Key: p.secrets.Key, BaseURL: p.cfg.BaseURL, URL: p.cfg.URL,
		Private: private, Roots: p.secrets.Roots, Backend: p.backend(), Logger: p.logger})
	p.registry.MustRegister(shimstats.Tenants(p.tenants.Count))
	p.log = audit.New(audit.Config{Store: p.store, Signer: p.secrets.Key, Gate: p.tenants.Gate, Node: node(),
		Logger: p.logger})
	p.tenants.Accepted(p.log.Thaw)
	p.registry.MustRegister(metric.Log{Stats: p.log.Stats})
	p.limits = limit.New(limit.Config{Rules: limit.Rules{Address: p.cfg.Limits.Address, Tenant: p.cfg.Limits.Tenant}})
	p.registry.MustRegister(metric.Limits{Stats: p.limits.Stats})
	p.shim, err = shim.New(shim.Config{URL: p.cfg.URL, Tenants: p.tenants, Log: p.log,
		Deny: func() []netip.AddrPort { return *p.own.Load() }, Limits: p.limits, Logger: p.logger})
	if err != nil {
		return err
	}
	p.registry.MustRegister(shimstats.Collector{Stats: p.shim.Stats})
	proxies := peer.Proxies(p.cfg.TrustedProxies)
	for _, x := range p.ports {
		switch x.Name {
		case "shim":
			x.Server = p.shim.Server(proxies.Believe(p.beside(p.shim)))
		case "decide":
			h := decide.New(p.cfg.URL, p.shim, p.logger)
			p.registry.MustRegister(shimstats.Decisions("http", h.Stats))
			x.Server = h.Server()
		case "metrics":
			x.Handler = promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
		}
	}
	return nil
}

// backend returns what has the values of secrets that are kept in OpenBao; nil without one.
func (p *process) backend() func(string, ledger.Tenant) vault.Backend {
	if p.bao == nil {
		return nil
	}
	all := p.bao.Backends(p.cfg.OpenBao.Layout(), p.cfg.OpenBao.MaxStaleness)
	return func(slug string, t ledger.Tenant) vault.Backend { return all.Of(slug, t) }
}

// beside answers whether the process lives and can serve, and leaves everything else to the shim.
func (p *process) beside(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
			answer(w, http.StatusOK, "ok")
		case "/readyz":
			if err := p.tenants.Ready(r.Context()); err != nil {
				p.logger.WarnContext(r.Context(), "not ready", "error", err)
				w.Header().Set("Retry-After", "1")
				answer(w, http.StatusServiceUnavailable, "no tenant can be served")
				return
			}
			answer(w, http.StatusOK, "ready")
		default:
			h.ServeHTTP(w, r)
		}
	})
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "{\"status\":%q}", text)
}

// node is the name of this process, for records; informative only, and empty if there is none.
func node() string {
	name, _ := os.Hostname()
	return name
}

// lookAround finds out anew what is never dialled for a tenant: the shim's own listeners, its store, the server, and
// OpenBao, wherever those are by now. What is known goes into effect even if there is more that cannot be found out.
func (p *process) lookAround(ctx context.Context) error {
	own, err := p.store.Addresses(ctx)
	for _, x := range p.ports {
		if tcp, ok := x.Listener.Addr().(*net.TCPAddr); ok {
			own = append(own, tcp.AddrPort())
		}
	}
	own = append(own, p.server.find(ctx, p.cfg.BaseURL)...)
	if p.bao != nil {
		own = append(own, p.vault.find(ctx, p.cfg.OpenBao.Address)...)
	}
	p.own.Store(&own)
	return err
}

// whereabouts are where the server is, or was when that could be found out last: a tool can name it by its address.
type whereabouts struct{ known []netip.AddrPort }

// find returns where an origin is.
func (w *whereabouts) find(ctx context.Context, origin string) []netip.AddrPort {
	u, err := url.Parse(origin)
	if err != nil {
		return w.known
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", cmp.Or(u.Port(), u.Scheme))
	if err != nil {
		return w.known
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil || len(found) == 0 {
		return w.known
	}
	w.known = nil
	for _, ip := range found {
		w.known = append(w.known, netip.AddrPortFrom(ip.Unmap(), uint16(number)))
	}
	return w.known
}

// run serves until ctx ends or a listener fails, then lets calls under way finish.
func (p *process) run(ctx context.Context) error {
	ticker := time.NewTicker(maintenance)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return p.close(context.WithoutCancel(ctx))
		case err := <-p.failed:
			return errors.Join(err, p.close(context.WithoutCancel(ctx)))
		case <-ticker.C:
			if err := p.lookAround(ctx); err != nil {
				p.logger.WarnContext(ctx, "find the store", "error", err)
			}
			p.shim.Forget(time.Now().Add(-idle))
		}
	}
}

// Bounds of the end: what calls under way may take to finish by themselves, what they may take together, and what the
// log may take to record how they ended.
const (
	grace = 5 * time.Second
	drain = 10 * time.Second
	flush = 5 * time.Second
)

// close ends everything that was opened: first who calls, then what calls need.
func (p *process) close(ctx context.Context) error {
	errs := []error{p.drain(ctx)}
	if p.log != nil {
		ctx, cancel := context.WithTimeout(ctx, flush)
		errs = append(errs, p.log.Close(ctx))
		cancel()
	}
	if p.shim != nil {
		p.shim.Close()
	}
	if p.limits != nil {
		p.limits.Close()
	}
	if p.tenants != nil {
		p.warming.Wait()
		p.tenants.Close()
	}
	if p.bao != nil {
		p.bao.Close(ctx)
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	return errors.Join(errs...)
}

// drain closes all ports and lets the calls under way finish.
func (p *process) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	if p.shim != nil { // its calls end before the log does, which records how they ended
		ending := time.AfterFunc(grace, p.shim.Stop)
		defer p.shim.Stop()
		defer ending.Stop()
	}
	errs := make([]error, len(p.ports))
	var closing sync.WaitGroup
	for i, x := range p.ports {
		closing.Go(func() { errs[i] = x.Close(ctx) })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// address returns where the shim listens.
func (p *process) address() string { return p.ports[0].Listener.Addr().String() }
