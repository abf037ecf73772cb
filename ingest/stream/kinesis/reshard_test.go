package kinesis_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tallystream/ingest/stream"
	"tallystream/ingest/stream/kinesis"
	"tallystream/ingest/stream/kinesis/kinesistest"
	"tallystream/schemas"
)

// night is a stream, its writers and its readers in one goroutine, on one
// clock, by one seed.
type night struct {
	t       fataler
	random  *rand.Rand
	clock   *handClock
	service *kinesistest.Service
	direct  *kinesis.Direct
	source  *kinesis.Source

	committed []stream.Position  // what would be in the ledger
	records   [][]stream.Record  // by partition, with their commits
	acked     []map[string]bool  // texts that Append acknowledged
	refused   []map[string]bool  // texts that certainly are not stored
	readers   map[string]*worker // by shard
	none      int                // times in a row that no shard could be read
	text      numbers
}

type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// worker reads a shard and commits what it read, its partitions one by one.
type worker struct {
	shard  stream.Shard
	reader stream.Reader
	read   []stream.Record // and not committed
}

func newNight(t fataler, seed uint64, partitions, shards int, faults float64) *night {
	n := &night{t: t, random: rand.New(rand.NewPCG(seed, 1)), clock: newHandClock(), readers: map[string]*worker{}}
	o := kinesistest.Options{Shards: shards, Now: n.clock.Now, Seed: seed | 1, Retention: 24 * time.Hour}
	if faults > 0 {
		o.Faults = func(c kinesistest.Call) kinesistest.Fault {
			if n.random.Float64() >= faults {
				return kinesistest.None
			}
			return kinesistest.Fault(1 + n.random.IntN(int(kinesistest.Empty)))
		}
	}
	n.service = kinesistest.New(o)
	cfg := kinesis.Config{API: n.service, Stream: "submissions", Partitions: partitions, Clock: n.clock, Seed: seed + 1}
	n.direct, n.source = kinesis.NewDirect(cfg), kinesis.NewSource(cfg)
	n.committed = make([]stream.Position, partitions)
	n.records = make([][]stream.Record, partitions)
	for range partitions {
		n.acked, n.refused = append(n.acked, map[string]bool{}), append(n.refused, map[string]bool{})
	}
	return n
}

func (n *night) step() {
	switch n.random.IntN(12) {
	case 0:
		open := n.service.OpenShards()
		s := open[n.random.IntN(len(open))]
		n.must(n.service.Split(s.ID, kinesistest.Middle(s.Range)))
	case 1:
		if open := n.service.OpenShards(); len(open) > 1 {
			i := n.random.IntN(len(open) - 1)
			n.must(n.service.Merge(open[i].ID, open[i+1].ID))
		}
	case 2: // a process dies: what was not committed is read again
		for _, id := range slices.Sorted(maps.Keys(n.readers)) {
			if n.random.IntN(2) == 0 {
				delete(n.readers, id)
			}
		}
	case 3:
		n.clock.now = n.clock.now.Add(time.Duration(n.random.Int64N(int64(7 * time.Minute)))) // iterators expire
	case 4, 5, 6:
		for range 1 + n.random.IntN(8) {
			n.append(n.random.IntN(len(n.committed)))
		}
	default:
		n.read(1 + n.random.IntN(20))
	}
}

// context never ends; by it, calls obey the clock alone.
func (n *night) context() context.Context { return context.Background() }

func (n *night) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *night) append(p int) {
	text := n.text.text(p)
	_, err := n.direct.Append(n.context(), schemas.Partition(p), text)
	switch {
	case err == nil:
		n.acked[p][string(text)] = true
	case errors.Is(err, stream.ErrUnknownOutcome):
	case errors.Is(err, stream.ErrBusy):
		n.refused[p][string(text)] = true
	default:
		n.t.Fatalf("Append: %v", err)
	}
}

