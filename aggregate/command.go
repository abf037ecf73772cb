package aggregate

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"tallystream/aggregate/ledger"
	"tallystream/ingest/stream"
	"tallystream/service"
)

// Command is `tallystream aggregate`.
type Command struct {
	service.Options
}

// Run folds the stream into the ledger until ctx ends, then commits what is at
// hand.
func (c *Command) Run(ctx context.Context, log *slog.Logger, connect service.Connect) (err error) {
	data := service.Data{Dir: c.Data}
	opened, err := data.Open()
	if err != nil {
		return err
	}
	hints, err := connect(c.Bus, opened.Election.Definition.Election)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hints.Close()) }()
	g, ctx := service.NewGroup(ctx)
	records, err := stream.OpenSQLiteReader(stream.Config{
		Path: data.StreamPath(), Metrics: stream.NewMetrics(g.Status.Registry), Logger: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	if err := hints.OnHint(service.StreamTopic, records.Wake); err != nil {
		return err
	}
	entries, err := ledger.OpenSQLite(data.LedgerPath(), opened.Election, records)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, entries.Close()) }()
	a, err := New(Config{
		Election: opened.Election, Ledger: entries,
		Source: stream.OneShard(records, opened.Election.Definition.Partitions, time.Now),
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
	if err := g.ServeStatus(ctx, c.Status, log); err != nil {
		return err
	}
	g.Go(func() error { return a.Run(ctx) })
	log.InfoContext(ctx, "aggregating", "election", opened.Election.Definition.Election)
	return g.Wait()
}
