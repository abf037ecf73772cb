package aggregate

import (
	"context"
	"errors"
	"fmt"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// load reads everything anew from one View of the ledger: heads, rows, and for
// each unit which revision counts. Units' rows stay in the stream until a
// later revision asks for them.
func (m *memory) load(ctx context.Context, from Ledger) (partitions []partition, err error) {
	v, err := from.View(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	m.units = make([]unitState, len(m.election.Units))
	if err := v.Entries(ctx, nil, func(x schemas.Entry) error { m.recall(&x); return nil }); err != nil {
		return nil, err
	}
	m.rows = make([][]int64, len(m.election.Counties))
	for c := range m.rows {
		if m.rows[c], err = v.Tally(ctx, schemas.CountyIndex(c)); err != nil {
			return nil, err
		}
	}
	heads := v.Heads()
	if len(heads) != m.election.Definition.Partitions {
		return nil, fmt.Errorf("ledger has %d partitions, the election has %d", len(heads), m.election.Definition.Partitions)
	}
	partitions = make([]partition, len(heads))
	for i, h := range heads {
		partitions[i] = partition{shared: m, head: h, next: h}
	}
	return partitions, nil
}

// recall takes an entry of the ledger into the unit's state, as add and count
// did when it was made. Entries come in order, and counted revisions only grow.
func (m *memory) recall(x *schemas.Entry) {
	unit, ok := m.election.Unit(x.Unit)
	if !ok {
		return // poison that names no unit
	}
	state := &m.units[unit]
	state.highest = max(state.highest, x.Revision)
	if x.Kind == schemas.EntryCounted {
		state.counted, state.at, state.digest = x.Revision, x.At, x.Digest
	}
}

// position is where reading goes on: no partition needs anything before.
func position(partitions []partition) schemas.Checkpoint {
	at := partitions[0].head.Checkpoint
	for i := range partitions {
		at = min(at, partitions[i].head.Checkpoint)
	}
	return at
}

var _ Ledger = (*ledger.SQLite)(nil)
