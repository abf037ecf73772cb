package kinesis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"

	"tallystream/ingest/stream"
	"tallystream/ingest/stream/kinesis"
	"tallystream/ingest/stream/kinesis/kinesistest"
	"tallystream/schemas"
	"tallystream/service/cloud"
	"tallystream/service/cloud/faults"
	"tallystream/service/cloud/mototest"
)

// plan is what the network does to the adapter.
const plan = "PutRecords:throttle=0.05,partial=0.15,partial-after=0.05,before=0.05,after=0.05,cut=0.03,slow=0.03,duplicate=0.05,late=0.03,internal=0.03,internal-after=0.03;" +
	"GetRecords:throttle=0.05,before=0.05,after=0.05,cut=0.05,slow=0.03,duplicate=0.05,internal=0.03;" +
	"GetShardIterator:throttle=0.05,before=0.05,after=0.05,internal=0.05;" +
	"ListShards:throttle=0.1,before=0.05,cut=0.05"

func TestFaultsOfTheNetworkLoseNothing(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			clock := newQuickClock(100)
			service := kinesistest.New(kinesistest.Options{Shards: 2, Now: clock.Now, Seed: seed})
			network := faulty(t, seed)
			x := &faultyNight{T: t, client: served(t, service, network.Over).Kinesis, stream: "submissions", network: network, clock: clock, seed: seed}
			x.run()
		})
	}
}

func TestFaultsOfTheNetworkLoseNothingOnMoto(t *testing.T) {
	network := faulty(t, 5)
	x := &faultyNight{T: t, client: mototest.Start(t, cloud.WithHTTP(network.Over)).Kinesis, network: network, clock: newQuickClock(50), seed: 5}
	x.network.Pause()
	x.stream = motoStream(t, x.client, 2)
	x.network.Resume()
	x.run()
}

func faulty(t *testing.T, seed uint64) *faults.Network {
	t.Helper()
	p, err := faults.Parse(seed, plan)
	if err != nil {
		t.Fatal(err)
	}
	network, err := faults.New(p, faults.WithDelay(2*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	return network
}

// faultyNight appends and reads through a network that fails, while shards are
// split and merged.
type faultyNight struct {
	*testing.T
	client  *sdk.Client
	stream  string
	network *faults.Network
	clock   quickClock
	seed    uint64

	mu     sync.Mutex // guards what follows
	acked  map[string]bool
	denied map[string]bool
}

func (x *faultyNight) run() {
	cfg := kinesis.Config{API: x.client, Stream: x.stream, Partitions: partitions, Clock: x.clock, Seed: x.seed + 1}
	x.acked, x.denied = map[string]bool{}, map[string]bool{}
	producer := kinesis.NewProducer(cfg)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() { x.write(producer, w) })
	}
	random := rand.New(rand.NewPCG(x.seed, 0))
	at, got := make([]stream.Position, partitions), make([][]string, partitions)
	source := kinesis.NewSource(cfg)
	for range 6 {
		x.reshard(random)
		x.read(source, at, got, func() bool { return random.IntN(4) == 0 })
	}
	writers.Wait()
	if err := producer.Close(); err != nil {
		x.Fatal(err)
	}
	x.network.Flush(x.Context()) // what was late arrives
	x.network.Pause()
	want := x.stored()
	x.network.Resume()
	for n := 0; n < want; {
		x.read(source, at, got, func() bool { return true })
		n = 0
		for _, g := range got {
			n += len(g)
		}
	}
	x.judge(got, want)
}

func (x *faultyNight) write(p *kinesis.Producer, writer int) {
	for i := range 40 {
		text := fmt.Sprintf("writer %d record %d", writer, i)
		_, err := p.Append(x.Context(), schemas.Partition((writer+i)%partitions), []byte(text))
		x.mu.Lock()
		switch {
		case err == nil:
			x.acked[text] = true
		case errors.Is(err, stream.ErrBusy):
			x.denied[text] = true
		case !errors.Is(err, stream.ErrUnknownOutcome):
			x.Errorf("Append: %v", err)
		}
		x.mu.Unlock()
	}
}

// reshard splits a shard or merges two, past the faults.
func (x *faultyNight) reshard(random *rand.Rand) {
	x.network.Pause()
	defer x.network.Resume()
	open := x.openShards()
	var err error
	if i := random.IntN(len(open)); len(open) > 1 && random.IntN(2) == 0 {
		i = min(i, len(open)-2)
		_, err = x.client.MergeShards(x.Context(), &sdk.MergeShardsInput{StreamName: &x.stream, ShardToMerge: &open[i].ID, AdjacentShardToMerge: &open[i+1].ID})
	} else {
		_, err = x.client.SplitShard(x.Context(), &sdk.SplitShardInput{
			StreamName: &x.stream, ShardToSplit: &open[i].ID, NewStartingHashKey: aws.String(kinesistest.Middle(open[i].Range).String()),
		})
	}
	if err != nil {
		x.Fatal(err)
	}
}

