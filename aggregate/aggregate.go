// Package aggregate folds the stream into the ledger: it decides what becomes
// of every submission, and keeps the counties' tallies.
//
// Invariant: at any time the ledger's entries, tallies and heads are what
// folding the stream up to the heads' checkpoints from scratch gives, for
// whatever micro-batches, crashes and competing processes led there. Memory
// only ever runs ahead of the ledger; after any error it is thrown away.
package aggregate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"tallystream/aggregate/ledger"
	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// Defaults of Config.
const (
	// DefaultGap lets 500 submissions a second share transactions of 50, and
	// adds at most as much to the way of one to a viewer.
	DefaultGap = 100 * time.Millisecond
	// DefaultFull is the number of records from which a larger transaction
	// saves little more.
	DefaultFull = 1000
)

const (
	// calm is the number of records that a gap gathers on a busy night. Each
	// as many more stretch the gap once, up to maxStretch: whoever sends so
	// much is catching up, and larger transactions cost less a record.
	calm       = 100
	maxStretch = 3
	// carry is how far the head of a quiet partition may fall behind, in
	// records, before a commit takes it along: what a restart reads again.
	carry = 4096
	// drainTimeout bounds the last commit after the context is done.
	drainTimeout = 10 * time.Second
	// Waiting after errors doubles from minBackoff to maxBackoff.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Source is the stream. All partitions share one order of checkpoints.
type Source interface {
	Read(ctx context.Context, after schemas.Checkpoint, max int) ([]stream.Record, error)
	// Wait returns when there may be something behind after.
	Wait(ctx context.Context, after schemas.Checkpoint) error
	Get(ctx context.Context, at schemas.Checkpoint) ([]byte, error)
	Last() schemas.Checkpoint
}

// Ledger is where entries, tallies and heads change together or not at all.
type Ledger interface {
	View(ctx context.Context) (*ledger.View, error)
	EntriesOf(ctx context.Context, unit schemas.UnitID) ([]schemas.Entry, error)
	// Commit writes all batches if every head is still the one read, and
	// nothing otherwise.
	Commit(ctx context.Context, batches []ledger.Batch) error
}

// Config of an Aggregator. Election, Source, Ledger, Metrics and Logger must
// be set.
type Config struct {
	Election *schemas.Election
	Source   Source
	Ledger   Ledger
	// OnCommit is called after each transaction, by the folding goroutine: it
	// must not block. May be nil.
	OnCommit func()
	Metrics  *Metrics
	Logger   *slog.Logger
	// Gap is the least time between two transactions; 0 is DefaultGap. One
	// that is full does not wait.
	Gap time.Duration
	// Full is the number of records that fill a transaction; 0 is DefaultFull.
	Full int
}

// Aggregator folds all partitions of a stream.
type Aggregator struct {
	cfg        Config
	checkpoint atomic.Uint64 // everything up to here is in the ledger
	failure    atomic.Pointer[error]
	lag        lag

	// The rest belongs to Run's goroutine, and is void after an error.
	memory     *memory
	partitions []partition
	position   schemas.Checkpoint // everything up to here is folded
	batches    []ledger.Batch
	tally      batchTally
	last       time.Time // of the last commit
	backoff    time.Duration
}

// New checks the configuration. Nothing is read before Run.
func New(cfg Config) (*Aggregator, error) {
	if cfg.Election == nil || cfg.Source == nil || cfg.Ledger == nil || cfg.Metrics == nil || cfg.Logger == nil {
		return nil, errors.New("aggregate: election, source, ledger, metrics and logger must be set")
	}
	if cfg.Gap == 0 {
		cfg.Gap = DefaultGap
	}
	if cfg.Full == 0 {
		cfg.Full = DefaultFull
	}
	if cfg.OnCommit == nil {
		cfg.OnCommit = func() {}
	}
	a := &Aggregator{cfg: cfg}
	a.failure.Store(&errNotLoaded)
	cfg.Metrics.watch(a)
	return a, nil
}

// Checkpoint is a position up to which the whole stream is in the ledger.
func (a *Aggregator) Checkpoint() schemas.Checkpoint {
	return schemas.Checkpoint(a.checkpoint.Load())
}

var errNotLoaded = errors.New("ledger is not loaded yet")

// Ready returns why the aggregator does not fold: it has not started, or it
// failed and has not committed since.
func (a *Aggregator) Ready() error {
	if err := a.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Run folds until ctx is done, and then commits what is at hand. Errors of the
// stores do not end it: it logs them, waits, and starts again from the ledger.
func (a *Aggregator) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := a.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		a.failure.Store(&err)
		a.cfg.Metrics.restarts.WithLabelValues(restartReason(err)).Inc()
		a.cfg.Logger.WarnContext(ctx, "aggregation starts again from the ledger", "err", err, "checkpoint", a.Checkpoint())
		a.pause(ctx)
	}
	return nil
}

func restartReason(err error) string {
	if errors.Is(err, ledger.ErrConflict) {
		return "conflict"
	}
	return "error"
}

// pause waits after an error: longer each time without a commit between, and
// with jitter, so that two processes that conflict do not meet again.
func (a *Aggregator) pause(ctx context.Context) {
	a.backoff = min(max(2*a.backoff, minBackoff), maxBackoff)
	a.rest(ctx, a.backoff/2+rand.N(a.backoff/2))
}

