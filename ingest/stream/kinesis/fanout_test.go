package kinesis_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/ingest/stream"
	"tallystream/ingest/stream/kinesis"
	"tallystream/ingest/stream/kinesis/kinesistest"
	"tallystream/schemas"
)

// pushed is a stream whose shards are pushed over HTTP to the SDK's client.
type pushed struct {
	*testing.T
	service *kinesistest.Service
	source  *kinesis.Source
	at      []stream.Position
	got     []string
}

func newPushed(t *testing.T, times int) *pushed {
	return newPushedBy(t, times, func(s kinesis.Subscriber) kinesis.Subscriber { return s })
}

func newPushedBy(t *testing.T, times int, wrap func(kinesis.Subscriber) kinesis.Subscriber) *pushed {
	clock := newQuickClock(times)
	service := kinesistest.New(kinesistest.Options{Now: clock.Now})
	client := served(t, service).Kinesis
	cfg := config(client)
	cfg.Clock = clock
	cfg.Consumer, cfg.Subscriber = service.ARN()+"/consumer/aggregate:1", wrap(kinesis.ClientSubscriber{Client: client})
	return &pushed{T: t, service: service, source: kinesis.NewSource(cfg), at: make([]stream.Position, partitions)}
}

func (x *pushed) put(n int) {
	for range n {
		x.service.Put("1", kinesis.PointOf(1, partitions), fmt.Append(nil, len(x.service.Records(kinesis.PointOf(1, partitions)))+1))
	}
}

func (x *pushed) open() stream.Reader {
	x.Helper()
	for x.Context().Err() == nil {
		shards, err := x.source.Shards(x.Context(), x.at)
		if err != nil {
			x.Fatal(err)
		}
		for _, s := range shards {
			for _, p := range s.Partitions {
				if p == 1 {
					r, err := x.source.Open(x.Context(), s, x.at)
					if err != nil {
						x.Fatal(err)
					}
					x.Cleanup(func() { _ = r.Close() })
					return r
				}
			}
		}
		for p := range x.at { // their shard ended as well, and nothing was in it
			if p != 1 {
				x.at[p].Cursor = x.at[1].Cursor
			}
		}
	}
	return nil
}

// until reads until so many records have come in all, or the shard ends.
func (x *pushed) until(r stream.Reader, n int) {
	x.Helper()
	ctx, cancel := context.WithTimeout(x.Context(), 2*time.Minute)
	defer cancel()
	for len(x.got) < n || n < 0 && !r.Ended() {
		records, err := r.Read(ctx, 3)
		if err != nil {
			x.Fatalf("Read: %v (%d records came)", err, len(x.got))
		}
		for _, rec := range records {
			x.got = append(x.got, string(rec.Bytes))
			if want := fmt.Sprint(len(x.got)); string(rec.Bytes) != want || rec.At != schemas.Checkpoint(len(x.got)) {
				x.Fatalf("record %q at %d, want %s", rec.Bytes, rec.At, want)
			}
		}
		if len(records) == 0 && !r.Ended() {
			if err := r.Wait(ctx); err != nil {
				x.Fatalf("Wait: %v (%d records came)", err, len(x.got))
			}
		}
	}
	for p := range x.at {
		x.at[p] = r.Position(schemas.Partition(p))
	}
}

func TestFanOutPushesRecordsAsTheyCome(t *testing.T) {
	x := newPushed(t, 1)
	r := x.open()
	x.put(5)
	x.until(r, 5)
	x.put(1)
	x.until(r, 6)
	if n := x.service.Count("GetRecords"); n != 0 {
		t.Errorf("%d reads by polling", n)
	}
	if n := x.service.Count("SubscribeToShard"); n != 1 {
		t.Errorf("%d subscriptions, want one", n)
	}
}

func TestFanOutSubscribesAgainWhenItsTimeIsUp(t *testing.T) {
	x := newPushed(t, 600) // five minutes pass in half a second
	r := x.open()
	for n := 0; x.service.Count("SubscribeToShard") < 3; n++ {
		x.put(1)
		x.until(r, n+1)
	}
}

func TestFanOutGoesOnWhereALostConnectionStood(t *testing.T) {
	x := newPushed(t, 100)
	r := x.open()
	for i := range 5 {
		x.put(3)
		x.until(r, 3*(i+1))
		x.service.Break()
	}
	if n := x.service.Count("SubscribeToShard"); n < 5 {
		t.Errorf("%d subscriptions: the connection was not lost", n)
	}
	// An event may go down with its connection and come again; all from the
	// beginning would be 45.
	if n := x.service.Count("records pushed"); n > 30 {
		t.Errorf("%d records were pushed for 15", n)
	}
}

func TestFanOutEndsAClosedShardAndItsChildFollows(t *testing.T) {
	x := newPushed(t, 100)
	x.put(4)
	r := x.open()
	if err := x.service.Split("shardId-000000000000", kinesistest.Middle(kinesis.Whole)); err != nil {
		t.Fatal(err)
	}
	x.put(2)
	x.until(r, -1)
	if !r.Ended() || len(x.got) != 4 || x.at[1].Cursor != "k1/shardId-000000000000/end" {
		t.Fatalf("%d records came, ended: %v, at %+v", len(x.got), r.Ended(), x.at[1])
	}
	x.until(x.open(), 6)
}

// TestFanOutTakesAShardOver: the owner before has died and its connection is
// still open. Kinesis refuses the new one for five seconds, then ends the old.
func TestFanOutTakesAShardOver(t *testing.T) {
	x := newPushed(t, 50)
	x.put(2)
	x.until(x.open(), 2)
	for n := 4; x.service.Count("SubscribeToShard in use") == 0; n += 2 { // on a busy machine five seconds may be over before the new one asks
		now := x.open() // at the position that was committed
		x.put(2)
		x.until(now, n)
	}
}

// sorry is a subscriber whose subscriptions never end without a complaint, as
// the SDK's do when a connection is cut while it waits for the next event.
type sorry struct{ kinesis.Subscriber }

type sorryToGo struct{ kinesis.Subscription }

func (s sorry) Subscribe(ctx context.Context, consumer, shard string, from types.StartingPosition) (kinesis.Subscription, error) {
	x, err := s.Subscriber.Subscribe(ctx, consumer, shard, from)
	if err != nil {
		return nil, err
	}
	return sorryToGo{x}, nil
}

func (s sorryToGo) Close() error {
	return errors.Join(s.Subscription.Close(), errors.New("decode event: use of closed network connection"))
}

func TestTheEndOfASubscriptionIsNoFailureOfReading(t *testing.T) {
	x := newPushedBy(t, 100, func(s kinesis.Subscriber) kinesis.Subscriber { return sorry{s} })
	x.put(4)
	r := x.open()
	x.until(r, 2)
	if err := r.Close(); err != nil {
		t.Errorf("closed in the middle: %v", err)
	}
	if err := x.service.Split("shardId-000000000000", kinesistest.Middle(kinesis.Whole)); err != nil {
		t.Fatal(err)
	}
	r = x.open()
	x.until(r, -1) // its last event has records and says that the shard has ended
	if len(x.got) != 4 {
		t.Errorf("%d of 4 records came", len(x.got))
	}
	if err := r.Close(); err != nil {
		t.Errorf("closed at the end: %v", err)
	}
}
