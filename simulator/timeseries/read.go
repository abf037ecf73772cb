package timeseries

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tallystream/schemas"
)

// change is a row of the file: what a series says from then on.
type change struct {
	line     int
	at       time.Time
	label    string // what the source calls the county
	precinct string
	fips     string // of the county; may be empty
	kind     string // vote type
	votes    int64
	counts   []schemas.Count // by selection, in the order of columns
}

// table is the whole file.
type table struct {
	file       string
	selections []string // what follows votes_ in the header
	changes    []change
}

// Limits of an input, far above any known one.
const (
	maxExpanded = 256 << 20 // bytes of CSV
	maxRows     = 5_000_000
)

// LineError is a row that cannot be replayed.
type LineError struct {
	File string
	Line int
	Want string
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Want) }

// fileNames are looked for in a directory.
var fileNames = []string{"changes.csv.gz", "changes.csv"}

// read reads a file, or that of a directory, plain or gzip.
func read(path string) (_ *table, err error) {
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the time series: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r, err := expanded(f)
	if err != nil {
		return nil, fmt.Errorf("reading the time series %s: %w", f.Name(), err)
	}
	return parse(f.Name(), r)
}

func open(path string) (*os.File, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return os.Open(path)
	}
	for _, name := range fileNames {
		f, err := os.Open(filepath.Join(path, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("%s has neither of %q", path, fileNames)
}

// expanded reads plain or gzip, told apart by the first two bytes.
func expanded(r io.Reader) (io.Reader, error) {
	br := bufio.NewReader(r)
	if magic, err := br.Peek(2); err != nil || !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return br, nil // an empty file is told by its missing header
	}
	return gzip.NewReader(br)
}

// parse reads the CSV. Errors about a row are *LineError.
func parse(file string, r io.Reader) (*table, error) {
	t := &table{file: file}
	left := &io.LimitedReader{R: r, N: maxExpanded}
	rows := csv.NewReader(left)
	rows.ReuseRecord = true
	header, err := rows.Read()
	if err != nil {
		return nil, t.wrong(1, "want a header: %v", err)
	}
	columns, err := t.columns(slices.Clone(header))
	if err != nil {
		return nil, err
	}
	for {
		row, err := rows.Read()
		switch {
		case left.N <= 0:
			return nil, fmt.Errorf("%s: more than %d bytes", file, maxExpanded)
		case errors.Is(err, io.EOF):
			return t, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", file, err)
		case len(t.changes) == maxRows:
			return nil, fmt.Errorf("%s: more than %d rows", file, maxRows)
		}
		line, _ := rows.FieldPos(0)
		c, err := t.change(line, columns, row)
		if err != nil {
			return nil, err
		}
		if n := len(t.changes); n > 0 && c.at.Before(t.changes[n-1].at) {
			return nil, t.wrong(line, "is earlier than the row before: want rows in the order of time")
		}
		t.changes = append(t.changes, c)
	}
}

func (t *table) wrong(line int, format string, args ...any) *LineError {
	return &LineError{File: t.file, Line: line, Want: fmt.Sprintf(format, args...)}
}

// positions are where a row has what: of a column by its name.
type positions map[string]int

var wanted = []string{"timestamp", "county", "precinct", "fips", "vote_type", "votes"}

// columns finds the columns. Each that begins with votes_ is a selection.
func (t *table) columns(header []string) (positions, error) {
	at := positions{}
	for i, name := range header {
		if _, twice := at[name]; twice {
			return nil, t.wrong(1, "column %.40q stands twice", name)
		}
		at[name] = i
		selection, ok := strings.CutPrefix(name, "votes_")
		switch {
		case ok && schemas.ValidIdentifier(selection):
			t.selections = append(t.selections, selection)
		case !slices.Contains(wanted, name) && name != "derived": // whether a total was added up from its parts
			return nil, t.wrong(1, "column %.40q is not understood: want %s, derived and votes_ with a candidate", name, wanted)
		}
	}
	for _, name := range wanted {
		if _, ok := at[name]; !ok {
			return nil, t.wrong(1, "no column %q", name)
		}
	}
	if len(t.selections) == 0 {
		return nil, t.wrong(1, "no column votes_ with a candidate")
	}
	return at, nil
}

func (t *table) change(line int, at positions, row []string) (c change, err error) {
	c = change{
		line: line, label: strings.Clone(row[at["county"]]), precinct: strings.Clone(row[at["precinct"]]),
		fips: strings.Clone(row[at["fips"]]), kind: strings.Clone(row[at["vote_type"]]), counts: make([]schemas.Count, len(t.selections)),
	}
	if c.at, err = time.Parse(time.RFC3339, row[at["timestamp"]]); err != nil {
		return c, t.wrong(line, "timestamp %.40q: want RFC 3339", row[at["timestamp"]])
	}
	if c.label == "" || c.precinct == "" {
		return c, t.wrong(line, "want a county and a precinct")
	}
	sum := int64(0)
	for i, s := range t.selections {
		n, err := parseCount(row[at["votes_"+s]])
		if err != nil {
			return c, t.wrong(line, "votes_%s %v", s, err)
		}
		c.counts[i] = n
		sum += int64(n)
	}
	votes, err := parseCount(row[at["votes"]])
	if err != nil {
		return c, t.wrong(line, "votes %v", err)
	}
	if c.votes = int64(votes); c.votes != sum {
		return c, t.wrong(line, "votes is %d, the candidates have %d", c.votes, sum)
	}
	return c, nil
}

func parseCount(s string) (schemas.Count, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > uint64(schemas.MaxCount) {
		return 0, fmt.Errorf("%.40q: want a whole number from 0 to %d", s, schemas.MaxCount)
	}
	return schemas.Count(n), nil
}
