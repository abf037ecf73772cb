package viewer

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"tallystream/schemas"
)

// Outcome is what a frame did to a document.
type Outcome string

// What frames do.
const (
	Applied  Outcome = "applied"  // the document is at the delta's version
	Dropped  Outcome = "dropped"  // the document has it already, or it is of an epoch that ended
	Missing  Outcome = "missing"  // something before it is missing: fetch the snapshot
	Mismatch Outcome = "mismatch" // the result has another hash: fetch the snapshot
)

// ErrHash is returned for bytes that do not have the hash they should.
var ErrHash = errors.New("document has another hash")

// Document is one document as a viewer holds it. It may be used by one
// goroutine at a time.
type Document struct {
	id      schemas.DocumentID
	known   bool
	epoch   schemas.Epoch
	version schemas.Version
	hash    schemas.Digest
	doubted bool // a delta that should have fitted did not: any snapshot of the server's is taken

	body   []byte
	starts []int // of each line in body

	// What the next version is built in, so that in the long run nothing is
	// allocated.
	nextBody   []byte
	nextStarts []int
	lines      [][]byte
	hasher     interface {
		Write([]byte) (int, error)
		Sum([]byte) []byte
		Reset()
	}
}

// NewDocument is a document of which nothing is known.
func NewDocument(id schemas.DocumentID) *Document {
	return &Document{id: id, hasher: sha256.New()}
}

// ID is the document's name.
func (d *Document) ID() schemas.DocumentID { return d.id }

// Known reports whether the document holds any version.
func (d *Document) Known() bool { return d.known }

// Epoch and Version say which version the document is at.
func (d *Document) Epoch() schemas.Epoch { return d.epoch }

// Version is comparable with others of the same epoch.
func (d *Document) Version() schemas.Version { return d.version }

// Hash is the SHA-256 of the document's bytes.
func (d *Document) Hash() schemas.Digest { return d.hash }

// Bytes are the document's bytes. They are valid until the next change and
// must not be changed.
func (d *Document) Bytes() []byte { return d.body }

// Len is the number of lines.
func (d *Document) Len() int { return len(d.starts) }

// Line returns line i without its newline, valid until the next change.
func (d *Document) Line(i int) []byte { return lineAt(d.body, d.starts, i) }

func lineAt(body []byte, starts []int, i int) []byte {
	end := len(body)
	if i+1 < len(starts) {
		end = starts[i+1]
	}
	return body[starts[i] : end-1]
}

// Subscription is what the document asks a server for.
func (d *Document) Subscription() (schemas.Epoch, schemas.Version, bool) {
	return d.epoch, d.version, d.known
}

// Apply is the client rule for a delta frame. Changed holds the lines that the
// delta brought; they alias frame. After anything but Applied the document is
// what it was before.
func (d *Document) Apply(frame []byte) (outcome Outcome, changed [][]byte, err error) {
	h, joined, err := schemas.ReadDeltaHeader(frame)
	if err != nil {
		return Missing, nil, fmt.Errorf("applying delta: %w", err)
	}
	switch {
	case h.Document != d.id:
		return Dropped, nil, fmt.Errorf("applying delta: of %s to %s", h.Document, d.id)
	case d.known && h.Epoch < d.epoch:
		return Dropped, nil, nil
	case !d.known || h.Epoch > d.epoch || h.From > d.version:
		return Missing, nil, nil
	case h.To <= d.version:
		return Dropped, nil, nil
	}
	if d.lines, err = schemas.SplitLines(d.lines[:0], joined); err != nil {
		return Missing, nil, fmt.Errorf("applying delta: %w", err)
	}
	d.merge(d.lines)
	if d.sum(d.nextBody) != h.Hash {
		d.doubted = true
		return Mismatch, nil, nil
	}
	d.body, d.nextBody = d.nextBody, d.body
	d.starts, d.nextStarts = d.nextStarts, d.starts
	d.version, d.hash, d.doubted = h.To, h.Hash, false
	return Applied, d.lines, nil
}

// merge builds the next body: the lines put into this one, both in rising
// order.
func (d *Document) merge(lines [][]byte) {
	body, starts := d.nextBody[:0], d.nextStarts[:0]
	at := 0 // next line of the old body
	keep := func(upTo int) {
		if upTo == at {
			return
		}
		begin, end := d.starts[at], len(d.body)
		if upTo < len(d.starts) {
			end = d.starts[upTo]
		}
		shift := len(body) - begin
		for _, s := range d.starts[at:upTo] {
			starts = append(starts, s+shift)
		}
		body = append(body, d.body[begin:end]...)
		at = upTo
	}
	for _, line := range lines {
		key, _ := schemas.LineKey(line) // SplitLines has checked it
		i, found := d.find(at, key)
		keep(i)
		if found {
			at++
		}
		starts = append(starts, len(body))
		body = append(append(body, line...), '\n')
	}
	keep(len(d.starts))
	d.nextBody, d.nextStarts = body, starts
}

// find looks for the line with that key from line at on.
func (d *Document) find(at int, key []byte) (int, bool) {
	// Deltas often change every line of a small document: look here first.
	if at < len(d.starts) && bytes.HasPrefix(d.body[d.starts[at]:], key) {
		return at, true
	}
	i, found := slices.BinarySearchFunc(d.starts[at:], key, func(start int, key []byte) int {
		line := d.body[start:]
		return bytes.Compare(line[:min(len(line), len(key))], key)
	})
	return at + i, found
}

func (d *Document) sum(body []byte) schemas.Digest {
	d.hasher.Reset()
	_, _ = d.hasher.Write(body) // hashes do not fail
	var sum schemas.Digest
	d.hasher.Sum(sum[:0])
	return sum
}

// Relabel takes a snap in whose bytes are not needed: the document has them,
// perhaps under another epoch or version, or what came after them. Otherwise
// they must be fetched.
func (d *Document) Relabel(s *schemas.Snap) bool {
	switch {
	case !d.known || s.Document != d.id:
		return false
	case s.Epoch == d.epoch && s.Version < d.version && !d.doubted:
		return true
	case s.Hash != d.hash:
		return false
	}
	if s.Epoch != d.epoch || s.Version > d.version {
		d.epoch, d.version = s.Epoch, s.Version
	}
	return true
}

// Replace takes in the published bytes that a snap names. It keeps body.
func (d *Document) Replace(s *schemas.Snap, body []byte) error {
	if s.Document != d.id {
		return fmt.Errorf("replacing %s: with %s", d.id, s.Document)
	}
	if d.sum(body) != s.Hash {
		return fmt.Errorf("replacing %s: %w", d.id, ErrHash)
	}
	starts, err := lineStarts(body)
	if err != nil {
		return fmt.Errorf("replacing %s: %w", d.id, err)
	}
	d.known, d.epoch, d.version, d.hash, d.doubted = true, s.Epoch, s.Version, s.Hash, false
	d.body, d.starts = body, starts
	return nil
}

// lineStarts checks that body is a document: lines in rising order.
func lineStarts(body []byte) ([]int, error) {
	var starts []int
	var before []byte
	for at := 0; at < len(body); {
		end := bytes.IndexByte(body[at:], '\n')
		if end < 0 {
			return nil, errors.New("document does not end in a newline")
		}
		key, err := schemas.LineKey(body[at : at+end])
		if err != nil {
			return nil, err
		}
		if bytes.Compare(before, key) >= 0 {
			return nil, errors.New("document lines are not in rising order")
		}
		before = key
		starts = append(starts, at)
		at += end + 1
	}
	return starts, nil
}
