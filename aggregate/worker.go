package aggregate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"tallystream/aggregate/ledger"
	"tallystream/ingest/stream"
	"tallystream/schemas"
)

const (
	// calm is the number of records that a gap gathers on a busy night. Each
	// as many more stretch the gap once, up to maxStretch: whoever sends so
	// much is catching up, and larger transactions cost less a record.
	calm       = 100
	maxStretch = 3
	// carry is how many records are read until the heads of partitions without
	// any are taken along: what a restart reads again.
	carry = 4096
	// drainTimeout bounds the last commit after the context is done.
	drainTimeout = 10 * time.Second
	// Waiting after errors doubles from minBackoff to maxBackoff.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Worker folds the partitions of one shard. One goroutine drives it; what
// others may ask is atomic.
type Worker struct {
	cfg   *Config
	shard stream.Shard
	room  ledger.Room
	taken *atomic.Uint64 // records that are in the ledger, counted over all workers

	checkpoint atomic.Uint64 // highest position that is in the ledger
	entries    atomic.Uint64 // of this shard, in the ledger
	failure    atomic.Pointer[error]
	unread     atomic.Uint64 // as of the last look: records not in the ledger,
	since      atomic.Int64  // and since when the oldest waits, in ns since 1970; 0: none

	// The rest belongs to the goroutine, and is void after an error.
	memory     *memory
	partitions []partition // of this shard
	places     []int       // where in partitions each is; -1: not in this shard
	reader     stream.Reader
	batches    []ledger.Batch
	tally      batchTally
	carried    int       // records since the quiet heads were taken along
	last       time.Time // of the last commit
	backoff    time.Duration
}

// NewWorker makes a worker of a shard for whoever drives it turn by turn.
func NewWorker(cfg Config, s stream.Shard) (*Worker, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	return newWorker(&cfg, newBook(cfg.Election), s, new(atomic.Uint64)), nil
}

func newWorker(cfg *Config, b *book, s stream.Shard, taken *atomic.Uint64) *Worker {
	w := &Worker{cfg: cfg, shard: s, room: cfg.Ledger.Room(), taken: taken}
	w.memory = &memory{election: cfg.Election, book: b, history: cfg.Ledger, metrics: cfg.Metrics, onPoison: w.onPoison}
	w.failure.Store(&errNotLoaded)
	return w
}

// Ready returns why the worker does not fold, as of its last turn.
func (w *Worker) Ready() error {
	if err := w.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Behind is how many records of the shard are known not to be in the ledger,
// and how long the oldest of them has waited.
func (w *Worker) Behind() (records uint64, age time.Duration) {
	if since := w.since.Load(); since != 0 {
		age = w.cfg.Now().Sub(time.Unix(0, since))
	}
	return w.unread.Load(), age
}

// look notes how far behind the ledger is. Only a commit makes the oldest
// record a younger one.
func (w *Worker) look(committed bool) {
	records, age := w.reader.Behind()
	records += uint64(w.tally.records)
	w.unread.Store(records)
	switch {
	case records == 0 && age == 0:
		w.since.Store(0)
	case committed || w.since.Load() == 0:
		w.since.Store(w.cfg.Now().Add(-age).UnixNano())
	}
}

// run folds until ctx is done or the shard has ended.
func (w *Worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.follow(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		w.failure.Store(&err)
		w.cfg.Metrics.restarts.WithLabelValues(restartReason(err)).Inc()
		w.cfg.Logger.WarnContext(ctx, "aggregation starts again from the ledger", "shard", w.shard.ID, "err", err)
		w.pause(ctx)
	}
}

func restartReason(err error) string {
	if errors.Is(err, ledger.ErrConflict) {
		return "conflict"
	}
	return "error"
}

// pause waits after an error: longer each time without a commit between, and
// with jitter, so that two processes that conflict do not meet again.
func (w *Worker) pause(ctx context.Context) {
	w.backoff = min(max(2*w.backoff, minBackoff), maxBackoff)
	rest(ctx, w.backoff/2+rand.N(w.backoff/2))
}

// rest waits for d or until ctx is done.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// follow loads the ledger and folds what comes: until an error, until the
// shard has ended and the ledger says so, or until ctx is done and what was at
// hand is committed.
func (w *Worker) follow(ctx context.Context) error {
	if err := w.Load(ctx); err != nil {
		return fmt.Errorf("loading ledger: %w", err)
	}
	defer w.close()
	for {
		ended, err := w.step(ctx)
		if ctx.Err() != nil {
			// Whatever the error was: what is at hand is whole up to the last
			// record folded, and the ledger refuses it if it is stale.
			w.drain(ctx)
			return nil
		}
		if err != nil || ended {
			return err
		}
	}
}

func (w *Worker) close() {
	if err := w.reader.Close(); err != nil {
		w.cfg.Logger.Warn("closing shard reader failed", "shard", w.shard.ID, "err", err)
	}
}

// step makes one micro-batch.
func (w *Worker) step(ctx context.Context) (ended bool, err error) {
	if err := w.reader.Wait(ctx); err != nil {
		return false, fmt.Errorf("waiting for the stream: %w", err)
	}
	if err := w.gather(ctx); err != nil {
		return false, err
	}
	return w.Settle(context.WithoutCancel(ctx))
}

// Settle commits what is at hand. When the shard has ended, every head then
// says so: whoever lists the shards next finds those that follow.
func (w *Worker) Settle(ctx context.Context) (ended bool, err error) {
	ended = w.reader.Ended()
	return ended, w.commit(ctx, ended)
}

// Load throws memory away, reads everything anew from the ledger and opens the
// shard behind its heads.
func (w *Worker) Load(ctx context.Context) error {
	start := time.Now()
	heads, err := w.load(ctx)
	if err != nil {
		return err
	}
	reader, err := w.cfg.Source.Open(ctx, w.shard, positions(heads))
	if err != nil {
		return fmt.Errorf("opening shard %s: %w", w.shard.ID, err)
	}
	w.reader, w.tally, w.carried = reader, batchTally{}, 0
	w.look(false)
	if errors.Is(w.Ready(), errNotLoaded) || w.unread.Load() == 0 {
		w.failure.Store(nil) // otherwise the next commit says whether it works again
	}
	w.reached()
	took := time.Since(start)
	w.cfg.Metrics.load.Observe(took.Seconds())
	w.cfg.Logger.InfoContext(ctx, "ledger loaded", "shard", w.shard.ID, "checkpoint", w.checkpoint.Load(), "elapsed", took)
	return nil
}

// reached notes how far the ledger is.
func (w *Worker) reached() {
	at, entries := w.checkpoint.Load(), uint64(0)
	for i := range w.partitions {
		at = max(at, uint64(w.reader.Position(w.partitions[i].next.Partition).Checkpoint))
		entries += w.partitions[i].head.Size
	}
	w.checkpoint.Store(at)
	w.entries.Store(entries)
}

func (w *Worker) onPoison(p schemas.Partition, at schemas.Checkpoint, err error) {
	w.cfg.Logger.Warn("poison in the stream is held", "partition", p, "at", at, "err", err)
}

// gather folds records until the micro-batch is full or the gap since the last
// transaction is over. Folding goes on while the gap runs, so that the commit
// follows at once.
func (w *Worker) gather(ctx context.Context) error {
	for {
		more, err := w.Take(ctx)
		if err != nil {
			return err
		}
		stretch := min(max(w.tally.records/calm, 1), maxStretch)
		wait := w.last.Add(time.Duration(stretch) * w.cfg.Gap).Sub(w.cfg.Now())
		if w.left() <= 0 || wait <= 0 || w.reader.Ended() || ctx.Err() != nil {
			return nil
		}
		if !more {
			rest(ctx, wait)
		}
	}
}

// left is how many records the micro-batch can take, whichever partitions they
// belong to. A whole read is folded before a commit, because the reader's
// positions are behind all of it.
func (w *Worker) left() int {
	left := w.cfg.Full - w.tally.records
	for i := range w.partitions {
		p := &w.partitions[i]
		left = min(left, w.room.Entries-len(p.entries), (w.room.Bytes-p.bytes)/schemas.MaxEnvelope)
	}
	return left
}

// Take reads once and folds what came; more reports that there may be more.
func (w *Worker) Take(ctx context.Context) (more bool, err error) {
	w.look(false)
	most := w.left()
	if most <= 0 {
		return false, nil
	}
	records, err := w.reader.Read(ctx, most)
	if err != nil {
		return false, fmt.Errorf("reading the stream: %w", err)
	}
	start := time.Now()
	for i := range records {
		if err := w.fold(ctx, &records[i]); err != nil {
			return false, err
		}
	}
	if len(records) > 0 {
		w.cfg.Metrics.fold.Observe(time.Since(start).Seconds())
	}
	return len(records) == most, nil
}

func (w *Worker) fold(ctx context.Context, r *stream.Record) error {
	p, err := w.partition(r)
	if err != nil {
		return err
	}
	outcome, err := p.fold(ctx, r.At, r.Bytes)
	if err != nil {
		return err
	}
	w.carried++
	hold := schemas.HoldCode("")
	if outcome == Held {
		hold = p.entries[len(p.entries)-1].Hold
	}
	w.tally.add(outcome, hold)
	return nil
}

// partition is the one that a record belongs to. A number that the election
// does not have is a defect of ingest; the record was acknowledged, so it must
// have an entry somewhere.
func (w *Worker) partition(r *stream.Record) (*partition, error) {
	number := int(r.Partition) % w.cfg.Election.Definition.Partitions
	if at := w.places[number]; at >= 0 {
		return &w.partitions[at], nil
	}
	return nil, fmt.Errorf("shard %s gave a record of partition %d, which is not in it", w.shard.ID, number)
}

// commit writes what all partitions have at hand in one micro-batch. It takes
// along the heads of quiet partitions every so often, and all of them if all is
// true.
func (w *Worker) commit(ctx context.Context, all bool) error {
	all = all || w.carried >= carry
	w.batches = w.batches[:0]
	for i := range w.partitions {
		p := &w.partitions[i]
		if all || p.next != p.head {
			p.reach(w.reader.Position(p.next.Partition))
		}
		if p.next != p.head {
			w.batches = append(w.batches, p.batch())
		}
	}
	start := w.cfg.Now()
	if len(w.batches) > 0 {
		if err := w.cfg.Ledger.Commit(ctx, w.batches); err != nil {
			return fmt.Errorf("committing micro-batch: %w", err)
		}
		// Durable now: a crash from here on starts behind this batch.
		w.last, w.backoff = w.cfg.Now(), 0
		for i := range w.batches {
			w.partitions[w.places[w.batches[i].Before.Partition]].committed()
		}
		w.cfg.Metrics.committed(len(w.batches), w.tally.records, w.last.Sub(start))
	}
	if all {
		w.carried = 0
	}
	w.cfg.Metrics.passed(&w.tally)
	w.taken.Add(uint64(w.tally.records))
	w.tally = batchTally{}
	w.failure.Store(nil)
	w.reached()
	w.look(true)
	if len(w.batches) > 0 {
		w.cfg.OnCommit()
	}
	return nil
}

// drain commits what is at hand after ctx is done.
func (w *Worker) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := w.commit(ctx, true); err != nil {
		w.cfg.Logger.WarnContext(ctx, "last micro-batch is left to the next start", "shard", w.shard.ID, "err", err)
	}
}
