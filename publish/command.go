package publish

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"tallystream/aggregate/ledger"
	"tallystream/ingest/stream"
	"tallystream/publish/bucket"
	"tallystream/schemas"
	"tallystream/service"
	"tallystream/service/register"
)

// Link is the bus as a publisher uses it.
type Link interface {
	service.Hints
	Announcer
}

// Connect reaches the bus; main.go binds it to fanout/bus.
type Connect func(url string, election schemas.ElectionID) (Link, error)

// Command is `tallystream publish`.
type Command struct {
	service.Options
	Bucket      string        `help:"Directory that is published." type:"path" default:"public" env:"TALLYSTREAM_BUCKET"`
	ExportEvery time.Duration `help:"Least time between two CSV files of a county; 0 writes them at the close only." default:"60s"`
	ExportRate  float64       `help:"Bytes of CSV a second that are written on average during the night." default:"131072"`
	Heartbeat   time.Duration `help:"Longest time without a new snapshot." default:"60s"`
	Test        string        `help:"Mark reports in the common data format as those of a test, such as \"rehearsal\"." placeholder:"KIND"`
	UnitReports bool          `help:"Write reports by unit in the common data format, too (5.6 GB for the US)."`
	LiveURL     string        `help:"Where the fanout serves, such as wss://live.example.org; empty: beside the pages."`
}

// Run publishes until ctx ends, and then once more, with everything in it.
func (c *Command) Run(ctx context.Context, log *slog.Logger, connect Connect) (err error) {
	data := service.Data{Dir: c.Data}
	opened, err := data.Open()
	if err != nil {
		return err
	}
	signer, verifier, err := data.Signer("publish")
	if err != nil {
		return err
	}
	link, err := connect(c.Bus, opened.Election.Definition.Election)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, link.Close()) }()
	g, ctx := service.NewGroup(ctx)
	records, err := stream.OpenSQLiteReader(stream.Config{
		Path: data.StreamPath(), Metrics: stream.NewMetrics(g.Status.Registry), Logger: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	entries, err := ledger.OpenSQLite(data.LedgerPath(), opened.Election, records)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, entries.Close()) }()
	control, err := register.OpenSQLite(data.ControlPath())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, control.Close()) }()
	directory, err := bucket.OpenDirectory(c.Bucket, bucket.WithMetrics(bucket.NewMetrics(g.Status.Registry)))
	if err != nil {
		return err
	}
	wake := make(chan struct{}, 1)
	if err := link.OnHint(service.LedgerTopic, func() {
		select {
		case wake <- struct{}{}:
		default: // a hint waits already
		}
	}); err != nil {
		return err
	}
	s, err := New(Config{
		Election: opened.Election, Definition: opened.Definition, Roster: opened.Roster,
		Ledger: entries, Register: control, Bucket: directory, Announcer: link,
		Signer: signer, VerifierKey: verifier, Wake: wake,
		ExportEvery: c.ExportEvery, ExportRate: c.ExportRate, HeartbeatEvery: c.Heartbeat, LiveURL: c.LiveURL,
		Test: c.Test, UnitReports: c.UnitReports,
		Metrics: NewMetrics(g.Status.Registry), Logger: log,
	})
	if err != nil {
		return err
	}
	g.Status.Ready("publish", s.Ready)
	if err := g.ServeStatus(ctx, c.Status, log); err != nil {
		return err
	}
	log.InfoContext(ctx, "publishing", "election", opened.Election.Definition.Election, "bucket", c.Bucket)
	// The sequencer outlives the signal by one last snapshot.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g.Go(func() error {
		<-ctx.Done()
		defer stop()
		last, cancel := context.WithTimeout(running, closeTimeout)
		defer cancel()
		return s.Finish(last)
	})
	g.Go(func() error { return s.Run(running) })
	return g.Wait()
}

// closeTimeout bounds the last snapshot, with all its CSV files.
const closeTimeout = 5 * time.Minute
