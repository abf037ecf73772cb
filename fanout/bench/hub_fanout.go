package main

import (
	"context"
	"net"
	"time"

	"tallystream/fanout"
)

// All that the benchmark knows of the fanout's engines is in this file.

// tier is a fanout node.
type tier struct{ server *fanout.Server }

func newTier(ctx context.Context, p *press, s setup) (*tier, error) {
	cfg := fanout.Config{DrainSpread: time.Second}
	if s.Quiet {
		cfg.PingEvery, cfg.Limits.IdleTimeout = quiet, 2*quiet
	}
	server, err := fanout.New(cfg)
	if err != nil {
		return nil, err
	}
	server.OnPublished(p.published())
	go func() { _ = server.Run(ctx) }() // ends with the process
	return &tier{server}, nil
}

func (t *tier) publish(frame []byte) { t.server.OnDelta(frame) }
func (t *tier) open() int            { return t.server.Hub().Sessions() }

func startPortable(ctx context.Context, l *net.TCPListener, p *press, s setup) (hub, error) {
	t, err := newTier(ctx, p, s)
	if err != nil {
		return nil, err
	}
	return t, serveHTTP(ctx, l, t.server.Handler())
}

func startEpoll(ctx context.Context, l *net.TCPListener, p *press, s setup) (hub, error) {
	return nil, errNotBuilt
}
