package aggregate

import (
	"errors"
	"fmt"

	"tallystream/schemas"
)

// reading is one record, read in two steps: the note, which says whose it is
// and whether it was seen before, then the body. It is reused from record to
// record and aliases the record's bytes.
type reading struct {
	record     []byte
	envelope   schemas.Envelope
	err        error // why the envelope is unreadable
	submission schemas.Submission
	statement  schemas.Statement
}

func (r *reading) open(record []byte) {
	r.record, r.err = record, r.envelope.Parse(record)
}

var (
	errOrigin    = errors.New("the note is of another election")
	errUnit      = errors.New("the note names no unit of this election")
	errPartition = errors.New("the unit belongs to another partition")
	errBody      = errors.New("the body names another unit or revision than the note")
	errSignature = errors.New("fewer signature lines than such a submission needs")
)

// digest is the body's, or that of all there is where no body can be made out.
func (r *reading) digest() schemas.Digest {
	if r.err != nil {
		return schemas.DigestOf(r.record)
	}
	return r.envelope.Digest
}

// addressee returns the unit that the note at hand names. Where it returns an
// error, the entry names no unit: every entry that does stands in that unit's
// own partition, and counts as seen.
func (p *partition) addressee() (schemas.UnitIndex, error) {
	r, e := &p.shared.reading, p.shared.election
	if r.err != nil {
		return 0, r.err
	}
	if string(r.envelope.Origin) != e.Definition.Origin {
		return 0, errOrigin
	}
	unit, ok := e.Unit(schemas.UnitID(r.envelope.Unit))
	if !ok {
		return 0, errUnit
	}
	if e.PartitionOf(unit) != p.next.Partition {
		return 0, errPartition
	}
	return unit, nil
}

// read reads the body into the statement. The note must be that of unit.
//
// Signatures are counted, not verified: ingest did that, it alone writes the
// stream, and whoever could write there could forge the ledger as well. See
// README.md.
func (r *reading) read(e *schemas.Election, unit schemas.UnitIndex) error {
	if r.err != nil {
		return r.err
	}
	if err := r.submission.Decode(r.envelope.Body); err != nil {
		return fmt.Errorf("decoding body: %w", err)
	}
	if err := e.Resolve(&r.submission, &r.statement); err != nil {
		return fmt.Errorf("resolving body: %w", err)
	}
	if r.statement.Unit != unit || r.statement.Revision != r.envelope.Revision {
		return errBody
	}
	need := e.Definition.Signatures
	if r.statement.Correction {
		need = 2
	}
	if len(r.envelope.Signatures()) < need {
		return errSignature
	}
	return nil
}
