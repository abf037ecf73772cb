package kinesis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// reader reads one shard for its partitions. It is a stream.Reader, of one
// goroutine and without one of its own.
type reader struct {
	cfg    *Config
	shard  string
	feed   feed
	closed bool
	leave  func(notBefore time.Time) // told when Close is called

	at map[schemas.Partition]*progress
	// held are the partitions of the shard that are not at.
	held map[schemas.Partition]bool
	// fetched are records of the feed that Read has not looked at.
	fetched []types.Record
	scanned string // sequence number of the last record that it has; "": none
	last    bool   // the feed has given its last records
}

// progress of one partition.
type progress struct {
	from   stream.Position // when the shard was opened
	behind string          // sequence number in this shard
	count  schemas.Checkpoint
	passed bool // it is past the shard
}

var _ stream.Reader = (*reader)(nil)

// Read gives up to most records, each of them behind its partition's position.
// It returns none when there are none yet, or it is too early to ask again.
func (r *reader) Read(ctx context.Context, most int) ([]stream.Record, error) {
	switch {
	case r.closed:
		return nil, fmt.Errorf("reading %s: %w", r.shard, stream.ErrClosed)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case most <= 0:
		return nil, nil
	}
	if len(r.fetched) == 0 && !r.last {
		records, last, err := r.feed.next(ctx)
		if err != nil {
			return nil, err
		}
		r.fetched, r.last = records, last
		r.observe()
	}
	var records []stream.Record
	for len(r.fetched) > 0 && len(records) < most {
		if x, ok := r.accept(&r.fetched[0]); ok {
			records = append(records, x)
		}
		r.fetched[0] = types.Record{} // its bytes belong to who reads them
		r.fetched = r.fetched[1:]
	}
	return records, nil
}

// observe notes what the feed has just given.
func (r *reader) observe() {
	m, size := r.cfg.Metrics, 0
	for i := range r.fetched {
		size += len(r.fetched[i].Data)
	}
	m.readRecords.Add(float64(len(r.fetched)))
	m.readBytes.Add(float64(size))
	m.behind.WithLabelValues(r.shard).Set(r.feed.behind().Seconds())
	if r.last {
		m.shardsEnded.Inc()
		r.cfg.Logger.Info("shard ends", "shard", r.shard, "records", len(r.fetched))
	}
}

// accept moves the reader behind a record, and says whether it is one that a
// partition has not read.
func (r *reader) accept(x *types.Record) (stream.Record, bool) {
	sequence := aws.ToString(x.SequenceNumber)
	if isBehind(sequence, r.scanned) {
		r.scanned = sequence
	}
	n, err := strconv.ParseUint(aws.ToString(x.PartitionKey), 10, 16)
	p := r.at[schemas.Partition(n)]
	if err != nil || p == nil && !r.held[schemas.Partition(n)] {
		r.cfg.Metrics.foreign.Inc()
		r.cfg.Logger.Warn("foreign record in stream is passed over", "shard", r.shard, "seq", sequence)
		return stream.Record{}, false
	}
	if p == nil || p.passed || !isBehind(sequence, p.behind) {
		return stream.Record{}, false
	}
	p.behind = sequence
	p.count++
	return stream.Record{Partition: schemas.Partition(n), At: p.count, Bytes: x.Data}, true
}

// Wait returns when Read may have something, or the shard has ended.
func (r *reader) Wait(ctx context.Context) error {
	switch {
	case r.closed:
		return fmt.Errorf("waiting for %s: %w", r.shard, stream.ErrClosed)
	case len(r.fetched) > 0 || r.last:
		return ctx.Err()
	}
	if err := r.feed.wait(ctx); err != nil {
		return fmt.Errorf("waiting for %s: %w", r.shard, err)
	}
	return nil
}

// Position is behind everything of p that Read has returned. It moves with the
// shard, even when the records were all of other partitions.
func (r *reader) Position(p schemas.Partition) stream.Position {
	x := r.at[p]
	switch {
	case x == nil:
		return stream.Position{}
	case x.passed:
		return x.from
	case r.Ended():
		return stream.Position{Checkpoint: x.count, Cursor: cursor{shard: r.shard, ended: true}.String()}
	case r.scanned == "" && x.behind == "":
		return x.from
	}
	at := x.behind
	if isBehind(r.scanned, at) {
		at = r.scanned
	}
	return stream.Position{Checkpoint: x.count, Cursor: cursor{shard: r.shard, sequence: at}.String()}
}

// Ended says that the shard is closed and everything in it was read.
func (r *reader) Ended() bool { return r.last && len(r.fetched) == 0 }

// Behind is what was fetched and not read, and how far the shard's newest
// record is ahead. How many records that is, Kinesis does not say.
func (r *reader) Behind() (records uint64, age time.Duration) {
	age = r.feed.behind()
	if len(r.fetched) > 0 && r.fetched[0].ApproximateArrivalTimestamp != nil {
		age = max(age, r.cfg.Clock.Now().Sub(*r.fetched[0].ApproximateArrivalTimestamp))
	}
	return uint64(len(r.fetched)), age
}

// Close ends the reading. It does not matter to positions.
func (r *reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed, r.fetched = true, nil
	r.cfg.Metrics.behind.DeleteLabelValues(r.shard)
	r.leave(r.feed.notBefore())
	r.feed.close()
	return nil
}
