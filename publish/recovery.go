package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/schemas"
)

// open makes the sequencer ready for its first cut: it takes an epoch, finishes
// the snapshot that was decided last, and remembers what that names. The books need no recovery of their own: the first
// cut replays the whole ledger through the same code as any other.
func (s *Sequencer) open(ctx context.Context) error {
	if err := s.putElection(ctx); err != nil {
		return err
	}
	if err := s.take(ctx); err != nil {
		return err
	}
	s.cfg.Metrics.epoch.Set(float64(s.epoch))
	s.shelf = &shelf{stored: make([]schemas.Digest, len(s.catalogue.documents)), exports: newExports(&s.cfg, s.catalogue), edge: new(log.Edge), remainders: map[string]schemas.Digest{}}
	s.queue = newQueue(make([]uint64, s.cfg.Election.Definition.Partitions))
	s.fold.log = 1 // the definition
	if len(s.mark.note) == 0 {
		if err := s.refuseUnmarked(ctx); err != nil {
			return err
		}
		if err := s.beginPowers(); err != nil {
			return err
		}
	} else if err := s.resume(ctx); err != nil {
		return err
	}
	if err := s.putCurrent(ctx); err != nil {
		return err
	}
	s.cfg.Logger.InfoContext(ctx, "sequencer opened", "epoch", s.epoch, "snapshot", s.head.number, "log", s.head.log)
	return nil
}

// putElection publishes the definition, which makes the bucket this election's
// and no other's.
func (s *Sequencer) putElection(ctx context.Context) error {
	fixed := append(s.pages.fixed(), mutable(schemas.DefinitionKey, s.cfg.Definition, typeJSON))
	fixed = append(fixed, immutable(rosterAt(fileOf(s.cfg.Roster)), s.cfg.Roster, typeJSON))
	err := s.cfg.Bucket.PutNew(ctx, fixed...)
	if errors.Is(err, bucket.ErrDiffers) {
		return fmt.Errorf("%w: it holds another definition: %w", ErrForeign, err)
	}
	if err != nil {
		return fmt.Errorf("publishing the definition, roster and page assets: %w", err)
	}
	return nil
}

// putCurrent publishes what a new start may change.
func (s *Sequencer) putCurrent(ctx context.Context) error {
	current, err := s.pages.current()
	if err != nil {
		return err
	}
	contracts, err := schemaObjects()
	if err != nil {
		return err
	}
	current = append(current, mutable(schemas.RosterKey, s.powers.roster, typeJSON))
	if err := s.cfg.Bucket.Replace(ctx, append(current, contracts...)...); err != nil {
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

// resume goes on behind the snapshot that was decided last, after finishing
// it: a crash may have cut it off anywhere.
func (s *Sequencer) resume(ctx context.Context) error {
	last, err := s.openSnapshot(s.mark.note)
	if err != nil {
		return err
	}
	if err := s.refuseBehind(ctx, last.Number); err != nil {
		return err
	}
	d, err := s.decided(ctx, last)
	if err != nil {
		return err
	}
	s.shelf.edge, err = s.finish(ctx, d, func(what string, write func() error) error {
		err := write()
		if errors.Is(err, bucket.ErrDiffers) {
			err = fmt.Errorf("%w: %w", ErrForeign, err)
		}
		if err != nil {
			return fmt.Errorf("finishing snapshot %d: writing %s: %w", last.Number, what, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.openPowers(ctx); err != nil {
		return err
	}
	if err := s.openPause(); err != nil {
		return err
	}
	s.queue = newQueue(d.stage.after())
	s.fold.log = schemas.LogSize(s.shelf.edge.Tree().N)
	for _, size := range s.queue.before {
		s.fold.log -= schemas.LogSize(size) // they are counted again
	}
	s.head = head{number: last.Number, note: schemas.DigestOf(s.mark.note), log: last.Log, entries: last.Entries(), begun: s.cfg.Now()}
	return s.remember(ctx, last)
}

// decided reads what the mark decided: the leaves come from the ledger again,
// and must lead to the root that was signed before anything is written.
func (s *Sequencer) decided(ctx context.Context, last *schemas.Snapshot) (*decision, error) {
	d := &decision{edge: new(log.Edge), pause: s.mark.pause}
	b := s.mark.stage
	if b == nil {
		var err error
		if b, err = s.cfg.Bucket.Get(ctx, stageKey(s.mark.stageObject)); err != nil {
			return nil, fmt.Errorf("reading the stage of snapshot %d: %w", last.Number, err)
		}
		if schemas.DigestOf(b) != s.mark.stageObject {
			return nil, fmt.Errorf("%w: the stage of snapshot %d has another hash", ErrForeign, last.Number)
		}
	}
	st, err := parseStage(b, s.cfg.Election.Definition.Partitions)
	if err != nil {
		return nil, fmt.Errorf("%w: snapshot %d: %w", ErrForeign, last.Number, err)
	}
	if d.stage = *st; st.snapshot == last.Number {
		if tree := (tlog.Tree{N: int64(last.Log), Hash: tlog.Hash(last.Root)}); st.to != tree {
			return nil, fmt.Errorf("%w: the stage of snapshot %d is of another tree", ErrForeign, last.Number)
		}
		d.note = s.mark.note
	}
	if st.tree.N > 0 {
		d.edge, err = log.NewReader(s.cfg.Bucket, st.tree).OpenEdge(ctx)
		if errors.Is(err, log.ErrTampered) {
			err = fmt.Errorf("%w: %w", ErrForeign, err)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the log of %d leaves: %w", st.tree.N, err)
		}
	}
	if d.leaves, err = s.staged(ctx, st); err != nil {
		return nil, err
	}
	if d.tree() != st.to {
		return nil, fmt.Errorf("%w: the ledger's entries do not lead to the root that was decided, of %d leaves", ErrForeign, st.to.N)
	}
	return d, nil
}

// staged reads the leaves of a stage from the ledger.
func (s *Sequencer) staged(ctx context.Context, st *stage) ([]log.Hashed, error) {
	view, err := s.cfg.Ledger.View(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a ledger view: %w", err)
	}
	defer view.Close() // it only reads
	q := newQueue(st.before)
	at := slices.Clone(st.before)
	for _, r := range st.runs() {
		err := s.readRun(ctx, view, r, func(_ *schemas.Entry, b []byte) error {
			q.add(r.partition, b)
			return nil
		})
		if err != nil {
			return nil, err
		}
		at[r.partition] = r.to
		q.cut(at) // a run at a time keeps their order
	}
	_, leaves := q.take()
	return leaves, nil
}

// refuseBehind stops at a bucket with a later snapshot than the register knows
// of: the register was put back to an old copy, or somebody wrote past it.
func (s *Sequencer) refuseBehind(ctx context.Context, last schemas.SnapshotNumber) error {
	_, err := s.cfg.Bucket.Get(ctx, schemas.SnapshotKey(last+1))
	switch {
	case errors.Is(err, bucket.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("looking for snapshot %d: %w", last+1, err)
	}
	if err := s.inForce(ctx); err != nil {
		return err // who published it took an epoch after ours
	}
	return fmt.Errorf("%w: it has snapshot %d, and the register knows of %d only (restore a newer register)", ErrForeign, last+1, last)
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
	if err := s.inForce(ctx); err != nil {
		return err
	}
	return fmt.Errorf("%w: it has snapshots, but the register has no mark of them (restore the register, or publish to an empty bucket)", ErrForeign)
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
