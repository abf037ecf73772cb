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

// reopen opens the record of a submission's entry again.
func (r *reading) reopen(x *schemas.Entry, record []byte) error {
	r.open(record)
	if r.err != nil {
		return fmt.Errorf("opening record %d again: %w", x.At, r.err)
	}
	if r.envelope.Digest != x.Digest {
		return fmt.Errorf("record %d is not the one that was folded", x.At)
	}
	return nil
}

var (
	errOrigin    = errors.New("the note is of another election")
	errUnit      = errors.New("the note names no unit of this election")
	errPartition = errors.New("the unit belongs to another partition")
	errBody      = errors.New("the body names another unit or revision than the note")
	errSignature = errors.New("fewer signature lines than it needs")
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
	r := &p.shared.reading
	if r.err != nil {
		return 0, r.err
	}
	return p.unitOf(r.envelope.Origin, r.envelope.Unit)
}

// unitOf is the unit of this partition that a note names.
func (p *partition) unitOf(origin, id []byte) (schemas.UnitIndex, error) {
	e := p.shared.election
	if string(origin) != e.Definition.Origin {
		return 0, errOrigin
	}
	unit, ok := e.Unit(schemas.UnitID(id))
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
