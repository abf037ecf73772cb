package openelections

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"tallystream/schemas"
)

// table is the input, read: rows that refer to places, titles and labels by
// index.
type table struct {
	files    []file
	counties []county
	units    []unit
	titles   []title
	labels   []label
	rows     []row
	splits   []schemas.Count // of all rows, each in the order of its file's columns

	warnings
	countyAt map[county]int32
	unitAt   map[unitKey]int32
	titleAt  map[title]int32
	labelAt  map[label]int32
	seen     map[rowKey]int32 // row by key, to find repeats
}

type (
	file struct {
		name   string
		counts []countColumn
	}
	county struct{ state, name string } // state: FIPS code, or empty
	unit   struct {
		county int32
		name   string
	}
	unitKey = unit
	title   struct{ office, district string }
	label   struct{ party, name string }
	rowKey  struct{ unit, title, label int32 }
)

// row is one row of the input.
type row struct {
	rowKey
	role  role
	file  int32
	line  int32
	votes schemas.Count
	// splits begins the row's counts by type; -1 if it states none, or none
	// that can be believed.
	splits int32
}

// role is what a row states.
type role uint8

const (
	votesRow role = iota
	overvotesRow
	undervotesRow
	ballotsRow    // ballots cast
	registeredRow // registered voters
)

// longestName bounds names; a longer one is a quotation mark gone astray.
const longestName = 400

// read reads all sources.
func read(sources []Source) (*table, error) {
	t := &table{
		countyAt: map[county]int32{}, unitAt: map[unitKey]int32{}, titleAt: map[title]int32{}, labelAt: map[label]int32{},
		seen: map[rowKey]int32{},
	}
	for _, s := range sources {
		if err := t.readSource(s); err != nil {
			return nil, fmt.Errorf("reading results: %w", err)
		}
	}
	return t, nil
}

func (t *table) readSource(s Source) (err error) {
	f, err := s.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	plain, err := expanded(f, MaxExpanded)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return t.readCSV(s.Name, plain)
}

// fileReader reads one file.
type fileReader struct {
	*table
	name    string
	index   int32
	csv     *csv.Reader
	columns *columns
	record  []string
	line    int
	tally   map[WarningKind]*repeat
}

// repeat counts warnings that would be too many one by one.
type repeat struct{ first, n int }

func (t *table) readCSV(name string, r io.Reader) error {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	header, err := c.Read()
	if errors.Is(err, io.EOF) {
		return &SyntaxError{name, 1, 0, "the file is empty"}
	}
	if err != nil {
		return syntaxError(name, err)
	}
	for i, h := range header {
		if !utf8.ValidString(h) {
			_, column := c.FieldPos(i)
			return &SyntaxError{name, 1, column, "want UTF-8"}
		}
	}
	columns, err := readHeader(name, header, &t.warnings)
	if err != nil {
		return err
	}
	f := fileReader{table: t, name: name, index: int32(len(t.files)), csv: c, columns: columns, tally: map[WarningKind]*repeat{}}
	t.files = append(t.files, file{name, columns.counts})
	for {
		f.record, err = c.Read()
		if errors.Is(err, io.EOF) {
			f.report()
			return nil
		}
		if err != nil {
			return syntaxError(name, err)
		}
		if err := f.readRow(); err != nil {
			return err
		}
	}
}

func syntaxError(name string, err error) error {
	var p *csv.ParseError
	if !errors.As(err, &p) {
		return fmt.Errorf("%s: %w", name, err)
	}
	want := p.Err.Error()
	if errors.Is(p.Err, csv.ErrFieldCount) {
		want = "want as many fields as the header has"
	}
	return &SyntaxError{name, p.Line, p.Column, want}
}

// note counts a warning of which the first and the number are told.
func (f *fileReader) note(kind WarningKind) {
	if f.tally[kind] == nil {
		f.tally[kind] = &repeat{first: f.line}
	}
	f.tally[kind].n++
}

func (f *fileReader) report() {
	for _, k := range []struct {
		kind WarningKind
		text string
	}{
		{Blank, "rows with no votes where a number belongs (this is the first); they count 0"},
		{Unsplit, fmt.Sprintf("rows have votes but no count types (this is the first); they count as %q", schemas.OtherCounts)},
		{Spelling, "numbers with thousands separators or a decimal part of zeros (this is the first); read as whole numbers"},
		{LeftOut, "rows left out: totals, empty rows, or counts that are part of ballots cast (this is the first)"},
	} {
		if r := f.tally[k.kind]; r != nil {
			f.add(k.kind, f.name, r.first, "%d %s", r.n, k.text)
		}
	}
}

func (f *fileReader) errorAt(field int, want string) error {
	line, column := f.csv.FieldPos(field)
	return &SyntaxError{f.name, line, column, want}
}

// text is a name, with its white space collapsed.
func (f *fileReader) text(field int) (string, error) {
	if field < 0 {
		return "", nil
	}
	s := f.record[field]
	switch {
	case !utf8.ValidString(s):
		return "", f.errorAt(field, "want UTF-8")
	case len(s) > longestName:
		return "", f.errorAt(field, fmt.Sprintf("%d bytes, want at most %d: is a quotation mark missing?", len(s), longestName))
	}
	s = strings.Join(strings.Fields(s), " ")
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", f.errorAt(field, "want text without control characters")
	}
	return s, nil
}

