package serve

import (
	"net/netip"

	"github.com/bursar-sts/bursar/cmd/internal/shimstats"
	"github.com/bursar-sts/bursar/server"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/shim"
)

// newShim makes the shim of this process. Its callers' budgets are their own: what an agent asks of a tool takes
// nothing from what it may ask of the token endpoint.
func (s *Server) newShim(private map[string][]netip.Prefix, rules map[string]limit.Rules) error {
	if c := s.cfg.Shim; c.Listen == "" && !c.Decide.Given() && !c.GRPC.Given() {
		return nil
	}
	limits := limit.New(limit.Config{Rules: s.cfg.Limits.Rules(), Tenants: rules})
	made, err := shim.New(shim.Config{URL: s.cfg.Shim.URL, Tenants: server.Tenants(s.directory, private), Log: s.log,
		Deny: func() []netip.AddrPort { return *s.own.Load() }, Limits: limits, Logger: s.cfg.Logger})
	if err != nil {
		return err
	}
	s.shim, s.shimLimits = made, limits
	s.registry.MustRegister(shimstats.Collector{Stats: made.Stats})
	return nil
}
