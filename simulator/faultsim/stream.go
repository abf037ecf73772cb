package faultsim

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/ingest/stream/kinesis"
	"tallystream/ingest/stream/kinesis/kinesistest"
	"tallystream/schemas"
)

// tape is the stream of a night: Kinesis, or the embedded one.
type tape interface {
	appender(p *process) ingest.Appender
	source(p *process) stream.Source
	// records lists what a partition's readers must see.
	records(p schemas.Partition) []placed
	// end is the furthest checkpoint that a partition may have.
	end(p schemas.Partition) schemas.Checkpoint
	// put is a record that no ingest puts.
	put(p schemas.Partition, record []byte)
}

// placed is a record with its checkpoint.
type placed struct {
	at     schemas.Checkpoint
	record string
}

// simStream is Kinesis, with a network before it. It is the kinesis.API of all
// actors.
type simStream struct {
	*kinesistest.Service
	world  *world
	town   *town
	meters *meters
}

func newStream(w *world, t *town, m *meters, seed uint64) *simStream {
	s := &simStream{world: w, town: t, meters: m}
	s.Service = kinesistest.New(kinesistest.Options{
		Shards: 1 + w.random.IntN(3), Now: func() time.Time { return clockEpoch.Add(w.now) }, Seed: seed | 1,
		Unlimited: w.chance(2), Page: 1 + w.random.IntN(5), Faults: s.record,
	})
	return s
}

// record is what befalls one record of a request that arrives.
func (s *simStream) record(c kinesistest.Call) kinesistest.Fault {
	switch {
	case c.Record < 0 || !s.world.befalls(faultRecord):
		return kinesistest.None
	case s.world.chance(2):
		return kinesistest.Internal
	}
	return kinesistest.Throttle
}

// PutRecords is a write like others.
func (s *simStream) PutRecords(_ context.Context, in *sdk.PutRecordsInput, _ ...func(*sdk.Options)) (out *sdk.PutRecordsOutput, err error) {
	t := s.world.current
	if s.world.befalls(faultThrottle) {
		t.travel()
		return nil, &types.ProvisionedThroughputExceededException{Message: aws.String("Rate exceeded")}
	}
	err = t.write(writeStream, "partition "+aws.ToString(in.Records[0].PartitionKey), func() (err error) {
		out, err = s.Service.PutRecords(context.Background(), in)
		return err
	})
	return out, err
}

// ListShards may fail like any read.
func (s *simStream) ListShards(_ context.Context, in *sdk.ListShardsInput, _ ...func(*sdk.Options)) (out *sdk.ListShardsOutput, err error) {
	return out, s.call("shards", func() (err error) {
		out, err = s.Service.ListShards(context.Background(), in)
		return err
	})
}

// GetShardIterator may fail like any read.
func (s *simStream) GetShardIterator(_ context.Context, in *sdk.GetShardIteratorInput, _ ...func(*sdk.Options)) (out *sdk.GetShardIteratorOutput, err error) {
	return out, s.call("iterator", func() (err error) {
		out, err = s.Service.GetShardIterator(context.Background(), in)
		return err
	})
}

// GetRecords may fail like any read.
func (s *simStream) GetRecords(_ context.Context, in *sdk.GetRecordsInput, _ ...func(*sdk.Options)) (out *sdk.GetRecordsOutput, err error) {
	return out, s.call("records", func() (err error) {
		out, err = s.Service.GetRecords(context.Background(), in)
		return err
	})
}

func (s *simStream) call(what string, do func() error) error {
	t := s.world.current
	if s.world.befalls(faultThrottle) {
		t.travel()
		return &types.ProvisionedThroughputExceededException{Message: aws.String("Rate exceeded")}
	}
	return t.read(what, do)
}

func (s *simStream) appender(p *process) ingest.Appender { return kinesis.NewDirect(s.config(p)) }
func (s *simStream) source(p *process) stream.Source     { return kinesis.NewSource(s.config(p)) }

