package serve

import (
	"cmp"
	"context"

	"github.com/bursar-sts/bursar/server/audit"
)

// lookAtLogs compares each log with its anchor, so that one which the store does not have as it was is told of at the
// start, and not when somebody asks for it; and has covered what a crash left without a signed head.
func (s *Server) lookAtLogs(ctx context.Context) {
	l := logs{log: s.log, trees: s.trees, directory: s.directory}
	all, err := l.Logs(ctx)
	for _, log := range all {
		if ctx.Err() != nil {
			return
		}
		_, failed := l.Covered(ctx, log)
		err = cmp.Or(err, failed)
	}
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "not all logs are as they were, or could be looked at", "error", err)
	}
}

// record puts the start or the end of this server into the platform's log.
func (s *Server) record(ctx context.Context, name string, outcome audit.Outcome) error {
	e := audit.Event{Name: name, Body: audit.Body{Outcome: outcome,
		Server: audit.Server{Version: s.cfg.Version, Durability: s.store.Durability()}}}
	if outcome != audit.Allowed {
		e.Body.Reason = "server.failed"
	}
	_, err := s.log.Append(ctx, s.directory.PlatformOrigin(), e)
	return err
}
