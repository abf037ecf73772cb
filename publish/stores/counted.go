package stores

import (
	"context"
	"errors"
	"time"

	"tallystream/aggregate/lease"
	"tallystream/schemas"
)

// drained says how long ago what lay in the stream is in the ledger, of two
// stores that number records alike: it remembers where the stream ended at each
// look, and finds the newest of these ends that the ledger has reached. So it
// is exact, at whatever pace records come. It serves one goroutine.
type drained struct {
	newest, folded func(context.Context) (schemas.Checkpoint, error)
	now            func() time.Duration
	ends           []end
}

// end is where the stream ended at a time.
type end struct {
	at   time.Duration
	last schemas.Checkpoint
}

// mostEnds bounds what is remembered; a look more takes the place of the last.
const mostEnds = 600

var errNotCounted = errors.New("the ledger has not reached where the stream ended at the first look")

func (d *drained) lag(ctx context.Context) (time.Duration, error) {
	at := d.now() // what comes in while we look may be missing
	last, err := d.newest(ctx)
	if err != nil {
		return 0, err
	}
	folded, err := d.folded(ctx)
	if err != nil {
		return 0, err
	}
	if n := len(d.ends); n > 0 && (d.ends[n-1].last == last || n == mostEnds) {
		d.ends = d.ends[:n-1]
	}
	d.ends = append(d.ends, end{at, last})
	for len(d.ends) > 1 && d.ends[1].last <= folded {
		d.ends = d.ends[1:]
	}
	if d.ends[0].last > folded {
		return 0, errNotCounted
	}
	return d.now() - d.ends[0].at, nil
}

// counted compares where the stream ended with how far the ledger is.
func (e *embedded) counted(ctx context.Context) (func(context.Context) (time.Duration, error), error) {
	if _, err := e.stores.Ledger(ctx); err != nil {
		return nil, err
	}
	d := &drained{newest: e.records.Newest, folded: e.sqlite.Folded, now: lease.Monotonic()}
	return d.lag, nil
}

// blind is how long the owner of a shard may say that nothing is behind while it
// hears nothing of the stream: a reader goes on by itself for 30 s of failures,
// and some seconds pass until its lease says what it knows.
const blind = 40 * time.Second

// counted is what the owners of shards say of themselves, and what they may not
// know yet. It is not exact, as the embedded one is: a reader that is opened anew
// and fails again from its first read, or a shard whose parents end just now,
// is not seen.
func (a *aws) counted(ctx context.Context) (func(context.Context) (time.Duration, error), error) {
	r, err := a.stores.Register(ctx)
	if err != nil {
		return nil, err
	}
	observer := lease.NewObserver(r, shardLeases, lease.Monotonic())
	return func(ctx context.Context) (time.Duration, error) {
		lag, err := observer.Lag(ctx)
		return lag + blind, err
	}, nil
}
