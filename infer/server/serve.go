package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// maxHeader is the most bytes of a request's header.
const maxHeader = 64 << 10

// unwinding is how long requests may take to end once they are cancelled.
const unwinding = 5 * time.Second

// Serve answers requests from l until ctx ends. Then it takes no new ones, lets the running ones go on for as long as Limits
// allow, cancels what is left, and closes l. While it waits, health says so.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, abort := context.WithCancelCause(context.WithoutCancel(ctx)) // requests outlive ctx
	defer abort(nil)
	h := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: s.limits.Header,
		IdleTimeout:       s.limits.Idle,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	running, idle := s.drain()
	s.log.Info("draining", "requests", running, "at most", s.limits.Drain)
	select {
	case <-idle:
	case <-time.After(s.limits.Drain):
		s.log.Warn("cancelling requests that are still running")
		abort(draining())
	}
	end, cancel := context.WithTimeout(context.Background(), unwinding)
	defer cancel()
	select {
	case <-idle:
	case <-end.Done():
	}
	// Nothing runs any more; connections without a request, or with half of one, are not waited for.
	soon, cancel := context.WithTimeout(context.Background(), unwinding/10)
	defer cancel()
	err := h.Shutdown(soon)
	if errors.Is(err, context.DeadlineExceeded) {
		err = h.Close()
	}
	<-failed // http.ErrServerClosed
	return err
}
