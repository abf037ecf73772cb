// Package kinesistest is a Kinesis stream in memory that keeps to what Amazon
// documents, more strictly than the service does: limits are limits, iterators
// expire, closed shards end, parents stay, what a request may not contain is
// refused. Where the service is free (to answer empty although there is more,
// to end a shard with its last records or after them) a seed decides.
//
// It starts no goroutine and asks no clock but the given one, so equal calls
// give equal answers: the deterministic simulation runs on it.
package kinesistest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/ingest/stream/kinesis"
)

// Options of a stream. The zero value is a stream of one shard by the real
// clock.
type Options struct {
	Stream    string           // name; "" is "submissions"
	Shards    int              // at the beginning, in equal shares
	Now       func() time.Time // nil: time.Now
	Seed      uint64           // of what the service is free to do
	Retention time.Duration    // 0: 24 hours
	Mode      types.StreamMode // "": provisioned
	Status    types.StreamStatus
	// Faults, if set, is asked once for each call, and once for each record
	// of a PutRecords.
	Faults func(Call) Fault
	// Unlimited takes the limits of records, bytes and reads a second away.
	Unlimited bool
	// Page is the most shards that one ListShards gives; 0: 1,000.
	Page int
}

// Call is what a fault may befall.
type Call struct {
	Operation string // as in the API, "PutRecords" say
	Shard     string // the shard concerned, if it is one
	Record    int    // index of a record of PutRecords; -1: the call itself
}

// Fault is what befalls it.
type Fault int

// Before and After are lost connections: the caller cannot tell them apart.
// Empty is an answer of GetRecords without records although there are some.
const (
	None     Fault = iota
	Throttle       // nothing done
	Internal       // 500; the call was not done, a record of PutRecords neither
	Before         // no answer; not done
	After          // no answer; done
	Empty
)

// Service is a stream. It is safe for concurrent use.
type Service struct {
	options Options
	created time.Time

	mu      sync.Mutex // guards what follows
	random  *rand.Rand
	shards  []*shard // by number
	counter uint64   // of records
	changed chan struct{}
	counts  map[string]int
	at      time.Time                // its clock, if it is not everybody's
	leases  map[string]*subscription // by consumer and shard
}

type shard struct {
	info    kinesis.ShardInfo
	records []record
	// What was trimmed is gone: only its number is known.
	trimmed int
	closed  time.Time // zero while open

	writes bucket // records
	inflow bucket // bytes
	reads  []time.Time
	busy   time.Time // until then the last answer's bytes are paid for
}

type record struct {
	sequence  string
	key       string
	data      []byte
	arrived   time.Time
	partition kinesis.Point
}

// bucket holds what may still be used of a limit per second.
type bucket struct {
	used float64
	at   time.Time
}

func (b *bucket) take(now time.Time, n, perSecond float64) bool {
	b.used = max(0, b.used-now.Sub(b.at).Seconds()*perSecond)
	b.at = now
	if b.used+n > perSecond {
		return false
	}
	b.used += n
	return true
}

var _ kinesis.API = (*Service)(nil)

// New makes a stream.
func New(o Options) *Service {
	if o.Stream == "" {
		o.Stream = "submissions"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Shards = max(o.Shards, 1)
	if o.Retention == 0 {
		o.Retention = 24 * time.Hour
	}
	if o.Mode == "" {
		o.Mode = types.StreamModeProvisioned
	}
	if o.Status == "" {
		o.Status = types.StreamStatusActive
	}
	if o.Page == 0 {
		o.Page = 1000
	}
	s := &Service{
		options: o, created: o.Now(), random: rand.New(rand.NewPCG(o.Seed, 1)),
		changed: make(chan struct{}), counts: map[string]int{}, leases: map[string]*subscription{},
	}
	first := kinesis.Point{}
	for i := range o.Shards {
		last := kinesis.Whole.Last
		if i+1 < o.Shards {
			last = before(startOfShare(i+1, o.Shards))
		}
		s.add(kinesis.ShardInfo{Range: kinesis.Range{First: first, Last: last}})
		first = after(last)
	}
	return s
}

// ARN of the stream, of no real account.
func (s *Service) ARN() string {
	return "arn:aws:kinesis:us-east-1:000000000000:stream/" + s.options.Stream
}

// Count is how often an operation was called, or, with a reason behind a
// space ("GetRecords throttled"), how often it failed so.
func (s *Service) Count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[what]
}

