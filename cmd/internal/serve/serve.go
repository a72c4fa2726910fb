// Package serve runs a server: it opens what bursar.yaml names, assembles the rooms, listens, and winds everything down
// in the opposite order.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/custody"
	"github.com/bursar-sts/bursar/cmd/internal/metric"
	"github.com/bursar-sts/bursar/cmd/internal/port"
	"github.com/bursar-sts/bursar/cmd/internal/telemetry"
	"github.com/bursar-sts/bursar/server"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/adminapi"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/deliver"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/logapi"
	"github.com/bursar-sts/bursar/server/peer"
	"github.com/bursar-sts/bursar/server/retain"
	"github.com/bursar-sts/bursar/server/shim"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/server/witness"
	"github.com/bursar-sts/bursar/storage"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what a Server runs on; every field is required.
type Config struct {
	*config.Config
	Secrets *config.Secrets
	Version string
	Logger  *slog.Logger
}

// Server is a running server.
type Server struct {
	cfg        Config
	custody    *custody.Custody
	store      storage.Store
	log        *audit.Log
	trees      *tree.Trees
	witnesses  atomic.Pointer[witness.Witnesses] // nil without one
	sources    *identity.Sources
	directory  *tenant.Directory
	limits     *limit.Limiter
	admin      *admin.Service
	logs       *logapi.API
	registry   *prometheus.Registry
	sinks      atomic.Pointer[deliver.Deliverer] // nil copies nothing
	tracer     *telemetry.Tracer                 // nil traces nothing
	unkept     prometheus.Counter                // rounds of maintenance in which a key could not be looked after
	retainer   *retain.Retainer                  // nil prunes nothing
	swept      sync.WaitGroup                    // while the logs are looked at for what is old
	sweeping   context.CancelFunc                // ends that; nil before it has begun
	shim       *shim.Shim                        // nil: none in this process
	shimLimits *limit.Limiter
	ports      []*port.Port
	started    bool // the start is recorded
	failed     chan error
	own        atomic.Pointer[[]netip.AddrPort] // what is never dialled for a tenant
}

const (
	// maintenance is how often keys are looked at, where the store is, and which tenants nobody asks for.
	maintenance = time.Minute
	// idle is how long a tenant stays in memory that nobody asks for.
	idle = 10 * time.Minute
	// anchoring is how often the newest heads of the logs are saved outside the store.
	anchoring = time.Second
)

// Start opens the store and begins to serve. Run must follow.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	s := &Server{cfg: cfg, registry: metric.NewRegistry(cfg.Version), failed: make(chan error, 6)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(context.WithoutCancel(ctx), audit.Failed))
		}
	}()
	if err := s.trace(); err != nil {
		return nil, err
	}
	if s.custody, err = custody.Open(ctx, cfg.Config, cfg.Secrets, cfg.Logger); err != nil {
		return nil, err
	}
	store, err := storage.Open(ctx, storage.Config{URL: cfg.Secrets.StoreURL,
		AcceptVolatile: cfg.VolatileStore == "accept", ReplicateAppends: cfg.ReplicateIssuance})
	if err != nil {
		return nil, err
	}
	s.store = newTimedStore(store, s.registry)
	cfg.Logger.InfoContext(ctx, "store opened", "durability", s.store.Durability())
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := s.lookAround(ctx); err != nil {
		return nil, err
	}
	if err := tree.Folder(cfg.Audit.Anchors).Check(); err != nil {
		return nil, fmt.Errorf("audit.anchors must be a folder that this server can write to: %w", err)
	}
	if err := s.assemble(); err != nil {
		return nil, err
	}
	if err := s.directory.Check(ctx); err != nil {
		return nil, err
	}
	if err := s.witness(); err != nil {
		return nil, err
	}
	if err := s.deliver(); err != nil {
		return nil, err
	}
	if err := s.record(ctx, audit.ServerStart, audit.Allowed); err != nil {
		// Revocations must be possible even if the platform's log is not.
		cfg.Logger.ErrorContext(ctx, "the start is not recorded", "error", err)
	}
	s.started = true
	var sweeping context.Context
	sweeping, s.sweeping = context.WithCancel(context.WithoutCancel(ctx))
	s.swept.Go(func() { s.lookAtLogs(sweeping) })
	if s.retainer != nil {
		s.swept.Go(func() { s.retain(sweeping) })
	}
	if !strings.HasPrefix(cfg.Store, "bolt:") { // which nobody else writes to
		s.swept.Go(func() { s.follow(sweeping) })
	}
	for _, p := range s.ports {
		go p.Serve(s.failed)
	}
	return s, nil
}

