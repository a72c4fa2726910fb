// Package port is the listeners of a program, and the servers behind them.
package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Port is one listener with the server behind it.
type Port struct {
	Name        string
	Listener    net.Listener
	Certificate *Certificate // nil for plain HTTP
	Handler     http.Handler // of the server that Open makes
	Server      Answerer     // nil until it is known who answers
}

// Answerer answers on a listener: over HTTP, or over gRPC.
type Answerer interface {
	// Serve answers until Shutdown; then its error is nil or http.ErrServerClosed.
	Serve(l net.Listener) error
	// Shutdown lets the requests under way finish until ctx ends.
	Shutdown(ctx context.Context) error
}

// Open listens on an address, for requests with small bodies.
func Open(name, address string, logger *slog.Logger) (*Port, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for %s requests: %w", name, err)
	}
	p := &Port{Name: name, Listener: l}
	p.Server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Handler.ServeHTTP(w, r) }),
		// A body is small, so a caller that needs longer than this to send one is not a client. Answers may take longer:
		// reading the log waits for events.
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	return p, nil
}

// Serve answers requests until Close. What ends it otherwise is sent to failed.
func (p *Port) Serve(failed chan<- error) {
	l := p.Listener
	if p.Certificate != nil {
		l = tls.NewListener(l, &tls.Config{
			GetCertificate: p.Certificate.Get, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		})
	}
	if err := p.Server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		failed <- fmt.Errorf("serve %s requests: %w", p.Name, err)
	}
}

// Close lets the requests under way finish until ctx ends.
func (p *Port) Close(ctx context.Context) error {
	var err error
	if p.Server != nil {
		err = p.Server.Shutdown(ctx)
	}
	_ = p.Listener.Close() // Shutdown closes it only if Serve had begun
	if err != nil {
		return fmt.Errorf("finish %s requests: %w", p.Name, err)
	}
	return nil
}
