package script

import (
	"bytes"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
	"tallystream/simulator/elections"
)

// scratch is what making an event's bytes needs, reused.
type scratch struct {
	row     []schemas.Count
	body    []byte
	signers []note.Signer
}

// cells fills w.row with what the event states. It reports false if the unit
// gives no occasion for the event's kind.
func (s *Script) cells(w *scratch, e *Event) bool {
	w.row = s.truth.Cells(e.Unit, w.row)
	s.limit(int(e.stage), e.Unit, w.row)
	if e.Kind == Report || e.Kind == Correction || e.Kind == Late {
		return true
	}
	d := elections.DrawOf(s.seed, drawAlter, uint64(e.Unit), uint64(e.stage), uint64(e.Kind))
	return s.alter(e.Kind, e.Unit, &s.stages[e.stage], w.row, &d)
}

// Body appends the body that the event sends.
func (s *Script) Body(e Event, dst []byte) []byte {
	w := s.scratch.Get().(*scratch)
	defer s.scratch.Put(w)
	return s.appendBody(w, &e, dst)
}

func (s *Script) appendBody(w *scratch, e *Event, dst []byte) []byte {
	s.cells(w, e) // the plan holds only what is possible
	var c *schemas.Correction
	if e.Kind == Correction || e.Kind == OneSupervisor {
		c = &schemas.Correction{Reason: schemas.CorrectTranscription, Text: "Two candidates' votes were swapped when the results were copied."}
	}
	start := len(dst)
	dst = s.election.AppendBody(dst, e.Unit, e.Revision, w.row, s.stages[e.stage].stated, c)
	if e.Kind == Report {
		return dst
	}
	return append(dst[:start], s.spoil(e, dst[start:])...)
}

// Envelope appends the signed bytes that the event sends: an envelope, or a
// release.
func (s *Script) Envelope(e Event, dst []byte) ([]byte, error) {
	w := s.scratch.Get().(*scratch)
	defer s.scratch.Put(w)
	if held, ok := e.Kind.Releases(); ok {
		return s.release(w, &e, held, dst)
	}
	w.body = s.appendBody(w, &e, w.body[:0])
	origin, unit := s.election.Definition.Origin, s.election.Units[e.Unit].ID
	switch e.Kind {
	case WrongElection:
		origin += "-other"
	case UnknownUnit:
		unit += strayUnit
	}
	dst, err := schemas.AppendEnvelope(dst, origin, unit, e.Revision, w.body, s.signers(w, &e)...)
	if err != nil {
		return dst, fmt.Errorf("unit %s, revision %d, %s: %w", unit, e.Revision, e.Kind, err)
	}
	return dst, nil
}

// release appends the release of an event of another kind.
func (s *Script) release(w *scratch, e *Event, kind Kind, dst []byte) ([]byte, error) {
	held := *e
	held.Kind = kind
	w.body = s.appendBody(w, &held, w.body[:0])
	unit := &s.election.Units[e.Unit]
	w.signers = s.keys.Correct(w.signers[:0], unit.County)
	dst, err := schemas.AppendRelease(dst, s.election.Definition.Origin, unit.ID, e.Revision, schemas.DigestOf(w.body),
		schemas.ReleaseChecked, "Held against the paper record: it is what was counted.", w.signers...)
	if err != nil {
		return dst, fmt.Errorf("unit %s, revision %d, %s: %w", unit.ID, e.Revision, e.Kind, err)
	}
	return dst, nil
}

// signers are those who sign the event, rightly or not.
func (s *Script) signers(w *scratch, e *Event) []note.Signer {
	county := s.election.Units[e.Unit].County
	out := w.signers[:0]
	switch e.Kind {
	case Correction:
		out = s.keys.Correct(out, county)
	case OneSupervisor:
		out = s.keys.Correct(out, county)[:1]
	case WrongRole:
		out = s.keys.Correct(out, county)[:1]
	case Unsigned:
	case WrongKey:
		stray := elections.RehearsalSigner(^s.seed, s.keys.Official(county).Name())
		out = append(out, &stray)
	case BadSignature:
		out = s.keys.Sign(out, county)
		out[0] = elsewhere{out[0]}
	default:
		out = s.keys.Sign(out, county)
	}
	w.signers = out
	return out
}

// elsewhere signs another text than it should.
type elsewhere struct{ note.Signer }

func (s elsewhere) Sign(text []byte) ([]byte, error) {
	return s.Signer.Sign(append(bytes.Clone(text), "changed after signing\n"...))
}

// strayUnit ends the identifier of a unit that does not exist.
const strayUnit = ".nowhere"

// spoil makes a good body bad, for the kinds whose fault is in the bytes.
func (s *Script) spoil(e *Event, body []byte) []byte {
	firstCount := []byte(`"counts":[`)
	switch e.Kind {
	case UnknownUnit:
		return insertAfter(body, []byte(`"unit":"`+string(s.election.Units[e.Unit].ID)), strayUnit)
	case UnknownContest:
		return insertAfter(body, []byte(`{"contest":"`), "no-such-contest-")
	case OtherDefinition:
		return flipHex(body, []byte(`"definition":"`))
	case WrongElection:
		return insertAfter(body, []byte(`"election":"`), "other-")
	case Truncated:
		return body[:len(body)-1]
	case Negative:
		return insertAfter(body, firstCount, "-1")
	case Fraction:
		return insertAfter(body, firstCount, "0.")
	case Huge:
		return insertAfter(body, firstCount, "999999999")
	case DuplicateKey:
		return insertAfter(body, []byte(`{`), `"unit":"twice",`)
	case InvalidUTF8:
		return insertAfter(body, []byte(`"unit":"`), "\xff")
	}
	return body
}

// insertAfter inserts text behind the first mark.
func insertAfter(body, mark []byte, text string) []byte {
	i := bytes.Index(body, mark)
	if i < 0 {
		return body
	}
	i += len(mark)
	return append(append(bytes.Clone(body[:i]), text...), body[i:]...)
}

// flipHex changes the first hexadecimal digit behind the first mark.
func flipHex(body, mark []byte) []byte {
	i := bytes.Index(body, mark)
	if i < 0 {
		return body
	}
	body = bytes.Clone(body)
	if c := &body[i+len(mark)]; *c == '0' {
		*c = '1'
	} else {
		*c = '0'
	}
	return body
}
