package streamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// Partitions is how many partitions the streams of RunSource have.
const Partitions = 8

// Both is a stream from both sides, as two processes have it.
type Both struct {
	Append func(ctx context.Context, partition schemas.Partition, record []byte) (schemas.Checkpoint, error)
	Source stream.Source
}

// RunSource runs what aggregation relies on, on every adapter. Each call of
// fresh makes a new, empty stream of that many Partitions.
func RunSource(t *testing.T, fresh func(t *testing.T) Both) {
	for _, test := range []struct {
		name string
		run  func(f *follower)
	}{
		{"EveryPartitionIsInOneShard", everyPartition},
		{"AReaderOfNothingFindsNothing", nothing},
		{"RecordsComeBackExactlyAndInOrder", inOrder},
		{"ReadingResumesAtAnyPosition", resumes},
		{"PartitionsMayBeAtDifferentPositions", mixed},
		{"QuietPartitionsMoveOn", quiet},
		{"AReaderBesideAppendersMissesNothing", beside},
		{"WaitingObeysItsContext", waitingObeys},
		{"AnUnknownShardIsRefused", unknownShard},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(&follower{T: t, Both: fresh(t), at: make([]stream.Position, Partitions), got: make([][]stream.Record, Partitions)})
		})
	}
}

// follower reads a stream as aggregation does, and remembers what it got.
type follower struct {
	*testing.T
	Both
	at  []stream.Position
	got [][]stream.Record
}

func (f *follower) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *follower) put(p schemas.Partition, record []byte) {
	f.Helper()
	_, err := f.Append(within(f.T), p, record)
	f.must(err)
}

// take notes what a reader gave, and where its partitions stand.
func (f *follower) take(s stream.Shard, r stream.Reader, records []stream.Record) {
	f.Helper()
	for i := range records {
		x := records[i]
		last := f.at[x.Partition].Checkpoint
		if n := len(f.got[x.Partition]); n > 0 {
			last = max(last, f.got[x.Partition][n-1].At)
		}
		if x.At <= last {
			f.Fatalf("partition %d: record %d after %d", x.Partition, x.At, last)
		}
		x.Bytes = bytes.Clone(x.Bytes)
		f.got[x.Partition] = append(f.got[x.Partition], x)
	}
	for _, p := range s.Partitions {
		at := r.Position(p)
		if at.Checkpoint < f.at[p].Checkpoint {
			f.Fatalf("partition %d: position went from %+v to %+v", p, f.at[p], at)
		}
		f.at[p] = at
	}
}

// each calls fn with every shard that can be read and a reader of it.
func (f *follower) each(fn func(s stream.Shard, r stream.Reader)) {
	f.Helper()
	shards, err := f.Source.Shards(within(f.T), f.at)
	f.must(err)
	if len(shards) == 0 {
		f.Fatal("no shard can be read")
	}
	for _, s := range shards {
		r, err := f.Source.Open(within(f.T), s, f.at)
		f.must(err)
		fn(s, r)
		f.must(r.Close())
	}
}

// readTo reads on until the partitions have so many records in all.
func (f *follower) readTo(total, most int) {
	f.Helper()
	ctx := within(f.T)
	for f.count() < total {
		f.each(func(s stream.Shard, r stream.Reader) {
			for {
				records, err := r.Read(ctx, most)
				f.must(err)
				if len(records) > most {
					f.Fatalf("Read gave %d records, want at most %d", len(records), most)
				}
				f.take(s, r, records)
				if len(records) == 0 {
					return
				}
			}
		})
		if ctx.Err() != nil {
			f.Fatalf("%d of %d records came", f.count(), total)
		}
	}
}

func (f *follower) count() (n int) {
	for _, g := range f.got {
		n += len(g)
	}
	return n
}

// want checks that partition p gave records first to last-1 of its own.
func (f *follower) want(p schemas.Partition, first, last, size int) {
	f.Helper()
	if len(f.got[p]) != last-first {
		f.Fatalf("partition %d: %d records, want %d", p, len(f.got[p]), last-first)
	}
	for i, x := range f.got[p] {
		if !bytes.Equal(x.Bytes, numbered(int(p), first+i, size)) {
			owner, n := number(x.Bytes)
			f.Fatalf("partition %d: record %d is number %d of %d, or has other bytes", p, first+i, n, owner)
		}
	}
}

