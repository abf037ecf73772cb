package aggregate

import (
	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// memory is what the partitions of one process share. All of it follows from
// the ledger, and after any error it is thrown away. One goroutine owns it.
type memory struct {
	election *schemas.Election
	history  history
	metrics  *Metrics
	onPoison func(schemas.Partition, schemas.Checkpoint, error)

	// units[u] and rows[c] belong to the partition of unit u and county c.
	units []unitState
	rows  [][]int64

	// Reused from record to record.
	reading, again reading
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
	return ledger.Batch{Before: p.head, After: p.next, Entries: p.entries, Tallies: p.tallies}
}

// committed follows the ledger after a commit.
func (p *partition) committed() {
	p.head, p.owned = p.next, true
	p.entries, p.touched = p.entries[:0], p.touched[:0]
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
