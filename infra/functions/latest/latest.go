// Package latest moves `latest` in a failover: the Lambda function `latest`. In a
// region whose bucket is a copy, objects come in any order, so that `latest` may
// name an older snapshot than could be shown, or one whose documents are not there.
//
// Invariant: `latest` only goes forward, along the chain of snapshots that it is
// on, and only to a snapshot that is whole here. Where a publisher works, its
// decisions hold: the register's mark fences this function as it fences a
// sequencer that came back, and a `latest` that changed meanwhile is never put over.
package latest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish"
	"tallystream/schemas"
)

// Version names the bytes of `latest` that were read.
type Version string

// Errors that the handler decides on, or its caller.
var (
	ErrMissing = errors.New("no such object")
	ErrMoved   = errors.New("latest was changed meanwhile")
	// ErrFenced: a publisher works here, and what it decided is not to be touched.
	ErrFenced = errors.New("a publisher works in this region")
	// ErrForeign: `latest` or the mark is of another election, key or chain.
	ErrForeign = errors.New("what is there is not of this election's chain")
	ErrNothing = errors.New("no snapshot is whole here")
)

// Bucket is the region's copy of what is published.
type Bucket interface {
	// Get returns an object, or ErrMissing.
	Get(ctx context.Context, key string) ([]byte, error)
	// Missing tells which of the keys is missing, or "" if none is.
	Missing(ctx context.Context, keys []string) (string, error)
	// Snapshots are the numbers behind one, ascending.
	Snapshots(ctx context.Context, behind schemas.SnapshotNumber) ([]schemas.SnapshotNumber, error)
	// Latest returns `latest` and its version; ErrMissing if there is none.
	Latest(ctx context.Context) ([]byte, Version, error)
	// Replace puts `latest` over the version that was read ("" for none), or fails with ErrMoved.
	Replace(ctx context.Context, note []byte, read Version) error
}

// Register is where a publisher's mark would be.
type Register interface {
	Load(ctx context.Context, name string) ([]byte, error)
}

// Order is the event: what a person asks for.
type Order struct {
	// Move says to do it. Without it the function only says what it would do.
	Move bool `json:"move"`
	// Snapshot is the one to move to, or nothing is done; 0: the newest that is whole.
	Snapshot schemas.SnapshotNumber `json:"snapshot,omitempty"`
}

// Result is the answer.
type Result struct {
	From   schemas.SnapshotNumber `json:"from"` // 0: there was no `latest`
	To     schemas.SnapshotNumber `json:"to"`
	Moved  bool                   `json:"moved"`
	Epoch  schemas.Epoch          `json:"epoch,omitempty"` // of the publisher that works here
	Passed []Passed               `json:"passed,omitempty"`
	Next   string                 `json:"next"` // what to do now
}

// Passed is a snapshot that is newer, and why it was passed by.
type Passed struct {
	Snapshot schemas.SnapshotNumber `json:"snapshot"`
	Why      string                 `json:"why"`
}

// Handler moves `latest`.
type Handler struct {
	Bucket   Bucket
	Register Register
	Key      note.Verifier
	Log      *slog.Logger
}

// tries bounds the races with whoever else writes `latest`.
const tries = 4

// Handle takes an order.
func (h *Handler) Handle(ctx context.Context, event json.RawMessage) (*Result, error) {
	var o Order
	d := json.NewDecoder(bytes.NewReader(event))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return nil, fmt.Errorf(`reading the order: %w: want {} to be told what would be done, or {"move": true}, with "snapshot" for a certain one`, err)
	}
	for try := 1; ; try++ {
		r, err := h.once(ctx, o)
		if errors.Is(err, ErrMoved) && try < tries {
			continue
		}
		if err != nil {
			return nil, err
		}
		h.Log.InfoContext(ctx, "latest", "from", r.From, "to", r.To, "moved", r.Moved, "passed", len(r.Passed))
		return r, nil
	}
}

