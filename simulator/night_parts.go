package simulator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"tallystream/aggregate"
	"tallystream/fanout"
	"tallystream/fanout/bus"
	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/publish"
	"tallystream/publish/receipts"
	"tallystream/schemas"
)

// build makes the parts and ties them: commits wake the publisher, the bus
// carries deltas to the live tier.
func (n *Night) build(ctx context.Context, eager bool, log *slog.Logger) (err error) {
	e, registry := n.opened.Election, n.status.Registry
	wake := make(chan struct{}, 1)
	if n.aggregate, err = aggregate.New(aggregate.Config{
		Election: e, Source: n.forAggregate.Source, Ledger: n.forAggregate.Ledger, Leases: n.forAggregate.Leases, Metrics: aggregate.NewMetrics(registry), Logger: log,
		OnCommit: func() {
			select {
			case wake <- struct{}{}:
			default: // the publisher knows already
			}
		},
	}); err != nil {
		return err
	}
	if err := n.buildIngest(log); err != nil {
		return err
	}
	metrics := bus.NewMetrics(registry)
	if n.busServer, err = bus.StartServer(bus.ServerOptions{}); err != nil {
		return err
	}
	if n.bus, err = bus.Connect(bus.Options{Server: n.busServer, Election: e.Definition.Election, Name: "night", Metrics: metrics, Logger: log}); err != nil {
		return err
	}
	n.mediaKey = rand.Text()
	if n.live, err = fanout.New(fanout.Config{
		Bucket: n.bucket, MediaKeys: []string{n.mediaKey}, MinInterval: fanout.DefaultMinInterval,
		Metrics: fanout.NewMetrics(registry), Logger: log,
	}); err != nil {
		return err
	}
	if err := n.bus.Receive(n.live); err != nil {
		return err
	}
	return n.buildPublish(wake, eager, log)
}

func (n *Night) buildIngest(log *slog.Logger) error {
	signer, verifier, err := n.Data.Signer("ingest")
	if err != nil {
		return err
	}
	n.receiptKey = verifier
	if n.receipts, err = note.NewVerifier(verifier); err != nil {
		return fmt.Errorf("verifier key of ingest: %w", err)
	}
	n.ingest, err = ingest.New(ingest.Config{
		Election: n.opened.Election, Keyring: n.opened.Keyring, Signer: signer, Verifier: verifier,
		Stream: n.forIngest.Stream, States: n.forIngest.States, Behind: n.behind,
		Busy: func(err error) bool { return errors.Is(err, stream.ErrBusy) },
		// One address plays every official of the country, and its share of attackers.
		Limits:  ingest.Limits{KeyRate: -1, FailureRate: -1, AddressConns: -1},
		Metrics: ingest.NewMetrics(n.status.Registry), Logger: log,
	})
	return err
}

func (n *Night) buildPublish(wake <-chan struct{}, eager bool, log *slog.Logger) (err error) {
	p := n.forPublish
	if n.snapshots, err = note.NewVerifier(p.Verifier); err != nil {
		return fmt.Errorf("verifier key of publish: %w", err)
	}
	secret, err := publish.OpenSecret(n.Data, n.opened.Election)
	if err != nil {
		return err
	}
	n.proofs = receipts.NewServer(receipts.Config{Bucket: n.bucket, Key: n.snapshots, Logger: log})
	config := publish.Config{
		Election: n.opened.Election, Definition: n.opened.Definition, Roster: n.opened.Roster,
		Ledger: p.Ledger, Register: p.Register, Bucket: p.Bucket, Announcer: n.bus,
		Signer: p.Signer, VerifierKey: p.Verifier, ReceiptKey: n.receiptKey, Secret: secret, Lag: p.Lag, Wake: wake, Test: "rehearsal",
		Metrics: publish.NewMetrics(n.status.Registry), Logger: log,
	}
	if eager {
		config.DeltaEvery, config.SnapshotEvery, config.Share = eagerly, eagerly, 1
	}
	n.sequencer, err = publish.New(config)
	return err
}

// eagerly is the least interval of ticks and snapshots of an eager night.
const eagerly = 10 * time.Millisecond

