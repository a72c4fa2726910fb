package server

import "net/http"

// healthy says that the process answers.
func healthy(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, "no-store", []byte(`{"status":"ok"}`))
}

// ready says whether the process can serve: whether its store answers.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.Ready(r.Context()); err != nil {
		s.cfg.Logger.WarnContext(r.Context(), "not ready", "error", err)
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusServiceUnavailable, "no-store", []byte(`{"status":"store unavailable"}`))
		return
	}
	writeJSON(w, http.StatusOK, "no-store", []byte(`{"status":"ready"}`))
}
