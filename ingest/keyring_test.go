package ingest_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/ingest"
	"tallystream/schemas"
)

// told are keys that a test changes.
type told struct {
	mu   sync.Mutex
	ring *schemas.Keyring
	err  error
}

func (k *told) Keyring(context.Context) (*schemas.Keyring, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ring, k.err
}

func (k *told) tell(ring *schemas.Keyring, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ring, k.err = ring, err
}

// TestKeysAreTakenOnFreshKnowledgeOnly: within a second of a change, and not at
// all where nobody says which are in force.
func TestKeysAreTakenOnFreshKnowledgeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := new(schemas.Keyring), another()
		keys := &told{ring: first}
		w := ingest.NewKeyWatch(keys, slog.New(slog.DiscardHandler), time.Now)
		if w.Keyring() != nil {
			t.Error("keys that nobody named")
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = w.Run(ctx) }()
		synctest.Wait()
		if w.Keyring() != first {
			t.Error("the first answer is not taken")
		}
		keys.tell(second, nil)
		time.Sleep(1100 * time.Millisecond)
		if w.Keyring() != second {
			t.Error("a change is not taken within a second")
		}
		keys.tell(nil, errors.New("the register does not answer"))
		time.Sleep(3 * time.Second)
		if w.Keyring() != second {
			t.Error("one failure makes keys forgotten")
		}
		time.Sleep(3 * time.Second)
		if w.Keyring() != nil {
			t.Error("keys are taken on knowledge older than the publisher waits with a change")
		}
	})
}

func another() *schemas.Keyring { return new(schemas.Keyring).Both(new(schemas.Keyring)) }
