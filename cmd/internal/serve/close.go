package serve

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
)

// Bounds of the end: what calls of the shim may take to finish by themselves, what requests under way may take
// together, then what the log may take to record them, and what sinks and the last traces may take.
const (
	grace    = 5 * time.Second
	drain    = 10 * time.Second
	flush    = 5 * time.Second
	farewell = 3 * time.Second
)

// close ends everything that was opened: first who asks, then what they ask for. The outcome says how it came to that.
func (s *Server) close(ctx context.Context, outcome audit.Outcome) error {
	if s.admin != nil {
		s.admin.Stop()
		s.logs.Stop()
	}
	if s.sweeping != nil {
		s.sweeping()
	}
	errs := []error{s.drain(ctx)}
	s.swept.Wait()
	if s.log != nil {
		ctx, cancel := context.WithTimeout(ctx, flush)
		if s.started {
			if err := s.record(ctx, audit.ServerStop, outcome); err != nil {
				s.cfg.Logger.WarnContext(ctx, "the end is not recorded", "error", err)
			}
		}
		if witnesses := s.witnesses.Load(); witnesses != nil {
			witnesses.Close()
		}
		errs = append(errs, s.log.Close(ctx), s.trees.Close(ctx))
		cancel()
	}
	if s.limits != nil {
		s.limits.Close()
	}
	if s.shim != nil {
		s.shim.Close()
		s.shimLimits.Close()
	}
	s.endSinks(ctx)
	s.endTraces(ctx)
	if s.directory != nil {
		s.directory.Close()
		s.sources.Close()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.custody != nil {
		s.custody.Close(ctx)
	}
	return errors.Join(errs...)
}

// endSinks ends the copying. What a sink does not have yet it is given after the next start.
func (s *Server) endSinks(ctx context.Context) {
	sinks := s.sinks.Load()
	if sinks == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	if err := sinks.Close(ctx); err != nil {
		s.cfg.Logger.WarnContext(ctx, "end of sinks", "error", err)
	}
}

// endTraces sends what is left of the traces. That a collector is away is no failure of ours.
func (s *Server) endTraces(ctx context.Context) {
	if s.tracer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	if err := s.tracer.Close(ctx); err != nil {
		s.cfg.Logger.WarnContext(ctx, "end of traces", "error", err)
	}
}

// drain closes all ports and lets the requests under way finish.
func (s *Server) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	errs := make([]error, len(s.ports))
	if s.shim != nil { // its calls end before the log does, which records how they ended
		ending := time.AfterFunc(grace, s.shim.Stop)
		defer s.shim.Stop()
		defer ending.Stop()
	}
	var closing sync.WaitGroup
	for i, p := range s.ports {
		closing.Go(func() { errs[i] = p.Close(ctx) })
	}
	closing.Wait()
	return errors.Join(errs...)
}
