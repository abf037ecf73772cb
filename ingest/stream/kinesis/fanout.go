package kinesis

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"
)

// Subscriber begins enhanced fan-out of a shard: Kinesis pushes its records,
// with 2 MB/s for this consumer alone.
type Subscriber interface {
	Subscribe(ctx context.Context, consumer, shard string, from types.StartingPosition) (Subscription, error)
}

// Subscription is open for five minutes at most. *sdk.SubscribeToShardEventStream
// is one.
type Subscription interface {
	Events() <-chan types.SubscribeToShardEventStream
	Err() error // why Events is closed, if not just because time is up
	Close() error
}

// ClientSubscriber subscribes through the SDK's client. The client must not
// limit the time of a whole answer.
type ClientSubscriber struct{ Client *sdk.Client }

// Subscribe is the API's SubscribeToShard.
func (c ClientSubscriber) Subscribe(ctx context.Context, consumer, shard string, from types.StartingPosition) (Subscription, error) {
	out, err := c.Client.SubscribeToShard(ctx, &sdk.SubscribeToShardInput{ConsumerARN: &consumer, ShardId: &shard, StartingPosition: &from}, once, ownCodec)
	if err != nil {
		return nil, err
	}
	return out.GetStream(), nil
}

// ownCodec gives a subscription its own reader of events. The client's (of
// smithy-go 1.28) keeps one buffer for all its subscriptions, so that two at a
// time would mix their records.
func ownCodec(o *sdk.Options) { o.Protocol = awsjson.New11(schemas.Kinesis_20131202) }

// Kinesis refuses a second subscription of the same consumer to the same shard
// within five seconds.
const resubscribeAfter = 5 * time.Second

// fanOut is the feed of a shard that Kinesis pushes.
type fanOut struct {
	feedState
	subscription Subscription
	end          context.CancelFunc // of its connection
	arrived      types.SubscribeToShardEventStream
	lastTry      time.Time
}

func newFanOut(s feedState) *fanOut { return &fanOut{feedState: s} }

func (f *fanOut) next(ctx context.Context) ([]types.Record, bool, error) {
	if f.subscription == nil {
		if f.cfg.Clock.Now().Before(f.due) {
			return nil, false, nil
		}
		if err := f.subscribe(ctx); err != nil {
			return nil, false, f.postpone(ctx, "subscribing to shard", err)
		}
		// Its first event comes at once, with or without records: it is the
		// answer.
		first, cancel := context.WithTimeout(ctx, f.cfg.Attempt)
		err := f.wait(first)
		cancel()
		if err != nil && (ctx.Err() != nil || first.Err() == nil) {
			return nil, false, err
		}
	}
	event := f.arrived
	if f.arrived = nil; event == nil {
		if f.subscription == nil {
			return nil, false, nil // it was lost while waiting
		}
		select {
		case x, open := <-f.subscription.Events():
			if !open {
				return nil, false, f.lose(ctx)
			}
			event = x
		default:
			return nil, false, nil
		}
	}
	e, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
	if !ok {
		return nil, false, nil // of a newer API; what it means to a reader would be an error
	}
	f.succeeded()
	f.cfg.Metrics.polls.WithLabelValues("pushed").Inc()
	f.late = time.Duration(aws.ToInt64(e.Value.MillisBehindLatest)) * time.Millisecond
	if e.Value.ContinuationSequenceNumber == nil || len(e.Value.ChildShards) > 0 {
		f.close()
		return e.Value.Records, true, nil
	}
	f.after = *e.Value.ContinuationSequenceNumber
	return e.Value.Records, false, nil
}

// subscribe opens the subscription behind f.after. It lives longer than ctx.
func (f *fanOut) subscribe(ctx context.Context) error {
	f.lastTry = f.cfg.Clock.Now()
	f.due = f.lastTry.Add(resubscribeAfter)
	from := types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	if f.after != "" {
		from = types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: aws.String(f.after)}
	}
	connection, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end) // only until it stands
	defer stop()
	s, err := f.cfg.Subscriber.Subscribe(connection, f.cfg.Consumer, f.shard, from)
	if err != nil {
		end()
		return err
	}
	f.subscription, f.end = s, end
	return nil
}

// lose ends a subscription that Kinesis has ended. The next one begins behind
// the last event.
func (f *fanOut) lose(ctx context.Context) error {
	why := f.subscription.Err()
	f.close()
	// Time that was up is no failure.
	f.due = f.lastTry.Add(resubscribeAfter)
	if why == nil {
		return nil
	}
	return f.postpone(ctx, "reading subscription", why)
}

func (f *fanOut) wait(ctx context.Context) error {
	if f.arrived != nil {
		return nil
	}
	if f.subscription == nil {
		return f.feedState.wait(ctx)
	}
	select {
	case x, open := <-f.subscription.Events():
		if !open {
			return f.lose(ctx)
		}
		f.arrived = x
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the subscription, if there is one. What its Close says is no failure
// of reading: every event that was taken is whole, the next subscription begins
// behind it, and a connection that is cut while the next event is awaited may
// well say so.
func (f *fanOut) close() {
	if f.subscription == nil {
		return
	}
	_ = f.subscription.Close()
	f.end()
	f.subscription, f.end, f.arrived = nil, nil, nil
}
