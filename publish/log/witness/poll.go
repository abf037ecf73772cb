package witness

import (
	"context"
	"fmt"

	"tallystream/publish/log"
)

// Look reads the checkpoint that a published log shows, checks from its tiles
// that it continues what was seen, and cosigns it. It returns the whole note
// and whether the tree is larger than at the last look of this process; a
// tree of the same size is cosigned once.
//
// A *RollbackError or *ForkError says that the log broke its promise; it has
// been logged.
func (w *Witness) Look(ctx context.Context, tiles log.Tiles) (cosigned []byte, grown bool, err error) {
	b, err := tiles.Get(ctx, log.CheckpointKey)
	if err != nil {
		return nil, false, fmt.Errorf("looking at the log: %w", err)
	}
	shown, _, l, err := w.open(b)
	if err != nil {
		return nil, false, fmt.Errorf("looking at the log: %w", err)
	}
	seen, err := w.Seen(shown.Origin)
	if err != nil {
		return nil, false, err
	}
	if old := w.Cosigned(shown.Origin); old != nil && seen == shown.Tree {
		return old, false, nil
	}
	if shown.Tree.N < seen.N {
		w.cfg.Logger.ErrorContext(ctx, "THE LOG WAS ROLLED BACK", "log", shown.Origin, "seen", seen.N, "shown", shown.Tree.N)
		return nil, false, &RollbackError{Seen: seen.N, Shown: shown.Tree.N}
	}
	req := &Request{Old: seen.N, Checkpoint: b}
	if seen.N < shown.Tree.N {
		if req.Proof, err = log.NewReader(tiles, shown.Tree).Consistency(ctx, seen.N); err != nil {
			return nil, false, fmt.Errorf("looking at the log: %w", err)
		}
		// The tiles led to the root that was signed. If their proof does not lead
		// to what was seen, no other proof can.
		if log.CheckConsistency(req.Proof, seen, shown.Tree) != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.seen != seen { // somebody brought another checkpoint meanwhile; look again
				return nil, false, &StaleError{l.seen.N}
			}
			return nil, false, w.forked(ctx, l, shown, b)
		}
	}
	if _, err := w.Add(ctx, req); err != nil {
		return nil, false, err
	}
	return w.Cosigned(shown.Origin), true, nil
}
