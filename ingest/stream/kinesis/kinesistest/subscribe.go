package kinesistest

import (
	"context"
	"sort"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// Limits of SubscribeToShard.
// https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html
const (
	subscriptionLife = 5 * time.Minute
	exclusiveFor     = 5 * time.Second
	maxEventBytes    = 1 << 20
)

// subscription of a consumer to a shard.
type subscription struct {
	shard  *shard
	next   int // index of the first record that was not sent
	began  time.Time
	taken  bool // by a later one
	silent bool // nothing to send until something changes
	ended  bool
}

// Subscribe is the API's SubscribeToShard. Its consumer need not be registered.
func (s *Service) Subscribe(ctx context.Context, consumer, shard string, from types.StartingPosition) (*Subscribed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.begin(ctx, "SubscribeToShard", shard); err != nil {
		return nil, err
	}
	sh := s.shard(shard)
	if sh == nil {
		return nil, &types.ResourceNotFoundException{Message: aws.String("Shard " + shard + " does not exist")}
	}
	now, key := s.now(), consumer+"|"+shard
	if old := s.leases[key]; old != nil {
		if now.Sub(old.began) < exclusiveFor {
			s.counts["SubscribeToShard in use"]++
			return nil, &types.ResourceInUseException{Message: aws.String("Another active subscription exists for this consumer: " + consumer)}
		}
		old.taken = true
	}
	next := 0
	switch {
	case from.Type == types.ShardIteratorTypeAfterSequenceNumber && aws.ToString(from.SequenceNumber) != "":
		// A continuation's number need not be a record's.
		next = sort.Search(len(sh.records), func(i int) bool { return sh.records[i].sequence > *from.SequenceNumber })
	case from.Type == types.ShardIteratorTypeLatest:
		next = len(sh.records)
	case from.Type != types.ShardIteratorTypeTrimHorizon || from.SequenceNumber != nil:
		return nil, invalid("starting position %s", from.Type)
	}
	sub := &subscription{shard: sh, next: next, began: now}
	s.leases[key] = sub
	s.broadcast() // for the one that was taken over
	return &Subscribed{s, sub}, nil
}

// Subscribed is an open subscription.
type Subscribed struct {
	service *Service
	sub     *subscription
}

// Next is the next event, nil if there is none yet; changed is closed when
// there may be one. False: the subscription is over.
func (x *Subscribed) Next() (event *types.SubscribeToShardEvent, changed <-chan struct{}, open bool) {
	s := x.service
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, sh := x.sub, x.sub.shard
	if sub.taken || sub.ended || s.now().Sub(sub.began) >= subscriptionLife {
		return nil, nil, false
	}
	s.trim(sh)
	sub.next = max(sub.next, sh.trimmed)
	e := &types.SubscribeToShardEvent{Records: []types.Record{}}
	size := 0
	for sub.next < len(sh.records) && size+len(sh.records[sub.next].data) <= maxEventBytes {
		e.Records = append(e.Records, sh.records[sub.next].api())
		size += len(sh.records[sub.next].data)
		sub.next++
	}
	s.counts["records pushed"] += len(e.Records)
	e.MillisBehindLatest = aws.Int64(s.millisBehind(sh, sub.next))
	switch {
	case sh.info.Closed && sub.next == len(sh.records):
		e.ChildShards = childShards(s.children(sh))
		sub.ended = true
		return e, s.changed, true
	case len(e.Records) == 0 && sub.silent:
		return nil, s.changed, true
	}
	// Without records, too: Kinesis says so that it is alive and how far it is.
	sub.silent = len(e.Records) == 0
	number := sequence(sh, s.now(), s.counter)
	if n := sub.next; n > 0 {
		number = sh.records[n-1].sequence
	}
	e.ContinuationSequenceNumber = aws.String(number)
	return e, s.changed, true
}

// Break ends every subscription, as a connection that is lost does.
func (s *Service) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.leases {
		sub.taken = true
	}
	s.broadcast()
}
