package kinesistest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/ingest/stream/kinesis"
	"tallystream/ingest/stream/kinesis/kinesistest"
)

var name = aws.String("submissions")

func at(now *time.Time, o kinesistest.Options) *kinesistest.Service {
	o.Now = func() time.Time { return *now }
	return kinesistest.New(o)
}

func entries(n, size int) []types.PutRecordsRequestEntry {
	list := make([]types.PutRecordsRequestEntry, n)
	for i := range list {
		list[i] = types.PutRecordsRequestEntry{Data: make([]byte, size), PartitionKey: aws.String("0"), ExplicitHashKey: aws.String("7")}
	}
	return list
}

func TestAShardTakesAThousandRecordsAndAMegabyteASecond(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := at(&now, kinesistest.Options{})
	put := func(n, size int) int {
		t.Helper()
		out, err := s.PutRecords(t.Context(), &sdk.PutRecordsInput{StreamName: name, Records: entries(n, size)})
		if err != nil {
			t.Fatal(err)
		}
		return n - int(*out.FailedRecordCount)
	}
	if got := put(500, 10) + put(500, 10) + put(100, 10); got != 1000 {
		t.Errorf("%d records were taken in one moment, want 1000", got)
	}
	now = now.Add(10 * time.Second)
	if got := put(30, 100_000); got != 10 {
		t.Errorf("%d records of 100 kB were taken, want 10", got)
	}
	now = now.Add(500 * time.Millisecond)
	if got := put(30, 100_000); got != 5 {
		t.Errorf("%d records of 100 kB were taken half a second later, want 5", got)
	}
}

func TestAShardIsReadFiveTimesASecond(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := at(&now, kinesistest.Options{})
	it, err := s.GetShardIterator(t.Context(), &sdk.GetShardIteratorInput{StreamName: name, ShardId: aws.String("shardId-000000000000"), ShardIteratorType: "TRIM_HORIZON"})
	if err != nil {
		t.Fatal(err)
	}
	read := func() error {
		_, err := s.GetRecords(t.Context(), &sdk.GetRecordsInput{ShardIterator: it.ShardIterator})
		return err
	}
	for range 5 {
		if err := read(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(100 * time.Millisecond)
	}
	var throttled *types.ProvisionedThroughputExceededException
	if err := read(); !errors.As(err, &throttled) {
		t.Errorf("sixth read: %v", err)
	}
	now = now.Add(500 * time.Millisecond)
	if err := read(); err != nil {
		t.Errorf("a second after the first: %v", err)
	}
	s.Put("0", kinesis.Point{}, make([]byte, 1<<20))
	now = now.Add(time.Second)
	if err := read(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(400 * time.Millisecond)
	if err := read(); !errors.As(err, &throttled) {
		t.Errorf("a megabyte is paid for in half a second: %v", err)
	}
	now = now.Add(5 * time.Minute)
	var expired *types.ExpiredIteratorException
	if err := read(); !errors.As(err, &expired) {
		t.Errorf("an iterator older than five minutes: %v", err)
	}
}

func TestForbiddenRequestsAreRefused(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := at(&now, kinesistest.Options{Shards: 3, Page: 2})
	page, err := s.ListShards(t.Context(), &sdk.ListShardsInput{StreamName: name})
	if err != nil || len(page.Shards) != 2 || page.NextToken == nil {
		t.Fatalf("%+v, %v", page, err)
	}
	put := func(records []types.PutRecordsRequestEntry) error {
		_, err := s.PutRecords(t.Context(), &sdk.PutRecordsInput{StreamName: name, Records: records})
		return err
	}
	noKey := entries(1, 1)
	noKey[0].ExplicitHashKey = nil
	_, both := s.ListShards(t.Context(), &sdk.ListShardsInput{StreamName: name, NextToken: page.NextToken})
	_, other := s.ListShards(t.Context(), &sdk.ListShardsInput{StreamName: aws.String("other")})
	_, unknown := s.GetShardIterator(t.Context(), &sdk.GetShardIteratorInput{
		StreamName: name, ShardId: aws.String("shardId-000000000000"), ShardIteratorType: "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber: aws.String("4957"),
	})
	for what, err := range map[string]error{
		"501 records": put(entries(501, 1)), "no records": put(nil), "6 MB": put(entries(6, 1_000_000)), "a record of 1 MiB and its key": put(entries(1, 1<<20)),
		"no hash key": put(noKey), "a token and a name": both, "another stream": other, "a sequence number of no record": unknown,
		"split at the edge":       s.Split("shardId-000000000000", kinesis.Point{}),
		"merge of non-neighbours": s.Merge("shardId-000000000000", "shardId-000000000002"),
	} {
		if err == nil {
			t.Errorf("%s: not refused", what)
		}
	}
	now = now.Add(301 * time.Second)
	if _, err := s.ListShards(t.Context(), &sdk.ListShardsInput{NextToken: page.NextToken}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an old token: %v", err)
	}
}

func TestClosedShardsExpireAndTheirChildrenStay(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := at(&now, kinesistest.Options{Retention: 24 * time.Hour})
	if err := s.Split("shardId-000000000000", kinesistest.Middle(kinesis.Whole)); err != nil {
		t.Fatal(err)
	}
	listed := func() (n int) {
		out, err := s.ListShards(t.Context(), &sdk.ListShardsInput{StreamName: name})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Shards)
	}
	before := listed()
	now = now.Add(25 * time.Hour)
	if after := listed(); before != 3 || after != 2 {
		t.Errorf("%d shards are listed, then %d; want 3, then 2", before, after)
	}
}
