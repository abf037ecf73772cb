package cdf

import (
	"bytes"
	"fmt"

	"tallystream/schemas"
)

// RowOf reads a county's published document back into its row of tallies, so
// that the report of any snapshot can be made, and checked byte for byte, from
// what is published of it.
func RowOf(e *schemas.Election, c schemas.CountyIndex, document []byte) ([]int64, error) {
	county := &e.Counties[c]
	row := make([]int64, county.Cells)
	seen := make([]bool, len(county.Sections))
	number := 0
	for text := range bytes.Lines(document) {
		number++
		line, err := schemas.ParseLine(text)
		if err != nil {
			return nil, fmt.Errorf("county %s, line %d: %w", county.ID, number, err)
		}
		at, err := sectionOf(e, county, line)
		if err == nil && seen[at] {
			err = fmt.Errorf("contest %s stands twice", line.Contest)
		}
		if err == nil {
			seen[at] = true
			err = fillSection(e, &county.Sections[at], row, line)
		}
		if err != nil {
			return nil, fmt.Errorf("county %s, line %d: %w", county.ID, number, err)
		}
	}
	for i := range seen {
		if !seen[i] {
			return nil, fmt.Errorf("county %s: contest %s is missing", county.ID, e.ContestID(county.Sections[i].Contest))
		}
	}
	return row, nil
}

func sectionOf(e *schemas.Election, county *schemas.CountyPlace, line *schemas.Line) (int, error) {
	if line.Unit != string(county.ID) {
		return 0, fmt.Errorf("is of %s, want %s", line.Unit, county.ID)
	}
	contest, ok := e.Contest(line.Contest)
	at, found := county.Find(contest)
	if !ok || !found {
		return 0, fmt.Errorf("contest %s is not voted on there", line.Contest)
	}
	if want := int64(county.Sections[at].Units); line.Units != want || line.Reporting > want {
		return 0, fmt.Errorf("contest %s: %d of %d units, want at most %d of %d", line.Contest, line.Reporting, line.Units, want, want)
	}
	return at, nil
}

// fillSection copies a line's counts to their cells.
func fillSection(e *schemas.Election, s *schemas.Section, row []int64, line *schemas.Line) error {
	if len(line.Votes) != int(s.Selections) {
		return fmt.Errorf("contest %s: %d selections, want %d", line.Contest, len(line.Votes), s.Selections)
	}
	if (line.Undervotes != nil) != s.Residuals {
		return fmt.Errorf("contest %s: undervotes are there or missing against the definition", line.Contest)
	}
	cells := row[s.Offset:]
	cells[0] = line.Reporting
	cells = cells[1:]
	put := func(what string, counts []int64) error {
		if len(counts) != e.Types() {
			return fmt.Errorf("contest %s, %s: %d counts, want %d", line.Contest, what, len(counts), e.Types())
		}
		copy(cells, counts)
		cells = cells[len(counts):]
		return nil
	}
	for k := range int(s.Selections) {
		id := schemas.Ballots
		if s.Contest != schemas.BallotsIndex {
			id = e.Definition.Contests[s.Contest].Selections[k].ID
		}
		if err := put(string(id), line.Votes[id]); err != nil {
			return err
		}
	}
	if !s.Residuals {
		return nil
	}
	if err := put("undervotes", line.Undervotes); err != nil {
		return err
	}
	return put("overvotes", line.Overvotes)
}
