package mototest_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/service/cloud"
)

// Hash keys of the two halves of a stream of two shards.
const (
	low    = "1"
	middle = "170141183460469231731687303715884105728" // 2^127: the first of the second shard
	last   = "170141183460469231731687303715884105727" // the last of the first
	half   = "85070591730234615865843651857942052864"  // 2^126: the middle of the first
)

func put(ctx context.Context, c *cloud.Clients, stream, hash string, texts ...string) error {
	in := &kinesis.PutRecordsInput{StreamName: &stream}
	for _, text := range texts {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{Data: []byte(text), PartitionKey: aws.String("p"), ExplicitHashKey: &hash})
	}
	out, err := c.Kinesis.PutRecords(ctx, in)
	if err == nil && aws.ToInt32(out.FailedRecordCount) > 0 {
		err = errors.New("records failed")
	}
	return err
}

// shard is what one read of a shard from its beginning finds.
type shard struct {
	texts    []string
	numbers  []*big.Int
	closed   bool
	children []string
}

func read(ctx context.Context, c *cloud.Clients, stream, id string) (s shard, err error) {
	at, err := c.Kinesis.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &stream, ShardId: &id, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		return s, err
	}
	out, err := c.Kinesis.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: at.ShardIterator})
	if err != nil {
		return s, err
	}
	for _, r := range out.Records {
		s.texts = append(s.texts, string(r.Data))
		n, _ := new(big.Int).SetString(aws.ToString(r.SequenceNumber), 10)
		s.numbers = append(s.numbers, n)
	}
	s.closed = out.NextShardIterator == nil
	for _, child := range out.ChildShards {
		s.children = append(s.children, aws.ToString(child.ShardId))
	}
	return s, nil
}

const shard0, shard1, shard2, shard3 = "shardId-000000000000", "shardId-000000000001", "shardId-000000000002", "shardId-000000000003"

func twoShards(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if _, err := c.Kinesis.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &n.Stream, ShardCount: aws.Int32(2)}); err != nil {
		return err
	}
	return errors.Join(put(ctx, c, n.Stream, low, "a", "b"), put(ctx, c, n.Stream, middle, "x"))
}

// expect compares what is in a shard.
func expect(ctx context.Context, c *cloud.Clients, stream, id string, texts, children []string) (shard, error) {
	s, err := read(ctx, c, stream, id)
	if err != nil {
		return s, err
	}
	if !slices.Equal(s.texts, texts) || !slices.Equal(s.children, children) || s.closed != (children != nil) {
		return s, fmt.Errorf("%s has %v, closed %v with children %v; want %v and %v", id, s.texts, s.closed, s.children, texts, children)
	}
	return s, nil
}

func open(ctx context.Context, c *cloud.Clients, stream string, want int32) error {
	out, err := c.Kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
	if err != nil {
		return err
	}
	if have := aws.ToInt32(out.StreamDescriptionSummary.OpenShardCount); have != want {
		return fmt.Errorf("%d shards are said to be open, want %d", have, want)
	}
	return nil
}

func splitMovesNothing(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := twoShards(ctx, c, n); err != nil {
		return err
	}
	_, err := c.Kinesis.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: &n.Stream, ShardToSplit: aws.String(shard0), NewStartingHashKey: aws.String(half)})
	if err != nil {
		return err
	}
	if err := errors.Join(put(ctx, c, n.Stream, low, "c"), put(ctx, c, n.Stream, half, "d")); err != nil {
		return err
	}
	parent, err := expect(ctx, c, n.Stream, shard0, []string{"a", "b"}, []string{shard2, shard3})
	if err != nil {
		return err
	}
	child, err := expect(ctx, c, n.Stream, shard2, []string{"c"}, nil)
	if err != nil {
		return err
	}
	if child.numbers[0].Cmp(parent.numbers[1]) <= 0 {
		return fmt.Errorf("a child's record has number %v, its parent's had %v", child.numbers[0], parent.numbers[1])
	}
	_, err = expect(ctx, c, n.Stream, shard3, []string{"d"}, nil)
	return errors.Join(err, open(ctx, c, n.Stream, 3))
}

func mergeMovesNothing(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := twoShards(ctx, c, n); err != nil {
		return err
	}
	_, err := c.Kinesis.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: &n.Stream, ShardToMerge: aws.String(shard1), AdjacentShardToMerge: aws.String(shard0)})
	if err != nil {
		return err
	}
	if err := put(ctx, c, n.Stream, low, "c"); err != nil {
		return err
	}
	_, one := expect(ctx, c, n.Stream, shard0, []string{"a", "b"}, []string{shard2})
	_, other := expect(ctx, c, n.Stream, shard1, []string{"x"}, []string{shard2})
	_, child := expect(ctx, c, n.Stream, shard2, []string{"c"}, nil)
	return errors.Join(one, other, child, open(ctx, c, n.Stream, 1))
}

func lastHashKeyBelongs(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := twoShards(ctx, c, n); err != nil {
		return err
	}
	if err := put(ctx, c, n.Stream, last, "z"); err != nil {
		return err
	}
	_, err := expect(ctx, c, n.Stream, shard0, []string{"a", "b", "z"}, nil)
	return err
}

func writersLoseNothing(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := twoShards(ctx, c, n); err != nil {
		return err
	}
	const writers, each = 20, 10
	errs := make([]error, writers)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				errs[w] = errors.Join(errs[w], put(ctx, c, n.Stream, low, fmt.Sprint(w, "/", i)))
			}
		})
	}
	group.Wait()
	s, err := read(ctx, c, n.Stream, shard0)
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	if len(s.texts) != 2+writers*each {
		return fmt.Errorf("%d records are left of %d", len(s.texts), 2+writers*each)
	}
	for i := 1; i < len(s.numbers); i++ {
		if s.numbers[i].Cmp(s.numbers[i-1]) <= 0 {
			return fmt.Errorf("number %v follows %v", s.numbers[i], s.numbers[i-1])
		}
	}
	return nil
}
