package serve

import (
	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/port"
	"github.com/bursar-sts/bursar/cmd/internal/shimstats"
	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/server/decide"
	"github.com/bursar-sts/bursar/server/extauthz"
)

// openDoors opens the listeners at which front proxies ask.
func (s *Server) openDoors() error {
	for _, d := range []struct {
		name string
		door config.Door
		lock strict.Lock
	}{{"decide", s.cfg.Shim.Decide, s.cfg.Secrets.Decide}, {"grpc", s.cfg.Shim.GRPC, s.cfg.Secrets.GRPC}} {
		if !d.door.Given() {
			continue
		}
		p, err := port.OpenDoor(d.name, d.door, d.lock, s.cfg.Logger)
		if err != nil {
			return err
		}
		s.ports = append(s.ports, p)
	}
	return nil
}

// newDecider returns who answers at a door.
func (s *Server) newDecider(name string) port.Answerer {
	if name == "grpc" {
		e := extauthz.New(s.cfg.Shim.URL, s.shim, s.cfg.Logger)
		s.registry.MustRegister(shimstats.Decisions(name, e.Stats))
		return e
	}
	h := decide.New(s.cfg.Shim.URL, s.shim, s.cfg.Logger)
	s.registry.MustRegister(shimstats.Decisions("http", h.Stats))
	return h.Server()
}
