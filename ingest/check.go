package ingest

import (
	"errors"
	"strconv"
	"time"

	"tallystream/schemas"
)

// desk is the room to check one submission in. It is reused; what it holds of
// the last record keeps that alive until then, at most one record a desk.
type desk struct {
	envelope   schemas.Envelope
	release    schemas.Release
	submission schemas.Submission
	statement  schemas.Statement
	unit       schemas.UnitIndex
	text       []byte // of the receipt
	note       []byte // the receipt
}

// envelopeFits does the checks that need nothing but the note: they cost a
// hash of the body and two map look-ups.
func (s *Server) envelopeFits(d *desk, record []byte) *refusal {
	v := &d.envelope
	if err := v.Parse(record); err != nil {
		return refusalOfError(err)
	}
	return s.addressFits(d, v.Origin, v.Unit, &envelopeForm)
}

// addressFits finds the unit that a note names.
func (s *Server) addressFits(d *desk, origin, unit []byte, f *form) *refusal {
	if string(origin) != s.cfg.Election.Definition.Origin {
		return &refusal{code: schemas.ProblemElection, field: f.field + "/origin", detail: "want " + s.cfg.Election.Definition.Origin}
	}
	var ok bool
	if d.unit, ok = s.cfg.Election.Unit(schemas.UnitID(unit)); !ok {
		return &refusal{code: schemas.ProblemUnknownUnit, field: f.field + "/unit", detail: "is no unit of this election"}
	}
	return nil
}

// bodyFits reads the body and checks that it says the same as the note. The
// body is read before signatures are checked: it tells whether this is a
// correction, which others sign, and costs a fourth of a verification.
func (s *Server) bodyFits(d *desk) *refusal {
	v, b := &d.envelope, &d.submission
	if err := b.Decode(v.Body); err != nil {
		return refusalOfError(err)
	}
	if string(b.Unit) != string(v.Unit) {
		return &refusal{code: schemas.ProblemMalformed, field: "/unit", detail: "is not the unit of the envelope"}
	}
	if b.Revision != v.Revision {
		return &refusal{code: schemas.ProblemMalformed, field: "/revision", detail: "is not the revision of the envelope, " + strconv.FormatUint(uint64(v.Revision), 10)}
	}
	return nil
}

// hasBudget reports whether the keys that claim to have signed have something
// left to spend. Nothing is spent yet.
func (s *Server) hasBudget(lines []schemas.Signature, f *form) *refusal {
	ring := s.cfg.Keys()
	if ring == nil {
		return unknownKeys()
	}
	for i := range lines {
		if key := ring.Lookup(lines[i].Name); key != nil && s.budgets.spent(key) {
			return s.overBudget(f, i)
		}
	}
	return nil
}

// authorized checks the signatures and spends from the first key's budget.
func (s *Server) authorized(d *desk) *refusal {
	ring := s.cfg.Keys()
	if ring == nil {
		return unknownKeys()
	}
	if err := ring.Authorize(s.cfg.Election, &d.envelope, d.unit, d.submission.Correction != nil); err != nil {
		return refusalOf(err)
	}
	return s.spend(ring, d.envelope.Signatures(), &envelopeForm)
}

// unknownKeys refuses while nobody says which keys are in force.
func unknownKeys() *refusal {
	return &refusal{code: schemas.ProblemUnavailable, detail: "Which keys may sign is not known for the moment; send the same again.", after: time.Second}
}

// spend charges the first key of the roster, of lines that are verified.
func (s *Server) spend(ring *schemas.Keyring, lines []schemas.Signature, f *form) *refusal {
	for i := range lines {
		// Lines by unknown keys are ignored, as everywhere in signed notes.
		if key := ring.Lookup(lines[i].Name); key != nil && key.Hash == lines[i].Hash {
			if !s.budgets.spend(key) {
				return s.overBudget(f, i)
			}
			return nil
		}
	}
	return nil
}

func (s *Server) overBudget(f *form, signature int) *refusal {
	return &refusal{
		code: schemas.ProblemRateLimited, field: f.field + "/signatures/" + strconv.Itoa(signature),
		detail: "This key sends too much.", after: s.budgets.retryAfter(),
	}
}

// resolves holds the statement against the election.
func (s *Server) resolves(d *desk) *refusal {
	if err := s.cfg.Election.Resolve(&d.submission, &d.statement); err != nil {
		return refusalOfError(err)
	}
	return nil
}

// refusalOfError is refusalOf for errors that are documented to be FieldErrors.
func refusalOfError(err error) *refusal {
	if field, ok := errors.AsType[*schemas.FieldError](err); ok {
		return refusalOf(field)
	}
	return &refusal{code: schemas.ProblemMalformed, detail: "could not be read", err: err}
}
