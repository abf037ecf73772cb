package ingest

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"tallystream/schemas"
)

// Keys say which keys may sign now. While a change of the roster waits to be
// logged these are the ones of both rosters: so nothing that a revoked key signed
// can be accepted once its revocation stands in the log.
type Keys interface {
	Keyring(ctx context.Context) (*schemas.Keyring, error)
}

// KeyWatch keeps what the last look said.
type KeyWatch struct {
	keys Keys
	log  *slog.Logger
	now  func() time.Time
	last atomic.Pointer[heard]
}

// heard is a keyring as of the moment when it was asked for.
type heard struct {
	ring *schemas.Keyring
	at   time.Time
}

const (
	// keysEvery is how often keys are asked for.
	keysEvery = time.Second
	// KeysPatience is how long an answer holds. What the publisher waits with a
	// change (publish.DefaultDrain) counts on it.
	KeysPatience = 4 * time.Second
)

// NewKeyWatch makes a watch that has heard nothing yet.
func NewKeyWatch(keys Keys, log *slog.Logger, now func() time.Time) *KeyWatch {
	return &KeyWatch{keys: keys, log: log, now: now}
}

// Keyring is the keys that may sign now; nil if that is not known: the last
// answer is too old.
func (w *KeyWatch) Keyring() *schemas.Keyring {
	last := w.last.Load()
	if last == nil || w.now().Sub(last.at) > KeysPatience {
		return nil
	}
	return last.ring
}

// Run asks until ctx ends.
func (w *KeyWatch) Run(ctx context.Context) error {
	tick := time.NewTicker(keysEvery)
	defer tick.Stop()
	for {
		w.Look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Look asks once.
func (w *KeyWatch) Look(ctx context.Context) {
	at := w.now() // what changes behind it is not in the answer
	asking, cancel := context.WithTimeout(ctx, KeysPatience)
	defer cancel()
	ring, err := w.keys.Keyring(asking)
	if err != nil {
		if ctx.Err() == nil {
			w.log.WarnContext(ctx, "asking which keys may sign failed, trying again", "err", err)
		}
		return
	}
	if last := w.last.Load(); last != nil && last.ring != ring {
		w.log.WarnContext(ctx, "the keys that may sign have changed")
	}
	w.last.Store(&heard{ring, at})
}
