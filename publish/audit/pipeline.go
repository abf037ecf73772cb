package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
	"tallystream/service/cloud"
)

// Entries go through in chunks: one goroutine reads the ledger, one a core
// takes records apart, and the audit's own counts them in their order. Only
// chunksAhead chunks exist, which bounds the memory.
const (
	chunkEntries = 128
	chunkBytes   = 1 << 20
	chunksAhead  = 4 // a core
)

// chunk is some entries on their way. Whoever has received it owns it.
type chunk struct {
	entries  []schemas.Entry
	ends     []int // of each entry's record in bytes
	bytes    []byte
	lost     []string // of each entry: why it has no record
	readings []reading
	done     chan struct{} // has room for one: the readings are there
}

func newChunk() *chunk { return &chunk{done: make(chan struct{}, 1)} }

func (c *chunk) reset() {
	c.entries, c.ends, c.bytes, c.lost = c.entries[:0], c.ends[:0], c.bytes[:0], c.lost[:0]
}

func (c *chunk) isFull() bool { return len(c.entries) >= chunkEntries || len(c.bytes) >= chunkBytes }

func (c *chunk) add(x schemas.Entry, record []byte, lost string) {
	c.entries, c.lost = append(c.entries, x), append(c.lost, lost)
	c.bytes = append(c.bytes, record...)
	c.ends = append(c.ends, len(c.bytes))
}

// take reads every record of the chunk.
func (c *chunk) take(r *reader) {
	for len(c.readings) < len(c.entries) {
		c.readings = append(c.readings, reading{})
	}
	from := 0
	for i := range c.entries {
		if c.lost[i] != "" {
			c.readings[i] = reading{lost: c.lost[i], row: c.readings[i].row[:0], signers: c.readings[i].signers[:0]}
		} else {
			r.read(c.entries[i].Partition, c.bytes[from:c.ends[i]:c.ends[i]], &c.readings[i])
		}
		from = c.ends[i]
	}
	c.done <- struct{}{}
}

// countTo counts every entry of the view behind what was counted before, up to
// so many of each partition; nil is all.
func (a *auditor) countTo(ctx context.Context, view ledger.View, upTo []uint64) error {
	heads := slices.Clone(view.Heads())
	for p := range upTo {
		heads[p].Size = upTo[p]
	}
	cores := runtime.GOMAXPROCS(0)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g, ctx := errgroup.WithContext(ctx)
	free := make(chan *chunk, cores*chunksAhead)
	for range cap(free) {
		free <- newChunk()
	}
	work, ordered := make(chan *chunk, cap(free)), make(chan *chunk, cap(free))
	f := &feeder{view: view, heads: heads, at: slices.Clone(a.count.at), free: free, out: func(c *chunk) { work <- c; ordered <- c }}
	g.Go(func() error {
		defer close(work)
		defer close(ordered)
		return f.run(ctx)
	})
	for range cores {
		g.Go(func() error {
			r := &reader{forms: a.forms, election: a.cfg.Election, keyring: a.cfg.Keyring}
			for c := range work {
				c.take(r)
			}
			return nil
		})
	}
	g.Go(func() error {
		var err error
		for c := range ordered { // to the end even after an error: others wait for it
			<-c.done
			if err == nil {
				if err = a.countChunk(ctx, c, heads); err != nil {
					cancel(err)
				}
			}
			c.reset()
			free <- c
		}
		return err
	})
	return g.Wait()
}

func (a *auditor) countChunk(ctx context.Context, c *chunk, heads []ledger.Head) error {
	for i := range c.entries {
		x := &c.entries[i]
		if err := a.count.take(ctx, x, &c.readings[i], &heads[x.Partition]); err != nil {
			return err
		}
	}
	a.cfg.Progress(Progress{Done: a.report.Entries, Total: max(a.total, a.report.Entries), Elapsed: a.cfg.Now().Sub(a.begun)})
	return nil
}

func sizeOf(heads []ledger.Head) (n uint64) {
	for i := range heads {
		n += heads[i].Size
	}
	return n
}

