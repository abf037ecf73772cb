package timeseries

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

// objects reads what is published.
type objects interface {
	Get(ctx context.Context, key string) ([]byte, error)
}

// public is what anybody sees who looks at every snapshot, one after the other:
// files of the bucket and nothing else.
type public struct {
	election *schemas.Election
	bucket   objects
	verifier note.Verifier

	snapshot  *schemas.Snapshot // the newest one seen; nil: none
	files     map[string]schemas.Digest
	documents map[schemas.DocumentID]map[place]*schemas.Line
	movements []schemas.Movement
	holds     []schemas.HeldEntry

	Seen Movements
}

// place is what a line is about: a contest in a county, a state or everywhere.
type place struct {
	contest schemas.ContestID
	unit    string
}

// Movements are what the sequence of snapshots shows.
type Movements struct {
	Snapshots int      `json:"snapshots"`
	Compared  int      `json:"compared"`        // numbers, each with that of the snapshot before
	Fell      int      `json:"fell"`            // of them
	Wrong     []string `json:"wrong,omitempty"` // numbers that fell without a correction, and the like
}

const mostWrong = 50

func (p *public) wrong(format string, args ...any) {
	if len(p.Seen.Wrong) < mostWrong {
		p.Seen.Wrong = append(p.Seen.Wrong, fmt.Sprintf("snapshot %s: ", p.snapshot.Number)+fmt.Sprintf(format, args...))
	}
}

// newest is the snapshot that latest names.
func (p *public) newest(ctx context.Context) (*schemas.Snapshot, error) {
	raw, err := p.bucket.Get(ctx, schemas.LatestKey)
	if err != nil {
		return nil, err
	}
	return schemas.OpenSnapshot(raw, p.verifier)
}

// follow looks at every snapshot up to the newest.
func (p *public) follow(ctx context.Context) error {
	last, err := p.newest(ctx)
	if err != nil {
		return fmt.Errorf("reading what is published: %w", err)
	}
	from := schemas.SnapshotNumber(1)
	if p.snapshot != nil {
		from = p.snapshot.Number + 1
	}
	for n := from; n <= last.Number; n++ {
		if err := p.look(ctx, n); err != nil {
			return fmt.Errorf("reading what is published, snapshot %s: %w", n, err)
		}
	}
	return nil
}

// look reads what changed with one snapshot.
func (p *public) look(ctx context.Context, n schemas.SnapshotNumber) error {
	raw, err := p.bucket.Get(ctx, schemas.SnapshotKey(n))
	if err != nil {
		return err
	}
	s, err := schemas.OpenSnapshot(raw, p.verifier)
	if err != nil {
		return err
	}
	if s.Number != n {
		return fmt.Errorf("says that it is number %s", s.Number)
	}
	manifest, err := p.manifest(ctx, s)
	if err != nil {
		return err
	}
	p.snapshot = s
	p.Seen.Snapshots++
	// What explains comes before what is to be explained.
	before := len(p.movements)
	for _, file := range []struct {
		name string
		read func([]byte) error
	}{{schemas.CorrectionsName, p.readMovements}, {schemas.HoldsName, p.readHolds}} {
		m, ok := manifest[file.name]
		if !ok {
			return fmt.Errorf("its manifest does not name %s", file.name)
		}
		if err := p.changed(ctx, m, file.read); err != nil {
			return err
		}
	}
	fresh := p.explain(p.movements[before:])
	for name, m := range manifest {
		id, err := schemas.ParseDocumentID(name)
		if err != nil {
			continue // a table, a report
		}
		same := p.files[name] == m.Hash
		if err := p.changed(ctx, m, func(b []byte) error { return p.document(id, b, fresh) }); err != nil {
			return err
		}
		if same {
			p.unmoved(id, fresh)
		}
	}
	return nil
}

