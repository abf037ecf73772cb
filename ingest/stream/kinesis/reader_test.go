package kinesis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/ingest/stream"
	"tallystream/ingest/stream/kinesis"
	"tallystream/ingest/stream/kinesis/kinesistest"
	"tallystream/schemas"
)

// shardReader reads a stream of one shard by a clock that stands still but for
// its waits.
type shardReader struct {
	*testing.T
	clock   *handClock
	service *kinesistest.Service
	cfg     kinesis.Config
	source  *kinesis.Source
	at      []stream.Position
}

func newShardReader(t *testing.T, o kinesistest.Options) *shardReader {
	r := &shardReader{T: t, clock: newHandClock(), at: make([]stream.Position, partitions)}
	o.Now = r.clock.Now
	r.service = kinesistest.New(o)
	r.cfg = config(r.service)
	r.cfg.Clock = r.clock
	r.source = kinesis.NewSource(r.cfg)
	return r
}

func (r *shardReader) put(p schemas.Partition, data []byte) {
	r.service.Put(p.String(), kinesis.PointOf(p, partitions), data)
}

func (r *shardReader) open() stream.Reader {
	r.Helper()
	shards, err := r.source.Shards(r.Context(), r.at)
	if err != nil || len(shards) == 0 {
		r.Fatalf("Shards: %v, %v", shards, err)
	}
	reader, err := r.source.Open(r.Context(), shards[0], r.at)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = reader.Close() })
	return reader
}

// readFor reads and waits as a worker does, for so long by the clock.
func (r *shardReader) readFor(reader stream.Reader, d time.Duration) (records []stream.Record) {
	r.Helper()
	for until := r.clock.now.Add(d); r.clock.now.Before(until) && !reader.Ended(); {
		some, err := reader.Read(r.Context(), 100)
		if err != nil {
			r.Fatalf("Read: %v", err)
		}
		records = append(records, some...)
		if len(some) > 0 {
			continue
		}
		if err := reader.Wait(r.Context()); err != nil {
			r.Fatalf("Wait: %v", err)
		}
	}
	return records
}