// trace begins to trace, if that is configured. Lines of the server's log then name the trace that they belong to.
func (s *Server) trace() (err error) {
	t := s.cfg.Traces
	if t.OTLP == "" {
		return nil
	}
	s.tracer, err = telemetry.New(telemetry.Config{Endpoint: t.OTLP, Headers: s.cfg.Secrets.TraceHeaders,
		RootCAs: s.cfg.Secrets.TraceRoots, Sample: t.Sample, Version: s.cfg.Version, Node: node(), Logger: s.cfg.Logger})
	if err != nil {
		return err
	}
	s.registry.MustRegister(spanCollector{s.tracer.Stats})
	s.cfg.Logger = slog.New(telemetry.Handler(s.cfg.Logger.Handler()))
	return nil
}

// node is the name of this process, for records and traces; informative only, and empty if there is none.
func node() string {
	name, _ := os.Hostname()
	return name
}

// listen opens the sockets before anything is assembled, because the dial guard must know their addresses.
func (s *Server) listen() error {
	for _, l := range []struct {
		name, address string
		plain         bool
	}{{"public", s.cfg.Listen, false}, {"admin", s.cfg.Admin.Listen, false}, {"shim", s.cfg.Shim.Listen, false},
		{"metrics", s.cfg.Metrics.Listen, true}} {
		if l.address == "" {
			continue
		}
		p, err := port.Open(l.name, l.address, s.cfg.Logger)
		if err != nil {
			return err
		}
		if first := s.cfg.Secrets.Certificate; first != nil && !l.plain {
			p.Certificate = port.NewCertificate(s.cfg.TLS, first, s.cfg.Logger, time.Now)
			if len(s.ports) == 0 { // each listener has the same
				metric.ShowExpiry(s.registry, p.Certificate.Expiry)
			}
		}
		s.ports = append(s.ports, p)
	}
	return s.openDoors()
}

// assemble builds the handlers of the open ports.
func (s *Server) assemble() error {
	s.trees = tree.New(tree.Config{Store: s.store, Master: s.custody.Master,
		Anchors: tree.Folder(s.cfg.Audit.Anchors), Moved: s.moved, Logger: s.cfg.Logger,
		Accepted: func(t ledger.Tenant) { s.log.Thaw(t) }})
	s.registry.MustRegister(treeCollector{s.trees.Stats})
	s.log = audit.New(audit.Config{Store: s.store, Master: s.custody.Master, Appended: s.trees.Appended,
		Gate: s.trees.Gate, Lost: s.trees.Doubt, Node: node(), Logger: s.cfg.Logger})
	s.registry.MustRegister(metric.Log{Stats: s.log.Stats})
	s.sources = identity.NewSources(identity.Config{Deny: func() []netip.AddrPort { return *s.own.Load() },
		Fetched: fetches(s.registry)})
	ceilings := make(map[string][]netip.Prefix, len(s.cfg.Tenants))
	limits := make(map[string]limit.Rules, len(s.cfg.Tenants))
	for slug, t := range s.cfg.Tenants {
		ceilings[slug], limits[slug] = t.PrivateCIDRs, t.Limits.Rules()
	}
	s.limits = limit.New(limit.Config{Rules: s.cfg.Limits.Rules(), Tenants: limits, Store: s.store,
		Interval: s.cfg.Limits.Share})
	s.registry.MustRegister(metric.Limits{Stats: s.limits.Stats})
	s.directory = tenant.NewDirectory(tenant.Config{Store: s.store, Master: s.custody.Master, Sources: s.sources,
		BaseURL: s.cfg.BaseURL, ShimURL: s.cfg.Shim.URL, Ceilings: ceilings, Backend: s.custody.Backend})
	s.registry.MustRegister(tenantCollector{s.directory.Held, s.cfg.Keys.RotateEvery, s.directory.Now})
	s.unkept = newUnkept(s.registry)
	deciding := exchange.Config{Directory: s.directory, Log: s.log, Claims: s.store, Limits: s.limits}
	var tracer server.Tracer // without one; a nil *telemetry.Tracer in it would be one
	if s.tracer != nil {
		tracer, deciding.Watch, deciding.Watches = s.tracer, s.tracer.Decided, s.tracer.Watches
	}
	exchanger := exchange.New(deciding)
	if err := s.newShim(ceilings, limits); err != nil {
		return err
	}
	if s.retainer = s.newRetainer(); s.retainer != nil {
		s.registry.MustRegister(retainCollector{s.retainer.Stats})
	}
	var prober admin.Prober // without a shim; a nil *shim.Shim in it would be one
	if s.shim != nil {
		prober = s.shim
	}
	s.admin = admin.New(admin.Config{Prober: prober, Directory: s.directory, Store: s.store, Log: s.log, Judge: exchanger,
		Trees: s.trees, Pruner: s.pruner(), Copies: s.store, Version: s.cfg.Version,
		PlatformTokenHash: admin.HashToken(s.cfg.Secrets.AdminToken),
		RotateEvery:       s.cfg.Keys.RotateEvery, Limits: s.limits})
	api := adminapi.New(adminapi.Config{Service: s.admin, Version: s.cfg.Version, Logger: s.cfg.Logger})
	s.logs = logapi.New(logapi.Config{Desk: s.admin, Directory: s.directory, Trees: s.trees, Keys: s.trees,
		Events: s.log, Positions: s.store, Logger: s.cfg.Logger})
	public := server.Config{
		BaseURL: s.cfg.BaseURL, Directory: s.directory, Admin: api, Logs: s.logs, Exchanger: exchanger,
		Ready: func(ctx context.Context) error {
			_, err := s.store.Position(ctx, ledger.Platform)
			return err
		},
		Vouch: s.trees.Gate, Metrics: s.registry, Logger: s.cfg.Logger, Tracer: tracer,
	}
	if s.cfg.Admin.Listen != "" {
		public.Admin = nil
	}
	proxies, surfaces := peer.Proxies(s.cfg.TrustedProxies), server.New(public)
	for _, p := range s.ports {
		switch p.Name {
		case "public":
			p.Handler = proxies.Believe(surfaces)
		case "admin":
			p.Handler = proxies.Believe(surfaces.Apart("admin", api))
		case "shim":
			p.Server = s.shim.Server(proxies.Believe(surfaces.Apart("shim", s.shim)))
		case "decide", "grpc":
			p.Server = s.newDecider(p.Name)
		case "metrics":
			p.Handler = promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
		}
	}
	return nil
}

