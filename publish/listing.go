package publish

import (
	"context"
	"maps"

	"tallystream/publish/bucket"
	"tallystream/schemas"
)

// listings are the two public files that say why numbers fell and what is held,
// at a cut. They are immutable once made.
type listings struct {
	moves []movement
	holds []heldLine
	open  map[schemas.HoldCode]uint64 // holds that change no number and still could, by reason

	moved, changed uint64 // of the books when they were made
}

// heldLine is a line of the public file, with what its page sorts it by.
type heldLine struct {
	line   []byte
	county schemas.CountyIndex // -1: it names no unit
	state  schemas.HoldState
}

// listed is the fold's listings, or last where they have not changed since.
func (f *fold) listed(last *listings) *listings {
	if last != nil && last.moved == f.moves.total && last.changed == f.holds.changes {
		return last
	}
	out := &listings{moved: f.moves.total, changed: f.holds.changes, open: maps.Clone(f.holds.open)}
	for _, lines := range f.moves.lines {
		out.moves = append(out.moves, lines...)
	}
	for _, entries := range f.holds.entries {
		for _, h := range entries {
			out.holds = append(out.holds, heldLine{h.line, h.county, h.state})
		}
	}
	return out
}

// storedListing is a listing that lies in the bucket.
type storedListing struct {
	of          *listings
	corrections schemas.ManifestEntry
	holds       schemas.ManifestEntry
}

// writeListings stores the two files, where they changed.
func (s *Sequencer) writeListings(ctx, running context.Context, p *plan) (int64, error) {
	stored := &s.shelf.listings
	if stored.of == p.listings {
		return 0, nil
	}
	corrections, holds := []byte{}, []byte{} // a file without lines is one, too
	for i := range p.listings.moves {
		corrections = append(corrections, p.listings.moves[i].line...)
	}
	for i := range p.listings.holds {
		holds = append(holds, p.listings.holds[i].line...)
	}
	next := storedListing{
		of:          p.listings,
		corrections: ofBytes(schemas.CorrectionsName, schemas.ContentKey("corrections", schemas.DigestOf(corrections), ".ndjson"), corrections),
		holds:       ofBytes(schemas.HoldsName, schemas.ContentKey("holds", schemas.DigestOf(holds), ".ndjson"), holds),
	}
	var objects []bucket.Object
	size := int64(0)
	add := func(e, was schemas.ManifestEntry, body []byte) {
		if e != was {
			objects = append(objects, immutable(e.Key, body, typeNDJSON))
			size += e.Bytes
		}
	}
	add(next.corrections, stored.corrections, corrections)
	add(next.holds, stored.holds, holds)
	if err := s.insist(ctx, running, "corrections and holds", func() error { return s.cfg.Bucket.PutNew(ctx, objects...) }); err != nil {
		return 0, err
	}
	s.cfg.Metrics.bytes.WithLabelValues("listing").Add(float64(size))
	*stored = next
	return size, nil
}