func TestReadingKeepsToTheShardsLimits(t *testing.T) {
	r := newShardReader(t, kinesistest.Options{})
	for i := range 60 { // 30 MB: fifteen seconds at 2 MB/s
		r.put(schemas.Partition(i%partitions), make([]byte, 500_000))
	}
	began := r.clock.now
	reader := r.open()
	n := 0
	for n < 60 {
		n += len(r.readFor(reader, time.Second))
	}
	if took := r.clock.now.Sub(began); took < 10*time.Second || took > 20*time.Second {
		t.Errorf("30 MB took %v", took)
	}
	for range 100 { // many who open it again, one right after the other
		if _, err := reader.Read(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
		reader = r.open()
	}
	for range 100 { // a little at a time
		r.put(0, []byte("a"))
		r.readFor(reader, 500*time.Millisecond)
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
		reader = r.open()
	}
	if got := r.service.Count("GetRecords throttled"); got != 0 {
		t.Errorf("%d of %d reads were throttled", got, r.service.Count("GetRecords"))
	}
}

func TestAQuietShardIsAskedLessOften(t *testing.T) {
	r := newShardReader(t, kinesistest.Options{})
	reader := r.open()
	r.readFor(reader, time.Minute)
	quiet := r.service.Count("GetRecords")
	if quiet < 55 || quiet > 70 {
		t.Errorf("a quiet minute took %d reads, want one a second", quiet)
	}
	for range 240 {
		r.put(1, []byte("a"))
		r.readFor(reader, 250*time.Millisecond)
	}
	if busy := r.service.Count("GetRecords") - quiet; busy < 200 || busy > 250 {
		t.Errorf("a busy minute took %d reads, want four a second", busy)
	}
}

func TestExpiredIteratorsAreReplacedWhereTheyStood(t *testing.T) {
	for name, pause := range map[string]time.Duration{"known to us": 6 * time.Minute, "by the service's clock only": 4*time.Minute + 59*time.Second} {
		t.Run(name, func(t *testing.T) {
			r := newShardReader(t, kinesistest.Options{})
			fetched := 0
			r.cfg.API = &getSpy{API: r.service, see: func(out *sdk.GetRecordsOutput) { fetched += len(out.Records) }}
			r.source = kinesis.NewSource(r.cfg)
			reader := r.open()
			total := 0
			for range 5 {
				r.put(2, []byte("a"))
				total += len(r.readFor(reader, time.Second))
				r.clock.now = r.clock.now.Add(pause)
				if name != "known to us" {
					skew := r.clock.now.Add(2 * time.Second)
					r.service.At(skew)
					total += len(r.readFor(reader, time.Second))
					r.service.At(time.Time{})
				}
			}
			total += len(r.readFor(reader, 2*time.Second))
			if total != 5 || fetched != 5 {
				t.Errorf("%d records came and %d were fetched, want 5 each once", total, fetched)
			}
			if name != "known to us" && r.service.Count("GetRecords expired") == 0 {
				t.Error("no iterator expired: the test shows nothing")
			}
		})
	}
}

type getSpy struct {
	kinesis.API
	see func(*sdk.GetRecordsOutput)
	err error
}

func (s *getSpy) GetRecords(ctx context.Context, in *sdk.GetRecordsInput, o ...func(*sdk.Options)) (*sdk.GetRecordsOutput, error) {
	if s.err != nil {
		return nil, s.err
	}
	out, err := s.API.GetRecords(ctx, in, o...)
	if err == nil && s.see != nil {
		s.see(out)
	}
	return out, err
}

func TestPassingFaultsArePutOffAndLastingOnesTold(t *testing.T) {
	for _, x := range []struct {
		err  error
		most time.Duration // until Read tells of it
		want error
	}{
		{err: &types.ProvisionedThroughputExceededException{}, most: time.Minute},
		{err: &types.KMSThrottlingException{}, most: time.Minute},
		{err: &types.InternalFailureException{}, most: time.Minute},
		{err: errors.New("connection reset by peer"), most: time.Minute},
		{err: &types.AccessDeniedException{}},
		{err: &types.KMSDisabledException{}},
		{err: &types.ResourceNotFoundException{}, want: kinesis.ErrExpired},
	} {
		t.Run(fmt.Sprintf("%T", x.err), func(t *testing.T) {
			r := newShardReader(t, kinesistest.Options{})
			api := &getSpy{API: r.service, err: x.err}
			r.cfg.API = api
			r.source = kinesis.NewSource(r.cfg)
			reader := r.open()
			began := r.clock.now
			var err error
			for err == nil && r.clock.now.Sub(began) < time.Hour {
				if _, err = reader.Read(t.Context(), 10); err == nil {
					err = reader.Wait(t.Context())
				}
			}
			took := r.clock.now.Sub(began)
			if want := x.want; !errors.Is(err, x.err) || want != nil && !errors.Is(err, want) || took > x.most || x.most > 0 && took < 20*time.Second {
				t.Errorf("Read failed after %v with %v", took, err)
			}
			if _, denied := x.err.(*types.AccessDeniedException); denied && !strings.Contains(err.Error(), "access is denied: allow this action") {
				t.Errorf("without the right: %v, want what to do", err)
			}
			api.err = nil // it passes
			r.put(0, []byte("a"))
			if got := r.readFor(reader, 20*time.Second); len(got) != 1 {
				t.Errorf("read %d records afterwards, want 1", len(got))
			}
		})
	}
}

func TestForeignRecordsArePassedOver(t *testing.T) {
	r := newShardReader(t, kinesistest.Options{Shards: 2})
	r.put(0, []byte("first"))
	for _, key := range []string{"a foreigner", "-1", "70000", "4", "3"} { // 3 is a partition, but of the other shard
		r.service.Put(key, kinesis.PointOf(0, partitions), []byte("foreign"))
	}
	r.put(0, []byte("second"))
	got := r.readFor(r.open(), 2*time.Second)
	if len(got) != 2 || string(got[1].Bytes) != "second" || got[1].At != 2 {
		t.Errorf("read %+v, want the two of partition 0", got)
	}
}

func TestAnEndedShardSaysSoInEveryPosition(t *testing.T) {
	r := newShardReader(t, kinesistest.Options{})
	r.put(1, []byte("a"))
	if err := r.service.Split("shardId-000000000000", kinesistest.Middle(kinesis.Whole)); err != nil {
		t.Fatal(err)
	}
	r.put(1, []byte("b")) // into a child
	reader := r.open()
	if got := r.readFor(reader, 5*time.Second); len(got) != 1 || !reader.Ended() {
		t.Fatalf("read %d records, ended: %v", len(got), reader.Ended())
	}
	for p := range r.at {
		r.at[p] = reader.Position(schemas.Partition(p))
		if want := "k1/shardId-000000000000/end"; r.at[p].Cursor != want {
			t.Errorf("partition %d is at %q, want %q", p, r.at[p].Cursor, want)
		}
	}
	shards, err := r.source.Shards(t.Context(), r.at)
	if want := "[{shardId-000000000001 [0 1]} {shardId-000000000002 [2 3]}]"; err != nil || fmt.Sprint(shards) != want {
		t.Errorf("then come %v, %v, want %s", shards, err, want)
	}
	if got := r.readFor(r.open(), 5*time.Second); len(got) != 1 || got[0].At != 2 {
		t.Errorf("the child gives %+v, want record 2", got)
	}
}

// TestAPartitionPastItsShardDoesNotStopTheOthers: at a shard's end the commits
// of its partitions fail or succeed one by one, and a worker opens it again.
func TestAPartitionPastItsShardDoesNotStopTheOthers(t *testing.T) {
	r := newShardReader(t, kinesistest.Options{})
	for p := range schemas.Partition(partitions) {
		r.put(p, []byte("a"))
	}
	if err := r.service.Split("shardId-000000000000", kinesistest.Middle(kinesis.Whole)); err != nil {
		t.Fatal(err)
	}
	shards, err := r.source.Shards(t.Context(), r.at)
	if err != nil {
		t.Fatal(err)
	}
	reader := r.open()
	r.readFor(reader, 5*time.Second)
	r.at[0] = reader.Position(0) // and then its process died
	again, err := r.source.Open(t.Context(), shards[0], r.at)
	if err != nil {
		t.Fatalf("opening with the partitions of before: %v", err)
	}
	if got := r.readFor(again, 5*time.Second); len(got) != partitions-1 || !again.Ended() {
		t.Errorf("read %d records, ended: %v, want those of the other partitions", len(got), again.Ended())
	}
	for p := range r.at {
		before := r.at[p]
		if r.at[p] = again.Position(schemas.Partition(p)); p == 0 && r.at[p] != before {
			t.Errorf("partition 0 went from %+v to %+v", before, r.at[p])
		}
	}
	calls := r.service.Count("GetRecords")
	last, err := r.source.Open(t.Context(), shards[0], r.at) // its last commit was not heard of
	if err != nil {
		t.Fatalf("opening an ended shard again: %v", err)
	}
	if records, err := last.Read(t.Context(), 10); len(records) != 0 || err != nil || !last.Ended() || last.Position(3) != r.at[3] {
		t.Errorf("read %v, %v, ended: %v", records, err, last.Ended())
	}
	if got := r.service.Count("GetRecords"); got != calls {
		t.Error("it asked for records")
	}
	child := stream.Shard{ID: "shardId-000000000001", Partitions: []schemas.Partition{0, 1}}
	if _, err := r.source.Open(t.Context(), child, make([]stream.Position, partitions)); err == nil {
		t.Error("a child was opened before its parent was read")
	}
}

func TestAnUnreadShardThatExpiredStopsReading(t *testing.T) {
	r := newShardReader(t, kinesistest.Options{})
	r.put(1, []byte("a"))
	reader := r.open()
	r.readFor(reader, time.Second)
	for p := range r.at {
		r.at[p] = reader.Position(schemas.Partition(p))
	}
	r.put(1, []byte("b")) // unread
	if err := r.service.Split("shardId-000000000000", kinesistest.Middle(kinesis.Whole)); err != nil {
		t.Fatal(err)
	}
	r.clock.now = r.clock.now.Add(25 * time.Hour)
	r.put(1, []byte("c"))
	if _, err := r.source.Shards(t.Context(), r.at); !errors.Is(err, kinesis.ErrExpired) {
		t.Fatalf("Shards: %v, want ErrExpired", err)
	}
	r.cfg.SkipExpired = true // an operator's order
	r.source = kinesis.NewSource(r.cfg)
	if got := r.readFor(r.open(), 5*time.Second); len(got) != 1 || string(got[0].Bytes) != "c" || got[0].At != 2 {
		t.Errorf("after the order: %+v", got)
	}
}

func TestBehindTellsHowOldTheOldestUnreadRecordIs(t *testing.T) {
	r := newShardReader(t, kinesistest.Options{})
	r.put(0, []byte("a"))
	r.put(0, []byte("b"))
	r.clock.now = r.clock.now.Add(time.Minute)
	reader := r.open()
	if _, err := reader.Read(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if records, age := reader.Behind(); records != 1 || age != time.Minute {
		t.Errorf("behind by %d records, %v, want 1 of a minute", records, age)
	}
	r.readFor(reader, time.Second)
	if records, age := reader.Behind(); records != 0 || age != 0 {
		t.Errorf("at the end, behind by %d records, %v", records, age)
	}
}
