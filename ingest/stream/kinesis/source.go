package kinesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/ingest/stream"
	"tallystream/schemas"
	"tallystream/service/cloud"
)

// Source is the stream as aggregation reads it. It is safe for concurrent use;
// each of its readers serves one goroutine.
type Source struct {
	cfg    Config
	jitter *jitter

	mu      sync.Mutex // guards what follows
	lineage *Lineage   // nil: not listed yet
	listed  time.Time
	// paces are when shards may be asked again: a shard's limits outlive its
	// readers.
	paces map[string]time.Time
	// skipped are expired shards that were already complained of.
	skipped map[string]bool
}

var _ stream.Source = (*Source)(nil)

// NewSource makes one. Whether the stream can be used is Check's to say.
func NewSource(cfg Config) *Source {
	cfg = cfg.withDefaults()
	return &Source{cfg: cfg, jitter: newJitter(cfg.Seed + 1), paces: map[string]time.Time{}, skipped: map[string]bool{}}
}

// relistAfter bounds how often the shards are listed because something waits
// for a child that is not listed yet.
const relistAfter = time.Second

// Shards returns the shards that can be read now. It lists the stream's shards
// when it must: at first, when a partition has come to the end of its shard or
// its shard is not known, and else once in ListEvery.
//
// It fails with ErrExpired when a partition's unread shard is no longer there.
func (s *Source) Shards(ctx context.Context, at []stream.Position) ([]stream.Shard, error) {
	open, _, err := s.open(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("finding shards of stream %s: %w", s.cfg.Stream, err)
	}
	shards := make([]stream.Shard, len(open))
	for i, o := range open {
		shards[i] = stream.Shard{ID: o.ID, Partitions: o.Partitions}
	}
	return shards, nil
}

// open finds the open shards in a listing that is new enough for these
// positions.
func (s *Source) open(ctx context.Context, at []stream.Position) ([]OpenShard, *Lineage, error) {
	if len(at) != s.cfg.Partitions {
		return nil, nil, fmt.Errorf("positions of %d partitions, want %d", len(at), s.cfg.Partitions)
	}
	cursors := make([]string, len(at))
	for p := range at {
		cursors[p] = at[p].Cursor
	}
	s.mu.Lock()
	lineage, age := s.lineage, s.cfg.Clock.Now().Sub(s.listed)
	s.mu.Unlock()
	if lineage != nil && age < s.cfg.ListEvery {
		open, err := lineage.Open(cursors)
		if age < relistAfter || err == nil && !needsListing(lineage, cursors) {
			return s.judge(open, lineage, err)
		}
	}
	lineage, err := s.list(ctx)
	if err != nil {
		return nil, nil, err
	}
	open, err := lineage.Open(cursors)
	return s.judge(open, lineage, err)
}

// needsListing says that some partition has come to an end of what is listed.
func needsListing(l *Lineage, cursors []string) bool {
	for p, c := range cursors {
		place, err := l.Place(schemas.Partition(p), c)
		if err != nil || place.Awaiting || place.Expired != "" {
			return true
		}
	}
	return false
}

// judge lets nobody pass over an expired shard unless an operator said so.
func (s *Source) judge(open []OpenShard, l *Lineage, err error) ([]OpenShard, *Lineage, error) {
	if err != nil {
		return nil, nil, err
	}
	for _, o := range open {
		for i, place := range o.Places {
			if place.Expired == "" {
				continue
			}
			if !s.cfg.SkipExpired {
				return nil, nil, fmt.Errorf("%w: partition %d was last read in %s, which is older than the stream's retention and no longer there; "+
					"records that came after may be lost: compare receipts, or order to skip", ErrExpired, o.Partitions[i], place.Expired)
			}
			s.skip(o.Partitions[i], place)
		}
	}
	return open, l, nil
}

func (s *Source) skip(p schemas.Partition, place Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := p.String() + "/" + place.Expired
	if s.skipped[key] {
		return
	}
	s.skipped[key] = true
	s.cfg.Metrics.expired.Inc()
	s.cfg.Logger.Error("expired shard is skipped by order, records may be lost", "vp", p, "shard", place.Expired, "next", place.Shard)
}

// Open begins to read a shard behind the positions of its partitions. Those
// may differ: a crash between two commits leaves some further than others, and
// at a shard's end even past it. Such a partition gets nothing from the reader
// and keeps its position; if all are, the reader has ended.
func (s *Source) Open(ctx context.Context, shard stream.Shard, at []stream.Position) (stream.Reader, error) {
	r, err := s.openShard(ctx, shard, at)
	if err != nil {
		return nil, fmt.Errorf("opening %s of stream %s: %w", shard.ID, s.cfg.Stream, err)
	}
	return r, nil
}

var errNotOpen = errors.New("cannot be read now by these partitions")

