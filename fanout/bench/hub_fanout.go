package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"tallystream/fanout"
)

// All that the benchmark knows of the fanout's engines is in this file.

// tier is a fanout node.
type tier struct {
	server *fanout.Server
	bucket *countedBucket
}

// countedBucket is all that a node can ask of anybody. There is nothing in it:
// what counts is how often a node asks.
type countedBucket struct{ gets atomic.Uint64 }

// bucketEvery is how often a node looks into it.
const bucketEvery = 2 * time.Second

var errEmpty = errors.New("the bucket is empty")

// Get implements fanout.Bucket.
func (b *countedBucket) Get(context.Context, string) ([]byte, error) {
	b.gets.Add(1)
	return nil, errEmpty
}

func startEpoll(ctx context.Context, l *net.TCPListener, p *press, s setup) (hub, error) {
	return startTier(ctx, fanout.Epoll, l, p, s)
}

func startPortable(ctx context.Context, l *net.TCPListener, p *press, s setup) (hub, error) {
	return startTier(ctx, fanout.Portable, l, p, s)
}

func startTier(ctx context.Context, engine fanout.Engine, l net.Listener, p *press, s setup) (hub, error) {
	bucket := new(countedBucket)
	cfg := fanout.Config{Engine: engine, Uncompressed: !s.Deflate, DrainSpread: time.Second, Bucket: bucket, BucketEvery: bucketEvery}
	if s.Quiet {
		cfg.PingEvery, cfg.Limits.IdleTimeout = quiet, 2*quiet
	}
	if s.Alert {
		cfg.PingEvery, cfg.Limits.IdleTimeout = alertTimeout/3, alertTimeout
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
	return &tier{server, bucket}, nil
}

func (t *tier) publish(frame []byte) { t.server.OnDelta(frame) }
func (t *tier) reads() uint64        { return t.bucket.gets.Load() }
func (t *tier) open() int            { return t.server.Hub().Sessions() }
