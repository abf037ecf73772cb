package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
)

// Serve answers on listener until ctx ends, then drains: it stops accepting,
// lets requests in flight finish for at most Limits.Drain, and returns nil if
// they did. It closes listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	l := s.cfg.Limits
	// Requests outlive ctx: one whose record is being made durable shall get
	// its receipt. They end with the drain.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler: s.Handler(),
		// ReadTimeout alone bounds header and body, at one deadline a request;
		// a ReadHeaderTimeout of its own would cost a second.
		ReadTimeout:    l.ReadTimeout,
		WriteTimeout:   l.WriteTimeout,
		IdleTimeout:    l.IdleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		BaseContext:    func(net.Listener) context.Context { return base },
		ConnContext:    withPeer,
		ErrorLog:       slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.peers.limit(listener)) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving submissions: %w", err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	return s.drain(server, served)
}

func (s *Server) drain(server *http.Server, served <-chan error) error {
	s.cfg.Logger.Info("draining", slog.Duration("timeout", s.cfg.Limits.Drain))
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Limits.Drain)
	defer cancel()
	err := server.Shutdown(ctx)
	if err != nil {
		// What is in flight gets no receipt, though it may become durable: its
		// client sends it again.
		err = errors.Join(fmt.Errorf("draining submissions: %w", err), server.Close())
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serving submissions: %w", e))
	}
	return err
}
