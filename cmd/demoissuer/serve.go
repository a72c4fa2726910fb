package demoissuer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Mode is how the key document is served: ok, 500, slow (a byte a second), huge (100 MB), html, gzipbomb (small, and
// 100 MB unpacked), or redirect:<url>.
type Mode struct {
	Name   string
	Target string // of ModeRedirect
}

// The names of modes.
const (
	ModeOK       = "ok"
	Mode500      = "500"
	ModeSlow     = "slow"
	ModeHuge     = "huge"
	ModeHTML     = "html"
	ModeGzipBomb = "gzipbomb"
	ModeRedirect = "redirect"
)

const bombSize = 100 << 20

// ParseMode reads a mode as POST /mode has it.
func ParseMode(s string) (Mode, error) {
	if target, ok := strings.CutPrefix(s, ModeRedirect+":"); ok {
		return Mode{ModeRedirect, target}, nil
	}
	switch s {
	case ModeOK, Mode500, ModeSlow, ModeHuge, ModeHTML, ModeGzipBomb:
		return Mode{Name: s}, nil
	}
	return Mode{}, fmt.Errorf("mode is not one of ok, 500, slow, huge, html, gzipbomb, redirect:<url>")
}

// SetMode makes the key document be served so from now on.
func (i *Issuer) SetMode(m Mode) {
	if m.Name == ModeGzipBomb {
		bomb()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mode = m
}

func (i *Issuer) setMode(w http.ResponseWriter, r *http.Request) {
	var body struct {
		JWKS string `json:"jwks"`
	}
	err := decode(r, &body)
	var m Mode
	if err == nil {
		m, err = ParseMode(body.JWKS)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	i.SetMode(m)
	w.WriteHeader(http.StatusNoContent)
}

func (i *Issuer) stats(w http.ResponseWriter, _ *http.Request) {
	fetches, discoveries := i.Stats()
	writeJSON(w, map[string]int{"fetches": fetches, "discoveries": discoveries})
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	i.discoveries++
	i.mu.Unlock()
	writeJSON(w, map[string]any{
		"issuer":                                i.config.URL,
		"jwks_uri":                              i.JWKSURI(),
		"authorization_endpoint":                i.config.URL + "/authorize",
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{usual[i.config.Kind].alg},
	})
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // the client went away
}

func (i *Issuer) jwks(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.fetches++
	mode := i.mode
	i.mu.Unlock()
	switch mode.Name {
	case Mode500:
		http.Error(w, "out of order", http.StatusInternalServerError)
	case ModeHTML:
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintln(w, "<!doctype html><title>Sign in</title>")
	case ModeRedirect:
		http.Redirect(w, r, mode.Target, http.StatusFound)
	case ModeSlow:
		drip(w, r)
	case ModeHuge:
		fmt.Fprint(w, `{"keys":[],"pad":"`)
		_, _ = io.CopyN(w, spaces{}, bombSize) // the client may well stop reading
	case ModeGzipBomb:
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb())
	default:
		document, err := i.JWKS()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document)
	}
}

// drip sends a byte a second for as long as somebody listens.
func drip(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// spaces is an endless document.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// bomb is packed once, before anybody waits for it.
var bomb = sync.OnceValue(func() []byte {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.CopyN(z, spaces{}, bombSize) // a buffer takes everything
	_ = z.Close()
	return packed.Bytes()
})
