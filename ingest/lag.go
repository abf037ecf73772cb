package ingest

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Lag is how far the ledger is behind the stream: by how many records, or for
// how long the oldest of them has waited, whichever the stream lets one know.
type Lag struct {
	Records uint64
	Age     time.Duration
}

// within reports whether l is no more than the limits allow.
func (l Lag) within(limits *Limits) bool {
	return l.Records <= limits.MaxBehind && l.Age <= limits.MaxAge
}

// Watch keeps what a look at the ledger, which another process writes, said
// last.
type Watch struct {
	look func(context.Context) (Lag, error)
	log  *slog.Logger
	last atomic.Pointer[Lag]
}

// lookEvery is how often the service looks how far the ledger is. It bounds
// the lag in thousands of records or tens of seconds, so a fifth of a second is
// exact enough.
const lookEvery = 200 * time.Millisecond

// NewWatch makes a watch that has seen nothing yet.
func NewWatch(look func(context.Context) (Lag, error), log *slog.Logger) *Watch {
	w := &Watch{look: look, log: log}
	w.last.Store(&Lag{})
	return w
}

// Behind is what the last look said.
func (w *Watch) Behind() Lag { return *w.last.Load() }

// Run looks until ctx ends. After a failed look the last one stands: whether
// records can be stored does not depend on the ledger.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		lag, err := w.look(ctx)
		switch {
		case err == nil:
			w.last.Store(&lag)
		case ctx.Err() != nil:
			return nil
		default:
			w.log.WarnContext(ctx, "cannot see how far the ledger is", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
