package verify

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
)

// Names of tables and reports in a manifest (publish/README.md).
const (
	resultsName  = "results.csv"
	tableFolder  = "csv/"
	unitFolder   = "units/"
	reportName   = "results.cdf.json.gz"
	reportFolder = "cdf/"
)

func isFile(name string) bool {
	return name == resultsName || name == reportName || strings.HasPrefix(name, tableFolder) ||
		strings.HasPrefix(name, unitFolder) || strings.HasPrefix(name, reportFolder)
}

// errName: the manifest names a file of which no rule says what is in it.
var errName = errors.New("no file of this election has that name")

// fileWriter makes tables and reports of a tally that stands still. Its goroutine
// owns it.
type fileWriter struct {
	*tally
	room []schemas.Count
}

// row is a unit's row; valid until the next call.
func (t *fileWriter) row(u schemas.UnitIndex) []schemas.Count {
	t.room = t.expand(t.room, u)
	return t.room
}

// file makes the bytes of a table or a report from the tally. published is what
// stands under the name, for the facts that are in no other public file.
func (t *fileWriter) file(name string, snapshot *schemas.Snapshot, published []byte) ([]byte, error) {
	county := func(folder, extension string) (schemas.CountyIndex, error) {
		id, ok := strings.CutSuffix(strings.TrimPrefix(name, folder), extension)
		c, known := t.election.County(schemas.CountyID(id))
		if !ok || !known {
			return 0, errName
		}
		return c, nil
	}
	// As large as what it is compared with, so that it does not move while it grows.
	table := func() []byte { return append(make([]byte, 0, len(tableHead)+len(published)), tableHead...) }
	switch {
	case name == resultsName:
		out := table()
		for c := range t.election.Counties {
			out = t.appendTable(out, schemas.CountyIndex(c))
		}
		return out, nil
	case name == reportName:
		facts, x, err := t.facts(snapshot, published)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		err = x.Summary(&b, facts, t.rows)
		return b.Bytes(), err
	case strings.HasPrefix(name, tableFolder):
		c, err := county(tableFolder, ".csv")
		if err != nil {
			return nil, err
		}
		return t.appendTable(table(), c), nil
	case strings.HasPrefix(name, unitFolder):
		c, err := county(unitFolder, "")
		if err != nil {
			return nil, err
		}
		return t.unitLines(c), nil
	}
	c, err := county(reportFolder, ".json.gz")
	if err != nil {
		return nil, err
	}
	facts, x, err := t.facts(snapshot, published)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = x.County(&b, facts, c, func(u schemas.UnitIndex, _ []schemas.Count) ([]schemas.Count, error) {
		if !t.listed(u) {
			return nil, nil
		}
		return t.row(u), nil
	})
	return b.Bytes(), err
}

const tableHead = "county,unit,contest,selection,count_type,votes\n"

// appendTable appends a county's rows: for each unit that reported, each contest
// that it states, each selection and count type, zeros included.
func (t *fileWriter) appendTable(dst []byte, county schemas.CountyIndex) []byte {
	e := t.election
	types := e.Definition.CountTypes
	place := &e.Counties[county]
	var head []byte
	var selection schemas.SelectionID
	for _, u := range place.Units {
		if !t.listed(u) {
			continue
		}
		cells := t.row(u)
		for _, s := range e.Units[u].Style.Sections {
			row := cells[s.Offset:][:s.Size(len(types))]
			if row[0] == 0 {
				continue
			}
			head = fmt.Appendf(head[:0], "%s,%s,%s,", place.ID, e.Units[u].ID, e.ContestID(s.Contest))
			for i, n := range row[1:] {
				dst = append(dst, head...)
				if i%len(types) == 0 {
					selection = t.selection(&s, i/len(types))
				}
				dst = append(append(dst, selection...), ',')
				dst = append(append(dst, types[i%len(types)]...), ',')
				dst = append(strconv.AppendUint(dst, uint64(n), 10), '\n')
			}
		}
	}
	return t.appendRemainders(dst, county)
}

func (t *tally) selection(s *schemas.Section, k int) schemas.SelectionID {
	switch {
	case s.Contest == schemas.BallotsIndex:
		return schemas.Ballots
	case k < int(s.Selections):
		return t.election.Definition.Contests[s.Contest].Selections[k].ID
	case k == int(s.Selections):
		return schemas.Undervotes
	}
	return schemas.Overvotes
}

// unitLines are a county's lines by unit.
func (t *fileWriter) unitLines(county schemas.CountyIndex) []byte {
	e := t.election
	var lines []line
	for _, u := range e.Counties[county].Units {
		if !t.listed(u) {
			continue
		}
		cells := t.row(u)
		row := make([]int64, len(cells))
		for i, n := range cells {
			row[i] = int64(n)
		}
		for i := range e.Units[u].Style.Sections {
			s := &e.Units[u].Style.Sections[i]
			movements := int64(0)
			if t.units[u].Moved != nil {
				movements = int64(t.units[u].Moved[i])
			}
			if row[s.Offset] == 1 || movements > 0 {
				unit := schemas.CountyID(e.Units[u].ID)
				lines = append(lines, line{e.ContestID(s.Contest), unit, e.AppendLine(nil, s, unit, 1, movements, row)})
			}
		}
	}
	return joined(append(lines, t.remainderLines(county)...))
}

// facts are those of a report: all follow from the log, but for whether the
// election is a test, which only the report itself says.
func (t *fileWriter) facts(s *schemas.Snapshot, published []byte) (*cdf.Facts, *cdf.Exporter, error) {
	var head struct {
		IsTest   bool
		TestType string
	}
	if err := json.Unmarshal(published, &head); err != nil {
		return nil, nil, fmt.Errorf("it is no JSON: %w", err)
	}
	at, err := time.Parse(schemas.SnapshotTimeLayout, s.Time)
	if err != nil {
		return nil, nil, err
	}
	exporter := t.exporter()
	return &cdf.Facts{
		Status: exporter.StatusOf(t.rows), Test: head.TestType, Time: at, Snapshot: s.Number, Log: s.Log, Holds: t.open(), Movements: t.movements(),
		Remainder: t.remainder,
	}, exporter, nil
}

func unpack(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, maxObject+1))
	if err == nil && len(out) > maxObject {
		err = fmt.Errorf("more than %d bytes when unpacked", maxObject)
	}
	return out, err
}

// byName orders manifest entries.
func byName(a, b schemas.ManifestEntry) int { return cmp.Compare(a.Name, b.Name) }

func sortedByName(entries []schemas.ManifestEntry) bool {
	for i := 1; i < len(entries); i++ {
		if byName(entries[i-1], entries[i]) >= 0 {
			return false
		}
	}
	return true
}
