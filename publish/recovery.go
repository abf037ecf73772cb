package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"tallystream/publish/bucket"
	"tallystream/schemas"
)

// open makes the sequencer ready for its first cut: it takes an epoch, finishes
// what was decided before, finds the end of the chain of snapshots and
// remembers what that names. The books need no recovery of their own: the first
// cut replays the whole ledger through the same code as any other.
func (s *Sequencer) open(ctx context.Context) error {
	if err := s.putElection(ctx); err != nil {
		return err
	}
	if err := s.take(ctx); err != nil {
		return err
	}
	s.cfg.Metrics.epoch.Set(float64(s.epoch))
	if err := s.finishDecided(ctx); err != nil {
		return err
	}
	last, err := s.findHead(ctx)
	if err != nil {
		return err
	}
	s.shelf = &shelf{stored: make([]schemas.Digest, len(s.catalogue.documents)), exports: newExports(&s.cfg, s.catalogue)}
	if last != nil {
		if err := s.remember(ctx, last); err != nil {
			return err
		}
	}
	s.cfg.Logger.InfoContext(ctx, "sequencer opened", "epoch", s.epoch, "snapshot", s.head.number, "log", s.head.log)
	return nil
}

// putElection publishes the definition, which makes the bucket this election's
// and no other's. The roster may be renewed; each snapshot names its own.
func (s *Sequencer) putElection(ctx context.Context) error {
	fixed := append(s.pages.fixed(), mutable(schemas.DefinitionKey, s.cfg.Definition, typeJSON))
	current, err := s.pages.current()
	if err != nil {
		return err
	}
	if len(s.cfg.Roster) > 0 {
		fixed = append(fixed, immutable(s.rosterKey(), s.cfg.Roster, typeJSON))
		current = append(current, mutable(schemas.RosterKey, s.cfg.Roster, typeJSON))
	}
	contracts, err := schemaObjects()
	if err != nil {
		return err
	}
	current = append(current, contracts...)
	err = s.cfg.Bucket.PutNew(ctx, fixed...)
	if errors.Is(err, bucket.ErrDiffers) {
		return fmt.Errorf("%w: it holds another definition: %w", ErrForeign, err)
	}
	if err != nil {
		return fmt.Errorf("publishing the definition, roster and page assets: %w", err)
	}
	if err := s.cfg.Bucket.Replace(ctx, current...); err != nil {
		return fmt.Errorf("publishing the roster and the pages' configuration: %w", err)
	}
	return nil
}

// schemaObjects are the JSON Schemas of everything public, beside what they
// describe.
func schemaObjects() (out []bucket.Object, err error) {
	files := schemas.JSONSchemas()
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, path)
		out = append(out, mutable("schemas/"+path, b, typeSchema))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the JSON Schemas: %w", err)
	}
	return out, nil
}

// finishDecided writes the note of the snapshot that was decided last, which a
// crash may have cut off. Everything it names was durable before.
func (s *Sequencer) finishDecided(ctx context.Context) error {
	if len(s.mark.note) == 0 {
		return s.refuseUnmarked(ctx)
	}
	last, err := s.openSnapshot(s.mark.note)
	if err != nil {
		return err
	}
	err = s.cfg.Bucket.PutNew(ctx, immutable(schemas.SnapshotKey(last.Number), s.mark.note, typeText))
	if errors.Is(err, bucket.ErrDiffers) {
		return fmt.Errorf("%w: snapshot %d is not the one that was decided: %w", ErrForeign, last.Number, err)
	}
	if err != nil {
		return fmt.Errorf("finishing snapshot %d: %w", last.Number, err)
	}
	return nil
}

