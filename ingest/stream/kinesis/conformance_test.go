package kinesis_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"

	"tallystream/ingest/stream/kinesis"
	"tallystream/ingest/stream/kinesis/kinesistest"
	"tallystream/ingest/stream/streamtest"
	"tallystream/service/cloud/mototest"
)

// both sides of a stream.
func both(t *testing.T, cfg kinesis.Config) streamtest.Both {
	t.Helper()
	cfg.Partitions = streamtest.Partitions
	p := kinesis.NewProducer(cfg)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("closing producer: %v", err)
		}
	})
	return streamtest.Both{Append: p.Append, Source: kinesis.NewSource(cfg)}
}

func TestConformance(t *testing.T) {
	for _, seed := range []uint64{0, 7} { // 0: it answers as plainly as it may
		streamtest.RunSource(t, func(t *testing.T) streamtest.Both {
			clock := newQuickClock(50)
			service := kinesistest.New(kinesistest.Options{Shards: 3, Now: clock.Now, Seed: seed})
			return both(t, kinesis.Config{API: service, Stream: "submissions", Clock: clock, Seed: 1})
		})
	}
}

func TestConformanceThroughTheSDK(t *testing.T) {
	streamtest.RunSource(t, func(t *testing.T) streamtest.Both {
		clock := newQuickClock(50)
		service := kinesistest.New(kinesistest.Options{Shards: 2, Now: clock.Now, Seed: 3, Page: 1})
		return both(t, kinesis.Config{API: served(t, service).Kinesis, Stream: "submissions", Clock: clock, Seed: 1})
	})
}

func TestConformanceWithFanOut(t *testing.T) {
	streamtest.RunSource(t, func(t *testing.T) streamtest.Both {
		clock := newQuickClock(50)
		service := kinesistest.New(kinesistest.Options{Shards: 2, Now: clock.Now, Seed: 3})
		client := served(t, service).Kinesis
		return both(t, kinesis.Config{
			API: client, Stream: "submissions", Clock: clock, Seed: 1,
			Consumer: service.ARN() + "/consumer/aggregate:1", Subscriber: kinesis.ClientSubscriber{Client: client},
		})
	})
}

func TestConformanceOnMoto(t *testing.T) {
	clients := mototest.Start(t)
	streamtest.RunSource(t, func(t *testing.T) streamtest.Both {
		name := motoStream(t, clients.Kinesis, 2)
		return both(t, kinesis.Config{API: clients.Kinesis, Stream: name, Clock: newQuickClock(20), Seed: 1})
	})
}

func motoStream(t *testing.T, client *sdk.Client, shards int32) string {
	t.Helper()
	name := mototest.Names(t, "test").Stream
	if _, err := client.CreateStream(t.Context(), &sdk.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(shards)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := client.DeleteStream(context.Background(), &sdk.DeleteStreamInput{StreamName: &name}); err != nil {
			t.Errorf("deleting stream: %v", err)
		}
	})
	return name
}
