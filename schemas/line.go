package schemas

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// A document is NDJSON: lines sorted by their bytes, one for each (contest,
// unit), where the unit is a county, a state or the whole election. A line
// begins with the two, so the bytes up to the end of the unit are its key:
//
//	{"contest":"president","unit":"leon","reporting":12,"units":156,
//	 "votes":{"smith":[4,0,9],"jones":[1,0,2]},"undervotes":[0,0,0],"overvotes":[0,0,0]}
//
// (in one line). Arrays follow the count types of the definition. The same
// (contest, county) line stands in the contest's document and in the county's.
//
// Where a number of the line was lowered, "corrections":N stands behind units: N
// movements (see Movement) lowered one. So between two versions of a line a
// number falls only if corrections grew.

// Line is a document line, read. Programs that watch use it; the publisher
// writes lines with AppendLine.
type Line struct {
	Contest   ContestID `json:"contest"`
	Unit      string    `json:"unit"`
	Reporting int64     `json:"reporting"`
	Units     int64     `json:"units"`
	// Corrections counts the movements that lowered a number of the line.
	Corrections int64                   `json:"corrections,omitempty"`
	Votes       map[SelectionID][]int64 `json:"votes"`
	Undervotes  []int64                 `json:"undervotes,omitempty"`
	Overvotes   []int64                 `json:"overvotes,omitempty"`
}

// ParseLine reads one document line.
func ParseLine(b []byte) (*Line, error) {
	l := new(Line)
	if err := readJSON(b, l); err != nil {
		return nil, fmt.Errorf("reading document line: %w", err)
	}
	if err := l.validate(); err != nil {
		return nil, fmt.Errorf("reading document line: %w", err)
	}
	return l, nil
}

// validate returns the first broken rule.
func (l *Line) validate() error {
	if _, err := ParseContestID(string(l.Contest)); err != nil {
		return err
	}
	if !ValidIdentifier(l.Unit) {
		return fmt.Errorf("unit %s is no identifier", strconv.QuoteToASCII(clip(l.Unit)))
	}
	if l.Reporting < 0 || l.Units < 0 || l.Corrections < 0 {
		return fmt.Errorf("reporting, units and corrections: want 0 or more")
	}
	if (l.Undervotes == nil) != (l.Overvotes == nil) {
		return fmt.Errorf("want undervotes and overvotes, or neither")
	}
	for s, counts := range l.Votes {
		if _, err := ParseSelectionID(string(s)); err != nil {
			return err
		}
		if err := validTallies(counts); err != nil {
			return fmt.Errorf("votes of %s: %w", s, err)
		}
	}
	if l.Undervotes == nil {
		return nil
	}
	if err := errors.Join(validTallies(l.Undervotes), validTallies(l.Overvotes)); err != nil {
		return fmt.Errorf("undervotes and overvotes: %w", err)
	}
	return nil
}

func validTallies(counts []int64) error {
	if len(counts) == 0 || len(counts) > MaxCountTypes || slices.Min(counts) < 0 {
		return fmt.Errorf("want 1 to %d numbers of 0 or more", MaxCountTypes)
	}
	return nil
}

const (
	lineStart = `{"contest":"`
	lineUnit  = `","unit":"`
)

// LineKey is the part of a line that names its contest and unit, aliasing
// line. It fails on bytes that are no document line.
func LineKey(line []byte) ([]byte, error) {
	if rest, ok := bytes.CutPrefix(line, []byte(lineStart)); ok {
		if i := bytes.IndexByte(rest, '"'); i >= 0 {
			if unit, ok := bytes.CutPrefix(rest[i:], []byte(lineUnit)); ok {
				if j := bytes.IndexByte(unit, '"'); j >= 0 {
					return line[:len(line)-len(unit)+j+1], nil
				}
			}
		}
	}
	return nil, fmt.Errorf("document line: want one that starts with contest and unit")
}

// AppendLine appends the line of one section of a row of tallies, with its
// newline. The row's cells at s.Offset are those of s; units is the number of
// units that vote on the contest within the named place, corrections that of
// the movements which lowered a number of the line.
func (e *Election) AppendLine(dst []byte, s *Section, place CountyID, units, corrections int64, row []int64) []byte {
	types := e.Types()
	cells := row[s.Offset:]
	dst = append(dst, lineStart...)
	dst = append(dst, e.ContestID(s.Contest)...)
	dst = append(dst, lineUnit...)
	dst = append(dst, place...)
	dst = append(dst, `","reporting":`...)
	dst = strconv.AppendInt(dst, cells[0], 10)
	dst = append(dst, `,"units":`...)
	dst = strconv.AppendInt(dst, units, 10)
	if corrections > 0 {
		dst = append(dst, `,"corrections":`...)
		dst = strconv.AppendInt(dst, corrections, 10)
	}
	dst = append(dst, `,"votes":{`...)
	cells = cells[1:]
	for i := range int(s.Selections) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, e.selectionID(s.Contest, i)...)
		dst = append(dst, `":`...)
		dst = appendCells(dst, cells[:types])
		cells = cells[types:]
	}
	dst = append(dst, '}')
	if s.Residuals {
		dst = append(dst, `,"undervotes":`...)
		dst = appendCells(dst, cells[:types])
		dst = append(dst, `,"overvotes":`...)
		dst = appendCells(dst, cells[types:2*types])
	}
	return append(dst, "}\n"...)
}

func (e *Election) selectionID(c ContestIndex, i int) SelectionID {
	if c == BallotsIndex {
		return Ballots
	}
	return e.Definition.Contests[c].Selections[i].ID
}

func appendCells(dst []byte, cells []int64) []byte {
	dst = append(dst, '[')
	for i, n := range cells {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, n, 10)
	}
	return append(dst, ']')
}
