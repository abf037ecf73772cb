package latest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// whole says why a snapshot cannot be shown here, or returns it with "". Only
// trouble with the bucket is an error.
func (h *Handler) whole(ctx context.Context, n schemas.SnapshotNumber) (_ *opened, why string, err error) {
	b, err := h.Bucket.Get(ctx, schemas.SnapshotKey(n))
	if err != nil {
		return missing(err, "its note")
	}
	s, err := h.open(b)
	if err != nil {
		return nil, fmt.Sprintf("its note is not signed by the key: %v", err), nil
	}
	if s.Number != n || s.Origin != h.Key.Name() {
		return nil, fmt.Sprintf("its note is of snapshot %d of %s", s.Number, s.Origin), nil
	}
	if why, err := h.logged(ctx, s); why != "" || err != nil {
		return nil, why, err
	}
	manifest, err := h.Bucket.Get(ctx, schemas.ContentKey("manifests", s.Manifest, ".ndjson"))
	if err != nil {
		return missing(err, "its manifest")
	}
	if schemas.DigestOf(manifest) != s.Manifest {
		return nil, "its manifest has other bytes than it names", nil
	}
	entries, err := schemas.ParseManifest(manifest)
	if err != nil {
		return nil, err.Error(), nil
	}
	keys := make([]string, len(entries))
	for i := range entries {
		keys[i] = entries[i].Key
	}
	lacking, err := h.Bucket.Missing(ctx, keys)
	if err != nil || lacking != "" {
		return nil, lacking + " has not come", err
	}
	return s, "", nil
}

func missing(err error, what string) (*opened, string, error) {
	if errors.Is(err, ErrMissing) {
		return nil, what + " has not come", nil
	}
	return nil, "", err
}

// logged says why the log that is here does not show that the snapshot is in it.
func (h *Handler) logged(ctx context.Context, s *opened) (why string, err error) {
	b, err := h.Bucket.Get(ctx, log.CheckpointKey)
	if err != nil {
		_, why, err = missing(err, "the checkpoint")
		return why, err
	}
	c, _, err := log.OpenCheckpoint(b, h.Key)
	if err != nil {
		return fmt.Sprintf("the checkpoint: %v", err), nil
	}
	if c.Tree.N <= int64(s.Log) {
		return fmt.Sprintf("the checkpoint that has come is of %d leaves and the snapshot is leaf %d", c.Tree.N, s.Log), nil
	}
	raw, err := log.NewReader(tiles{h.Bucket}, c.Tree).Leaf(ctx, int64(s.Log))
	switch {
	case errors.Is(err, log.ErrAbsent):
		return fmt.Sprintf("a tile of the log has not come: %v", err), nil
	case errors.Is(err, log.ErrTampered):
		return err.Error(), nil
	case err != nil:
		return "", err
	}
	l, err := leaf.Decode(raw)
	if err != nil {
		return fmt.Sprintf("leaf %d: %v", s.Log, err), nil
	}
	if logged, ok := l.(*leaf.Snapshot); !ok || !bytes.Equal(logged.Note, s.note) {
		return fmt.Sprintf("leaf %d of the log is not this snapshot", s.Log), nil
	}
	return "", nil
}

// tiles reads the log from the bucket.
type tiles struct{ from Bucket }

func (t tiles) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := t.from.Get(ctx, key)
	if errors.Is(err, ErrMissing) {
		return nil, fmt.Errorf("getting %s: %w", key, log.ErrAbsent)
	}
	return b, err
}

// chained walks from the target back to what is named now: each snapshot names
// the one before it by hash, so a fork is found.
func (h *Handler) chained(ctx context.Context, target, now *opened) error {
	if now.Number == 0 {
		return nil // there is nothing to fork from
	}
	at := target
	for at.Number > now.Number+1 {
		b, err := h.Bucket.Get(ctx, schemas.SnapshotKey(at.Number-1))
		if errors.Is(err, ErrMissing) {
			return fmt.Errorf("%w: snapshot %d has not come, so nothing shows that %d follows %d", ErrNothing, at.Number-1, target.Number, now.Number)
		}
		if err != nil {
			return err
		}
		before, err := h.open(b)
		if err != nil {
			return fmt.Errorf("%w: snapshot %d: %w", ErrForeign, at.Number-1, err)
		}
		if schemas.DigestOf(b) != at.Previous {
			return fmt.Errorf("%w: snapshot %d names another one before it than the %d that is here", ErrForeign, at.Number, before.Number)
		}
		at = before
	}
	if schemas.DigestOf(now.note) != at.Previous {
		return fmt.Errorf("%w: snapshot %d does not follow the %d that latest names", ErrForeign, at.Number, now.Number)
	}
	return nil
}
