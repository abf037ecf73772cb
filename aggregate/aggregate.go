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
	"maps"
	"slices"
	"sync"
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
	// DefaultTendEvery is how often shards and leases are looked after.
	DefaultTendEvery = time.Second
)

// Ledger is where entries, tallies and heads change together or not at all.
type Ledger interface {
	Heads(ctx context.Context) ([]ledger.Head, error)
	View(ctx context.Context) (ledger.View, error)
	// Units calls fn with every entry of the partitions that names a unit, those
	// of a unit in order.
	Units(ctx context.Context, partitions []schemas.Partition, fn func(schemas.Entry) error) error
	EntriesOf(ctx context.Context, unit schemas.UnitID) ([]schemas.Entry, error)
	Record(ctx context.Context, x schemas.Entry) ([]byte, error)
	// Commit writes each batch if its head is still the one read, whole or not
	// at all. After an error some may have been written.
	Commit(ctx context.Context, batches []ledger.Batch) error
	Room() ledger.Room
}

// Leases choose who works on which shard. They do not guard what is written:
// the ledger's condition on heads does.
type Leases interface {
	// Tick renews, takes and gives up, and returns which of the wanted are held.
	Tick(ctx context.Context, wanted []string) (held []string, err error)
	// Report says how far the work on a name is behind, for others to see.
	Report(name string, behind time.Duration)
	// Release hands leases over.
	Release(ctx context.Context, names ...string) error
}

// Config of an Aggregator. Election, Source, Ledger, Metrics and Logger must
// be set.
type Config struct {
	Election *schemas.Election
	Source   stream.Source
	Ledger   Ledger
	// Leases share the shards between processes; nil: this one works on all.
	Leases Leases
	// OnCommit is called after each transaction, by a folding goroutine: it must
	// not block. May be nil.
	OnCommit func()
	Metrics  *Metrics
	Logger   *slog.Logger
	Now      func() time.Time // nil: time.Now
	// Gap is the least time between two transactions of a shard; 0 is
	// DefaultGap. One that is full does not wait.
	Gap time.Duration
	// Full is the number of records that fill a transaction; 0 is DefaultFull.
	Full int
	// TendEvery is how often shards and leases are looked after; 0 is
	// DefaultTendEvery.
	TendEvery time.Duration
}