// refuseUnmarked stops at a bucket that has snapshots while the register knows
// of none: without its mark, epochs would begin anew, and viewers would take
// what comes for old news.
func (s *Sequencer) refuseUnmarked(ctx context.Context) error {
	_, err := s.cfg.Bucket.Get(ctx, schemas.SnapshotKey(1))
	switch {
	case errors.Is(err, bucket.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("looking for a first snapshot: %w", err)
	}
	// Unless the mark has moved since we took it: then they are of whoever took
	// the epoch after ours.
	now, err := s.cfg.Register.Load(ctx, markName)
	if err != nil {
		return fmt.Errorf("reading the publication mark again: %w", err)
	}
	if !bytes.Equal(now, s.mark.encode(s.cfg.Election.Definition.Origin)) {
		return fmt.Errorf("%w: an epoch was taken after ours, %d", ErrFenced, s.epoch)
	}
	return fmt.Errorf("%w: it has snapshots, but the register has no mark of them (restore the register, or publish to an empty bucket)", ErrForeign)
}

// findHead follows the chain of snapshots from latest to its end. A note that
// was written just before a crash, with latest not moved yet, is a snapshot
// like any other: everything it names was durable before it. latest is moved
// to it here, which finishes what the crash cut off.
func (s *Sequencer) findHead(ctx context.Context) (*schemas.Snapshot, error) {
	note, err := s.cfg.Bucket.Get(ctx, schemas.LatestKey)
	if err != nil && !errors.Is(err, bucket.ErrNotFound) {
		return nil, fmt.Errorf("reading latest: %w", err)
	}
	var last *schemas.Snapshot
	if err == nil {
		if last, err = s.openSnapshot(note); err != nil {
			return nil, err
		}
	}
	moved := false
	for {
		next, snapshot, err := s.following(ctx, last, note)
		if err != nil {
			return nil, err
		}
		if snapshot == nil {
			break
		}
		note, last, moved = next, snapshot, true
	}
	if moved {
		if err := s.cfg.Bucket.Replace(ctx, mutable(schemas.LatestKey, note, typeText)); err != nil {
			return nil, fmt.Errorf("moving latest to snapshot %d: %w", last.Number, err)
		}
	}
	if last != nil {
		s.head = head{number: last.Number, note: schemas.DigestOf(note), log: last.Log, begun: s.cfg.Now()}
	}
	return last, nil
}

// following reads the snapshot after last, whose note is given; nil if there
// is none.
func (s *Sequencer) following(ctx context.Context, last *schemas.Snapshot, note []byte) ([]byte, *schemas.Snapshot, error) {
	number, previous := schemas.SnapshotNumber(1), schemas.Digest{}
	if last != nil {
		number, previous = last.Number+1, schemas.DigestOf(note)
	}
	b, err := s.cfg.Bucket.Get(ctx, schemas.SnapshotKey(number))
	if errors.Is(err, bucket.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("looking for snapshot %d: %w", number, err)
	}
	snapshot, err := s.openSnapshot(b)
	if err != nil {
		return nil, nil, err
	}
	if snapshot.Number != number || snapshot.Previous != previous {
		return nil, nil, fmt.Errorf("%w: snapshot %d does not follow the one before it", ErrForeign, number)
	}
	return b, snapshot, nil
}

func (s *Sequencer) openSnapshot(note []byte) (*schemas.Snapshot, error) {
	snapshot, err := schemas.OpenSnapshot(note, s.verifier)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if snapshot.Origin != s.cfg.Election.Definition.Origin {
		return nil, fmt.Errorf("%w: its origin is %q", ErrForeign, snapshot.Origin)
	}
	return snapshot, nil
}

// remember takes over what the last snapshot names: documents that need not be
// written again if they come out the same, and files of earlier snapshots.
func (s *Sequencer) remember(ctx context.Context, last *schemas.Snapshot) error {
	b, err := s.cfg.Bucket.Get(ctx, schemas.ContentKey("manifests", last.Manifest, ".ndjson"))
	if err != nil {
		return fmt.Errorf("reading the manifest of snapshot %d: %w", last.Number, err)
	}
	if schemas.DigestOf(b) != last.Manifest {
		return fmt.Errorf("%w: the manifest of snapshot %d has another hash", ErrForeign, last.Number)
	}
	entries, err := schemas.ParseManifest(b)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	documents := make(map[schemas.DocumentID]int, len(s.catalogue.documents))
	for i := range s.catalogue.documents {
		documents[s.catalogue.documents[i].id] = i
	}
	for _, e := range entries {
		if i, ok := documents[schemas.DocumentID(e.Name)]; ok {
			s.shelf.stored[i] = e.Hash
		} else {
			s.shelf.exports.remember(e)
		}
	}
	return nil
}
