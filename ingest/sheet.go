package ingest

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"tallystream/schemas"
)

// sheet is a unit's results as read from CSV.
type sheet struct {
	unit  schemas.UnitIndex
	cells []schemas.Count
	types []bool // count types that the file states
}

// sheetReader fills a sheet line by line.
type sheetReader struct {
	e      *schemas.Election
	unit   schemas.UnitID // wanted; empty: the only one of the file
	column map[string]int
	sheet  *sheet
	filled []bool // cells that a line has set
}

// readSheet reads results in the columns that are published: county, unit,
// contest, selection, count_type, votes, of which the first two may be
// missing. Contests and selections go by identifier or by name. Every count
// must be there unless zeros is set.
func readSheet(b []byte, e *schemas.Election, unit schemas.UnitID, zeros bool) (*sheet, error) {
	r := csv.NewReader(bytes.NewReader(b))
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	s := &sheetReader{e: e, unit: unit, column: map[string]int{}}
	for i, name := range header {
		s.column[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	for _, name := range []string{"contest", "selection", "count_type", "votes"} {
		if _, ok := s.column[name]; !ok {
			return nil, fmt.Errorf("header: column %s is missing", name)
		}
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err // names the line
		}
		if err := s.line(row); err != nil {
			at, _ := r.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", at, err)
		}
	}
	return s.finish(zeros)
}

// line puts one count where it belongs.
func (s *sheetReader) line(row []string) error {
	get := func(name string) string {
		if i, ok := s.column[name]; ok {
			return strings.TrimSpace(row[i])
		}
		return string(s.unit)
	}
	mine, err := s.place(get("unit"))
	if err != nil || !mine {
		return err
	}
	section, err := s.section(get("contest"))
	if err != nil {
		return err
	}
	k, err := s.selection(section, get("selection"))
	if err != nil {
		return err
	}
	t := slices.Index(s.e.Definition.CountTypes, schemas.CountType(get("count_type")))
	if t < 0 {
		return fmt.Errorf("count_type %q is none of %q", get("count_type"), s.e.Definition.CountTypes)
	}
	votes, err := strconv.ParseUint(get("votes"), 10, 32)
	if err != nil || votes > uint64(schemas.MaxCount) {
		return fmt.Errorf("votes: want a whole number from 0 to %d", schemas.MaxCount)
	}
	cell := int(section.Offset) + 1 + k*s.e.Types() + t
	if s.filled[cell] {
		return fmt.Errorf("%s %s %s stands twice", get("contest"), get("selection"), get("count_type"))
	}
	s.filled[cell], s.sheet.cells[cell] = true, schemas.Count(votes)
	s.sheet.cells[section.Offset] = 1
	s.sheet.types[t] = true
	return nil
}

// place reports whether the line is of the wanted unit. Without one wanted,
// the first line's is.
func (s *sheetReader) place(unit string) (bool, error) {
	if s.sheet == nil {
		id := s.unit
		if id == "" {
			id = schemas.UnitID(unit)
		}
		u, ok := s.e.Unit(id)
		if !ok {
			return false, fmt.Errorf("unit %q is no unit of this election; give --unit", id)
		}
		n := s.e.Units[u].Style.Cells
		s.sheet = &sheet{unit: u, cells: make([]schemas.Count, n), types: make([]bool, s.e.Types())}
		s.sheet.cells[0] = 1
		s.filled = make([]bool, n)
	}
	id := s.e.Units[s.sheet.unit].ID
	if unit == string(id) {
		return true, nil
	}
	if s.unit == "" {
		return false, fmt.Errorf("unit %q after %q: give --unit to choose one", unit, id)
	}
	return false, nil
}

// section finds a contest of the unit by identifier or name.
func (s *sheetReader) section(contest string) (*schemas.Section, error) {
	style := s.e.Units[s.sheet.unit].Style
	for i := range style.Sections {
		section := &style.Sections[i]
		if contest == string(s.e.ContestID(section.Contest)) ||
			section.Contest != schemas.BallotsIndex && contest == s.e.Definition.Contests[section.Contest].Name {
			return section, nil
		}
	}
	return nil, fmt.Errorf("contest %q is not on the ballot of this unit", contest)
}

// selection finds a selection, or a kind of residual votes, by identifier or
// name: its number within the section.
func (s *sheetReader) selection(section *schemas.Section, selection string) (int, error) {
	n := int(section.Selections)
	switch {
	case section.Contest == schemas.BallotsIndex:
		if selection == string(schemas.Ballots) && n == 1 {
			return 0, nil
		}
	case section.Residuals && selection == string(schemas.Undervotes):
		return n, nil
	case section.Residuals && selection == string(schemas.Overvotes):
		return n + 1, nil
	default:
		for k, def := range s.e.Definition.Contests[section.Contest].Selections {
			if selection == string(def.ID) || selection == def.Name {
				return k, nil
			}
		}
	}
	return 0, fmt.Errorf("selection %q is not one of %s", selection, s.e.ContestID(section.Contest))
}

// finish checks that nothing is missing.
func (s *sheetReader) finish(zeros bool) (*sheet, error) {
	if s.sheet == nil {
		return nil, errors.New("no counts")
	}
	if !slices.Contains(s.sheet.types, true) {
		return nil, fmt.Errorf("no counts of unit %s", s.e.Units[s.sheet.unit].ID)
	}
	if zeros {
		return s.sheet, nil
	}
	types := s.e.Types()
	style := s.e.Units[s.sheet.unit].Style
	for i := range style.Sections {
		section := &style.Sections[i]
		if s.sheet.cells[section.Offset] == 0 {
			continue // the unit does not state this contest
		}
		for k := 0; k < section.Size(types)-1; k++ {
			if s.sheet.types[k%types] && !s.filled[int(section.Offset)+1+k] {
				return nil, fmt.Errorf("%s has no line for every selection and count type (%s is missing); --zeros takes what is missing as 0",
					s.e.ContestID(section.Contest), s.e.Definition.CountTypes[k%types])
			}
		}
	}
	return s.sheet, nil
}
