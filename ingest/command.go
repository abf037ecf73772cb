package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"tallystream/ingest/stream"
	"tallystream/schemas"
	"tallystream/service"
)

// Ledger is what the command needs from the ledger, which lies above.
type Ledger interface {
	States
	// Folded is the newest checkpoint that the ledger holds.
	Folded(ctx context.Context) (schemas.Checkpoint, error)
	io.Closer
}

// OpenLedger opens the ledger file; main.go binds it to aggregate/ledger.
type OpenLedger func(path string, e *schemas.Election) (Ledger, error)

// Command is `tallystream ingest`.
type Command struct {
	service.Options
	Listen string `help:"Address that takes submissions." default:"127.0.0.1:8081"`
	Limits struct {
		KeyRate      float64 `help:"Submissions a second that one key may send." default:"200"`
		FailureRate  float64 `help:"Failed requests a second that one address may make; negative: no limit." default:"1"`
		AddressConns int     `help:"Connections from one address." default:"512"`
	} `embed:"" prefix:"limit-"`
}

// ledgerPoll is how often the service looks how far the ledger is. It bounds
// the lag in thousands of records, so a fifth of a second is exact enough.
const ledgerPoll = 200 * time.Millisecond

// Run serves until ctx ends, then finishes what is in flight.
func (c *Command) Run(ctx context.Context, log *slog.Logger, openLedger OpenLedger, connect service.Connect) (err error) {
	data := service.Data{Dir: c.Data}
	opened, err := data.Open()
	if err != nil {
		return err
	}
	signer, verifier, err := data.Signer("ingest")
	if err != nil {
		return err
	}
	hints, err := connect(c.Bus, opened.Election.Definition.Election)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hints.Close()) }()
	g, ctx := service.NewGroup(ctx)
	records, err := stream.OpenSQLite(stream.Config{
		Path: data.StreamPath(), Metrics: stream.NewMetrics(g.Status.Registry), Logger: log,
		CacheBytes: -1, // nobody reads in this process
		OnCommit: func(schemas.Checkpoint) {
			if err := hints.Hint(service.StreamTopic); err != nil {
				log.DebugContext(ctx, "hint not sent", "topic", service.StreamTopic, "err", err)
			}
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	ledger, err := openLedger(data.LedgerPath(), opened.Election)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	lag := &lag{ledger: ledger, last: records.Last, log: log}
	server, err := New(Config{
		Election: opened.Election, Keyring: opened.Keyring, Signer: signer, Verifier: verifier, Stream: records, States: ledger,
		Busy:   func(err error) bool { return errors.Is(err, stream.ErrBusy) },
		Behind: lag.behind,
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
	if err := g.ServeStatus(ctx, c.Status, log); err != nil {
		return errors.Join(err, l.Close())
	}
	g.Go(func() error { return lag.watch(ctx) })
	g.Go(func() error { return server.Serve(ctx, l) })
	log.InfoContext(ctx, "taking submissions", "addr", "http://"+l.Addr().String(), "election", opened.Election.Definition.Election)
	return g.Wait()
}

// lag follows how far the ledger, which another process writes, is behind.
type lag struct {
	ledger Ledger
	last   func() schemas.Checkpoint
	log    *slog.Logger
	folded atomic.Uint64
}

func (l *lag) behind() uint64 {
	last, folded := uint64(l.last()), l.folded.Load()
	if folded >= last {
		return 0
	}
	return last - folded
}

func (l *lag) watch(ctx context.Context) error {
	tick := time.NewTicker(ledgerPoll)
	defer tick.Stop()
	for {
		at, err := l.ledger.Folded(ctx)
		switch {
		case err == nil:
			l.folded.Store(uint64(at))
		case ctx.Err() != nil:
			return nil
		default:
			// The lag then seems to grow, and ingest slows down: the safe side.
			l.log.WarnContext(ctx, "cannot read the ledger's checkpoint", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
