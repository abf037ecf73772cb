package publish_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"tallystream/schemas"
)

// viewer is an announcer that lives like a viewer: it takes documents from the
// bucket when they are announced, applies deltas by the client rule and checks
// every hash.
type viewer struct {
	t testing.TB
	b *strictBucket

	mu        sync.Mutex
	epoch     schemas.Epoch
	documents map[schemas.DocumentID]*liveDocument
	deltas    int
	resyncs   int
	paused    int // 1 as of the newest announcement
	snapshots []schemas.SnapshotNumber
}

type liveDocument struct {
	version schemas.Version
	lines   map[string]string
}

func newViewer(t testing.TB, b *strictBucket) *viewer { return &viewer{t: t, b: b} }

func (v *viewer) Delta(_ context.Context, document schemas.DocumentID, frame []byte) error {
	d, err := schemas.ParseDelta(frame)
	if err != nil {
		v.t.Error(err)
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if d.Document != document {
		v.t.Errorf("a delta of %s was sent as one of %s", d.Document, document)
	}
	if d.Epoch != v.epoch || v.documents[document] == nil {
		return nil // waits for its first snapshot
	}
	mine := v.documents[document]
	switch {
	case d.To <= mine.version:
	case d.From > mine.version:
		v.resyncs++
	default:
		for _, l := range d.Lines {
			key, _ := schemas.LineKey(l)
			mine.lines[string(key)] = string(l) + "\n"
		}
		mine.version = d.To
		v.deltas++
		if schemas.DigestOf(mine.bytes()) != d.Hash {
			v.t.Errorf("%s at version %d has another hash than the delta says", document, d.To)
		}
	}
	return nil
}

func (l *liveDocument) bytes() []byte {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(l.lines)) {
		b.WriteString(l.lines[k])
	}
	return []byte(b.String())
}

func (v *viewer) Published(_ context.Context, p schemas.Published) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p.Epoch != v.epoch {
		v.epoch, v.documents = p.Epoch, map[schemas.DocumentID]*liveDocument{}
	}
	v.snapshots = append(v.snapshots, p.Snapshot)
	if v.paused = 0; p.Paused {
		v.paused = 1
	}
	for _, a := range p.Documents {
		body := v.b.must(schemas.ContentKey("documents", a.Hash, ".ndjson"))
		if mine := v.documents[a.Document]; mine != nil && mine.version >= a.Version {
			if mine.version == a.Version && !bytes.Equal(mine.bytes(), body) {
				v.t.Errorf("%s at version %d: live and published differ", a.Document, a.Version)
			}
			continue
		}
		mine := &liveDocument{version: a.Version, lines: map[string]string{}}
		for line := range bytes.Lines(body) {
			key, err := schemas.LineKey(line)
			if err != nil {
				v.t.Error(err)
			}
			mine.lines[string(key)] = string(line)
		}
		v.documents[a.Document] = mine
	}
	return nil
}