// once reads how things are, and puts on the condition that they still are so.
func (h *Handler) once(ctx context.Context, o Order) (*Result, error) {
	now, version, err := h.latest(ctx)
	if err != nil {
		return nil, err
	}
	target, r, err := h.choose(ctx, o, now)
	if err != nil {
		return nil, err
	}
	if r.From, r.To = now.Number, target.Number; r.To == r.From {
		r.Next = "nothing: latest is at the newest snapshot that is whole here"
		return r, nil
	}
	if err := h.chained(ctx, target, now); err != nil {
		return nil, err
	}
	if !o.Move {
		r.Next = `invoke with {"move": true} to do this`
		return r, nil
	}
	if err := h.Bucket.Replace(ctx, target.note, version); err != nil {
		return nil, fmt.Errorf("moving latest to snapshot %d: %w", target.Number, err)
	}
	r.Moved, r.Next = true, "verify what is published now: tallystream verify URL --key KEY"
	return r, nil
}

// opened is a snapshot whose signature is good.
type opened struct {
	schemas.Snapshot
	note []byte
}

// latest is what is named now; the zero snapshot if nothing is.
func (h *Handler) latest(ctx context.Context) (*opened, Version, error) {
	b, version, err := h.Bucket.Latest(ctx)
	if errors.Is(err, ErrMissing) {
		return &opened{}, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading latest: %w", err)
	}
	s, err := h.open(b)
	if err != nil {
		return nil, "", fmt.Errorf("%w: latest: %w", ErrForeign, err)
	}
	return s, version, nil
}

func (h *Handler) open(b []byte) (*opened, error) {
	s, err := schemas.OpenSnapshot(b, h.Key)
	if err != nil {
		return nil, err
	}
	return &opened{*s, b}, nil
}

// choose finds the snapshot to name: what a publisher of this region decided, or
// else the newest that is whole.
func (h *Handler) choose(ctx context.Context, o Order, now *opened) (*opened, *Result, error) {
	r := &Result{}
	decided, err := publish.ReadDecided(ctx, h.Register, h.Key.Name())
	if err != nil {
		return nil, nil, err
	}
	if r.Epoch = decided.Epoch; decided.Note != nil {
		s, err := h.decided(ctx, decided, now)
		if err == nil && o.Snapshot != 0 && o.Snapshot != s.Number {
			err = fmt.Errorf("%w: it decided snapshot %d, not %d", ErrFenced, s.Number, o.Snapshot)
		}
		return s, r, err
	}
	numbers, err := h.Bucket.Snapshots(ctx, now.Number)
	if err != nil {
		return nil, nil, fmt.Errorf("listing snapshots: %w", err)
	}
	for i := len(numbers) - 1; i >= 0; i-- {
		if o.Snapshot != 0 && numbers[i] != o.Snapshot {
			continue
		}
		s, why, err := h.whole(ctx, numbers[i])
		if err != nil {
			return nil, nil, fmt.Errorf("looking at snapshot %d: %w (nothing was moved)", numbers[i], err)
		}
		if why == "" {
			return s, r, nil
		}
		r.Passed = append(r.Passed, Passed{numbers[i], why})
	}
	switch {
	case o.Snapshot != 0 && o.Snapshot != now.Number:
		return nil, nil, fmt.Errorf("%w: snapshot %d: %s", ErrNothing, o.Snapshot, reasons(r.Passed))
	case now.Number == 0:
		return nil, nil, fmt.Errorf("%w: %s", ErrNothing, reasons(r.Passed))
	}
	return now, r, nil
}

func reasons(p []Passed) string {
	if len(p) == 0 {
		return "it is not there, or is older than latest"
	}
	return p[0].Why
}

// decided is the snapshot that a publisher of this region decided last.
func (h *Handler) decided(ctx context.Context, d publish.Decided, now *opened) (*opened, error) {
	s, err := h.open(d.Note)
	if err != nil {
		return nil, fmt.Errorf("%w: the mark's snapshot: %w", ErrForeign, err)
	}
	if s.Number < now.Number {
		return nil, fmt.Errorf("%w: latest is snapshot %d, and the publisher of epoch %d decided no more than %d", ErrForeign, now.Number, d.Epoch, s.Number)
	}
	found, why, err := h.whole(ctx, s.Number)
	switch {
	case err != nil:
		return nil, err
	case why != "":
		return nil, fmt.Errorf("%w: it has epoch %d and decided snapshot %d, which is not whole yet (%s): it will finish it", ErrFenced, d.Epoch, s.Number, why)
	case !bytes.Equal(found.note, d.Note):
		return nil, fmt.Errorf("%w: %s is another snapshot than the one that was decided", ErrForeign, schemas.SnapshotKey(s.Number))
	}
	return found, nil
}