// At sets a clock that stands, apart from everybody else's, to see what skew
// does. Zero ends that.
func (s *Service) At(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = now
}

func (s *Service) now() time.Time {
	if !s.at.IsZero() {
		return s.at
	}
	return s.options.Now()
}

func (s *Service) add(info kinesis.ShardInfo) *shard {
	info.ID = fmt.Sprintf("shardId-%012d", len(s.shards))
	sh := &shard{info: info}
	s.shards = append(s.shards, sh)
	return sh
}

func (s *Service) shard(id string) *shard {
	for _, sh := range s.shards {
		if sh.info.ID == id && !s.isExpired(sh) {
			return sh
		}
	}
	return nil
}

// isExpired: nothing of a shard is left once all of it is older than the
// retention, and it was closed before.
func (s *Service) isExpired(sh *shard) bool {
	return sh.info.Closed && s.now().Sub(sh.closed) > s.options.Retention
}

// begin counts a call and gives the fault that befalls it before anything is
// done.
func (s *Service) begin(ctx context.Context, operation, shard string) (Fault, error) {
	s.counts[operation]++
	if err := ctx.Err(); err != nil {
		return None, &sdkCanceled{err}
	}
	if s.options.Faults == nil {
		return None, nil
	}
	switch f := s.options.Faults(Call{Operation: operation, Shard: shard, Record: -1}); f {
	case Throttle:
		return f, s.throttled(operation, shard)
	case Internal:
		s.counts[operation+" internal"]++
		return f, &types.InternalFailureException{Message: aws.String("Internal Service Failure")}
	case Before:
		s.counts[operation+" lost before"]++
		return f, errLost
	default:
		return f, nil
	}
}

func (s *Service) throttled(operation, shard string) error {
	s.counts[operation+" throttled"]++
	if shard == "" {
		return &types.LimitExceededException{Message: aws.String("Rate exceeded for stream " + s.options.Stream)}
	}
	return &types.ProvisionedThroughputExceededException{Message: aws.String("Rate exceeded for shard " + shard + " in stream " + s.options.Stream)}
}

