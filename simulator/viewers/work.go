package viewers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"tallystream/schemas"
)

// order is what a process is told on its standard input, after the plan. When
// the input ends, so does the process.
type order struct {
	ID     uint64        `json:"id"`
	Do     string        `json:"do"`               // tally, counts, heads, storm or settle
	Share  float64       `json:"share,omitempty"`  // of a storm
	Within time.Duration `json:"within,omitempty"` // of a storm: until all are back; of settle: the longest wait

	Heads map[schemas.DocumentID]Head `json:"heads,omitempty"` // of settle: where everybody must come
}

// told is what a process says: the answer to an order, or, with ID 0, how it
// fares.
type told struct {
	ID    uint64 `json:"id"`
	Tally *Tally `json:"tally"`
}

const tellEvery = 500 * time.Millisecond

// takeOrders runs what has come.
func takeOrders(c *crowd, orders <-chan func(*crowd)) {
	for {
		select {
		case do := <-orders:
			do(c)
		default:
			return
		}
	}
}

// Work is the life of one process of viewers: it reads its plan and its orders
// from in and tells what it sees on out, until in ends or ctx does.
func Work(ctx context.Context, in io.Reader, out io.Writer) error {
	read := json.NewDecoder(in)
	var plan Plan
	if err := read.Decode(&plan); err != nil {
		return fmt.Errorf("reading the plan: %w", err)
	}
	if err := plan.Validate(); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w := &work{out: json.NewEncoder(out), orders: make(chan func(*crowd))}
	var listening, reporting sync.WaitGroup
	listening.Go(func() { stop(w.listen(ctx, read)) })
	reporting.Go(func() { w.report(ctx) })
	err := drive(ctx, newCrowd(&plan, time.Now()), newFetcher(plan.Bucket), w.orders)
	if why := context.Cause(ctx); err == nil && !errors.Is(why, errInputEnded) && !errors.Is(why, context.Canceled) {
		err = why
	}
	stop(nil)
	reporting.Wait()
	if c, ok := in.(io.Closer); ok && c.Close() == nil && err == nil {
		listening.Wait() // a read of a real standard input may go on; then the process ends
	}
	return err
}

var errInputEnded = errors.New("input ended")

// work is a process's side of the pipe to its parent.
type work struct {
	mu     sync.Mutex // guards out
	out    *json.Encoder
	orders chan func(*crowd)
}

// listen hands orders to the driver.
func (w *work) listen(ctx context.Context, read *json.Decoder) error {
	for {
		var o order
		if err := read.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return errInputEnded
			}
			return fmt.Errorf("reading orders: %w", err)
		}
		switch o.Do {
		case "tally", "heads":
			w.pass(ctx, func(c *crowd) { w.tell(o.ID, c.snapshot(o.Do == "heads")) })
		case "counts":
			w.pass(ctx, func(c *crowd) { w.tell(o.ID, &Tally{Counts: c.tally.Counts}) })
		case "storm":
			w.pass(ctx, func(c *crowd) {
				c.storm(o.Share, o.Within, time.Now())
				w.tell(o.ID, c.snapshot(false))
			})
		case "settle":
			if err := w.settle(ctx, o); err != nil {
				return err
			}
		default:
			return fmt.Errorf("reading orders: %.20q is none", o.Do)
		}
	}
}

func (w *work) pass(ctx context.Context, do func(*crowd)) {
	select {
	case w.orders <- do:
	case <-ctx.Done():
	}
}

const settlePoll = 100 * time.Millisecond

// settle waits until everybody is at the heads, and says who is not.
func (w *work) settle(ctx context.Context, o order) error {
	for until := time.Now().Add(o.Within); ; {
		done := make(chan bool, 1)
		w.pass(ctx, func(c *crowd) {
			c.tally.Behind, c.tally.Unverified = c.behind(o.Heads)
			settled := c.tally.Behind+c.tally.Unverified == 0 && c.tally.Open == c.tally.Viewers
			if settled || time.Now().After(until) {
				w.tell(o.ID, c.snapshot(false))
				settled = true
			}
			done <- settled
		})
		select {
		case <-ctx.Done():
			return errInputEnded
		case settled := <-done:
			if settled {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errInputEnded
		case <-time.After(settlePoll):
		}
	}
}

// report tells the parent now and then how the viewers fare.
func (w *work) report(ctx context.Context) {
	every := time.NewTicker(tellEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			w.pass(ctx, func(c *crowd) { w.tell(0, c.snapshot(false)) })
		}
	}
}

// tell writes one message. A parent that is gone ends the input too.
func (w *work) tell(id uint64, t *Tally) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.out.Encode(told{id, t})
}