// read lets some worker read on, and perhaps commit.
func (n *night) read(most int) {
	shards, err := n.source.Shards(n.context(), n.committed)
	if isPassing(err) {
		return
	}
	n.must(err)
	if len(shards) == 0 {
		// Shards that have just ended have children that were not listed yet.
		if n.none++; n.none > 3 {
			n.t.Fatal("no shard can be read")
		}
		n.clock.now = n.clock.now.Add(time.Second)
		return
	}
	n.none = 0
	s := shards[n.random.IntN(len(shards))]
	w := n.readers[s.ID]
	if w == nil || fmt.Sprint(w.shard) != fmt.Sprint(s) {
		r, err := n.source.Open(n.context(), s, n.committed)
		if isPassing(err) {
			return
		}
		n.must(err)
		w = &worker{shard: s, reader: r}
		n.readers[s.ID] = w
	}
	records, err := w.reader.Read(n.context(), most)
	if err != nil && !isPassing(err) {
		n.t.Fatalf("Read: %v", err)
	}
	w.read = append(w.read, records...)
	if len(records) == 0 && n.random.IntN(2) == 0 {
		n.must(w.reader.Wait(n.context()))
	}
	if n.random.IntN(2) == 0 || w.reader.Ended() {
		n.commit(w)
	}
}

// isPassing: faults in a row outlast the patience of a call. A worker would
// try again.
func isPassing(err error) bool {
	return err != nil && !errors.Is(err, kinesis.ErrLineage) && !errors.Is(err, kinesis.ErrCursor) && !errors.Is(err, kinesis.ErrExpired)
}

// commit stores each partition's records with its position; in between, the
// process may die.
func (n *night) commit(w *worker) {
	for _, p := range w.shard.Partitions {
		if n.random.IntN(10) == 0 {
			delete(n.readers, w.shard.ID)
			return
		}
		at := w.reader.Position(p)
		if at.Checkpoint < n.committed[p].Checkpoint {
			n.t.Fatalf("partition %d: position went from %+v to %+v", p, n.committed[p], at)
		}
		for _, x := range w.read {
			if x.Partition == p {
				n.records[p] = append(n.records[p], x)
			}
		}
		n.committed[p] = at
		if int(at.Checkpoint) != len(n.records[p]) {
			n.t.Fatalf("partition %d: position %+v behind %d records", p, at, len(n.records[p]))
		}
	}
	w.read = nil
	if w.reader.Ended() {
		n.must(w.reader.Close())
		delete(n.readers, w.shard.ID)
	}
}

// finish reads everything, and compares with what lies in the stream.
func (n *night) finish() {
	for range 20_000 {
		left := 0
		for p := range n.records {
			left += len(n.service.Records(kinesis.PointOf(schemas.Partition(p), len(n.records)))) - len(n.records[p])
		}
		if left == 0 {
			break
		}
		n.read(100)
		n.clock.now = n.clock.now.Add(100 * time.Millisecond)
	}
	for p := range n.records {
		want := n.service.Records(kinesis.PointOf(schemas.Partition(p), len(n.records)))
		if len(want) != len(n.records[p]) {
			n.t.Fatalf("partition %d: %d records were read, %d lie in the stream", p, len(n.records[p]), len(want))
		}
		there := map[string]bool{}
		for i, x := range n.records[p] {
			if string(x.Bytes) != string(want[i].Data) || x.At != schemas.Checkpoint(i+1) {
				n.t.Fatalf("partition %d: record %d is %q at %d, want %q", p, i+1, x.Bytes, x.At, want[i].Data)
			}
			there[string(x.Bytes)] = true
		}
		for text := range n.acked[p] {
			if !there[text] {
				n.t.Fatalf("%q was acknowledged and is not there", text)
			}
		}
		for text := range n.refused[p] {
			if there[text] {
				n.t.Fatalf("%q was refused for sure and is there", text)
			}
		}
	}
}

func TestEveryRecordIsReadOnceInOrderWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64Range(1, 1<<40).Draw(t, "seed")
		partitions := rapid.IntRange(1, 9).Draw(t, "partitions")
		shards := rapid.IntRange(1, 4).Draw(t, "shards")
		faults := rapid.SampledFrom([]float64{0, 0.05, 0.3}).Draw(t, "faults")
		n := newNight(t, seed, partitions, shards, faults)
		for range rapid.IntRange(10, 200).Draw(t, "steps") {
			n.step()
		}
		n.finish()
	})
}

// TestEqualSeedsGiveEqualNights is what the deterministic simulation needs.
func TestEqualSeedsGiveEqualNights(t *testing.T) {
	var first string
	for range 2 {
		n := newNight(t, 42, 6, 3, 0.1)
		for range 300 {
			n.step()
		}
		n.finish()
		trace := fmt.Sprint(n.committed, n.clock.now, n.service.Count("GetRecords"), n.service.Count("PutRecords"))
		if first == "" {
			first = trace
		} else if trace != first {
			t.Errorf("one seed, two nights:\n%s\n%s", first, trace)
		}
	}
}
