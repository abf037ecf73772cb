package kinesistest

import (
	"context"
	"encoding/base64"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// Limits of GetRecords.
// https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
const (
	maxGetRecords  = 10_000
	maxGetBytes    = 10 << 20
	readsPerSecond = 5
	readBytesRate  = 2 << 20
	iteratorLife   = 5 * time.Minute
)

// GetShardIterator is the API's, for the types TRIM_HORIZON, LATEST,
// AT_SEQUENCE_NUMBER and AFTER_SEQUENCE_NUMBER.
func (s *Service) GetShardIterator(ctx context.Context, in *sdk.GetShardIteratorInput, _ ...func(*sdk.Options)) (*sdk.GetShardIteratorOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fault, err := s.begin(ctx, "GetShardIterator", aws.ToString(in.ShardId))
	if err != nil {
		return nil, err
	}
	if err := s.isThis(in.StreamName, in.StreamARN); err != nil {
		return nil, err
	}
	sh := s.shard(aws.ToString(in.ShardId))
	if sh == nil {
		return nil, &types.ResourceNotFoundException{Message: aws.String("Shard " + aws.ToString(in.ShardId) + " in stream " + s.options.Stream + " does not exist")}
	}
	from, err := s.start(sh, in.ShardIteratorType, in.StartingSequenceNumber)
	if err != nil {
		return nil, err
	}
	return answer(fault, &sdk.GetShardIteratorOutput{ShardIterator: s.iterator(sh, from)})
}

// start is the index of the first record that is read.
func (s *Service) start(sh *shard, kind types.ShardIteratorType, sequence *string) (int, error) {
	if kind == types.ShardIteratorTypeTrimHorizon || kind == types.ShardIteratorTypeLatest {
		if sequence != nil {
			return 0, invalid("%s takes no sequence number", kind)
		}
		if kind == types.ShardIteratorTypeLatest {
			return len(sh.records), nil
		}
		return 0, nil
	}
	i := sort.Search(len(sh.records), func(i int) bool { return sh.records[i].sequence >= aws.ToString(sequence) })
	if i == len(sh.records) || sh.records[i].sequence != aws.ToString(sequence) {
		return 0, invalid("StartingSequenceNumber %s used in GetShardIterator on shard %s in stream %s is invalid.", aws.ToString(sequence), sh.info.ID, s.options.Stream)
	}
	switch kind {
	case types.ShardIteratorTypeAtSequenceNumber:
		return i, nil
	case types.ShardIteratorTypeAfterSequenceNumber:
		return i + 1, nil
	}
	return 0, invalid("shard iterator type %q", kind)
}

func (s *Service) iterator(sh *shard, next int) *string {
	text := fmt.Sprintf("%s|%s|%d|%d", s.options.Stream, sh.info.ID, next, s.now().UnixNano())
	return aws.String(base64.StdEncoding.EncodeToString([]byte(text)))
}

// GetRecords is the API's.
func (s *Service) GetRecords(ctx context.Context, in *sdk.GetRecordsInput, _ ...func(*sdk.Options)) (*sdk.GetRecordsOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh, next, made, err := s.parseIterator(aws.ToString(in.ShardIterator))
	if err != nil {
		return nil, err
	}
	fault, err := s.begin(ctx, "GetRecords", sh.info.ID)
	if err != nil {
		return nil, err
	}
	now := s.now()
	limit := maxGetRecords
	switch {
	case in.Limit != nil && (*in.Limit < 1 || *in.Limit > maxGetRecords):
		return nil, invalid("Limit %d: want 1 to %d", *in.Limit, maxGetRecords)
	case in.Limit != nil:
		limit = int(*in.Limit)
	}
	if now.Sub(made) > iteratorLife {
		s.counts["GetRecords expired"]++
		return nil, &types.ExpiredIteratorException{Message: aws.String(fmt.Sprintf("Iterator expired. The iterator was created at %v while right now it is %v which is further in the future than the tolerated delay of %v milliseconds.", made, now, iteratorLife.Milliseconds()))}
	}
	if !s.options.Unlimited && !sh.readable(now) {
		return nil, s.throttled("GetRecords", sh.info.ID)
	}
	s.trim(sh)
	next = max(next, sh.trimmed)
	out := &sdk.GetRecordsOutput{}
	if fault == Empty || s.options.Seed != 0 && s.random.IntN(8) == 0 {
		limit = 0 // the service has looked at a part of the shard without records
	}
	size := 0
	for next < len(sh.records) && len(out.Records) < limit && size+len(sh.records[next].data) <= maxGetBytes {
		out.Records = append(out.Records, sh.records[next].api())
		size += len(sh.records[next].data)
		next++
	}
	sh.busy = now.Add(time.Duration(float64(size) / readBytesRate * float64(time.Second)))
	out.MillisBehindLatest = aws.Int64(s.millisBehind(sh, next))
	// The end comes with the last records or after them, as it likes.
	if sh.info.Closed && next == len(sh.records) && limit > 0 && (len(out.Records) == 0 || s.random.IntN(2) == 0) {
		out.ChildShards = childShards(s.children(sh))
	} else {
		out.NextShardIterator = s.iterator(sh, next)
	}
	return answer(fault, out)
}

func (s *Service) parseIterator(token string) (sh *shard, next int, made time.Time, err error) {
	text, err := base64.StdEncoding.DecodeString(token)
	part := strings.Split(string(text), "|")
	var n, nanos int64
	if err == nil && len(part) == 4 && part[0] == s.options.Stream {
		_, err = fmt.Sscan(part[2], &n)
		if err == nil {
			_, err = fmt.Sscan(part[3], &nanos)
		}
	}
	if err != nil || len(part) != 4 {
		return nil, 0, made, invalid("Invalid ShardIterator.")
	}
	if sh = s.shard(part[1]); sh == nil {
		return nil, 0, made, &types.ResourceNotFoundException{Message: aws.String("Shard " + part[1] + " does not exist")}
	}
	return sh, int(n), time.Unix(0, nanos), nil
}

// readable keeps to 5 reads in any second, and to the pause that the last
// answer's size costs at 2 MB/s.
func (sh *shard) readable(now time.Time) bool {
	if now.Before(sh.busy) || len(sh.reads) == readsPerSecond && now.Sub(sh.reads[0]) < time.Second {
		return false
	}
	sh.reads = append(sh.reads, now)
	if len(sh.reads) > readsPerSecond {
		sh.reads = sh.reads[1:]
	}
	return true
}

// trim lets readers see no record that is older than the retention.
func (s *Service) trim(sh *shard) {
	oldest := s.now().Add(-s.options.Retention)
	for sh.trimmed < len(sh.records) && sh.records[sh.trimmed].arrived.Before(oldest) {
		sh.trimmed++
	}
}

func (s *Service) millisBehind(sh *shard, next int) int64 {
	if next >= len(sh.records) {
		return 0
	}
	return max(1, s.now().Sub(sh.records[next].arrived).Milliseconds())
}

func (r record) api() types.Record {
	return types.Record{Data: r.data, PartitionKey: aws.String(r.key), SequenceNumber: aws.String(r.sequence), ApproximateArrivalTimestamp: aws.Time(r.arrived)}
}

func childShards(children []*shard) []types.ChildShard {
	var list []types.ChildShard
	for _, c := range children {
		x := types.ChildShard{ShardId: aws.String(c.info.ID), HashKeyRange: hashKeyRange(c.info.Range), ParentShards: []string{c.info.Parent}}
		if c.info.Adjacent != "" {
			x.ParentShards = append(x.ParentShards, c.info.Adjacent)
		}
		list = append(list, x)
	}
	return list
}