func everyPartition(f *follower) {
	shards, err := f.Source.Shards(within(f.T), f.at)
	f.must(err)
	seen := map[schemas.Partition]string{}
	for _, s := range shards {
		for _, p := range s.Partitions {
			if other, twice := seen[p]; twice {
				f.Errorf("partition %d is in shards %s and %s", p, other, s.ID)
			}
			seen[p] = s.ID
		}
	}
	if len(seen) != Partitions {
		f.Errorf("%d partitions are in shards, want %d", len(seen), Partitions)
	}
}

func nothing(f *follower) {
	f.each(func(s stream.Shard, r stream.Reader) {
		records, err := r.Read(within(f.T), 10)
		f.must(err)
		f.take(s, r, records)
		if r.Ended() {
			f.Errorf("shard %s of a new stream has ended", s.ID)
		}
	})
	if f.count() != 0 {
		f.Errorf("%d records came from an empty stream", f.count())
	}
}

func inOrder(f *follower) {
	const each = 12
	for n := range each {
		for p := range schemas.Partition(Partitions) {
			f.put(p, numbered(int(p), n, 100+n))
		}
	}
	f.readTo(each*Partitions, 7)
	for p := range schemas.Partition(Partitions) {
		for i, x := range f.got[p] {
			if !bytes.Equal(x.Bytes, numbered(int(p), i, 100+i)) {
				f.Fatalf("partition %d: record %d has other bytes", p, i)
			}
		}
	}
}

// resumes opens a new reader after every few records, behind what the one
// before gave.
func resumes(f *follower) {
	const each = 9
	for n := range each {
		for p := range schemas.Partition(Partitions) {
			f.put(p, numbered(int(p), n, 64))
		}
	}
	ctx := within(f.T)
	for f.count() < each*Partitions && ctx.Err() == nil {
		f.each(func(s stream.Shard, r stream.Reader) {
			records, err := r.Read(ctx, 5)
			f.must(err)
			f.take(s, r, records)
		})
	}
	for p := range schemas.Partition(Partitions) {
		f.want(p, 0, each, 64)
	}
}

// mixed takes positions of some partitions on, as a crash between two commits
// leaves them, and reads again: every partition goes on at its own.
func mixed(f *follower) {
	const each = 6
	for n := range each {
		for p := range schemas.Partition(Partitions) {
			f.put(p, numbered(int(p), n, 64))
		}
	}
	begin := append([]stream.Position(nil), f.at...)
	f.readTo(each*Partitions, 100)
	for p := range schemas.Partition(Partitions) {
		if p%2 == 0 {
			f.at[p], f.got[p] = begin[p], nil
		}
	}
	f.readTo(each*Partitions, 4)
	for p := range schemas.Partition(Partitions) {
		f.want(p, 0, each, 64)
	}
	f.each(func(s stream.Shard, r stream.Reader) {
		records, err := r.Read(within(f.T), 10)
		f.must(err)
		if len(records) != 0 {
			f.Errorf("%d records came twice", len(records))
		}
	})
}

// quiet fills one partition; from the position of another, which has nothing,
// none of that needs to be read again.
func quiet(f *follower) {
	const busy, silent = 1, 2
	for n := range 20 {
		f.put(busy, numbered(busy, n, 64))
	}
	f.readTo(20, 100)
	f.put(silent, numbered(silent, 0, 64))
	f.readTo(21, 100)
	f.want(busy, 0, 20, 64)
	f.want(silent, 0, 1, 64)
}

func beside(f *follower) {
	const owners, each = 4, 25
	var wg sync.WaitGroup
	for p := range owners {
		wg.Go(func() {
			for n := range each {
				if _, err := f.Append(within(f.T), schemas.Partition(p), numbered(p, n, 200)); err != nil {
					f.Error(fmt.Errorf("append: %w", err))
					return
				}
			}
		})
	}
	f.readTo(owners*each, 10)
	wg.Wait()
	for p := range schemas.Partition(owners) {
		f.want(p, 0, each, 200)
	}
}

func waitingObeys(f *follower) {
	f.each(func(_ stream.Shard, r stream.Reader) {
		ctx, cancel := context.WithCancel(f.Context())
		cancel()
		if err := r.Wait(ctx); err != nil && !errors.Is(err, context.Canceled) {
			f.Errorf("Wait with an ended context: %v", err)
		}
	})
}

func unknownShard(f *follower) {
	if r, err := f.Source.Open(within(f.T), stream.Shard{ID: "no such shard", Partitions: []schemas.Partition{0}}, f.at); err == nil {
		f.Errorf("a shard that does not exist was opened: %v", r.Close())
	}
}
