package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// CorrectionsName and HoldsName are the names of two files in every manifest,
// NDJSON sorted by (partition, seq): why numbers fell, and what is held. A
// snapshot's are as of its log.
const (
	CorrectionsName = "corrections.ndjson"
	HoldsName       = "holds.ndjson"
)

// Movement is an entry of a ledger that lowered a number which was counted
// before: a line of CorrectionsName. No published number falls without one.
type Movement struct {
	Unit      UnitID       `json:"unit"`
	County    CountyID     `json:"county"`
	Revision  Revision     `json:"revision"`
	Replaces  Revision     `json:"replaces"` // that counted until then
	Kind      MovementKind `json:"kind"`
	Reason    string       `json:"reason,omitempty"` // CorrectionReason or ReleaseReason; an adjudication has none
	Text      string       `json:"text,omitempty"`   // of a correction or a release, for the public
	Signers   []string     `json:"signers"`          // names of the note's signature lines, in its order, each once
	Partition Partition    `json:"partition"`
	Seq       uint64       `json:"seq"`
	Changes   []Fall       `json:"changes"` // the cells that fell, in the row's order
}

// MovementKind says what lowered a number.
type MovementKind string

// The kinds of movements.
const (
	MovementCorrection   MovementKind = "correction"   // a submission that two supervisors signed as one
	MovementRelease      MovementKind = "release"      // two supervisors let a held submission count
	MovementAdjudication MovementKind = "adjudication" // a later revision has fewer undervotes or overvotes, and nothing else is less
	// A remainder of hidden units was added up to less than before. Unit is the
	// remainder, Revision and Replaces count how often it was added up; whose
	// statements did it is not told, nor who signed them.
	MovementRemainder MovementKind = "remainder"
)

// Fall is one number of a unit that fell. Undervotes and Overvotes are named so
// in Selection; where a contest is not stated any more, Selection is Reporting
// and there is no count type.
type Fall struct {
	Contest   ContestID   `json:"contest"`
	Selection SelectionID `json:"selection"`
	CountType CountType   `json:"countType,omitempty"`
	Before    Count       `json:"before"`
	After     Count       `json:"after"`
}

// Reporting stands in Fall.Selection for whether a unit states the contest. (A
// selection of that name has a count type beside it.)
const Reporting SelectionID = "reporting"

// AppendLine appends the movement's line, with its newline. Its spelling is
// fixed: members in the order of the type, no white space, and of characters
// that JSON lets stand only those escaped that encoding/json escapes outside
// HTML.
func (m *Movement) AppendLine(dst []byte) []byte { return appendJSONLine(dst, m) }

// appendJSONLine appends a value of this package's own types.
func appendJSONLine(dst []byte, v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // strings and numbers always encode
		panic("schemas: " + err.Error())
	}
	return append(dst, b.Bytes()...)
}

// ParseMovement reads one line of CorrectionsName.
func ParseMovement(line []byte) (*Movement, error) {
	m := new(Movement)
	err := readJSON(line, m)
	if err == nil {
		err = m.validate()
	}
	if err != nil {
		return nil, fmt.Errorf("reading a movement: %w", err)
	}
	return m, nil
}

func (m *Movement) validate() error {
	if !ValidIdentifier(string(m.Unit)) || !ValidIdentifier(string(m.County)) {
		return fmt.Errorf("want identifiers for unit and county")
	}
	if m.Revision < 1 || m.Revision > MaxRevision || m.Replaces < 1 || m.Replaces > m.Revision || m.Seq < 1 {
		return fmt.Errorf("want a revision, one that it replaces, and an entry")
	}
	if (len(m.Signers) < 1) != (m.Kind == MovementRemainder) || len(m.Signers) > MaxSignatures || slices.Contains(m.Signers, "") || len(m.Changes) < 1 {
		return fmt.Errorf("want signers and changes")
	}
	known := false
	switch m.Kind {
	case MovementCorrection:
		known = CorrectionReason(m.Reason).valid() && m.Text != ""
	case MovementRelease:
		known = ReleaseReason(m.Reason).valid() && m.Text != ""
	case MovementAdjudication, MovementRemainder:
		known = m.Reason == "" && m.Text == ""
	}
	if !known {
		return fmt.Errorf("kind and reason: want a correction or a release with its reason and text, or an adjudication without")
	}
	for i := range m.Changes {
		if err := m.Changes[i].validate(); err != nil {
			return fmt.Errorf("changes/%d: %w", i, err)
		}
	}
	return nil
}

func (f *Fall) validate() error {
	if !ValidIdentifier(string(f.Contest)) || !ValidIdentifier(string(f.Selection)) {
		return fmt.Errorf("want identifiers for contest and selection")
	}
	if f.CountType == "" && f.Selection != Reporting {
		return fmt.Errorf("want a count type")
	}
	if _, err := ParseCountType(string(f.CountType)); err != nil && f.CountType != "" {
		return err
	}
	if f.Before > MaxCount || f.After >= f.Before {
		return fmt.Errorf("want a count and a lower one")
	}
	return nil
}

// Falls reports whether any cell of a unit's row is lower than it was.
func Falls(before, after []Count) bool {
	for i, n := range before {
		if after[i] < n {
			return true
		}
	}
	return false
}

// FallenSums is Fallen for two sums of units in the layout of their county.
func (e *Election) FallenSums(county CountyIndex, before, after []int64) []Fall {
	return fallen(e, &e.Counties[county].Layout, before, after)
}

// Fallen lists the cells of a unit's row that are lower than they were.
func (e *Election) Fallen(unit UnitIndex, before, after []Count) []Fall {
	return fallen(e, e.Units[unit].Style, before, after)
}

func fallen[T Count | int64](e *Election, layout *Layout, before, after []T) []Fall {
	var out []Fall
	types := e.Types()
	for i := range layout.Sections {
		s := &layout.Sections[i]
		at := int(s.Offset)
		for k := range s.Size(types) {
			if after[at+k] >= before[at+k] {
				continue
			}
			fall := Fall{Contest: e.ContestID(s.Contest), Selection: Reporting, Before: Count(before[at+k]), After: Count(after[at+k])}
			if k > 0 {
				fall.Selection, fall.CountType = e.cellSelection(s, (k-1)/types), e.Definition.CountTypes[(k-1)%types]
			}
			out = append(out, fall)
		}
	}
	return out
}

// cellSelection names row k of a section's counts.
func (e *Election) cellSelection(s *Section, k int) SelectionID {
	switch k - int(s.Selections) {
	case 0:
		return Undervotes
	case 1:
		return Overvotes
	}
	return e.selectionID(s.Contest, k)
}
