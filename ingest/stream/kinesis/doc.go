// Package kinesis is the stream of the cloud: signed submissions in Amazon
// Kinesis Data Streams.
//
// Its invariant: a record whose Append returned without error is in the
// stream, and readers that resume from the positions they committed find the
// records of each partition in one order, none skipped and none twice,
// whatever is split, merged, throttled or crashes meanwhile. A record may be
// in the stream more than once: the producer repeats what may have got lost.
//
// A partition has one hash key, so that one open shard holds it at a time. A
// shard is read only after its parents were read to their ends.
package kinesis

import (
	"context"
	"errors"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// API is the part of Kinesis that is used here. *sdk.Client has it, and so has
// kinesistest.Service.
type API interface {
	DescribeStreamSummary(context.Context, *sdk.DescribeStreamSummaryInput, ...func(*sdk.Options)) (*sdk.DescribeStreamSummaryOutput, error)
	ListShards(context.Context, *sdk.ListShardsInput, ...func(*sdk.Options)) (*sdk.ListShardsOutput, error)
	PutRecords(context.Context, *sdk.PutRecordsInput, ...func(*sdk.Options)) (*sdk.PutRecordsOutput, error)
	GetShardIterator(context.Context, *sdk.GetShardIteratorInput, ...func(*sdk.Options)) (*sdk.GetShardIteratorOutput, error)
	GetRecords(context.Context, *sdk.GetRecordsInput, ...func(*sdk.Options)) (*sdk.GetRecordsOutput, error)
}

var _ API = (*sdk.Client)(nil)

// What a caller decides on, beside the errors of package stream.
var (
	// ErrUnusable: the stream is not there, not ready, or of a kind that
	// ignores hash keys. Somebody has to change the stream.
	ErrUnusable = errors.New("stream cannot be used")
	// ErrExpired: a partition's unread shard is older than the stream's
	// retention, so records may have been lost. Nothing goes on by itself.
	ErrExpired = errors.New("unread part of the stream has expired")
	// ErrCursor: a position is not one of this stream.
	ErrCursor = errors.New("position does not belong to this stream")
	// ErrLineage: the listed shards do not descend from one another as they
	// must.
	ErrLineage = errors.New("shards of the stream do not fit together")
)

// Clock is the time that retries and polls go by.
type Clock interface {
	Now() time.Time
	// Sleep returns early, with its error, when ctx ends.
	Sleep(ctx context.Context, d time.Duration) error
}

// systemClock is the real one.
type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