func (s *Service) isThis(name, arn *string) error {
	switch {
	case aws.ToString(name) == "" && aws.ToString(arn) == "":
		return invalid("either StreamName or StreamARN is required")
	case aws.ToString(name) != "" && *name != s.options.Stream, aws.ToString(arn) != "" && *arn != s.ARN():
		return &types.ResourceNotFoundException{Message: aws.String("Stream " + aws.ToString(name) + aws.ToString(arn) + " under account 000000000000 not found.")}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return &types.InvalidArgumentException{Message: aws.String(fmt.Sprintf(format, args...))}
}

// DescribeStreamSummary is the API's.
func (s *Service) DescribeStreamSummary(ctx context.Context, in *sdk.DescribeStreamSummaryInput, _ ...func(*sdk.Options)) (*sdk.DescribeStreamSummaryOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fault, err := s.begin(ctx, "DescribeStreamSummary", "")
	if err != nil {
		return nil, err
	}
	if err := s.isThis(in.StreamName, in.StreamARN); err != nil {
		return nil, err
	}
	open := 0
	for _, sh := range s.shards {
		if !sh.info.Closed {
			open++
		}
	}
	d := &types.StreamDescriptionSummary{
		EnhancedMonitoring: []types.EnhancedMetrics{{}}, EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("alias/aws/kinesis"),
		OpenShardCount: aws.Int32(int32(open)), RetentionPeriodHours: aws.Int32(int32(s.options.Retention / time.Hour)),
		StreamARN: aws.String(s.ARN()), StreamCreationTimestamp: aws.Time(s.created), StreamName: aws.String(s.options.Stream),
		StreamStatus: s.options.Status, StreamModeDetails: &types.StreamModeDetails{StreamMode: s.options.Mode},
	}
	if s.options.Mode == types.StreamModeOnDemand {
		d.RecordDistributionStrategy = types.RecordDistributionStrategyAuto
	}
	return answer(fault, &sdk.DescribeStreamSummaryOutput{StreamDescriptionSummary: d})
}

// ListShards is the API's, without filters.
func (s *Service) ListShards(ctx context.Context, in *sdk.ListShardsInput, _ ...func(*sdk.Options)) (*sdk.ListShardsOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fault, err := s.begin(ctx, "ListShards", "")
	if err != nil {
		return nil, err
	}
	from, err := s.startOfPage(in)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListShardsOutput{}
	for i := from; i < len(s.shards); i++ {
		sh := s.shards[i]
		if s.isExpired(sh) {
			continue
		}
		if len(out.Shards) == s.options.Page {
			out.NextToken = aws.String(fmt.Sprintf("%s|%d|%d", s.options.Stream, i, s.now().UnixNano()))
			break
		}
		out.Shards = append(out.Shards, s.listed(sh))
	}
	return answer(fault, out)
}

const tokenLife = 300 * time.Second

func (s *Service) startOfPage(in *sdk.ListShardsInput) (int, error) {
	if in.NextToken == nil {
		return 0, s.isThis(in.StreamName, in.StreamARN)
	}
	if in.StreamName != nil || in.StreamCreationTimestamp != nil || in.ExclusiveStartShardId != nil {
		return 0, invalid("NextToken and StreamName cannot be provided together.")
	}
	var number int
	var made int64
	if _, err := fmt.Sscanf(strings.TrimPrefix(*in.NextToken, s.options.Stream), "|%d|%d", &number, &made); err != nil {
		return 0, invalid("NextToken is malformed")
	}
	if s.now().Sub(time.Unix(0, made)) > tokenLife {
		return 0, &types.ExpiredNextTokenException{Message: aws.String("NextToken has expired")}
	}
	return number, nil
}

func (s *Service) listed(sh *shard) types.Shard {
	x := types.Shard{
		ShardId:             aws.String(sh.info.ID),
		HashKeyRange:        hashKeyRange(sh.info.Range),
		SequenceNumberRange: &types.SequenceNumberRange{StartingSequenceNumber: aws.String(sequence(sh, s.created, 0))},
	}
	if sh.info.Closed {
		x.SequenceNumberRange.EndingSequenceNumber = aws.String(sequence(sh, sh.closed, 1<<62))
	}
	// A child names its parents even after they have expired.
	if sh.info.Parent != "" {
		x.ParentShardId = aws.String(sh.info.Parent)
	}
	if sh.info.Adjacent != "" {
		x.AdjacentParentShardId = aws.String(sh.info.Adjacent)
	}
	return x
}

func hashKeyRange(r kinesis.Range) *types.HashKeyRange {
	return &types.HashKeyRange{StartingHashKey: aws.String(r.First.String()), EndingHashKey: aws.String(r.Last.String())}
}

// sequence makes 56 digits, as real ones have, that grow with the shard's
// number, then with time, then with the count.
func sequence(sh *shard, at time.Time, n uint64) string {
	number := 0
	_, _ = fmt.Sscanf(sh.info.ID, "shardId-%d", &number)
	return fmt.Sprintf("4957%012d%020d%020d", number, at.UnixMicro(), n)
}

// OpenShards are the shards that take records now, in the order of their hash
// keys.
func (s *Service) OpenShards() []kinesis.ShardInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var open []kinesis.ShardInfo
	for _, sh := range s.shards {
		if !sh.info.Closed {
			open = append(open, sh.info)
		}
	}
	slices.SortFunc(open, func(a, b kinesis.ShardInfo) int { return a.Range.First.Compare(b.Range.First) })
	return open
}

// answer lets the answer of a call that was done get lost.
func answer[T any](f Fault, out *T) (*T, error) {
	if f == After {
		return nil, errLost
	}
	return out, nil
}
