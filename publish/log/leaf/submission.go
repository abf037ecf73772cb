package leaf

import (
	"errors"
	"fmt"
	"math"

	"tallystream/schemas"
)

// MaxPayload is the longest record that a leaf carries: the lines before it
// have room in what an entry may have.
const MaxPayload = 64_000

// Submission is an accepted submission and what became of it.
type Submission struct {
	// Outcome is counted or superseded; what is held has a Hold.
	Outcome   schemas.EntryKind
	Partition schemas.Partition
	Seq       uint64 // in the partition's ledger, from 1
	Unit      schemas.UnitID
	Revision  schemas.Revision
	Record    []byte // the envelope's exact bytes: signed note, empty line, body

	// Envelope is Record, parsed by Decode: its digest and lengths are right.
	// Signatures are for the verifier to check.
	Envelope schemas.Envelope
}

// Kind is KindSubmission.
func (*Submission) Kind() Kind { return KindSubmission }

func (s *Submission) fields(w *writer) {
	w.text("outcome", string(s.Outcome))
	w.place(s.Partition, s.Seq, s.Unit, s.Revision)
	w.number("bytes", uint64(len(s.Record)))
	w.payload(s.Record)
}

func (s *Submission) read(r *reader) error {
	s.Outcome = parsed(r, "outcome", parseOutcome)
	s.Partition, s.Seq, s.Unit, s.Revision = r.place()
	s.Record = r.payload(r.number("bytes", 1, schemas.MaxEnvelope))
	if r.err != nil {
		return r.err
	}
	return readEnvelope(&s.Envelope, s.Record, s.Unit, s.Revision)
}

func parseOutcome(s string) (schemas.EntryKind, error) {
	switch k := schemas.EntryKind(s); k {
	case schemas.EntryCounted, schemas.EntrySuperseded:
		return k, nil
	}
	return "", errors.New("want counted or superseded")
}

// readEnvelope parses a record and checks that it is the one that is named.
func readEnvelope(v *schemas.Envelope, record []byte, unit schemas.UnitID, revision schemas.Revision) error {
	if err := v.Parse(record); err != nil {
		return fmt.Errorf("its record: %w", err)
	}
	if string(v.Unit) != string(unit) || v.Revision != revision {
		return errors.New("its record is of another unit or revision")
	}
	return nil
}

// place writes where an entry stands and of what it is.
func (w *writer) place(p schemas.Partition, seq uint64, unit schemas.UnitID, revision schemas.Revision) {
	w.number("partition", uint64(p))
	w.number("seq", seq)
	w.text("unit", string(unit))
	w.text("revision", revision.String())
}

func (r *reader) place() (p schemas.Partition, seq uint64, unit schemas.UnitID, revision schemas.Revision) {
	p = schemas.Partition(r.number("partition", 0, math.MaxUint16))
	seq = r.number("seq", 1, math.MaxUint64)
	unit = parsed(r, "unit", schemas.ParseUnitID)
	revision = parsed(r, "revision", schemas.ParseRevision)
	return p, seq, unit, revision
}

// Hold is an accepted submission that changes no number until it is released,
// or a release of nothing.
type Hold struct {
	Code      schemas.HoldCode
	Partition schemas.Partition
	Seq       uint64
	// Unit and Revision are empty and 0 for poison that names none.
	Unit     schemas.UnitID
	Revision schemas.Revision
	// Digest is that of the body; where a release is held, which released
	// nothing, that of the body it names; and of the whole record where that is
	// neither, or names no unit. Decode checks it where the record is there.
	Digest schemas.Digest
	// Bytes is the length of the record. Record is the record itself, or nil
	// where it is longer than MaxPayload (poison only).
	Bytes  uint64
	Record []byte
}

// noUnit stands where a hold names no unit; it is no identifier.
const noUnit = "-"

// Kind is KindHold.
func (*Hold) Kind() Kind { return KindHold }

func (h *Hold) fields(w *writer) {
	unit := h.Unit
	if unit == "" {
		unit = noUnit
	}
	w.text("code", string(h.Code))
	w.place(h.Partition, h.Seq, unit, h.Revision)
	w.text("sha256", h.Digest.String())
	w.number("bytes", h.Bytes)
	w.payload(h.Record)
}

func (h *Hold) read(r *reader) error {
	h.Code = parsed(r, "code", parseHoldCode)
	h.Partition = schemas.Partition(r.number("partition", 0, math.MaxUint16))
	h.Seq = r.number("seq", 1, math.MaxUint64)
	unit := r.text("unit")
	h.Revision = schemas.Revision(r.number("revision", 0, uint64(schemas.MaxRevision)))
	h.Digest = parsed(r, "sha256", schemas.ParseDigest)
	h.Bytes = r.number("bytes", 0, math.MaxUint32)
	if r.err != nil {
		return r.err
	}
	if err := h.readUnit(unit); err != nil {
		return err
	}
	if h.Bytes > MaxPayload {
		if h.Code != schemas.HoldPoison {
			return fmt.Errorf("%d bytes, want at most %d of what is no poison", h.Bytes, MaxPayload)
		}
		r.payload(0)
		return r.err
	}
	if h.Record = r.payload(h.Bytes); r.err != nil {
		return r.err
	}
	return h.check()
}

func (h *Hold) readUnit(unit string) error {
	if unit == noUnit {
		if h.Code != schemas.HoldPoison || h.Revision != 0 {
			return errors.New("only poison may name no unit, and then no revision")
		}
		return nil
	}
	var err error
	if h.Unit, err = schemas.ParseUnitID(unit); err != nil {
		return err
	}
	if h.Revision == 0 {
		return errors.New("a unit's submission has a revision from 1")
	}
	return nil
}

// check holds the record against what the lines say of it.
func (h *Hold) check() error {
	if h.Unit != "" && schemas.IsRelease(h.Record) {
		return h.checkRelease()
	}
	var v schemas.Envelope
	if h.Unit != "" {
		if err := readEnvelope(&v, h.Record, h.Unit, h.Revision); err != nil {
			return err
		}
		if v.Digest != h.Digest {
			return errors.New("its record has another digest")
		}
		return nil
	}
	digest := schemas.DigestOf(h.Record)
	if v.Parse(h.Record) == nil {
		digest = v.Digest
	}
	if digest != h.Digest {
		return errors.New("its record has another digest")
	}
	return nil
}

// checkRelease is check for a release that released nothing.
func (h *Hold) checkRelease() error {
	var l schemas.Release
	if err := readRelease(&l, h.Record, h.Unit, h.Revision); err != nil {
		return err
	}
	if l.Digest != h.Digest {
		return errors.New("its record names another digest")
	}
	return nil
}

// parseHoldCode takes any identifier: which codes there are is the business of
// schemas.HoldCode, and grows without a new version of the leaf.
func parseHoldCode(s string) (schemas.HoldCode, error) {
	if !schemas.ValidIdentifier(s) {
		return "", errors.New("want an identifier")
	}
	return schemas.HoldCode(s), nil
}