// feeder reads a view. What the ledger cannot give is an entry that is lost;
// the audit goes on behind it.
type feeder struct {
	view  ledger.View
	heads []ledger.Head
	at    []uint64 // entries given, by partition
	free  chan *chunk
	out   func(*chunk)
	chunk *chunk
	lost  int
}

// mostLost is how many entries may be lost until the ledger counts as
// unreadable: something is wrong that no list of entries would show.
const mostLost = 1000

// run gives all entries up to the heads. Most ledgers are whole, and read
// fastest at once; behind an error each partition is read on its own, so that it
// is known which entry is at fault.
func (f *feeder) run(ctx context.Context) error {
	f.chunk = <-f.free
	defer func() { f.out(f.chunk) }()
	err := f.view.Entries(ctx, slices.Clone(f.at), func(x schemas.Entry, b []byte) error { return f.take(ctx, x, b) })
	for p := range f.heads {
		for {
			if err := f.fatal(ctx, err); err != nil {
				return err
			}
			if f.at[p] >= f.heads[p].Size {
				break
			}
			before := f.at[p]
			if err = f.alone(ctx, p); err == nil && f.at[p] < f.heads[p].Size {
				err = errMissing
			}
			if err != nil && f.at[p] == before {
				if ferr := f.fatal(ctx, err); ferr != nil {
					return ferr
				}
				if err := f.lose(ctx, schemas.Entry{Partition: schemas.Partition(p), Seq: before + 1}, err.Error()); err != nil {
					return err
				}
				err = nil
			}
		}
	}
	return nil
}

var (
	errMissing = errors.New("the ledger does not have it, though its head says so")
	errStop    = errors.New("the audit has stopped")
)

// fatal is the error that ends the audit: a ledger that does not answer, as
// against one that lacks something.
func (f *feeder) fatal(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		return nil
	case errors.Is(err, errStop), errors.Is(err, ledger.ErrClosed), cloud.KindOf(err) != "":
		return err
	case f.lost > mostLost:
		return fmt.Errorf("more than %d entries cannot be read, the last because: %w", mostLost, err)
	}
	return nil
}

// alone reads one partition behind what was given of it.
func (f *feeder) alone(ctx context.Context, p int) error {
	after := make([]uint64, len(f.heads))
	for i := range after {
		after[i] = f.view.Heads()[i].Size
	}
	after[p] = f.at[p]
	return f.view.Entries(ctx, after, func(x schemas.Entry, b []byte) error { return f.take(ctx, x, b) })
}

// take gives one entry, and says which are missing before it.
func (f *feeder) take(ctx context.Context, x schemas.Entry, record []byte) error {
	if int(x.Partition) >= len(f.at) {
		return fmt.Errorf("%w: entry of partition %d, which the election does not have", errStop, x.Partition)
	}
	if x.Seq > f.heads[x.Partition].Size {
		return nil // of a later cut
	}
	if at := f.at[x.Partition]; x.Seq <= at {
		return fmt.Errorf("%w: entry %d of partition %d comes after entry %d", errStop, x.Seq, x.Partition, at)
	}
	if missing := f.at[x.Partition] + 1; missing < x.Seq {
		why := errMissing.Error()
		if missing+1 < x.Seq {
			why = fmt.Sprintf("the ledger has none up to entry %d", x.Seq)
		}
		if err := f.lose(ctx, schemas.Entry{Partition: x.Partition, Seq: missing}, why); err != nil {
			return err
		}
	}
	return f.give(ctx, x, record, "")
}

func (f *feeder) lose(ctx context.Context, x schemas.Entry, why string) error {
	f.lost++
	return f.give(ctx, x, nil, why)
}

func (f *feeder) give(ctx context.Context, x schemas.Entry, record []byte, lost string) error {
	f.chunk.add(x, record, lost)
	f.at[x.Partition] = x.Seq
	if !f.chunk.isFull() {
		return nil
	}
	f.out(f.chunk)
	f.chunk = nil
	select {
	case f.chunk = <-f.free:
		return nil
	case <-ctx.Done():
		f.chunk = newChunk() // for run's last
		return context.Cause(ctx)
	}
}