func (x *faultyNight) openShards() (open []kinesis.ShardInfo) {
	for in := (&sdk.ListShardsInput{StreamName: &x.stream}); ; {
		out, err := x.client.ListShards(x.Context(), in)
		if err != nil {
			x.Fatal(err)
		}
		for _, s := range out.Shards {
			info, err := kinesis.InfoOf(s)
			if err != nil {
				x.Fatal(err)
			}
			if !info.Closed {
				open = append(open, info)
			}
		}
		if aws.ToString(out.NextToken) == "" {
			slices.SortFunc(open, func(a, b kinesis.ShardInfo) int { return a.Range.First.Compare(b.Range.First) })
			return open
		}
		in = &sdk.ListShardsInput{NextToken: out.NextToken}
	}
}

// read goes through every shard that can be read, and commits at random.
func (x *faultyNight) read(source *kinesis.Source, at []stream.Position, got [][]string, commits func() bool) {
	shards, err := source.Shards(x.Context(), at)
	if err != nil {
		return // faults in a row; a worker comes again
	}
	for _, s := range shards {
		r, err := source.Open(x.Context(), s, at)
		if err != nil {
			continue
		}
		var read []stream.Record
		for range 12 {
			records, err := r.Read(x.Context(), 30)
			if err != nil {
				break
			}
			if read = append(read, records...); len(records) == 0 {
				_ = r.Wait(x.Context())
			}
		}
		for _, p := range s.Partitions {
			if !commits() {
				continue
			}
			for _, rec := range read {
				if rec.Partition == p {
					got[p] = append(got[p], string(rec.Bytes))
				}
			}
			at[p] = r.Position(p)
			if int(at[p].Checkpoint) != len(got[p]) {
				x.Fatalf("partition %d is at %+v behind %d records", p, at[p], len(got[p]))
			}
		}
		if err := r.Close(); err != nil {
			x.Fatal(err)
		}
	}
}

// stored counts what lies in all shards, by other code than the reader's.
func (x *faultyNight) stored() (n int) {
	out, err := x.client.ListShards(x.Context(), &sdk.ListShardsInput{StreamName: &x.stream})
	if err != nil {
		x.Fatal(err)
	}
	for _, s := range out.Shards {
		it, err := x.client.GetShardIterator(x.Context(), &sdk.GetShardIteratorInput{StreamName: &x.stream, ShardId: s.ShardId, ShardIteratorType: "TRIM_HORIZON"})
		if err != nil {
			x.Fatal(err)
		}
		for next, quiet := it.ShardIterator, 0; next != nil && quiet < 40; {
			out, err := x.client.GetRecords(x.Context(), &sdk.GetRecordsInput{ShardIterator: next})
			if err != nil && strings.Contains(err.Error(), "ProvisionedThroughput") {
				_ = x.clock.Sleep(context.Background(), time.Second)
				continue
			}
			if err != nil {
				x.Fatal(err)
			}
			n += len(out.Records)
			next = out.NextShardIterator
			if quiet++; aws.ToInt64(out.MillisBehindLatest) > 0 || len(out.Records) > 0 {
				quiet = 0
			} else if s.SequenceNumberRange.EndingSequenceNumber == nil {
				break // open and read to its end
			}
		}
	}
	return n
}

func (x *faultyNight) judge(got [][]string, want int) {
	total, there := 0, map[string]int{}
	for _, g := range got {
		total += len(g)
		for _, text := range g {
			there[text]++
		}
	}
	if total != want {
		x.Errorf("%d records were read, %d lie in the stream", total, want)
	}
	for text := range x.acked {
		if there[text] == 0 {
			x.Errorf("%q was acknowledged and never read", text)
		}
	}
	for text := range x.denied {
		if there[text] != 0 {
			x.Errorf("%q was refused for sure and was read", text)
		}
	}
	counts := x.network.Counts()
	x.Logf("%d acknowledged, %d refused, %d in the stream\n%s", len(x.acked), len(x.denied), want, counts)
	if counts.Total(faults.Partial) == 0 || counts.Total(faults.After) == 0 {
		x.Error("too few faults: the test shows nothing")
	}
}
