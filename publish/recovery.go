package publish

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"tallystream/publish/bucket"
	"tallystream/schemas"
)

// open makes the sequencer ready for its first cut: it takes an epoch, finds
// the end of the chain of snapshots and remembers what that names. The books
// need no recovery of their own: the first cut replays the whole ledger
// through the same code as any other.
func (s *Sequencer) open(ctx context.Context) error {
	if err := s.putElection(ctx); err != nil {
		return err
	}
	var err error
	if s.epoch, err = s.takeEpoch(ctx); err != nil {
		return err
	}
	s.cfg.Metrics.epoch.Set(float64(s.epoch))
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

func epochKey(e schemas.Epoch) string { return fmt.Sprintf("epoch/%06d", e) }

// takeEpoch claims the first epoch that nobody had. Each claim carries random
// bytes, so of two that race for a number one gets bucket.ErrDiffers.
func (s *Sequencer) takeEpoch(ctx context.Context) (schemas.Epoch, error) {
	claim := fmt.Appendf(nil, "%s/epoch/v1\nsequencer %s\ntime %s\n", s.cfg.Election.Definition.Origin,
		rand.Text(), s.cfg.Now().UTC().Format(schemas.SnapshotTimeLayout))
	epoch, err := s.freeEpoch(ctx)
	if err != nil {
		return 0, fmt.Errorf("taking an epoch: %w", err)
	}
	for ; ; epoch++ {
		err := s.cfg.Bucket.PutNew(ctx, immutable(epochKey(epoch), claim, typeText))
		if err == nil {
			return epoch, nil
		}
		if !errors.Is(err, bucket.ErrDiffers) {
			return 0, fmt.Errorf("taking epoch %d: %w", epoch, err)
		}
	}
}

// freeEpoch finds the lowest epoch without a claim. Claims are dense, because
// everybody takes the lowest.
func (s *Sequencer) freeEpoch(ctx context.Context) (schemas.Epoch, error) {
	taken, free := schemas.Epoch(0), schemas.Epoch(1)
	for {
		is, err := s.exists(ctx, epochKey(free))
		if err != nil {
			return 0, err
		}
		if !is {
			break
		}
		taken, free = free, 2*free
	}
	for free-taken > 1 {
		middle := taken + (free-taken)/2
		is, err := s.exists(ctx, epochKey(middle))
		if err != nil {
			return 0, err
		}
		if is {
			taken = middle
		} else {
			free = middle
		}
	}
	return free, nil
}

func (s *Sequencer) exists(ctx context.Context, key string) (bool, error) {
	_, err := s.cfg.Bucket.Get(ctx, key)
	if errors.Is(err, bucket.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// checkEpoch fails with ErrFenced once a later epoch was taken.
func (s *Sequencer) checkEpoch(ctx context.Context) error {
	is, err := s.exists(ctx, epochKey(s.epoch+1))
	if err == nil && is {
		err = fmt.Errorf("%w: epoch %d was taken after ours, %d", ErrFenced, s.epoch+1, s.epoch)
	}
	return err
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
		s.head = head{number: last.Number, note: schemas.DigestOf(note), log: last.Log, begun: time.Now()}
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
