package kinesis

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/ingest/stream"
	"tallystream/schemas"
	"tallystream/service/cloud"
)

// entry is a record on its way into the stream.
type entry struct {
	partition schemas.Partition
	record    []byte
	queued    time.Time

	// Owned by whoever tries to put it.
	failed  int  // tries
	perhaps bool // a try's outcome is unknown

	// gone is closed when its waiter has given up, done receives the outcome.
	gone <-chan struct{}
	done chan error // capacity 1, so that nobody who puts ever blocks
}

// size as the service counts it.
func (e *entry) size() int { return len(e.record) + len(e.partition.String()) }

func (e *entry) isAbandoned() bool {
	select {
	case <-e.gone:
		return true
	default:
		return false
	}
}

// putter puts groups of records, one try at a time. It has no state between
// two calls but the entries' own, and when it last complained.
type putter struct {
	cfg    Config
	points []string // hash keys by partition
	jitter *jitter
	told   atomic.Int64 // second of the last line about lost records
}

func newPutter(cfg Config) *putter {
	p := &putter{cfg: cfg, points: make([]string, cfg.Partitions), jitter: newJitter(cfg.Seed)}
	for i := range p.points {
		p.points[i] = PointOf(schemas.Partition(i), cfg.Partitions).String()
	}
	return p
}

// accept says why a record cannot be put at all.
func (p *putter) accept(e *entry) error {
	switch {
	case int(e.partition) >= len(p.points):
		return fmt.Errorf("partition %d: the election has %d", e.partition, len(p.points))
	case e.size() > maxRecordBytes:
		return fmt.Errorf("%w: %d bytes", stream.ErrTooLarge, len(e.record))
	}
	return nil
}

// try puts a group once. It tells those of its entries that succeeded or will
// not be tried again, and returns the others with how long to pause.
func (p *putter) try(ctx context.Context, group []*entry) (again []*entry, pause time.Duration) {
	began := p.cfg.Clock.Now()
	out, err := p.put(ctx, group)
	now := p.cfg.Clock.Now()
	m := p.cfg.Metrics
	m.putRecords.Observe(float64(len(group)))
	m.putSeconds.Observe(now.Sub(began).Seconds())

	whole := reasonOf(err)
	if err == nil && len(out.Records) != len(group) {
		// Which of them failed cannot be said.
		whole, err = internal, fmt.Errorf("kinesis answered %d records for %d", len(out.Records), len(group))
	}
	err = cloud.ExplainOf("stream "+p.cfg.Stream, err)
	tries, lost := 0, 0
	var last error // of those that are not tried again
	for i, e := range group {
		why, reason := err, whole
		if whole == fine {
			reason = reasonOfCode(aws.ToString(out.Records[i].ErrorCode))
			why = fmt.Errorf("kinesis: %s: %s", aws.ToString(out.Records[i].ErrorCode), aws.ToString(out.Records[i].ErrorMessage))
		}
		if reason == fine {
			p.stored(e, now)
			continue
		}
		e.failed++
		e.perhaps = e.perhaps || reason == internal || reason == transport
		if reason == refused || now.Sub(e.queued) >= p.cfg.Budget || e.isAbandoned() {
			lost, last = lost+1, p.giveUp(e, reason, why)
			continue
		}
		m.putRetries.WithLabelValues(reason.String()).Inc()
		tries = max(tries, e.failed)
		again = append(again, e)
	}
	if lost > 0 {
		p.tell(now, lost, len(group), last)
	}
	if len(again) == 0 {
		return nil, 0
	}
	p.cfg.Logger.Debug("putting records again", "records", len(again), "of", len(group), "tries", tries, "err", err)
	return again, putBackoff.pause(tries, p.jitter)
}

// tell logs once a second at most: without the stream, or the right to it, every
// group fails. The metrics count them all.
func (p *putter) tell(now time.Time, lost, of int, err error) {
	second := now.Unix()
	if last := p.told.Load(); last != second && p.told.CompareAndSwap(last, second) {
		p.cfg.Logger.Error("putting records failed", "records", lost, "of", of, "err", err)
	}
}

func (p *putter) put(ctx context.Context, group []*entry) (*sdk.PutRecordsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Attempt)
	defer cancel()
	in := &sdk.PutRecordsInput{StreamName: &p.cfg.Stream, Records: make([]types.PutRecordsRequestEntry, len(group))}
	for i, e := range group {
		in.Records[i] = types.PutRecordsRequestEntry{
			Data: e.record, PartitionKey: aws.String(e.partition.String()), ExplicitHashKey: &p.points[e.partition],
		}
	}
	return p.cfg.API.PutRecords(ctx, in, once)
}

func (p *putter) stored(e *entry, now time.Time) {
	m := p.cfg.Metrics
	m.stored.Inc()
	m.storedBytes.Add(float64(len(e.record)))
	m.appendSeconds.Observe(now.Sub(e.queued).Seconds())
	e.done <- nil
}

// giveUp tells e's waiter why, in the words that it decides by.
func (p *putter) giveUp(e *entry, last reason, why error) error {
	m := p.cfg.Metrics
	switch {
	case e.perhaps:
		m.unknown.Inc()
		why = fmt.Errorf("%w: %w", stream.ErrUnknownOutcome, why)
	case last == throttled || last == unreachable:
		m.busy.Inc()
		why = fmt.Errorf("%w: %s for %v: %w", stream.ErrBusy, last, p.cfg.Budget, why)
	default:
		m.failed.Inc()
	}
	e.done <- why
	return why
}

// Direct appends in the caller's goroutine, one record at a time: for tools
// that append little, and for the simulation, which allows no other goroutine.
// It is safe for concurrent use.
type Direct struct{ putter *putter }

// NewDirect makes one.
func NewDirect(cfg Config) *Direct { return &Direct{newPutter(cfg.withDefaults())} }

// Append stores a record as Producer.Append does.
func (d *Direct) Append(ctx context.Context, partition schemas.Partition, record []byte) (schemas.Checkpoint, error) {
	if err := d.append(ctx, partition, record); err != nil {
		return 0, fmt.Errorf("appending to stream: %w", err)
	}
	return 0, nil
}

func (d *Direct) append(ctx context.Context, partition schemas.Partition, record []byte) error {
	e := &entry{partition: partition, record: record, queued: d.putter.cfg.Clock.Now(), gone: ctx.Done(), done: make(chan error, 1)}
	if err := errors.Join(ctx.Err(), d.putter.accept(e)); err != nil {
		return err
	}
	for {
		again, pause := d.putter.try(ctx, []*entry{e})
		if len(again) == 0 {
			return <-e.done
		}
		if err := d.putter.cfg.Clock.Sleep(ctx, pause); err != nil {
			if e.perhaps {
				return fmt.Errorf("%w: %w", stream.ErrUnknownOutcome, err)
			}
			return err
		}
	}
}
