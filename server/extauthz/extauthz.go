// Package extauthz is the decision endpoint as Envoy's external authorization asks for it, over gRPC
// (envoy.service.auth.v3). It decides and hands out keys as package decide does, and does what Envoy's HTTP form
// cannot: it tells Envoy which of the agent's headers must not reach the upstream.
package extauthz

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/bursar-sts/bursar/server/decide"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/shim"
)

// Server answers Envoys. It serves on the listeners of a decide.Door.
type Server struct {
	auth.UnimplementedAuthorizationServer
	*decide.Decider
	resources decide.Resources
	logger    *slog.Logger
	grpc      *grpc.Server
}

// Bounds of a connection and of a question, whose headers Envoy bounds by 60 KiB unless it is told otherwise.
const (
	maxQuestion = 256 << 10
	maxStreams  = 1000
	handshake   = 2 * time.Second
	idle        = 5 * time.Minute
	ping        = 30 * time.Second // of a connection on which nothing came for so long
	pong        = 10 * time.Second // for the answer
	minPing     = 10 * time.Second // of Envoy's own; more often is a flood
)

// New returns a Server for the tools below a shim's URL.
func New(shimURL string, j decide.Judge, l *slog.Logger) *Server {
	s := &Server{Decider: decide.NewDecider(j, l), resources: decide.NewResources(shimURL), logger: l}
	s.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(maxQuestion), grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(16<<10), grpc.ConnectionTimeout(handshake),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idle, Time: ping, Timeout: pong}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}))
	auth.RegisterAuthorizationServer(s.grpc, s)
	return s
}

// Serve answers until Shutdown; then it returns nil, also if that came first.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// Shutdown lets the questions under way be answered until ctx ends, and closes the listener.
func (s *Server) Shutdown(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
		return ctx.Err()
	}
}

// Check answers one question. It never returns an error, which Envoy may have been told to ignore: whatever goes wrong
// is a refusal.
func (s *Server) Check(ctx context.Context, r *auth.CheckRequest) (response *auth.CheckResponse, _ error) {
	var c shim.Call
	defer func() {
		if recover() != nil {
			// The value of a panic can be anything, a key too; its place is enough.
			s.logger.ErrorContext(ctx, "a decision panicked", "stack", string(debug.Stack()))
			response = respond(s.Refuse(ctx, c, fault.New(fault.Internal, "panic", "")))
		}
	}()
	c, err := s.read(r)
	if err != nil {
		return respond(s.Refuse(ctx, c, err)), nil
	}
	return respond(s.Decide(ctx, c)), nil
}