func (s *Source) openShard(ctx context.Context, shard stream.Shard, at []stream.Position) (*reader, error) {
	open, lineage, err := s.open(ctx, at)
	if err != nil {
		return nil, err
	}
	r := &reader{
		cfg: &s.cfg, shard: shard.ID, at: map[schemas.Partition]*progress{}, held: lineage.held(shard.ID),
		leave: func(notBefore time.Time) { s.leave(shard.ID, notBefore) },
	}
	first, unread := "", 0 // the least place of those that have some to read
	for _, p := range shard.Partitions {
		x, err := lineage.begin(p, shard.ID, at)
		if err != nil {
			return nil, err
		}
		if r.at[p] = x; x.passed {
			continue
		}
		if unread == 0 || isBehind(first, x.behind) {
			first = x.behind
		}
		unread++
	}
	switch {
	case len(r.at) == 0:
		return nil, errors.New("no partitions to read")
	case unread > 0 && !slices.ContainsFunc(open, func(o OpenShard) bool { return o.ID == shard.ID }):
		return nil, errNotOpen // a parent is not read to its end
	}
	r.last = unread == 0
	state := feedState{cfg: &s.cfg, jitter: s.jitter, shard: shard.ID, after: first, due: s.pace(shard.ID)}
	if s.cfg.Subscriber != nil {
		r.feed = newFanOut(state)
	} else {
		r.feed = newPoller(state)
	}
	return r, nil
}

// begin is the progress of partition p in a shard that is opened, given all
// positions.
func (l *Lineage) begin(p schemas.Partition, shard string, at []stream.Position) (*progress, error) {
	if int(p) >= len(l.chain) || !slices.Contains(l.chain[p], shard) {
		return nil, fmt.Errorf("partition %d: %w", p, errNotOpen)
	}
	place, err := l.Place(p, at[p].Cursor)
	if err != nil {
		return nil, err
	}
	x := &progress{from: at[p], count: at[p].Checkpoint, behind: place.Behind}
	here, there := slices.Index(l.chain[p], shard), slices.Index(l.chain[p], place.Shard)
	switch {
	case there < here:
		return nil, fmt.Errorf("partition %d, which is in %s: %w", p, place.Shard, errNotOpen)
	case there > here || place.Awaiting:
		x.passed = true
	}
	return x, nil
}

func (s *Source) pace(shard string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paces[shard]
}

func (s *Source) leave(shard string, notBefore time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paces[shard] = notBefore
}

// held are the partitions whose points a shard holds.
func (l *Lineage) held(shard string) map[schemas.Partition]bool {
	held := map[schemas.Partition]bool{}
	for p := range l.chain {
		if slices.Contains(l.chain[p], shard) {
			held[schemas.Partition(p)] = true
		}
	}
	return held
}

// listTries is how often a listing is tried before Shards fails.
const listTries = 4

// list asks for all shards.
func (s *Source) list(ctx context.Context) (*Lineage, error) {
	for failed := 0; ; {
		infos, err := s.listOnce(ctx)
		if err == nil {
			l, err := NewLineage(infos, s.cfg.Partitions)
			if err != nil {
				return nil, err
			}
			s.remember(l)
			return l, nil
		}
		var expired *types.ExpiredNextTokenException
		if failed++; failed == listTries || reasonOf(err) == refused && !errors.As(err, &expired) {
			return nil, fmt.Errorf("listing shards: %w", cloud.ExplainOf("stream "+s.cfg.Stream, err))
		}
		if err := s.cfg.Clock.Sleep(ctx, readBackoff.pause(failed, s.jitter)); err != nil {
			return nil, err
		}
	}
}

func (s *Source) remember(l *Lineage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lineage, s.listed = l, s.cfg.Clock.Now()
	for id := range s.paces {
		if l.shards[id].ID == "" {
			delete(s.paces, id)
		}
	}
}

func (s *Source) listOnce(ctx context.Context) ([]ShardInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Attempt)
	defer cancel()
	var infos []ShardInfo
	in := &sdk.ListShardsInput{StreamName: &s.cfg.Stream}
	for {
		out, err := s.cfg.API.ListShards(ctx, in, once)
		if err != nil {
			return nil, err
		}
		for _, x := range out.Shards {
			info, err := shardInfo(x)
			if err != nil {
				return nil, err
			}
			infos = append(infos, info)
		}
		if aws.ToString(out.NextToken) == "" {
			return infos, nil
		}
		in = &sdk.ListShardsInput{NextToken: out.NextToken}
	}
}

func shardInfo(x types.Shard) (ShardInfo, error) {
	info := ShardInfo{ID: aws.ToString(x.ShardId), Parent: aws.ToString(x.ParentShardId), Adjacent: aws.ToString(x.AdjacentParentShardId)}
	if info.ID == "" || strings.Contains(info.ID, "/") || x.HashKeyRange == nil {
		return info, fmt.Errorf("%w: shard %.60q: want a name without slashes and a range of hash keys", ErrLineage, info.ID)
	}
	var err1, err2 error
	info.Range.First, err1 = ParsePoint(aws.ToString(x.HashKeyRange.StartingHashKey))
	info.Range.Last, err2 = ParsePoint(aws.ToString(x.HashKeyRange.EndingHashKey))
	if err := errors.Join(err1, err2); err != nil {
		return info, fmt.Errorf("shard %s: %w", info.ID, err)
	}
	info.Closed = x.SequenceNumberRange != nil && x.SequenceNumberRange.EndingSequenceNumber != nil
	return info, nil
}
