package fanout

import (
	"context"
	"fmt"
	"time"

	"tallystream/schemas"
)

// Bucket is where snapshots are published.
type Bucket interface {
	Get(ctx context.Context, key string) ([]byte, error)
}

// The bus only hints; the bucket holds the truth. So the server looks there
// for what the bus lost, and for everything when it starts: documents whose
// published bytes it does not know are restated.

// latest reads the newest snapshot of the bucket, without its signature:
// viewers and this server only take bytes whose hashes they know, and a wrong
// snapshot could say no worse than a wrong message on the bus.
func latest(ctx context.Context, b Bucket) (*schemas.Snapshot, error) {
	n, err := b.Get(ctx, schemas.LatestKey)
	if err != nil {
		return nil, fmt.Errorf("looking for the newest snapshot: %w", err)
	}
	return schemas.PeekSnapshot(n)
}

// restate takes in every document of a snapshot that the hub does not have.
func (s *Server) restate(ctx context.Context, snapshot *schemas.Snapshot) error {
	manifest, err := s.cfg.Bucket.Get(ctx, schemas.ContentKey("manifests", snapshot.Manifest, ".ndjson"))
	if err != nil {
		return fmt.Errorf("restating snapshot %d: %w", snapshot.Number, err)
	}
	if schemas.DigestOf(manifest) != snapshot.Manifest {
		return fmt.Errorf("restating snapshot %d: manifest has another hash", snapshot.Number)
	}
	entries, err := schemas.ParseManifest(manifest)
	if err != nil {
		return fmt.Errorf("restating snapshot %d: %w", snapshot.Number, err)
	}
	restated := 0
	for _, m := range entries {
		g, err := schemas.ParseDocumentID(m.Name)
		if err != nil || m.Key != DocumentKey(m.Hash) {
			continue // another file
		}
		if s.hub.Restate(snapshot.Log, g, m.Version, m.Hash) {
			restated++
		}
	}
	s.hub.RestateSnapshot(snapshot.Log, snapshot.Number)
	s.metrics.restated.Add(float64(restated))
	s.log.Info("documents restated from the bucket", "snapshot", snapshot.Number, "documents", restated)
	return nil
}

// watchBucket restates at the start, and whenever the bucket stays ahead of
// what the bus said for a whole interval.
func (s *Server) watchBucket(ctx context.Context) {
	tick := time.NewTicker(s.cfg.BucketEvery)
	defer tick.Stop()
	ahead := schemas.SnapshotNumber(0) // a number that the bucket had and the bus had not
	for first := true; ; first = false {
		snapshot, err := latest(ctx, s.cfg.Bucket)
		known := s.hub.State().Snapshot
		switch {
		case err != nil:
			s.log.Debug("bucket has no snapshot to look at", "err", err)
		case snapshot.Number <= known:
			ahead = 0
		case first || ahead > known:
			if err := s.restate(ctx, snapshot); err != nil {
				s.log.Warn("restating failed, trying again", "err", err)
			}
		default:
			ahead = snapshot.Number
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
