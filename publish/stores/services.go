package stores

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/aggregate"
	"tallystream/ingest"
	"tallystream/publish"
	"tallystream/service"
)

// ForIngest opens what ingest needs. It is an ingest.OpenStores.
func ForIngest(ctx context.Context, o service.Options, opened *service.Opened, onCommit func(), registry prometheus.Registerer, log *slog.Logger) (_ *ingest.Stores, err error) {
	s, err := Open(ctx, Config{Options: o, Opened: opened, Registry: registry, Logger: log})
	if err != nil {
		return nil, err
	}
	defer func() { err = closeOn(err, s) }()
	return s.Ingest(ctx, onCommit)
}

// Ingest opens what ingest needs.
func (s *Stores) Ingest(ctx context.Context, onCommit func()) (*ingest.Stores, error) {
	stream, err := s.engine.writer(ctx, onCommit)
	if err != nil {
		return nil, err
	}
	states, err := s.Ledger(ctx)
	if err != nil {
		return nil, err
	}
	lag, err := s.engine.lag(ctx)
	if err != nil {
		return nil, err
	}
	return &ingest.Stores{Stream: stream, States: states, Lag: lag, Close: s.Close}, nil
}

// ForAggregate opens what aggregate needs. It is an aggregate.OpenStores.
func ForAggregate(ctx context.Context, o service.Options, choices aggregate.StreamOptions, opened *service.Opened, registry prometheus.Registerer, log *slog.Logger) (_ *aggregate.Stores, err error) {
	s, err := Open(ctx, Config{Options: o, Stream: choices, Opened: opened, Registry: registry, Logger: log})
	if err != nil {
		return nil, err
	}
	defer func() { err = closeOn(err, s) }()
	return s.Aggregate(ctx)
}

// Aggregate opens what aggregate needs.
func (s *Stores) Aggregate(ctx context.Context) (*aggregate.Stores, error) {
	source, wake, err := s.engine.source(ctx)
	if err != nil {
		return nil, err
	}
	ledger, err := s.Ledger(ctx)
	if err != nil {
		return nil, err
	}
	out := &aggregate.Stores{Source: source, Wake: wake, Ledger: ledger, Close: s.Close}
	leases, err := s.engine.leases(ctx, shardLeases)
	if leases != nil {
		out.Leases = leases
	}
	return out, err
}

// closeOn closes s if opening failed.
func closeOn(err error, s *Stores) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, s.Close())
}

// ForPublish opens what publish needs; bucket is the directory that embedded
// stores publish to. It is a publish.OpenStores.
func ForPublish(ctx context.Context, o service.Options, bucket string, opened *service.Opened, registry prometheus.Registerer, log *slog.Logger) (_ *publish.Stores, err error) {
	s, err := Open(ctx, Config{Options: o, Bucket: bucket, Opened: opened, Registry: registry, Logger: log})
	if err != nil {
		return nil, err
	}
	defer func() { err = closeOn(err, s) }()
	return s.Publish(ctx)
}

// Publish opens what publish needs.
func (s *Stores) Publish(ctx context.Context) (*publish.Stores, error) {
	out := &publish.Stores{Close: s.Close}
	ledger, err := s.Ledger(ctx)
	if err != nil {
		return nil, err
	}
	register, err := s.Register(ctx)
	if err != nil {
		return nil, err
	}
	bucket, err := s.Bucket(ctx)
	if err != nil {
		return nil, err
	}
	out.Ledger, out.Register, out.Bucket = ledger, register, bucket
	if out.Signer, out.Verifier, err = s.engine.signer(ctx); err != nil {
		return nil, err
	}
	if out.Lag, err = s.engine.counted(ctx); err != nil {
		return nil, err
	}
	leases, err := s.engine.leases(ctx, publishLeases)
	if leases != nil {
		out.Leases = leases
	}
	return out, err
}

// ForOperators opens the register alone, for what operators say to a running
// service. It is a publish.OpenRegister.
func ForOperators(ctx context.Context, o service.Options, opened *service.Opened, registry prometheus.Registerer, log *slog.Logger) (_ publish.Register, closeAll func() error, err error) {
	s, err := Open(ctx, Config{Options: o, Opened: opened, Registry: registry, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	r, err := s.Register(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return r, s.Close, nil
}

// ForPublication opens register and bucket, for changes of keys. It is a
// publish.OpenPublication.
func ForPublication(ctx context.Context, o service.Options, bucket string, opened *service.Opened, registry prometheus.Registerer, log *slog.Logger) (*publish.Stores, error) {
	s, err := Open(ctx, Config{Options: o, Bucket: bucket, Opened: opened, Registry: registry, Logger: log})
	if err != nil {
		return nil, err
	}
	out := &publish.Stores{Close: s.Close}
	if out.Register, err = s.Register(ctx); err == nil {
		out.Bucket, err = s.Bucket(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return out, nil
}

// KeysForIngest opens what says which keys may sign. It is an ingest.OpenKeys.
func KeysForIngest(ctx context.Context, o service.Options, bucket string, opened *service.Opened, _ prometheus.Registerer, log *slog.Logger) (ingest.Keys, func() error, error) {
	// Metrics of a second opening of the same stores would stand twice.
	p, err := ForPublication(ctx, o, bucket, opened, prometheus.NewRegistry(), log)
	if err != nil {
		return nil, nil, err
	}
	return &publish.Keys{Register: p.Register, Bucket: p.Bucket, Election: opened.Election, Roster: opened.Roster}, p.Close, nil
}
