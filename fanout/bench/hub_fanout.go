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

func newTier(ctx context.Context, p *press, deflate bool) (*tier, error) {
	s, err := fanout.New(fanout.Config{DrainSpread: time.Second})
	if err != nil {
		return nil, err
	}
	s.OnPublished(p.published())
	go func() { _ = s.Run(ctx) }() // ends with the process
	return &tier{s}, nil
}

func (t *tier) publish(frame []byte) { t.server.OnDelta(frame) }
func (t *tier) open() int            { return t.server.Hub().Sessions() }

func startPortable(ctx context.Context, l *net.TCPListener, p *press, deflate bool) (hub, error) {
	t, err := newTier(ctx, p, deflate)
	if err != nil {
		return nil, err
	}
	return t, serveHTTP(ctx, l, t.server.Handler())
}

func startEpoll(ctx context.Context, l *net.TCPListener, p *press, deflate bool) (hub, error) {
	return nil, errNotBuilt
}
