package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"tallystream/fanout"
)

// All that the benchmark knows of the fanout's engines is in this file.

// tier is a fanout node.
type tier struct{ server *fanout.Server }

func startEpoll(ctx context.Context, l *net.TCPListener, p *press, s setup) (hub, error) {
	return startTier(ctx, fanout.Epoll, l, p, s)
}

func startPortable(ctx context.Context, l *net.TCPListener, p *press, s setup) (hub, error) {
	return startTier(ctx, fanout.Portable, l, p, s)
}

func startTier(ctx context.Context, engine fanout.Engine, l net.Listener, p *press, s setup) (hub, error) {
	cfg := fanout.Config{Engine: engine, Uncompressed: !s.Deflate, DrainSpread: time.Second}
	if s.Quiet {
		cfg.PingEvery, cfg.Limits.IdleTimeout = quiet, 2*quiet
	}
	server, err := fanout.New(cfg)
	if err != nil {
		return nil, err
	}
	server.OnPublished(p.published())
	part := func(run func() error) {
		// They end with the process; before that an error is worth a word.
		if err := run(); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	go part(func() error { return server.Run(ctx) })
	go part(func() error { return server.Serve(ctx, nil, l) })
	return &tier{server}, nil
}

func (t *tier) publish(frame []byte) { t.server.OnDelta(frame) }
func (t *tier) open() int            { return t.server.Hub().Sessions() }
