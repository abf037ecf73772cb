package fanout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tallystream/schemas"
)

// Bucket is where snapshots are published.
type Bucket interface {
	Get(ctx context.Context, key string) ([]byte, error)
}

// Restater takes from the bucket what the bus lost, and everything at the
// start: the bus only hints, the bucket holds the truth. Documents whose
// published bytes the hub does not know are restated. One goroutine uses it.
type Restater struct {
	hub    *Hub
	bucket Bucket
	looked bool
	ahead  schemas.SnapshotNumber // a number that the bucket had and the bus had not
}

// NewRestater makes one.
func NewRestater(h *Hub, b Bucket) *Restater { return &Restater{hub: h, bucket: b} }

// Look compares the bucket with what the bus said, and restates if it is the
// first look, if the bucket has been ahead since the last one, or if a
// snapshot in between was never announced. It returns the snapshot that it
// restated or, with an error, tried to.
func (r *Restater) Look(ctx context.Context) (restated *schemas.Snapshot, documents int, err error) {
	first := !r.looked
	r.looked = true
	snapshot, err := r.latest(ctx)
	if err != nil {
		return nil, 0, err
	}
	known, gap := r.hub.announced()
	switch {
	case snapshot.Number < known: // a sequencer that was stopped for a while moved latest back
		return nil, 0, nil
	case first, gap:
	case snapshot.Number == known:
		r.ahead = 0
		return nil, 0, nil
	case r.ahead <= known:
		r.ahead = snapshot.Number
		return nil, 0, nil
	}
	if documents, err = r.restate(ctx, snapshot); err != nil {
		return snapshot, 0, fmt.Errorf("restating snapshot %d: %w", snapshot.Number, err)
	}
	return snapshot, documents, nil
}

// latest reads the newest snapshot of the bucket, without its signature:
// viewers and this server only take bytes whose hashes they know, and a wrong
// snapshot could say no worse than a wrong message on the bus.
func (r *Restater) latest(ctx context.Context) (*schemas.Snapshot, error) {
	n, err := r.bucket.Get(ctx, schemas.LatestKey)
	if err != nil {
		return nil, fmt.Errorf("looking for the newest snapshot: %w", err)
	}
	return schemas.PeekSnapshot(n)
}

// restate takes in every document of a snapshot that the hub does not have,
// and counts them.
func (r *Restater) restate(ctx context.Context, snapshot *schemas.Snapshot) (documents int, err error) {
	manifest, err := r.bucket.Get(ctx, schemas.ContentKey("manifests", snapshot.Manifest, ".ndjson"))
	if err != nil {
		return 0, err
	}
	if schemas.DigestOf(manifest) != snapshot.Manifest {
		return 0, errManifest
	}
	entries, err := schemas.ParseManifest(manifest)
	if err != nil {
		return 0, err
	}
	for _, m := range entries {
		g, err := schemas.ParseDocumentID(m.Name)
		if err != nil || m.Key != DocumentKey(m.Hash) {
			continue // another file
		}
		if r.hub.Restate(snapshot.Log, g, m.Version, m.Hash) {
			documents++
		}
	}
	r.hub.RestateSnapshot(snapshot.Log, snapshot.Number)
	return documents, nil
}

var errManifest = errors.New("its manifest has another hash")

// watchBucket restates at the start, whenever the bucket stays ahead of what
// the bus said for a whole interval, and when an announcement was lost.
func (s *Server) watchBucket(ctx context.Context) {
	tick := time.NewTicker(s.cfg.BucketEvery)
	defer tick.Stop()
	r := NewRestater(s.hub, s.cfg.Bucket)
	for {
		snapshot, documents, err := r.Look(ctx)
		switch {
		case err != nil && snapshot == nil:
			s.log.Debug("bucket has no snapshot to look at", "err", err)
		case err != nil:
			s.log.Warn("restating failed, trying again", "err", err)
		case snapshot != nil:
			s.metrics.restated.Add(float64(documents))
			s.log.Info("documents restated from the bucket", "snapshot", snapshot.Number, "documents", documents)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
