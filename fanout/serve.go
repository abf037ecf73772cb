package fanout

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"tallystream/service"
)

// Listen opens n listeners at one address. With shared set, or more than one,
// other processes of this user may listen there, too (SO_REUSEPORT): so one
// machine can hold more connections than one process has descriptors.
func Listen(ctx context.Context, address string, n int, shared bool) ([]net.Listener, error) {
	var config net.ListenConfig
	if shared || n > 1 {
		config.Control = sharePort
	}
	var out []net.Listener
	for range max(n, 1) {
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			for _, l := range out {
				err = errors.Join(err, l.Close())
			}
			return nil, fmt.Errorf("listening for viewers: %w", err)
		}
		out = append(out, l)
		address = l.Addr().String() // the first may have chosen the port
	}
	return out, nil
}

// Serve answers on the listeners until ctx ends, and then says good-bye to
// viewers. When it returns, no connection is left. pages answers what is not of
// the live tier; nil: nothing does. The listeners are closed.
func (s *Server) Serve(ctx context.Context, pages http.Handler, listeners ...net.Listener) error {
	mux := http.NewServeMux()
	s.Register(mux)
	if pages != nil {
		mux.Handle("/", pages)
	}
	if s.cfg.Engine == Epoll {
		return s.serveEpoll(ctx, mux, listeners)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		if s.cfg.TLS != nil {
			l = tls.NewListener(l, s.cfg.TLS)
		}
		g.Go(func() error { return service.Serve(ctx, l, mux) })
	}
	g.Go(func() error {
		<-ctx.Done()
		s.drain()
		return nil
	})
	return g.Wait()
}