// unmoved: a document that did not change has no line that an entry lowered.
func (p *public) unmoved(id schemas.DocumentID, x explanation) {
	for at := range p.documents[id] {
		if x.lines[at] > 0 {
			p.wrong("%s: %s in %s: did not change, %s has %d new entries", id, at.contest, at.unit, schemas.CorrectionsName, x.lines[at])
		}
	}
}

func (p *public) manifest(ctx context.Context, s *schemas.Snapshot) (map[string]schemas.ManifestEntry, error) {
	raw, err := p.bucket.Get(ctx, schemas.ContentKey("manifests", s.Manifest, ".ndjson"))
	if err != nil {
		return nil, err
	}
	if schemas.DigestOf(raw) != s.Manifest {
		return nil, fmt.Errorf("the manifest does not have the hash that the snapshot says")
	}
	entries, err := schemas.ParseManifest(raw)
	if err != nil {
		return nil, err
	}
	out := make(map[string]schemas.ManifestEntry, len(entries))
	for _, m := range entries {
		out[m.Name] = m
	}
	return out, nil
}

// changed reads a file if it is not the one that was read last.
func (p *public) changed(ctx context.Context, m schemas.ManifestEntry, read func([]byte) error) error {
	if p.files[m.Name] == m.Hash {
		return nil
	}
	b, err := p.bucket.Get(ctx, m.Key)
	if err != nil {
		return err
	}
	if schemas.DigestOf(b) != m.Hash {
		return fmt.Errorf("%s does not have the hash that the manifest says", m.Name)
	}
	if p.files == nil {
		p.files = map[string]schemas.Digest{}
	}
	p.files[m.Name] = m.Hash
	if err := read(b); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

func (p *public) readHolds(b []byte) error {
	p.holds = p.holds[:0]
	for line := range bytes.Lines(b) {
		h, err := schemas.ParseHeldEntry(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil {
			return err
		}
		p.holds = append(p.holds, *h)
	}
	return nil
}

// readMovements reads the list anew, keeps the order in which its lines were
// first seen, and notices one that is gone or is not what it was.
func (p *public) readMovements(b []byte) error {
	type entry struct {
		partition schemas.Partition
		seq       uint64
	}
	old := map[entry]*schemas.Movement{}
	for i := range p.movements {
		m := &p.movements[i]
		old[entry{m.Partition, m.Seq}] = m
	}
	var fresh []schemas.Movement
	for line := range bytes.Lines(b) {
		m, err := schemas.ParseMovement(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil {
			return err
		}
		at := entry{m.Partition, m.Seq}
		was := old[at]
		delete(old, at)
		switch {
		case was == nil:
			fresh = append(fresh, *m)
		case !bytes.Equal(was.AppendLine(nil), m.AppendLine(nil)):
			p.wrong("%s: entry %d of partition %s is not what it was", schemas.CorrectionsName, m.Seq, m.Partition)
		}
	}
	for at := range old {
		p.wrong("%s: entry %d of partition %s is gone", schemas.CorrectionsName, at.seq, at.partition)
	}
	p.movements = append(p.movements, fresh...)
	return nil
}

// explanation is by how much new entries of corrections.ndjson lowered numbers.
type explanation struct {
	fell  map[number]int64
	lines map[place]int64 // how many entries lowered any number of a line
}

// number names a published number. Reporting has no count type.
type number struct {
	place
	selection schemas.SelectionID
	countType schemas.CountType
}

// explain adds entries up by the places that their lines are of.
func (p *public) explain(fresh []schemas.Movement) explanation {
	x := explanation{map[number]int64{}, map[place]int64{}}
	for i := range fresh {
		m := &fresh[i]
		for _, unit := range p.above(m.County) {
			touched := map[schemas.ContestID]bool{}
			for _, c := range m.Changes {
				x.fell[number{place{c.Contest, unit}, c.Selection, c.CountType}] += int64(c.Before) - int64(c.After)
				touched[c.Contest] = true
			}
			for contest := range touched {
				x.lines[place{contest, unit}]++
			}
		}
	}
	return x
}

// above lists a county, its state, and the election: what has lines.
func (p *public) above(county schemas.CountyID) []string {
	d := p.election.Definition
	out := []string{string(county), string(d.Election)}
	for i := range d.Counties {
		if d.Counties[i].ID == county {
			out = append(out, string(d.Counties[i].State))
		}
	}
	return out
}

// document compares each line with the one before, number by number.
func (p *public) document(id schemas.DocumentID, b []byte, x explanation) error {
	before, now := p.documents[id], map[place]*schemas.Line{}
	for raw := range bytes.Lines(b) {
		l, err := schemas.ParseLine(bytes.TrimSuffix(raw, []byte{'\n'}))
		if err != nil {
			return err
		}
		now[place{l.Contest, l.Unit}] = l
	}
	for at, old := range before {
		l := now[at]
		if l == nil {
			p.wrong("%s: the line of %s in %s is gone", id, at.contest, at.unit)
			continue
		}
		p.compare(id, at, old, l, x)
	}
	if p.documents == nil {
		p.documents = map[schemas.DocumentID]map[place]*schemas.Line{}
	}
	p.documents[id] = now
	return nil
}

func (p *public) compare(id schemas.DocumentID, at place, old, now *schemas.Line, x explanation) {
	if grown := now.Corrections - old.Corrections; grown != x.lines[at] {
		p.wrong("%s: %s in %s: corrections went from %d to %d, %s has %d new ones", id, at.contest, at.unit, old.Corrections, now.Corrections,
			schemas.CorrectionsName, x.lines[at])
	}
	hold := func(s schemas.SelectionID, t schemas.CountType, was, is int64) {
		p.Seen.Compared++
		if is >= was {
			return
		}
		p.Seen.Fell++
		if now.Corrections <= old.Corrections {
			p.wrong("%s: %s in %s: %s %s fell from %d to %d without a correction", id, at.contest, at.unit, s, t, was, is)
		}
		if listed := x.fell[number{at, s, t}]; was-is > listed {
			p.wrong("%s: %s in %s: %s %s fell by %d, %s explains %d", id, at.contest, at.unit, s, t, was-is, schemas.CorrectionsName, listed)
		}
	}
	hold(schemas.Reporting, "", old.Reporting, now.Reporting)
	hold("units", "", old.Units, now.Units)
	for s, was := range p.counts(old) {
		is := p.counts(now)[s]
		if len(is) != len(was) {
			p.wrong("%s: %s in %s: %s has %d numbers, had %d", id, at.contest, at.unit, s, len(is), len(was))
			continue
		}
		for i := range was {
			hold(s, p.election.Definition.CountTypes[i], was[i], is[i])
		}
	}
}

// counts are all arrays of a line.
func (p *public) counts(l *schemas.Line) map[schemas.SelectionID][]int64 {
	out := map[schemas.SelectionID][]int64{}
	for s, n := range l.Votes {
		out[s] = n
	}
	if l.Undervotes != nil {
		out[schemas.Undervotes], out[schemas.Overvotes] = l.Undervotes, l.Overvotes
	}
	return out
}

// county is the county's line of the contest, as published.
func (p *public) county(id schemas.CountyID) *schemas.Line {
	return p.documents[schemas.CountyDocument(id)][place{contestID, string(id)}]
}

// total is the line of the whole election.
func (p *public) total() *schemas.Line {
	return p.documents[schemas.ContestDocument(contestID)][place{contestID, string(p.election.Definition.Election)}]
}

// open are the holds that two supervisors may release, in the order of units.
func (p *public) open() []schemas.HeldEntry {
	var out []schemas.HeldEntry
	for _, h := range p.holds {
		if h.State == schemas.HoldOpen && h.Code.Releasable() {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b schemas.HeldEntry) int { return strings.Compare(string(a.Unit), string(b.Unit)) })
	return out
}
