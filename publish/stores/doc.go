// Package stores opens what the services of an election keep: stream, ledger,
// register, bucket and keys, on the embedded engines or on AWS.
//
// It is where the two modes part; beyond it one code path runs. Invariant: a
// store is opened once in a process, whoever asks for it, and closed after
// everything that uses it.
package stores

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"tallystream/aggregate"
	"tallystream/aggregate/lease"
	"tallystream/aggregate/ledger"
	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/publish/bucket"
	"tallystream/service"
	"tallystream/service/cloud"
	"tallystream/service/register"
)

// Ledger is a ledger as all services use it.
type Ledger interface {
	aggregate.Ledger
	ingest.States
	Close() error
}

// Register is a register that can be closed.
type Register interface {
	register.Register
	Close() error
}

// Config says where an election's stores are.
type Config struct {
	Options service.Options
	Bucket  string // directory, in embedded mode
	Stream  aggregate.StreamOptions
	Opened  *service.Opened

	// ReadsToo says that the process that writes the stream also reads it.
	ReadsToo bool
	Registry prometheus.Registerer
	Logger   *slog.Logger
	// Cloud are choices for the AWS clients.
	Cloud []cloud.Option
}

// Stores are the stores of one election in one process. It serves one
// goroutine; what it opens serves any.
type Stores struct {
	cfg    Config
	data   service.Data
	engine engine

	closers  []func() error
	register Register
	ledger   Ledger
	bucket   Bucket
}

// Leases choose who works on what, and pass on how far behind the work is.
type Leases interface {
	aggregate.Leases
}

// engine is one of the two modes.
type engine interface {
	// writer is the stream for ingest; onCommit hints that it grew.
	writer(ctx context.Context, onCommit func()) (ingest.Appender, error)
	// source is the stream for aggregate; wake makes readers look again.
	source(ctx context.Context) (_ stream.Source, wake func(), err error)
	ledger(ctx context.Context) (Ledger, error)
	register(ctx context.Context) (Register, error)
	bucket(ctx context.Context) (Bucket, error)
	signer(ctx context.Context) (_ note.Signer, verifier string, err error)
	// verifier is the signer's verifier key, without the right to sign.
	verifier(ctx context.Context) (string, error)
	// leases choose who works among several processes; nil: there is one.
	leases(ctx context.Context, prefix string) (Leases, error)
	// lag is how far the ledger is behind the stream.
	lag(ctx context.Context) (func(context.Context) (ingest.Lag, error), error)
	// counted is publish.Config.Lag.
	counted(ctx context.Context) (func(context.Context) (time.Duration, error), error)
}

// Open prepares the stores; each is opened when it is asked for. Close closes
// them.
func Open(ctx context.Context, cfg Config) (*Stores, error) {
	s := &Stores{cfg: cfg, data: service.Data{Dir: cfg.Options.Data}}
	switch cfg.Options.Stores {
	case service.Embedded, "":
		s.engine = &embedded{stores: s}
	case service.AWS:
		a, err := openAWS(ctx, s)
		if err != nil {
			return nil, err
		}
		s.engine = a
	default:
		return nil, fmt.Errorf("--stores %q: want %s or %s", cfg.Options.Stores, service.Embedded, service.AWS)
	}
	return s, nil
}

// later closes what was opened, last opened first.
func (s *Stores) later(close func() error) { s.closers = append(s.closers, close) }

// Close closes everything that was opened.
func (s *Stores) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// Ledger opens the ledger.
func (s *Stores) Ledger(ctx context.Context) (Ledger, error) {
	return once(s, &s.ledger, func() (Ledger, error) { return s.engine.ledger(ctx) })
}

// Register opens the register.
func (s *Stores) Register(ctx context.Context) (Register, error) {
	return once(s, &s.register, func() (Register, error) { return s.engine.register(ctx) })
}

// Bucket opens the bucket.
func (s *Stores) Bucket(ctx context.Context) (Bucket, error) {
	if s.bucket == nil {
		b, err := s.engine.bucket(ctx)
		if err != nil {
			return nil, err
		}
		s.bucket = b
	}
	return s.bucket, nil
}

// Verifier is the verifier key of what is published, for those who read: nothing
// that could write is opened for it.
func (s *Stores) Verifier(ctx context.Context) (string, error) { return s.engine.verifier(ctx) }

// once opens a store the first time, and closes it with the others.
func once[T interface {
	comparable
	Close() error
}](s *Stores, at *T, open func() (T, error)) (T, error) {
	var none T
	if *at != none {
		return *at, nil
	}
	opened, err := open()
	if err != nil {
		return none, err
	}
	*at = opened
	s.later(opened.Close)
	return opened, nil
}

// Prefixes of leases in the register.
const (
	shardLeases   = "aggregate/"
	publishLeases = "publish/"
)

// keeper keeps this process's leases below a prefix, under a name that no
// other process has.
func (s *Stores) keeper(ctx context.Context, prefix string) (*lease.Keeper, error) {
	r, err := s.Register(ctx)
	if err != nil {
		return nil, err
	}
	return lease.New(lease.Config{
		Register: r, Prefix: prefix, Name: processName(), TTL: leaseTTL, Now: lease.Monotonic(),
		Log: s.cfg.Logger, Metrics: lease.NewMetrics(prometheus.WrapRegistererWith(prometheus.Labels{"group": prefix[:len(prefix)-1]}, s.cfg.Registry)),
	})
}

var (
	_ Ledger = (*ledger.SQLite)(nil)
	_ Bucket = (*bucket.Directory)(nil)
)
