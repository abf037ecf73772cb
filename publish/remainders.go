package publish

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"tallystream/publish/bucket"
	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// remainderFile is the file of one county's remainders at a cut. It is immutable
// once made. Documents rest on it, so every snapshot names it as of its own cut.
type remainderFile struct {
	county  schemas.CountyIndex
	entry   schemas.ManifestEntry
	body    []byte
	takings int // in it
}

// cutFiles makes the files of those counties of which more remainders were added
// up than the files before say. before is not changed.
func (v *veil) cutFiles(before []*remainderFile, log schemas.LogSize) []*remainderFile {
	if v == nil {
		return nil
	}
	out := slices.Clone(before)
	for first := 0; first < len(v.election.Remainders); {
		c := v.election.Remainders[first].County
		takings := v.takings(c)
		i, found := slices.BinarySearchFunc(out, c, func(f *remainderFile, c schemas.CountyIndex) int { return cmp.Compare(f.county, c) })
		switch {
		case len(takings) == 0 || found && out[i].takings == len(takings):
		case found:
			out[i] = v.file(c, takings, log)
		default:
			out = slices.Insert(out, i, v.file(c, takings, log))
		}
		_, of := v.election.RemaindersOf(c)
		first += len(of)
	}
	return out
}

// takings are those of a county in the order in which they were made.
func (v *veil) takings(c schemas.CountyIndex) (out []*suppress.Taking) {
	first, of := v.election.RemaindersOf(c)
	for i := range of {
		out = append(out, v.book.Taken(first+i)...)
	}
	slices.SortFunc(out, func(a, b *suppress.Taking) int { return cmp.Compare(a.Seq, b.Seq) })
	return out
}

func (v *veil) file(c schemas.CountyIndex, takings []*suppress.Taking, log schemas.LogSize) *remainderFile {
	f := &remainderFile{county: c, takings: len(takings)}
	for _, t := range takings {
		f.body = suppress.Append(f.body, v.election, t)
	}
	hash := schemas.DigestOf(f.body)
	f.entry = schemas.ManifestEntry{
		Name: suppress.Folder + string(v.election.Counties[c].ID), Version: log,
		Key: schemas.ContentKey("remainders", hash, ".ndjson"), Hash: hash, Bytes: int64(len(f.body)),
	}
	return f
}

// newest are the newest takings, by remainder; nil where there is none.
func (v *veil) newest() []*suppress.Taking {
	if v == nil {
		return nil
	}
	out := make([]*suppress.Taking, len(v.election.Remainders))
	for i := range out {
		out[i] = v.book.Last(i)
	}
	return out
}

// remainder is the row of a remainder, nil where it has not been added up.
func (p *exportPlan) remainder(i int) []int64 {
	if p.newest == nil || p.newest[i] == nil {
		return nil
	}
	return p.newest[i].Row
}

// shownUnits are the rows that files by unit list: none of those that are hidden.
func (f *fold) shownUnits() []countedUnit {
	units := slices.Clone(f.units)
	for i := range f.election.Remainders {
		for _, u := range f.election.Remainders[i].Units {
			units[u] = countedUnit{}
		}
	}
	return units
}

// takings are the newest of a county's remainders.
func (r *unitReader) takings(county schemas.CountyIndex) (out []*suppress.Taking) {
	if r.newest == nil {
		return nil
	}
	first, of := r.election.RemaindersOf(county)
	for _, t := range r.newest[first:][:len(of)] {
		if t != nil {
			out = append(out, t)
		}
	}
	return out
}

// appendRemainders appends a county's remainders as rows of a table, each under its
// identifier in the place of a unit's.
func (r *unitReader) appendRemainders(dst []byte, county schemas.CountyIndex, names [][][]byte) (_ []byte, rows int) {
	place := &r.election.Counties[county]
	for _, t := range r.takings(county) {
		of := &r.election.Remainders[t.Remainder]
		for i, s := range suppress.Sections(r.election, of) {
			cells := t.Row[s.Offset:][:s.Size(r.election.Types())]
			for k, name := range names[i][:len(cells)-1] {
				dst = append(append(append(append(dst, place.ID...), ','), of.ID...), ',')
				dst = append(strconv.AppendInt(append(dst, name...), cells[1+k], 10), '\n')
				rows++
			}
		}
	}
	return dst, rows
}

// writeRemainders stores the files that are not known to be stored.
func (s *Sequencer) writeRemainders(ctx, running context.Context, p *plan) error {
	var objects []bucket.Object
	for _, f := range p.remainders {
		if s.shelf.remainders[f.entry.Name] != f.entry.Hash {
			objects = append(objects, immutable(f.entry.Key, f.body, typeNDJSON))
		}
	}
	if len(objects) == 0 {
		return nil
	}
	if err := s.insist(ctx, running, "remainders", func() error { return s.cfg.Bucket.PutNew(ctx, objects...) }); err != nil {
		return err
	}
	for _, f := range p.remainders {
		s.shelf.remainders[f.entry.Name] = f.entry.Hash
	}
	return nil
}
