package publish

import (
	"context"
	"fmt"

	"tallystream/schemas"
)

// Decided is what the publication's mark says of the newest snapshot.
type Decided struct {
	Epoch schemas.Epoch // of the sequencer that may publish; 0: none ever did
	Note  []byte        // of the newest snapshot that was decided; nil: none is
}

// ReadDecided reads the mark of an election's publication. Whoever would change
// what a sequencer writes asks it first: what stands there is or will be published.
func ReadDecided(ctx context.Context, r interface {
	Load(ctx context.Context, name string) ([]byte, error)
}, origin string) (Decided, error) {
	b, err := r.Load(ctx, markName)
	if err != nil {
		return Decided{}, fmt.Errorf("reading the publication mark: %w", err)
	}
	if b == nil {
		return Decided{}, nil
	}
	m, err := parseMark(b, origin)
	if err != nil {
		return Decided{}, fmt.Errorf("%w: the register holds %.80q: %w", ErrForeign, b, err)
	}
	d := Decided{Epoch: m.epoch}
	if len(m.note) > 0 {
		d.Note = m.note
	}
	return d, nil
}
