package witness

import (
	"context"
	"fmt"

	"tallystream/publish/log"
)

// Look reads the checkpoint that a published log shows, checks from its tiles
// that it continues what was seen, and cosigns it. It returns the whole note; as
// long as the tree is the same, the same one.
//
// A *RollbackError or *ForkError says that the log broke its promise; it has
// been logged.
func (w *Witness) Look(ctx context.Context, tiles log.Tiles) (cosigned []byte, err error) {
	b, err := tiles.Get(ctx, log.CheckpointKey)
	if err != nil {
		return nil, fmt.Errorf("looking at the log: %w", err)
	}
	shown, _, l, err := w.open(b)
	if err != nil {
		return nil, fmt.Errorf("looking at the log: %w", err)
	}
	seen, err := w.Seen(shown.Origin)
	if err != nil {
		return nil, err
	}
	if old := w.Cosigned(shown.Origin); old != nil && seen == shown.Tree {
		return old, nil
	}
	if shown.Tree.N < seen.N {
		w.cfg.Logger.ErrorContext(ctx, "THE LOG WAS ROLLED BACK", "log", shown.Origin, "seen", seen.N, "shown", shown.Tree.N)
		return nil, &RollbackError{Seen: seen.N, Shown: shown.Tree.N}
	}
	req := &Request{Old: seen.N, Checkpoint: b}
	if seen.N < shown.Tree.N {
		if req.Proof, err = log.NewReader(tiles, shown.Tree).Consistency(ctx, seen.N); err != nil {
			return nil, fmt.Errorf("looking at the log: %w", err)
		}
		// The tiles led to the root that was signed. If their proof does not lead
		// to what was seen, no other proof can.
		if log.CheckConsistency(req.Proof, seen, shown.Tree) != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.seen != seen { // somebody brought another checkpoint meanwhile; look again
				return nil, &StaleError{l.seen.N}
			}
			return nil, w.forked(ctx, l, shown, b)
		}
	}
	if _, err := w.Add(ctx, req); err != nil {
		return nil, err
	}
	return w.Cosigned(shown.Origin), nil
}