func (c *Config) setDefaults() error {
	if c.Election == nil || c.Source == nil || c.Ledger == nil || c.Metrics == nil || c.Logger == nil {
		return errors.New("aggregate: election, source, ledger, metrics and logger must be set")
	}
	if c.Gap == 0 {
		c.Gap = DefaultGap
	}
	if c.Full == 0 {
		c.Full = DefaultFull
	}
	if c.TendEvery == 0 {
		c.TendEvery = DefaultTendEvery
	}
	if c.OnCommit == nil {
		c.OnCommit = func() {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// Aggregator folds the shards that this process holds, each with a worker of
// its own.
type Aggregator struct {
	cfg  Config
	book *book
	// tended wakes Run when a worker has ended.
	tended chan struct{}
	taken  atomic.Uint64 // records, by all workers

	mu      sync.Mutex
	workers map[string]*running // by shard; guarded by mu
	failure error               // of looking after shards and leases; guarded by mu
}

// running is a worker with the goroutine that runs it.
type running struct {
	*Worker
	stop context.CancelFunc
	done chan struct{} // closed when the goroutine has ended
}

// New checks the configuration. Nothing is read before Run.
func New(cfg Config) (*Aggregator, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	a := &Aggregator{
		cfg: cfg, book: newBook(cfg.Election), tended: make(chan struct{}, 1),
		workers: map[string]*running{}, failure: errNotLoaded,
	}
	cfg.Metrics.watch(a)
	return a, nil
}

var errNotLoaded = errors.New("ledger is not loaded yet")

// Ready returns why the aggregator does not fold: it has not started, or it
// failed and has not committed since.
func (a *Aggregator) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failure != nil {
		return a.failure
	}
	for _, w := range a.workers {
		if err := w.Ready(); err != nil {
			return err
		}
	}
	return nil
}

// Taken is how many records of the stream this process has passed into the
// ledger.
func (a *Aggregator) Taken() uint64 { return a.taken.Load() }

// each calls fn with every worker.
func (a *Aggregator) each(fn func(*Worker)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.workers {
		fn(w.Worker)
	}
}

// Run folds until ctx is done, and then commits what is at hand. Errors of the
// stores do not end it: it logs them, waits, and starts again from the ledger.
func (a *Aggregator) Run(ctx context.Context) error {
	defer a.handOver(ctx)
	tick := time.NewTicker(a.cfg.TendEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		err := a.tend(ctx)
		if ctx.Err() != nil {
			return nil
		}
		a.report(ctx, err)
		select {
		case <-tick.C:
		case <-a.tended:
		case <-ctx.Done():
		}
	}
	return nil
}

func (a *Aggregator) report(ctx context.Context, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failure = err
	if err != nil {
		a.cfg.Metrics.restarts.WithLabelValues(restartReason(err)).Inc()
		a.cfg.Logger.WarnContext(ctx, "looking after shards failed, trying again", "err", err)
	}
}

// tend makes the workers those of the shards that can be read and are held.
func (a *Aggregator) tend(ctx context.Context) error {
	committed := a.committed() // before the heads, which then have as much or more
	heads, err := a.cfg.Ledger.Heads(ctx)
	if err != nil {
		return fmt.Errorf("reading heads: %w", err)
	}
	a.stopLost(ctx, committed, heads)
	shards, err := a.cfg.Source.Shards(ctx, positions(heads))
	if err != nil {
		return fmt.Errorf("listing shards: %w", err)
	}
	held, err := a.hold(ctx, shards)
	if err != nil {
		// Workers go on: what they write is guarded, whoever holds the lease.
		return fmt.Errorf("renewing leases: %w", err)
	}
	a.stopOthers(held)
	for _, s := range shards {
		if slices.Contains(held, s.ID) {
			a.work(ctx, s)
		}
	}
	return nil
}

func (a *Aggregator) hold(ctx context.Context, shards []stream.Shard) ([]string, error) {
	wanted := make([]string, len(shards))
	for i := range shards {
		wanted[i] = shards[i].ID
	}
	if a.cfg.Leases == nil {
		return wanted, nil
	}
	a.each(func(w *Worker) {
		_, age := w.Behind()
		a.cfg.Leases.Report(w.shard.ID, age)
	})
	return a.cfg.Leases.Tick(ctx, wanted)
}

// stopOthers ends and forgets the workers whose shards are not among those held.
func (a *Aggregator) stopOthers(held []string) {
	a.mu.Lock()
	var ending []*running
	for id, w := range a.workers {
		if !slices.Contains(held, id) {
			delete(a.workers, id)
			ending = append(ending, w)
		}
	}
	a.mu.Unlock()
	for _, w := range ending {
		w.stop()
		<-w.done
	}
}

// committed is how many entries of its shard each worker knows in the ledger.
func (a *Aggregator) committed() map[*running]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[*running]uint64{}
	for _, w := range a.workers {
		out[w] = w.entries.Load()
	}
	return out
}

// stopLost ends the workers of shards of which the ledger has fewer entries than
// it had: its table was deleted and made again, or went back. The next commit
// would find out by itself, but none comes while nobody submits. Those that
// follow them load the ledger as it is, and fold what it lacks.
func (a *Aggregator) stopLost(ctx context.Context, committed map[*running]uint64, heads []ledger.Head) {
	for w, had := range committed {
		has := uint64(0)
		for _, p := range w.shard.Partitions {
			has += heads[p].Size
		}
		if has >= had || w.ended() {
			continue
		}
		a.cfg.Logger.WarnContext(ctx, "the ledger has lost entries, they are folded anew from the stream", "shard", w.shard.ID, "had", had, "has", has)
		a.cfg.Metrics.restarts.WithLabelValues("lost").Inc()
		w.stop()
		<-w.done
	}
}

func (w *running) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// work begins to work on a shard, unless that goes on already.
func (a *Aggregator) work(ctx context.Context, s stream.Shard) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.workers[s.ID]; w != nil && (!w.ended() || ctx.Err() != nil) {
		return
	}
	ctx, stop := context.WithCancel(ctx)
	w := &running{Worker: newWorker(&a.cfg, a.book, s, &a.taken), stop: stop, done: make(chan struct{})}
	a.workers[s.ID] = w
	go func() {
		defer func() {
			close(w.done)
			select {
			case a.tended <- struct{}{}:
			default: // told already
			}
		}()
		w.run(ctx)
	}()
}

// handOver ends all workers, whose last batches are then in the ledger, and
// lets go of the leases.
func (a *Aggregator) handOver(ctx context.Context) {
	a.mu.Lock() // only Run's goroutine changes the workers
	workers := maps.Clone(a.workers)
	a.mu.Unlock()
	for _, w := range workers {
		w.stop()
	}
	for _, w := range workers {
		<-w.done
	}
	ids := slices.Collect(maps.Keys(workers))
	if a.cfg.Leases == nil || len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := a.cfg.Leases.Release(ctx, ids...); err != nil {
		a.cfg.Logger.WarnContext(ctx, "leases were not released, others take them when they expire", "err", err)
	}
}

func positions(heads []ledger.Head) []stream.Position {
	at := make([]stream.Position, len(heads))
	for i := range heads {
		at[i] = stream.Position{Checkpoint: heads[i].Checkpoint, Cursor: heads[i].Cursor}
	}
	return at
}

// Behind is how many records of the shards that this process holds are not in
// the ledger yet, where that is known, and for how long, as of the workers' last
// looks.
func (a *Aggregator) Behind() (records uint64, age time.Duration) {
	a.each(func(w *Worker) {
		n, d := w.Behind()
		records, age = records+n, max(age, d)
	})
	return records, age
}
