package serve

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

// port is one listener with the server behind it.
type port struct {
	name        string
	listener    net.Listener
	certificate *certificate // nil for plain HTTP
	handler     http.Handler
	server      answerer // nil until it is known who answers
}

// answerer answers on a listener: over HTTP, or over gRPC.
type answerer interface {
	// Serve answers until Shutdown; then its error is nil or http.ErrServerClosed.
	Serve(l net.Listener) error
	// Shutdown lets the requests under way finish until ctx ends.
	Shutdown(ctx context.Context) error
}

func openPort(name, address string, logger *slog.Logger) (*port, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for %s requests: %w", name, err)
	}
	p := &port{name: name, listener: l}
	p.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }),
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

// serve answers requests until close. What ends it otherwise is sent to failed.
func (p *port) serve(failed chan<- error) {
	l := p.listener
	if p.certificate != nil {
		l = tls.NewListener(l, &tls.Config{
			GetCertificate: p.certificate.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		})
	}
	if err := p.server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		failed <- fmt.Errorf("serve %s requests: %w", p.name, err)
	}
}

// close lets the requests under way finish until ctx ends.
func (p *port) close(ctx context.Context) error {
	var err error
	if p.server != nil {
		err = p.server.Shutdown(ctx)
	}
	_ = p.listener.Close() // Shutdown closes it only if Serve had begun
	if err != nil {
		return fmt.Errorf("finish %s requests: %w", p.name, err)
	}
	return nil
}