func (f *fileReader) readRow() error {
	f.line, _ = f.csv.FieldPos(0)
	c := f.columns
	var at [7]string
	for i, column := range []int{c.county, c.fips, c.precinct, c.office, c.district, c.party, c.candidate} {
		var err error
		if at[i], err = f.text(column); err != nil {
			return err
		}
	}
	countyName, fips, precinct, office, district, party, candidate := at[0], at[1], at[2], at[3], at[4], at[5], at[6]
	role, keep := roleOf(office, candidate)
	if precinct == "" || countyName == "" || office == "" || total(precinct) || !keep {
		f.note(LeftOut)
		return nil
	}
	r := row{role: role, file: f.index, line: int32(f.line)}
	if err := f.counts(&r); err != nil {
		return err
	}
	r.unit = intern(f.unitAt, &f.units, unit{intern(f.countyAt, &f.counties, county{stateCode(fips), countyName}), precinct})
	r.title = intern(f.titleAt, &f.titles, title{office, district})
	r.label = intern(f.labelAt, &f.labels, label{party, candidate})
	if first, twice := f.seen[r.rowKey]; twice {
		f.add(Repeated, f.name, f.line, "the same county, precinct, office, district, party and candidate as %s:%d; both count",
			f.files[f.rows[first].file].name, f.rows[first].line)
	} else {
		f.seen[r.rowKey] = int32(len(f.rows))
	}
	f.rows = append(f.rows, r)
	return nil
}

// intern gives each value an index.
func intern[K comparable](index map[K]int32, list *[]K, k K) int32 {
	i, ok := index[k]
	if !ok {
		i = int32(len(*list))
		index[k] = i
		*list = append(*list, k)
	}
	return i
}

// counts reads the votes of a row and how they split by count type. Votes are
// the truth: what count types do not account for is counted as other, and
// count types that have more than all votes are not believed.
func (f *fileReader) counts(r *row) error {
	start := len(f.splits)
	sum, stated := uint64(0), false
	for _, c := range f.columns.counts {
		n, err := f.count(c.at)
		if err != nil {
			return err
		}
		f.splits = append(f.splits, n.n)
		sum += uint64(n.n)
		stated = stated || !n.blank
	}
	votes := number{n: schemas.Count(min(sum, uint64(schemas.MaxCount)))}
	if sum > uint64(schemas.MaxCount) {
		return f.errorAt(f.columns.counts[0].at, fmt.Sprintf("the count types add up to more than %d", schemas.MaxCount))
	}
	if f.columns.votes >= 0 {
		var err error
		if votes, err = f.count(f.columns.votes); err != nil {
			return err
		}
	}
	if votes.blank && stated {
		votes = number{n: schemas.Count(sum)}
	}
	if votes.blank {
		f.note(Blank)
	}
	r.votes, r.splits = votes.n, int32(start)
	switch {
	case !stated:
		r.splits = -1
		if len(f.columns.counts) > 0 && votes.n > 0 {
			f.note(Unsplit)
		}
	case sum < uint64(votes.n):
		f.add(Split, f.name, f.line, "count types add up to %d of %d votes; the other %d count as %q", sum, votes.n, uint64(votes.n)-sum, schemas.OtherCounts)
	case sum > uint64(votes.n):
		r.splits = -1
		f.add(Split, f.name, f.line, "count types add up to %d, which is more than the %d votes; all votes count as %q", sum, votes.n, schemas.OtherCounts)
	}
	if r.splits < 0 {
		f.splits = f.splits[:start]
	}
	return nil
}

func (f *fileReader) count(field int) (number, error) {
	n, wrong := parseCount(f.record[field])
	if wrong != "" {
		return n, f.errorAt(field, wrong)
	}
	if !n.unique {
		f.note(Spelling)
	}
	return n, nil
}

// roleOf says what a row states, and whether it is kept.
func roleOf(office, candidate string) (role, bool) {
	switch o := key(office); {
	case o == "registeredvoters" || o == "registeredvoterstotal" || o == "registration":
		return registeredRow, candidate == "" || total(candidate) || key(candidate) == o
	case o == "ballotscast" || o == "ballotscasttotal" || o == "totalballotscast":
		return ballotsRow, candidate == "" || total(candidate) || key(candidate) == o
	case strings.HasPrefix(o, "ballotscast") || strings.HasPrefix(o, "registeredvoters") || o == "turnout" || o == "voterturnout":
		return 0, false // parts of the two, such as blank ballots
	}
	switch key(candidate) {
	case "overvotes", "overvote", "overs":
		return overvotesRow, true
	case "undervotes", "undervote", "unders":
		return undervotesRow, true
	case "total", "totals", "totalvotes", "totalvotescast", "votescast", "contesttotals":
		return 0, false
	}
	return votesRow, true
}

// total reports whether a name stands for a sum.
func total(name string) bool {
	switch key(name) {
	case "total", "totals", "grandtotal", "countytotal", "countytotals", "cumulative", "electiontotal":
		return true
	}
	return false
}

// stateCode is the state's part of a FIPS code.
func stateCode(fips string) string {
	if len(fips) == 4 { // a leading zero lost in a spreadsheet
		fips = "0" + fips
	}
	if len(fips) < 2 {
		return ""
	}
	return fips[:2]
}