// lookAround finds out anew what is never dialled for a tenant: the server's listeners, and its store and OpenBao
// wherever those are by now. What is known goes into effect even if there is more that cannot be found out.
func (s *Server) lookAround(ctx context.Context) error {
	own, err := s.store.Addresses(ctx)
	for _, p := range s.ports {
		if tcp, ok := p.Listener.Addr().(*net.TCPAddr); ok {
			own = append(own, tcp.AddrPort())
		}
	}
	bao, away := s.custody.Addresses(ctx)
	if own = append(own, bao...); away != nil {
		s.cfg.Logger.WarnContext(ctx, "find OpenBao", "error", away)
	}
	s.own.Store(&own)
	return err
}

// Run serves until ctx ends or a listener fails, then lets requests under way finish.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(maintenance)
	defer ticker.Stop()
	often := time.NewTicker(look)
	defer often.Stop()
	anchor := time.NewTicker(anchoring)
	defer anchor.Stop()
	var g garbage
	g.look()
	for {
		select {
		case <-ctx.Done():
			return s.close(context.WithoutCancel(ctx), audit.Allowed)
		case err := <-s.failed:
			return errors.Join(err, s.close(context.WithoutCancel(ctx), audit.Failed))
		case <-often.C:
			g.look()
		case <-anchor.C:
			if err := s.trees.Save(); err != nil {
				s.cfg.Logger.WarnContext(ctx, "save anchors", "error", err)
			}
		case <-ticker.C:
			if err := s.admin.Maintain(ctx); err != nil {
				s.unkept.Inc()
				s.cfg.Logger.WarnContext(ctx, "maintain keys", "error", err)
			}
			if err := s.lookAround(ctx); err != nil {
				s.cfg.Logger.WarnContext(ctx, "find the store", "error", err)
			}
			s.directory.Forget(time.Now().Add(-idle))
			s.trees.Forget(time.Now().Add(-idle))
			if s.shim != nil {
				s.shim.Forget(time.Now().Add(-idle))
			}
		}
	}
}

// Address returns the address on which the server listens.
func (s *Server) Address() string { return s.ports[0].Listener.Addr().String() }
