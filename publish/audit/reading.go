package audit

import (
	"slices"

	"tallystream/schemas"
)

// reading is what one record says, without what came before it.
type reading struct {
	lost string // why there is no record at all; the rest is empty then

	addressed bool // the note names a unit of the partition
	unit      int
	revision  schemas.Revision
	digest    schemas.Digest
	poison    string // why it cannot be read
	cut       bool   // a ledger may keep the first part of what is too long; its digest is of all
	unsigned  string // why its signatures are not enough

	release      bool // it is a release: revision and digest are those of the hold that it names
	correction   bool
	reason, text string // of a correction or a release, for the public
	signers      []string
	foreign      bool     // its body names another edition of the definition
	row          []uint32 // in the form of the unit's style
}

// reader reads records for one goroutine.
type reader struct {
	forms      *forms
	election   *schemas.Election
	keyring    *schemas.Keyring
	envelope   schemas.Envelope
	note       schemas.Release
	submission schemas.Submission
	statement  schemas.Statement
}

// read takes a record apart. out keeps its row's room.
func (r *reader) read(p schemas.Partition, record []byte, out *reading) {
	*out = reading{row: out.row[:0], signers: out.signers[:0]}
	if schemas.IsRelease(record) {
		r.readRelease(p, record, out)
		return
	}
	if err := r.envelope.Parse(record); err != nil {
		out.digest, out.poison, out.cut = schemas.DigestOf(record), err.Error(), len(record) == schemas.MaxEnvelope
		return
	}
	v := &r.envelope
	out.digest, out.revision = v.Digest, v.Revision
	if !r.address(p, v.Origin, v.Unit, out) {
		return
	}
	unit := out.unit
	if out.poison = r.body(unit); out.poison != "" {
		return
	}
	if c := r.submission.Correction; c != nil {
		out.correction, out.reason, out.text = true, string(c.Reason), c.Text
	}
	out.sign(v.Signatures())
	out.foreign = string(r.submission.Definition) != r.election.Hash.String()
	if out.poison = r.lines(out.correction); out.poison != "" {
		return
	}
	if err := r.keyring.Authorize(r.election, v, schemas.UnitIndex(unit), out.correction); err != nil {
		out.unsigned = err.Error()
	}
	out.row = r.row(out.row, unit)
}

// readRelease takes a release apart.
func (r *reader) readRelease(p schemas.Partition, record []byte, out *reading) {
	out.digest = schemas.DigestOf(record)
	l := &r.note
	if err := l.Parse(record); err != nil {
		out.poison, out.cut = err.Error(), len(record) == schemas.MaxEnvelope
		return
	}
	if len(l.Signatures()) < 2 {
		out.poison = "fewer signature lines than a release needs"
		return
	}
	if !r.address(p, l.Origin, l.Unit, out) {
		return
	}
	out.release, out.revision, out.digest = true, l.Revision, l.Digest
	out.reason, out.text = string(l.Reason), string(l.Public)
	out.sign(l.Signatures())
	if err := r.keyring.AuthorizeRelease(r.election, l, schemas.UnitIndex(out.unit)); err != nil {
		out.unsigned = err.Error()
	}
}

// address finds the unit that a note names: of this election and partition.
func (r *reader) address(p schemas.Partition, origin, name []byte, out *reading) bool {
	if string(origin) != r.forms.Origin {
		out.poison = "the note is of another election"
		return false
	}
	unit, ok := r.forms.unitIndex[string(name)]
	if !ok || r.forms.counties[r.forms.units[unit].county].partition != p {
		out.poison = "the note names no unit of this partition"
		return false
	}
	out.addressed, out.unit = true, unit
	return true
}

// sign names the keys of signature lines, each once.
func (r *reading) sign(lines []schemas.Signature) {
	for i := range lines {
		if name := string(lines[i].Name); !slices.Contains(r.signers, name) {
			r.signers = append(r.signers, name)
		}
	}
}

// body decodes the body and holds it against the election; "" if it fits.
func (r *reader) body(unit int) string {
	if err := r.submission.Decode(r.envelope.Body); err != nil {
		return err.Error()
	}
	if err := r.election.Resolve(&r.submission, &r.statement); err != nil {
		return err.Error()
	}
	if string(r.submission.Unit) != string(r.forms.units[unit].id) || r.submission.Revision != r.envelope.Revision {
		return "the body names another unit or revision than the note"
	}
	return ""
}

// lines counts the signature lines: a record with too few is poison by the
// fold's rule, whoever signed it.
func (r *reader) lines(correction bool) string {
	need := r.forms.Signatures
	if correction {
		need = 2
	}
	if len(r.envelope.Signatures()) < need {
		return "fewer signature lines than such a submission needs"
	}
	return ""
}

// row writes the counts as the submission names them. That each has its place
// was checked by Resolve.
func (r *reader) row(room []uint32, unit int) []uint32 {
	f, style, s := r.forms, r.forms.units[unit].style, &r.submission
	row := slices.Grow(room, style.cells)[:style.cells]
	clear(row)
	put := func(at int, counts []schemas.Count) {
		for i, n := range counts {
			row[at+f.types[string(s.CountTypes[i])]] = uint32(n)
		}
	}
	row[0] = 1
	if f.Rules.Ballots {
		put(1, s.Ballots)
	}
	for i := range s.Contests {
		c := &s.Contests[i]
		to := &style.sections[style.index[f.contests[string(c.Contest)]]]
		row[to.at] = 1
		for k := range c.Selections {
			which, _ := f.row(to, string(c.Selections[k].Selection))
			put(to.at+1+which*f.counts, c.Selections[k].Counts)
		}
		if to.residuals {
			put(to.at+1+to.selections*f.counts, c.Undervotes)
			put(to.at+1+(to.selections+1)*f.counts, c.Overvotes)
		}
	}
	return row
}
