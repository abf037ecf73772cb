package kinesis

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// Producer appends records to the stream, many to a request. It is safe for
// concurrent use.
type Producer struct {
	putter *putter

	mu       sync.Mutex // guards what follows
	waiting  []*entry   // not on their way
	records  int        // not acknowledged: waiting, on their way, or between two tries
	bytes    int        // of those
	inFlight int        // requests
	closed   bool
	drained  chan struct{} // closed when closed and records is 0
}

// NewProducer makes one. Whether the stream can be used is Check's to say.
func NewProducer(cfg Config) *Producer {
	return &Producer{putter: newPutter(cfg.withDefaults()), drained: make(chan struct{})}
}

// Append stores a record. When it returns without error, Kinesis has
// acknowledged the record; the checkpoint is always 0, since only a reader
// counts. It keeps the slice, which must not be written to again.
//
// Errors are those of package stream. When ctx ends first, Append returns its
// error, and an ErrUnknownOutcome as well if the record was already on its way.
func (p *Producer) Append(ctx context.Context, partition schemas.Partition, record []byte) (schemas.Checkpoint, error) {
	if err := p.append(ctx, partition, record); err != nil {
		return 0, fmt.Errorf("appending to stream: %w", err)
	}
	return 0, nil
}

func (p *Producer) append(ctx context.Context, partition schemas.Partition, record []byte) error {
	e := &entry{partition: partition, record: record, queued: p.putter.cfg.Clock.Now(), gone: ctx.Done(), done: make(chan error, 1)}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.putter.accept(e); err != nil {
		return err
	}
	if err := p.push(e); err != nil {
		return err
	}
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return p.abandon(ctx, e)
	}
}

func (p *Producer) push(e *entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return stream.ErrClosed
	case p.records >= p.putter.cfg.QueueLimit || p.bytes+e.size() > p.putter.cfg.QueueBytes:
		p.putter.cfg.Metrics.busy.Inc()
		return stream.ErrBusy
	}
	p.records++
	p.bytes += e.size()
	p.waiting = append(p.waiting, e)
	p.putter.cfg.Metrics.queueRecords.Inc()
	p.pump()
	return nil
}

// abandon gives up on e after ctx has ended.
func (p *Producer) abandon(ctx context.Context, e *entry) error {
	if p.withdraw(e) {
		p.putter.cfg.Metrics.withdrawn.Inc()
		if !e.perhaps {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", stream.ErrUnknownOutcome, ctx.Err())
	}
	select {
	case err := <-e.done: // just in time
		return err
	default:
		return fmt.Errorf("%w: %w", stream.ErrUnknownOutcome, ctx.Err())
	}
}

// withdraw takes e out of the queue again. False means that it is on its way
// or between two tries.
func (p *Producer) withdraw(e *entry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, e)
	if i < 0 {
		return false
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	p.forget([]*entry{e})
	return true
}

// forget takes acknowledged or failed entries off the count. The caller holds
// mu.
func (p *Producer) forget(entries []*entry) {
	for _, e := range entries {
		p.records--
		p.bytes -= e.size()
	}
	p.putter.cfg.Metrics.queueRecords.Sub(float64(len(entries)))
	if p.closed && p.records == 0 {
		close(p.drained)
	}
}

// pump sends groups while there are records and free requests. The caller
// holds mu.
func (p *Producer) pump() {
	for p.inFlight < p.putter.cfg.InFlight && len(p.waiting) > 0 {
		p.inFlight++
		go p.send(p.take())
	}
}

// take takes the oldest records that fit one request. The caller holds mu.
func (p *Producer) take() []*entry {
	n, size := 0, 0
	for n < len(p.waiting) && n < maxPutRecords && size+p.waiting[n].size() <= maxPutBytes {
		size += p.waiting[n].size()
		n++
	}
	group := slices.Clone(p.waiting[:n])
	p.waiting = slices.Delete(p.waiting, 0, n)
	return group
}

// send tries a group once. Those of its records that must be tried again go
// back to the head of the queue after a pause, during which their request's
// place is free: a throttled shard does not hold up the others.
func (p *Producer) send(group []*entry) {
	again, pause := p.putter.try(context.Background(), group)

	p.mu.Lock()
	p.inFlight--
	p.forget(without(group, again))
	p.pump()
	p.mu.Unlock()
	if len(again) == 0 {
		return
	}

	_ = p.putter.cfg.Clock.Sleep(context.Background(), pause) // nothing ends this context
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(again, p.waiting...)
	p.pump()
}

// without gives the entries of group that are not in some, a subsequence of it.
func without(group, some []*entry) []*entry {
	rest := group[:0:0]
	for _, e := range group {
		if len(some) > 0 && some[0] == e {
			some = some[1:]
			continue
		}
		rest = append(rest, e)
	}
	return rest
}

// Close refuses new records and returns when the others are acknowledged or
// have failed, which is no later than Budget and one try. Calling it again is
// harmless.
func (p *Producer) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		if p.records == 0 {
			close(p.drained)
		}
	}
	p.mu.Unlock()
	<-p.drained
	return nil
}