// rest waits for d or until ctx is done.
func (a *Aggregator) rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// follow loads the ledger and folds what comes, until an error or until ctx is
// done and what was at hand is committed.
func (a *Aggregator) follow(ctx context.Context) error {
	if err := a.load(ctx); err != nil {
		return fmt.Errorf("loading ledger: %w", err)
	}
	for {
		err := a.step(ctx)
		if ctx.Err() != nil {
			// Whatever the error was: what is at hand is whole up to the last
			// record folded, and the ledger refuses it if it is stale.
			a.drain(ctx)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// step makes one micro-batch.
func (a *Aggregator) step(ctx context.Context) error {
	if err := a.cfg.Source.Wait(ctx, a.position); err != nil {
		return fmt.Errorf("waiting for the stream: %w", err)
	}
	if err := a.gather(ctx); err != nil {
		return err
	}
	return a.commit(context.WithoutCancel(ctx), false)
}

func (a *Aggregator) load(ctx context.Context) error {
	start := time.Now()
	a.memory = &memory{election: a.cfg.Election, history: stores{a.cfg.Ledger, a.cfg.Source}, metrics: a.cfg.Metrics, onPoison: a.onPoison}
	partitions, err := a.memory.load(ctx, a.cfg.Ledger)
	if err != nil {
		return err
	}
	a.partitions, a.tally = partitions, batchTally{}
	a.position = position(partitions)
	if errors.Is(a.Ready(), errNotLoaded) || a.cfg.Source.Last() <= a.position {
		a.failure.Store(nil) // otherwise the next commit says whether it works again
	}
	a.checkpoint.Store(max(a.checkpoint.Load(), uint64(a.position)))
	a.lag.sample(a.cfg.Source.Last(), time.Now())
	took := time.Since(start)
	a.cfg.Metrics.load.Observe(took.Seconds())
	a.cfg.Logger.InfoContext(ctx, "ledger loaded", "checkpoint", a.position, "elapsed", took)
	return nil
}

// stores are the history of the fold: entries from one, records from the other.
type stores struct {
	Ledger
	Source
}

func (a *Aggregator) onPoison(p schemas.Partition, at schemas.Checkpoint, err error) {
	a.cfg.Logger.Warn("poison in the stream is held", "partition", p, "at", at, "err", err)
}

// gather folds records until the micro-batch is full or the gap since the last
// transaction is over. Folding goes on while the gap runs, so that the commit
// follows at once.
func (a *Aggregator) gather(ctx context.Context) error {
	for {
		a.lag.sample(a.cfg.Source.Last(), time.Now())
		if err := a.foldSome(ctx, a.cfg.Full-a.tally.records); err != nil {
			return err
		}
		stretch := min(max(a.tally.records/calm, 1), maxStretch)
		wait := time.Until(a.last.Add(time.Duration(stretch) * a.cfg.Gap))
		if a.tally.records >= a.cfg.Full || wait <= 0 || ctx.Err() != nil {
			return nil
		}
		a.rest(ctx, wait)
	}
}

func (a *Aggregator) foldSome(ctx context.Context, most int) error {
	records, err := a.cfg.Source.Read(ctx, a.position, most)
	if err != nil {
		return fmt.Errorf("reading the stream: %w", err)
	}
	start := time.Now()
	for i := range records {
		if err := a.fold(ctx, &records[i]); err != nil {
			return err
		}
	}
	if len(records) > 0 {
		a.cfg.Metrics.fold.Observe(time.Since(start).Seconds())
	}
	return nil
}

func (a *Aggregator) fold(ctx context.Context, r *stream.Record) error {
	if r.At <= a.position {
		return fmt.Errorf("the stream gave record %d after %d", r.At, a.position)
	}
	// A partition that the election does not have is a defect of ingest. Its
	// record was acknowledged, so it must have an entry somewhere.
	p := &a.partitions[int(r.Partition)%len(a.partitions)]
	outcome, err := p.fold(ctx, r.At, r.Bytes)
	if err != nil {
		return err
	}
	a.position = r.At
	hold := schemas.HoldCode("")
	if outcome == Held {
		hold = p.entries[len(p.entries)-1].Hold
	}
	a.tally.add(outcome, hold)
	return nil
}

// commit writes what all partitions have at hand in one transaction, and takes
// along the heads of quiet partitions that fell far behind; all is true to take
// every head along.
func (a *Aggregator) commit(ctx context.Context, all bool) error {
	a.batches = a.batches[:0]
	for i := range a.partitions {
		p := &a.partitions[i]
		// After a start the position may be before a partition's checkpoint.
		if at := p.next.Checkpoint; at < a.position && (all || a.position-at >= carry) {
			p.next.Checkpoint = a.position // nothing of it lies between
		}
		if p.next != p.head {
			a.batches = append(a.batches, p.batch())
		}
	}
	start := time.Now()
	if len(a.batches) > 0 {
		if err := a.cfg.Ledger.Commit(ctx, a.batches); err != nil {
			return fmt.Errorf("committing micro-batch: %w", err)
		}
		// Durable now: a crash from here on starts behind this batch.
		a.last, a.backoff = time.Now(), 0
		for i := range a.batches {
			a.partitions[a.batches[i].Before.Partition].committed()
		}
		a.cfg.Metrics.committed(len(a.batches), a.tally.records, a.last.Sub(start))
	}
	a.cfg.Metrics.passed(&a.tally)
	a.tally = batchTally{}
	a.failure.Store(nil)
	a.checkpoint.Store(max(a.checkpoint.Load(), uint64(a.position)))
	a.lag.pass(a.position)
	if len(a.batches) > 0 {
		a.cfg.OnCommit()
	}
	return nil
}

// drain commits what is at hand after ctx is done.
func (a *Aggregator) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := a.commit(ctx, true); err != nil {
		a.cfg.Logger.WarnContext(ctx, "last micro-batch is left to the next start", "err", err)
	}
}
