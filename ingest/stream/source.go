package stream

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tallystream/schemas"
)

// Position is how far a partition has been read: behind everything up to
// Checkpoint. Cursor says where in the stream that is, in the adapter's words;
// it is empty at the beginning, and always where checkpoints are places
// themselves, as in the embedded stream.
type Position struct {
	Checkpoint schemas.Checkpoint
	Cursor     string
}

// Shard is a part of the stream that one reader reads at a time: the records
// of these partitions, in order.
type Shard struct {
	ID         string
	Partitions []schemas.Partition
}

// Source is the stream as aggregation reads it.
type Source interface {
	// Shards returns the shards that can be read now, given the position of
	// every partition. A shard whose parents are not yet read to their ends, by
	// all their partitions, is not among them.
	Shards(ctx context.Context, at []Position) ([]Shard, error)
	// Open begins to read a shard behind the positions of its partitions.
	Open(ctx context.Context, s Shard, at []Position) (Reader, error)
}

// Reader gives the records of a shard, each partition's in order and none at or
// before its position. It serves one goroutine.
type Reader interface {
	// Read returns the next records, at most so many; none if there are none yet.
	Read(ctx context.Context, most int) ([]Record, error)
	// Wait returns when there may be something to read, or the shard has ended.
	Wait(ctx context.Context) error
	// Position is behind everything of p that Read returned. It moves on for
	// partitions without records, too.
	Position(p schemas.Partition) Position
	// Ended reports that the shard takes no more records and all were read.
	// Position says so from then on, and whoever stores that opens the way to
	// the shards that follow.
	Ended() bool
	// Behind is what is known to be unread: how many records, and for how long
	// the oldest has waited; zero where it is not known.
	Behind() (records uint64, age time.Duration)
	Close() error
}

// Ordered is a stream with one order over all partitions, in which a
// checkpoint is a record's place.
type Ordered interface {
	Read(ctx context.Context, after schemas.Checkpoint, limit int) ([]Record, error)
	Wait(ctx context.Context, after schemas.Checkpoint) error
	Last() schemas.Checkpoint
}

// OneShard is the Source of a stream with one order: a single shard that never
// ends.
func OneShard(s Ordered, partitions int, now func() time.Time) Source {
	whole := &oneShard{stream: s, now: now, shard: Shard{ID: "stream"}}
	for p := range partitions {
		whole.shard.Partitions = append(whole.shard.Partitions, schemas.Partition(p))
	}
	return whole
}

type oneShard struct {
	stream Ordered
	now    func() time.Time
	shard  Shard
}

func (o *oneShard) Shards(context.Context, []Position) ([]Shard, error) {
	return []Shard{o.shard}, nil
}

func (o *oneShard) Open(_ context.Context, s Shard, at []Position) (Reader, error) {
	if s.ID != o.shard.ID || len(at) != len(o.shard.Partitions) {
		return nil, fmt.Errorf("opening shard %q with %d positions: the embedded stream has one shard of %d partitions", s.ID, len(at), len(o.shard.Partitions))
	}
	r := &orderedReader{stream: o.stream, now: o.now, before: make([]schemas.Checkpoint, len(at)), after: at[0].Checkpoint}
	for p := range at {
		r.before[p] = at[p].Checkpoint
		r.after, r.newest = min(r.after, at[p].Checkpoint), max(r.newest, at[p].Checkpoint)
	}
	return r, nil
}

// orderedReader reads on from the least position of all partitions.
type orderedReader struct {
	stream Ordered
	now    func() time.Time
	before []schemas.Checkpoint // where each partition's reading began
	newest schemas.Checkpoint   // the furthest of these
	after  schemas.Checkpoint   // everything up to here was read
	lag    lag
}

func (r *orderedReader) Read(ctx context.Context, most int) ([]Record, error) {
	for {
		r.sample()
		records, err := r.stream.Read(ctx, r.after, most)
		if err != nil || len(records) == 0 {
			return nil, err
		}
		fresh, err := r.pass(records)
		if err != nil || len(fresh) > 0 {
			return fresh, err
		}
		// All of these were before their partitions' positions.
	}
}

// pass moves on behind records and leaves out those that their partitions had
// before: after a start some partitions are further than others.
func (r *orderedReader) pass(records []Record) ([]Record, error) {
	all := r.after >= r.newest
	for i := range records {
		if records[i].At <= r.after {
			return nil, fmt.Errorf("the stream gave record %d after %d", records[i].At, r.after)
		}
		r.after = records[i].At
	}
	r.lag.pass(r.after)
	if all {
		return records, nil
	}
	return slices.DeleteFunc(slices.Clone(records), func(x Record) bool {
		return int(x.Partition) < len(r.before) && x.At <= r.before[x.Partition]
	}), nil
}

func (r *orderedReader) Wait(ctx context.Context) error {
	if err := r.stream.Wait(ctx, r.after); err != nil {
		return err
	}
	r.sample()
	return nil
}

func (r *orderedReader) sample() {
	if last := r.stream.Last(); last > r.after {
		r.lag.sample(last, r.now())
	}
}

func (r *orderedReader) Position(p schemas.Partition) Position {
	// After a start the reader may be before a partition's own position.
	at := r.after
	if int(p) < len(r.before) {
		at = max(at, r.before[p])
	}
	return Position{Checkpoint: at}
}

func (r *orderedReader) Ended() bool { return false }

func (r *orderedReader) Behind() (uint64, time.Duration) {
	last := r.stream.Last()
	if last <= r.after {
		return 0, 0
	}
	age := time.Duration(0)
	if seen, ok := r.lag.oldest(); ok {
		age = r.now().Sub(seen)
	}
	return uint64(last - r.after), age
}

func (r *orderedReader) Close() error { return nil }
