package ingest

import (
	"errors"
	"strconv"

	"tallystream/schemas"
)

// desk is the room to check one submission in. It is reused; what it holds of
// the last record keeps that alive until then, at most one record a desk.
type desk struct {
	envelope   schemas.Envelope
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
	if string(v.Origin) != s.cfg.Election.Definition.Origin {
		return &refusal{code: schemas.ProblemElection, field: "/envelope/origin", detail: "want " + s.cfg.Election.Definition.Origin}
	}
	unit, ok := s.cfg.Election.Unit(schemas.UnitID(v.Unit))
	if !ok {
		return &refusal{code: schemas.ProblemUnknownUnit, field: "/envelope/unit", detail: "is no unit of this election"}
	}
	d.unit = unit
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
func (s *Server) hasBudget(d *desk) *refusal {
	for i := range d.envelope.Signatures() {
		if key := s.cfg.Keyring.Lookup(d.envelope.Signatures()[i].Name); key != nil && s.budgets.spent(key) {
			return s.overBudget(i)
		}
	}
	return nil
}

// authorized checks the signatures and spends from the first key's budget.
func (s *Server) authorized(d *desk) *refusal {
	if err := s.cfg.Keyring.Authorize(s.cfg.Election, &d.envelope, d.unit, d.submission.Correction != nil); err != nil {
		return refusalOf(err)
	}
	for i := range d.envelope.Signatures() {
		// Lines by unknown keys are ignored, as everywhere in signed notes.
		sig := &d.envelope.Signatures()[i]
		if key := s.cfg.Keyring.Lookup(sig.Name); key != nil && key.Hash == sig.Hash {
			if !s.budgets.spend(key) {
				return s.overBudget(i)
			}
			return nil
		}
	}
	return nil
}

func (s *Server) overBudget(signature int) *refusal {
	return &refusal{
		code: schemas.ProblemRateLimited, field: "/envelope/signatures/" + strconv.Itoa(signature),
		detail: "This key sends too many submissions.", after: s.budgets.retryAfter(),
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
