package simulator

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"tallystream/fanout/viewer"
	"tallystream/publish"
	"tallystream/schemas"
)

// audience is the rehearsal's live viewers. Each follows a document by the
// client rule and checks the hash of every version.
type audience struct {
	clients []*viewer.Client
	follows []schemas.DocumentID
	class   string // of the report
	cancel  context.CancelFunc
	group   errgroup.Group
}

// seat connects the viewers: the first follows the election document and
// measures latency, the others are spread over contests and counties. They
// are media if the target has a key for them, so that what is measured is every
// delta and not the second that the public waits for the next.
func (d *drive) seat(ctx context.Context, t target, p *performance) (*audience, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a := &audience{cancel: cancel, class: "public: deltas united for up to a second"}
	if t.MediaKey() != "" {
		a.class = "media: every delta"
	}
	// One pool of connections for snapshots: viewers of a rehearsal share a
	// machine with everything else.
	http := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	e := d.truth.Election()
	for i := range d.flags.Viewers {
		document := favourite(e, i)
		c, err := viewer.New(viewer.Config{
			Live: t.PublicURL(), Bucket: t.PublicURL(), Key: t.MediaKey(), Documents: []schemas.DocumentID{document}, HTTP: http,
			OnChange: func(c viewer.Change) {
				if c.Micros > 0 { // a delta, not a snapshot
					p.tracker.seenLive(p.entriesIn(c.Log), time.Now())
				}
			},
		})
		if err != nil {
			cancel()
			return nil, fmt.Errorf("seating viewer %d: %w", i, err)
		}
		a.clients, a.follows = append(a.clients, c), append(a.follows, document)
		a.group.Go(func() error { return inStage(ctx, "viewer", c.Run) })
	}
	return a, nil
}

// favourite is the document that viewer i follows.
func favourite(e *schemas.Election, i int) schemas.DocumentID {
	switch {
	case i == 0:
		return schemas.ElectionDocument
	case i%2 == 1:
		return schemas.CountyDocument(e.Counties[i/2%len(e.Counties)].ID)
	default:
		// Contests stand in the order in which people look for them.
		return publish.DocumentOf(e, schemas.ContestIndex((i/2-1)%len(e.Definition.Contests)))
	}
}

func (a *audience) leave() {
	a.cancel()
	// Run only ever returns nil.
	_ = a.group.Wait()
}

func (a *audience) deltas() uint64 {
	n := uint64(0)
	for _, c := range a.clients {
		n += c.Stats().Deltas
	}
	return n
}

func (a *audience) report() ViewerReport {
	r := ViewerReport{Count: len(a.clients), Class: a.class}
	for _, c := range a.clients {
		s := c.Stats()
		r.Deltas += s.Deltas
		r.Resyncs += s.Resyncs
		r.HashMismatches += s.Mismatches
	}
	return r
}

// compare waits until every viewer holds the bytes that the snapshot names,
// and tells which do not when ctx ends.
func (a *audience) compare(ctx context.Context, b objects, s *schemas.Snapshot) []string {
	raw, err := b.Get(ctx, schemas.ContentKey("manifests", s.Manifest, ".ndjson"))
	if err != nil {
		return []string{fmt.Sprintf("viewers: %v", err)}
	}
	manifest, err := schemas.ParseManifest(raw)
	if err != nil {
		return []string{fmt.Sprintf("viewers: %v", err)}
	}
	want := make(map[schemas.DocumentID]schemas.Digest, len(manifest))
	for _, m := range manifest {
		want[schemas.DocumentID(m.Name)] = m.Hash
	}
	for {
		out := a.differing(want)
		if len(out) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return out
		case <-time.After(snapshotPoll):
		}
	}
}

func (a *audience) differing(want map[schemas.DocumentID]schemas.Digest) []string {
	var out []string
	for i, c := range a.clients {
		w, published := want[a.follows[i]]
		if got, ok := c.Hash(a.follows[i]); published && (!ok || got != w) {
			out = append(out, fmt.Sprintf("viewer %d of %s does not hold the published bytes", i, a.follows[i]))
		}
	}
	return slices.Clip(out)
}
