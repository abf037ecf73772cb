package kinesistest

import (
	"bytes"
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/ingest/stream/kinesis"
)

// Limits of PutRecords. The request's was 5 MiB for long and is 10 MiB now;
// older endpoints and emulators keep the smaller one, so this one does.
// https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
const (
	maxPutRecords    = 500
	maxPutBytes      = 5 << 20
	maxRecordBytes   = 1 << 20
	shardRecordsRate = 1000
	shardBytesRate   = 1 << 20
)

// errLost is what a caller sees of a connection that broke.
var errLost = errors.New("connection reset by peer")

// sdkCanceled is the error of a call whose context has ended.
type sdkCanceled struct{ err error }

func (e *sdkCanceled) Error() string { return "request canceled, " + e.err.Error() }
func (e *sdkCanceled) Unwrap() error { return e.err }

// PutRecords is the API's. It keeps no order between the records of a request,
// and takes some of them when it cannot take all.
func (s *Service) PutRecords(ctx context.Context, in *sdk.PutRecordsInput, _ ...func(*sdk.Options)) (*sdk.PutRecordsOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fault, err := s.begin(ctx, "PutRecords", "")
	if err != nil {
		return nil, err
	}
	if err := s.isThis(in.StreamName, in.StreamARN); err != nil {
		return nil, err
	}
	keys, err := checkPut(in)
	if err != nil {
		return nil, err
	}
	out := &sdk.PutRecordsOutput{Records: make([]types.PutRecordsResultEntry, len(in.Records)), FailedRecordCount: aws.Int32(0)}
	for _, i := range s.random.Perm(len(in.Records)) {
		out.Records[i] = s.put(i, keys[i], in.Records[i])
		if out.Records[i].ErrorCode != nil {
			*out.FailedRecordCount++
		}
	}
	s.broadcast()
	return answer(fault, out)
}

func checkPut(in *sdk.PutRecordsInput) ([]kinesis.Point, error) {
	if len(in.Records) == 0 || len(in.Records) > maxPutRecords {
		return nil, invalid("%d records: want 1 to %d", len(in.Records), maxPutRecords)
	}
	keys, size := make([]kinesis.Point, len(in.Records)), 0
	for i, r := range in.Records {
		n := len(r.Data) + len(aws.ToString(r.PartitionKey))
		switch {
		case r.PartitionKey == nil || *r.PartitionKey == "" || len(*r.PartitionKey) > 256:
			return nil, invalid("record %d: partition key is missing or too long", i)
		case n > maxRecordBytes:
			return nil, invalid("record %d: %d bytes, want at most %d", i, n, maxRecordBytes)
		case r.ExplicitHashKey == nil:
			return nil, invalid("record %d: no ExplicitHashKey, which this fake insists on", i)
		}
		var err error
		if keys[i], err = kinesis.ParsePoint(*r.ExplicitHashKey); err != nil {
			return nil, invalid("record %d: %v", i, err)
		}
		size += n
	}
	if size > maxPutBytes {
		return nil, invalid("request of %d bytes: want at most %d", size, maxPutBytes)
	}
	return keys, nil
}

func (s *Service) put(i int, key kinesis.Point, r types.PutRecordsRequestEntry) types.PutRecordsResultEntry {
	sh := s.openAt(key)
	fault := None
	if s.options.Faults != nil {
		fault = s.options.Faults(Call{Operation: "PutRecords", Shard: sh.info.ID, Record: i})
	}
	size := len(r.Data) + len(*r.PartitionKey)
	switch {
	case fault == Internal:
		s.counts["record internal"]++
		return types.PutRecordsResultEntry{ErrorCode: aws.String("InternalFailure"), ErrorMessage: aws.String("Internal Service Failure")}
	case fault == Throttle || !s.options.Unlimited && !sh.takes(s, size):
		s.counts["record throttled"]++
		return types.PutRecordsResultEntry{
			ErrorCode:    aws.String("ProvisionedThroughputExceededException"),
			ErrorMessage: aws.String("Rate exceeded for shard " + sh.info.ID + " in stream " + s.options.Stream + " under account 000000000000."),
		}
	}
	s.counter++
	now := s.now()
	x := record{sequence: sequence(sh, now, s.counter), key: *r.PartitionKey, data: bytes.Clone(r.Data), arrived: now, partition: key}
	if n := len(sh.records); n > 0 && x.sequence <= sh.records[n-1].sequence {
		// The clock went back; the order does not.
		x.sequence = sequence(sh, sh.records[n-1].arrived, s.counter)
		x.arrived = sh.records[n-1].arrived
	}
	sh.records = append(sh.records, x)
	return types.PutRecordsResultEntry{SequenceNumber: aws.String(x.sequence), ShardId: aws.String(sh.info.ID)}
}

// takes says whether a record is within the shard's limits, and counts it if
// it is.
func (sh *shard) takes(s *Service, size int) bool {
	now, was := s.now(), sh.writes
	if !sh.writes.take(now, 1, shardRecordsRate) {
		return false
	}
	if !sh.inflow.take(now, float64(size), shardBytesRate) {
		sh.writes = was
		return false
	}
	return true
}

func (s *Service) openAt(key kinesis.Point) *shard {
	for _, sh := range s.shards {
		if !sh.info.Closed && sh.info.Range.Holds(key) {
			return sh
		}
	}
	panic("kinesistest: a hash key without an open shard")
}

// broadcast wakes subscriptions.
func (s *Service) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Put is a foreign writer's record: any partition key, any hash key, no limits.
func (s *Service) Put(key string, at kinesis.Point, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.openAt(at)
	s.counter++
	sh.records = append(sh.records, record{sequence: sequence(sh, s.now(), s.counter), key: key, data: data, arrived: s.now(), partition: at})
	s.broadcast()
}

// Record is a record as it lies in the stream.
type Record struct {
	Shard    string
	Sequence string
	Key      string
	Data     []byte
}

// Records are all that were ever put at a hash key, in the order in which
// readers must see them.
func (s *Service) Records(at kinesis.Point) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Record
	for _, sh := range s.shards { // children have larger numbers
		for _, r := range sh.records {
			if r.partition == at {
				all = append(all, Record{Shard: sh.info.ID, Sequence: r.sequence, Key: r.key, Data: r.data})
			}
		}
	}
	return all
}