// config of an adapter in a process.
func (s *simStream) config(p *process) kinesis.Config {
	return kinesis.Config{
		API: s, Stream: "submissions", Partitions: s.town.election.Definition.Partitions, Budget: 3 * time.Second,
		Attempt:  time.Hour, // by the real clock, which must not decide anything
		SlowPoll: 2 * time.Second, ListEvery: 10 * time.Second,
		Clock: clock{p}, Seed: s.world.random.Uint64() | 1, Metrics: s.meters.kinesis, ReadRecords: 1 + s.world.random.IntN(20),
	}
}

func (s *simStream) point(p schemas.Partition) kinesis.Point {
	return kinesis.PointOf(p, s.town.election.Definition.Partitions)
}

// records are counted by partition, without what is foreign.
func (s *simStream) records(p schemas.Partition) (out []placed) {
	for _, r := range s.Service.Records(s.point(p)) {
		if r.Key == p.String() {
			out = append(out, placed{schemas.Checkpoint(len(out) + 1), string(r.Data)})
		}
	}
	return out
}

func (s *simStream) end(p schemas.Partition) schemas.Checkpoint {
	return schemas.Checkpoint(len(s.records(p)))
}

func (s *simStream) put(p schemas.Partition, record []byte) {
	if s.world.chance(5) {
		s.world.count(faultForeign)
		s.world.note("stranger", "puts", "a foreign record")
		s.Put("somebody else", s.point(p), []byte("hello"))
	}
	s.Put(p.String(), s.point(p), record)
}

// reshard splits or merges shards, as an operator does. Often something comes
// into one of the shards just before they are merged, so that it is read to
// its end later than the other.
func (n *night) reshard() {
	w, s := n.world, n.kinesis
	open := s.OpenShards()
	i := w.random.IntN(len(open))
	if len(open) > 1 && (len(open) > 3 || w.chance(2)) {
		i = min(i, len(open)-2)
		if full := open[i+w.random.IntN(2)]; w.chance(2) {
			n.intrudeWhere(func(p schemas.Partition) bool { return full.Range.Holds(s.point(p)) })
		}
		if err := s.Merge(open[i].ID, open[i+1].ID); err == nil {
			w.count(faultMerge)
			w.note("operator", "merges", open[i].ID+" and "+open[i+1].ID)
		}
		return
	}
	if err := s.Split(open[i].ID, kinesistest.Middle(open[i].Range)); err == nil {
		w.count(faultSplit)
		w.note("operator", "splits", open[i].ID)
	}
}

// intrudeWhere puts poison into a partition.
func (n *night) intrudeWhere(into func(schemas.Partition) bool) {
	for range 10 { // a shard may hold none
		m := n.town.poison[n.world.random.IntN(len(n.town.poison))]
		if into(m.partition) {
			n.world.count(faultPoison)
			n.world.note("stranger", "puts", m.name)
			n.tape.put(m.partition, m.envelope)
			return
		}
	}
}

// intrude puts a record into the stream that no ingest did: poison, or what
// belongs to another partition.
func (n *night) intrude() {
	w := n.world
	m := n.town.poison[w.random.IntN(len(n.town.poison))]
	p := m.partition
	if w.chance(8) {
		m = n.town.units[w.random.IntN(len(n.town.units))].ordinary[0]
		p = schemas.Partition((int(m.partition) + 1) % n.town.election.Definition.Partitions)
	}
	w.count(faultPoison)
	w.note("stranger", "puts", m.name)
	n.tape.put(p, m.envelope)
}

// readers closes each reader when the next one of the same task is opened: the
// worker itself does so only where it runs by itself.
type readers struct {
	stream.Source
	open stream.Reader
}

// Open implements stream.Source.
func (r *readers) Open(ctx context.Context, s stream.Shard, at []stream.Position) (stream.Reader, error) {
	err := r.close()
	if err == nil {
		r.open, err = r.Source.Open(ctx, s, at)
	}
	return r.open, err
}

func (r *readers) close() error {
	if r.open == nil {
		return nil
	}
	err := r.open.Close()
	r.open = nil
	return err
}