// listen takes the addresses: that of the pages as asked for, or a free one of
// its host if it is the default and taken; a free one for submissions.
func (n *Night) listen(addr string) (err error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usageError{fmt.Errorf("--listen %q: want host:port", addr)}
	}
	n.publicAt, err = net.Listen("tcp", addr)
	if err != nil && addr == DefaultListen {
		n.publicAt, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return fmt.Errorf("listening for viewers: %w", err)
	}
	if n.ingestAt, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		return fmt.Errorf("listening for submissions: %w", err)
	}
	return nil
}

// start runs the parts, each labelled for the CPU profile.
func (n *Night) start(ctx context.Context) {
	rest, stopRest := context.WithCancel(ctx)
	n.stopRest = stopRest
	n.group, rest = errgroup.WithContext(rest)
	taking, stopIngest := context.WithCancel(rest)
	n.stopIngest = stopIngest
	run := func(stage string, ctx context.Context, f func(context.Context) error) {
		n.group.Go(func() error { return inStage(ctx, stage, f) })
	}
	run("ingest", taking, func(ctx context.Context) error { return n.ingest.Serve(ctx, n.ingestAt) })
	run("aggregate", rest, n.aggregate.Run)
	run("publish", rest, n.sequencer.Run)
	run("fanout", rest, n.live.Run)
	run("pages", rest, func(ctx context.Context) error { return n.live.Serve(ctx, n.publicMux(), n.publicAt) })
	n.status.Ready("ingest", n.ingest.Ready)
	n.status.Ready("aggregate", n.aggregate.Ready)
	n.status.Ready("publish", n.sequencer.Ready)
}

func (n *Night) publicMux() http.Handler {
	mux := http.NewServeMux()
	n.status.Register(mux)
	n.proofs.Register(mux)
	mux.Handle("/", n.bucket.Handler())
	return mux
}

// The night is the target of its own rehearsal.

// IngestAddr is where submissions go.
func (n *Night) IngestAddr() string { return n.ingestAt.Addr().String() }

// IngestURL is the same as a URL.
func (n *Night) IngestURL() string { return "http://" + n.IngestAddr() }

// MediaKey opens live connections that get every version.
func (n *Night) MediaKey() string { return n.mediaKey }

// PublicURL is where pages, snapshots and live deltas come from.
func (n *Night) PublicURL() string { return "http://" + n.publicAt.Addr().String() }

// Objects reads the bucket.
func (n *Night) Objects() objects { return n.bucket }

// Receipts and Snapshots verify what the services sign.
func (n *Night) Receipts() note.Verifier { return n.receipts }

// Snapshots verifies snapshots.
func (n *Night) Snapshots() note.Verifier { return n.snapshots }

// Progress is how far the ledger is.
func (n *Night) Progress() (inLedger, behind uint64, ok bool) {
	return n.aggregate.Taken(), n.behind().Records, true
}

// Holds counts the ledger's holds by reason.
func (n *Night) Holds(ctx context.Context) (_ map[schemas.HoldCode]int, err error) {
	v, err := n.forPublish.Ledger.View(ctx)
	if err != nil {
		return nil, fmt.Errorf("counting holds: %w", err)
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	out := map[schemas.HoldCode]int{}
	err = v.Entries(ctx, nil, func(x schemas.Entry, _ []byte) error {
		if x.Kind == schemas.EntryHeld {
			out[x.Hold]++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("counting holds: %w", err)
	}
	return out, nil
}

// Finish publishes everything that is in the ledger, CSV and pages included.
func (n *Night) Finish(ctx context.Context, _ uint64) error {
	return inStage(ctx, "close", n.sequencer.Finish)
}

const stopTimeout = 30 * time.Second

// Close drains in the data's direction: no more submissions, then the rest.
func (n *Night) Close() error {
	n.stopIngest()
	n.stopRest()
	done := make(chan error, 1)
	go func() { done <- n.group.Wait() }()
	var err error
	select {
	case err = <-done:
	case <-time.After(stopTimeout):
		err = fmt.Errorf("not stopped after %s", stopTimeout)
	}
	return errors.Join(err, n.closeStores())
}

// closeStores closes what is open, last opened first.
func (n *Night) closeStores() error {
	var errs []error
	if n.bus != nil {
		errs = append(errs, n.bus.Close())
	}
	if n.busServer != nil {
		errs = append(errs, n.busServer.Close())
	}
	if n.stores != nil {
		errs = append(errs, n.stores.Close())
	}
	return errors.Join(errs...)
}
