package shim

import (
	"log/slog"
	"net/http"
	"time"
)

// Bounds of a connection of an agent. What a body and an answer may take is the tool's business.
const (
	headerTimeout = 5 * time.Second
	silence       = time.Minute // of whoever sends a body, until its tool is known
	keepAlive     = 2 * time.Minute
	maxHeader     = 32 << 10 // bytes of a request's header; net/http adds 4 KiB
)

// Server returns what serves the shim on a listener.
func (s *Shim) Server(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: keepAlive, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelWarn)}
}

// Stats are counts since the start, and gauges, of this process.
type Stats struct {
	Answered   int64 // calls whose answer was passed on whole
	Refused    int64 // calls that were answered with a problem
	Failed     int64 // calls that were made, and whose answer was not passed on whole
	Cut        int64 // those of them that were ended because they were revoked, or took too long
	Scrubbed   int64 // places in answers where a key was masked
	Unrecorded int64 // outcomes that could not be recorded
	Streams    int64 // WebSockets that are open
	Calls      int   // calls under way, WebSockets included
}

// Stats returns what was counted.
func (s *Shim) Stats() Stats {
	c := &s.count
	all := Stats{Answered: c.answered.Load(), Refused: c.refused.Load(), Failed: c.failed.Load(), Cut: c.cut.Load(),
		Scrubbed: c.scrubbed.Load(), Unrecorded: c.unrecorded.Load(), Streams: c.streams.Load()}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	for _, calls := range s.watch.tenants {
		all.Calls += len(calls)
	}
	return all
}
