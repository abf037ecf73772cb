package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/ingest/stream"
	"tallystream/schemas"
	"tallystream/service"
)

// Stores are what the command needs of where things are kept.
type Stores struct {
	Stream Appender
	States States // from the ledger
	// Lag looks how far the ledger is behind the stream.
	Lag   func(context.Context) (Lag, error)
	Close func() error
}

// OpenStores opens them; main.go binds it to publish/stores, which lies above.
// onCommit is called when the stream grew, and does not block.
type OpenStores func(ctx context.Context, o service.Options, opened *service.Opened, onCommit func(), registry prometheus.Registerer, log *slog.Logger) (*Stores, error)

// OpenKeys opens what says which keys may sign; main.go binds it to
// publish/stores.
type OpenKeys func(ctx context.Context, o service.Options, bucket string, opened *service.Opened, registry prometheus.Registerer, log *slog.Logger) (keys Keys, close func() error, err error)

// Command is `tallystream ingest`.
type Command struct {
	service.Options
	Bucket     string `help:"Directory that is published, where rosters are found; with --stores aws it is in S3." type:"path" default:"public" env:"TALLYSTREAM_BUCKET"`
	FollowKeys *bool  `help:"Follow changes of roster and keys by root keys. Reads the register and the published log, and takes nothing while they do not answer. Default: yes with embedded stores, no with --stores aws, where it needs rights to read both." negatable:""`
	Listen     string `help:"Address that takes submissions." default:"127.0.0.1:8081"`
	Limits     struct {
		KeyRate      float64 `help:"Submissions a second that one key may send." default:"200"`
		FailureRate  float64 `help:"Failed requests a second that one address may make; negative: no limit." default:"1"`
		AddressConns int     `help:"Connections from one address." default:"512"`
	} `embed:"" prefix:"limit-"`
}

// follows reports whether changes of keys are followed.
func (c *Command) follows() bool {
	if c.FollowKeys != nil {
		return *c.FollowKeys
	}
	return c.Stores != service.AWS
}

// Run serves until ctx ends, then finishes what is in flight.
func (c *Command) Run(ctx context.Context, log *slog.Logger, open OpenStores, openKeys OpenKeys, connect service.Connect) (err error) {
	if err := service.CheckConfiguration(ctx, "ingest", c.Options, log); err != nil {
		return err
	}
	data := service.Data{Dir: c.Data}
	opened, err := data.Open()
	if err != nil {
		return err
	}
	signer, verifier, err := data.Signer("ingest")
	if err != nil {
		return err
	}
	hints, err := connect(c.BusAt(), opened.Election.Definition.Election)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hints.Close()) }()
	g, ctx := service.NewGroup(ctx)
	stores, err := open(ctx, c.Options, opened, func() {
		if err := hints.Hint(service.StreamTopic); err != nil {
			log.DebugContext(ctx, "hint not sent", "topic", service.StreamTopic, "err", err)
		}
	}, g.Status.Registry, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.Close()) }()
	watch := NewWatch(stores.Lag, log)
	var keys func() *schemas.Keyring
	if c.follows() {
		source, closeKeys, err := openKeys(ctx, c.Options, c.Bucket, opened, g.Status.Registry, log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeKeys()) }()
		followed := NewKeyWatch(source, log, time.Now)
		keys = followed.Keyring
		followed.Look(ctx)
		g.Go(func() error { return followed.Run(ctx) })
	}
	server, err := New(Config{
		Election: opened.Election, Keyring: opened.Keyring, Signer: signer, Verifier: verifier, Stream: stores.Stream, States: stores.States,
		Keys:   keys,
		Busy:   func(err error) bool { return errors.Is(err, stream.ErrBusy) },
		Behind: watch.Behind,
		Limits: Limits{
			KeyRate: c.Limits.KeyRate, FailureRate: c.Limits.FailureRate, AddressConns: c.Limits.AddressConns,
		},
		Metrics: NewMetrics(g.Status.Registry), Logger: log,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listening for submissions: %w", err)
	}
	g.Status.Ready("ingest", server.Ready)
	if err := g.WatchRelease(ctx, c.Release, c.Cloud, log); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := g.ServeStatus(ctx, c.Status, log); err != nil {
		return errors.Join(err, l.Close())
	}
	g.Go(func() error { return watch.Run(ctx) })
	g.Go(func() error { return server.Serve(ctx, l) })
	log.InfoContext(ctx, "taking submissions", "addr", "http://"+l.Addr().String(), "election", opened.Election.Definition.Election)
	return g.Wait()
}
