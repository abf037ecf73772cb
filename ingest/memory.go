package ingest

import (
	"sync/atomic"

	"tallystream/schemas"
)

// memory knows the last submission of each unit that became durable through
// this process. It only saves work (a repeat need not be appended again) and
// answers "received"; forgetting it at a restart changes nothing that is
// counted, because the ledger recognises repeats by revision and digest.
//
// Its size is bounded by the units: 8 bytes each and 48 more once heard of.
type memory struct{ units []atomic.Pointer[durable] }

// durable is a submission that the stream holds. It never changes.
type durable struct {
	revision schemas.Revision
	digest   schemas.Digest
}

func newMemory(units int) *memory { return &memory{units: make([]atomic.Pointer[durable], units)} }

// has reports whether exactly this submission is the last durable one.
func (m *memory) has(unit schemas.UnitIndex, revision schemas.Revision, digest *schemas.Digest) bool {
	d := m.units[unit].Load()
	return d != nil && d.revision == revision && d.digest == *digest
}

// put remembers a submission whose Append has returned.
func (m *memory) put(unit schemas.UnitIndex, revision schemas.Revision, digest schemas.Digest) {
	m.units[unit].Store(&durable{revision, digest})
}

// last returns the last durable submission of a unit; nil if there is none.
func (m *memory) last(unit schemas.UnitIndex) *durable { return m.units[unit].Load() }
