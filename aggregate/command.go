package aggregate

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/ingest/stream"
	"tallystream/service"
)

// Stores are what the command needs of where things are kept.
type Stores struct {
	Source stream.Source
	Wake   func() // makes readers look again
	Ledger Ledger
	Leases Leases // nil: this process works on all shards
	Close  func() error
}

// StreamOptions are choices in reading a stream on AWS.
type StreamOptions struct {
	Consumer    string `help:"ARN of a registered consumer of the stream: enhanced fan-out instead of polling." placeholder:"ARN" group:"aws"`
	SkipExpired bool   `help:"Pass over parts of the stream that expired before they were read. What they held is lost: for operators who know that." group:"aws"`
}

// OpenStores opens them; main.go binds it to publish/stores, which lies above.
type OpenStores func(ctx context.Context, o service.Options, s StreamOptions, opened *service.Opened, registry prometheus.Registerer, log *slog.Logger) (*Stores, error)

// Command is `tallystream aggregate`.
type Command struct {
	service.Options
	StreamOptions
}

// Run folds the stream into the ledger until ctx ends, then commits what is at
// hand.
func (c *Command) Run(ctx context.Context, log *slog.Logger, open OpenStores, connect service.Connect) (err error) {
	if err := service.CheckConfiguration(ctx, "aggregate", c.Options, log); err != nil {
		return err
	}
	opened, err := service.Data{Dir: c.Data}.Open()
	if err != nil {
		return err
	}
	hints, err := connect(c.BusAt(), opened.Election.Definition.Election)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hints.Close()) }()
	g, ctx := service.NewGroup(ctx)
	stores, err := open(ctx, c.Options, c.StreamOptions, opened, g.Status.Registry, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.Close()) }()
	if err := hints.OnHint(service.StreamTopic, stores.Wake); err != nil {
		return err
	}
	a, err := New(Config{
		Election: opened.Election, Source: stores.Source, Ledger: stores.Ledger, Leases: stores.Leases,
		OnCommit: func() {
			if err := hints.Hint(service.LedgerTopic); err != nil {
				log.DebugContext(ctx, "hint not sent", "topic", service.LedgerTopic, "err", err)
			}
		},
		Metrics: NewMetrics(g.Status.Registry), Logger: log,
	})
	if err != nil {
		return err
	}
	g.Status.Ready("aggregate", a.Ready)
	if err := g.WatchRelease(ctx, c.Release, c.Cloud, log); err != nil {
		return err
	}
	if err := g.ServeStatus(ctx, c.Status, log); err != nil {
		return err
	}
	g.Go(func() error { return a.Run(ctx) })
	log.InfoContext(ctx, "aggregating", "election", opened.Election.Definition.Election, "stores", c.Stores)
	return g.Wait()
}
