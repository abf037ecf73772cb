package aggregate

import (
	"tallystream/aggregate/ledger"
	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// book is what a process remembers of the ledger: of each unit what decides
// about its next revision, and the counties' rows. units[u], rows[c] and keys[c]
// belong to whoever folds the partition of unit u and county c, and to nobody
// else.
type book struct {
	units []unitState
	rows  [][]int64
	// keys counts a county's rows by their key, so that a twin is found at once;
	// nil where the definition has no twin rule.
	keys []map[schemas.TwinKey]int
}

func newBook(e *schemas.Election) *book {
	return &book{
		units: make([]unitState, len(e.Units)), rows: make([][]int64, len(e.Counties)),
		keys: make([]map[schemas.TwinKey]int, len(e.Counties)),
	}
}

// hasTwinRule reports whether rows are compared with each other.
func hasTwinRule(e *schemas.Election) bool {
	return e.Definition.Rules.Outliers != nil && e.Definition.Rules.Outliers.Twins != nil
}

// forget empties the book of a county.
func (b *book) forget(e *schemas.Election, c schemas.CountyIndex) {
	for _, u := range e.Counties[c].Units {
		b.units[u] = unitState{}
	}
	if hasTwinRule(e) {
		b.keys[c] = make(map[schemas.TwinKey]int, len(e.Counties[c].Units))
	}
}

// memory is what the partitions of one shard share. All of it follows from the
// ledger, and after any error it is thrown away. One goroutine owns it.
type memory struct {
	*book
	election *schemas.Election
	history  history
	metrics  *Metrics
	onPoison func(schemas.Partition, schemas.Checkpoint, error)

	// Reused from record to record.
	reading, again reading
	release        schemas.Release
	before         []schemas.Count
	compact        []byte
}

// partition folds one partition's records and keeps what came of them until
// it is committed.
type partition struct {
	shared *memory
	head   ledger.Head // as the ledger has it
	next   ledger.Head // after everything folded here
	owned  bool        // the ledger has our epoch

	// Since the last commit:
	entries []schemas.Entry
	records [][]byte // of entries
	bytes   int      // of records
	touched []schemas.CountyIndex
	tallies []ledger.CountyTally
}

// touch remembers that the county's row changed. A partition has few counties
// and a micro-batch touches fewer.
func (p *partition) touch(county schemas.CountyIndex) {
	for _, c := range p.touched {
		if c == county {
			return
		}
	}
	p.touched = append(p.touched, county)
}

// batch is what is to be committed. It aliases the partition until committed
// is called. The first commit of an owner raises the epoch.
func (p *partition) batch() ledger.Batch {
	if !p.owned {
		p.next.Epoch = p.head.Epoch + 1
	}
	p.tallies = p.tallies[:0]
	for _, c := range p.touched {
		p.tallies = append(p.tallies, ledger.CountyTally{County: c, Row: p.shared.rows[c]})
	}
	return ledger.Batch{Before: p.head, After: p.next, Entries: p.entries, Records: p.records, Tallies: p.tallies}
}

// committed follows the ledger after a commit.
func (p *partition) committed() {
	p.head, p.owned = p.next, true
	clear(p.records) // let go of the bytes
	p.entries, p.records, p.bytes, p.touched = p.entries[:0], p.records[:0], 0, p.touched[:0]
}

// reach moves the head on to where the reader stands: everything of p up to
// there is folded.
func (p *partition) reach(at stream.Position) {
	p.next.Checkpoint, p.next.Cursor = max(p.next.Checkpoint, at.Checkpoint), at.Cursor
}

// keep stores a row compactly, in the room of the one before if it fits.
func (m *memory) keep(room []byte, cells []schemas.Count) []byte {
	m.compact = schemas.AppendCells(m.compact[:0], cells)
	if cap(room) < len(m.compact) {
		room = make([]byte, 0, len(m.compact))
	}
	return append(room[:0], m.compact...)
}

// cellsOf returns room for a unit's row.
func (m *memory) cellsOf(unit schemas.UnitIndex) []schemas.Count {
	n := m.election.Units[unit].Style.Cells
	if cap(m.before) < n {
		m.before = make([]schemas.Count, n)
	}
	return m.before[:n]
}
