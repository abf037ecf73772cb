package aggregate

import (
	"context"
	"errors"
	"fmt"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// load reads the shard's partitions anew from the ledger: heads, rows, and for
// each unit which revision counts. Units' rows stay where they are until a
// later revision asks for them. It returns all heads.
//
// Heads are read first. If somebody commits before the rest is read, the first
// commit made of it conflicts, and everything is loaded again.
func (w *Worker) load(ctx context.Context) (_ []ledger.Head, err error) {
	v, err := w.cfg.Ledger.View(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	heads := v.Heads()
	if len(heads) != w.cfg.Election.Definition.Partitions {
		return nil, fmt.Errorf("ledger has %d partitions, the election has %d", len(heads), w.cfg.Election.Definition.Partitions)
	}
	w.arrange(heads)
	counties := w.forget()
	tallies, err := v.Tallies(ctx, counties)
	if err != nil {
		return nil, err
	}
	for i, c := range counties {
		w.memory.rows[c] = tallies[i].Row
	}
	err = w.cfg.Ledger.Units(ctx, w.shard.Partitions, func(x schemas.Entry) error {
		w.memory.recall(&x)
		return nil
	})
	return heads, err
}

// arrange makes the partitions those of the shard, as the heads say.
func (w *Worker) arrange(heads []ledger.Head) {
	w.partitions = make([]partition, len(w.shard.Partitions))
	w.places = make([]int, len(heads))
	for p := range w.places {
		w.places[p] = -1
	}
	for i, p := range w.shard.Partitions {
		w.partitions[i] = partition{shared: w.memory, head: heads[p], next: heads[p]}
		w.places[p] = i
	}
}

// forget empties the book of the shard's units, and returns its counties.
func (w *Worker) forget() (counties []schemas.CountyIndex) {
	e := w.cfg.Election
	for c := range e.Counties {
		if w.places[e.Counties[c].Partition] < 0 {
			continue
		}
		counties = append(counties, schemas.CountyIndex(c))
		for _, u := range e.Counties[c].Units {
			w.memory.units[u] = unitState{}
		}
	}
	return counties
}

// recall takes an entry of the ledger into the unit's state, as add and count
// did when it was made. A unit's entries come in order, and its counted
// revisions only grow.
func (m *memory) recall(x *schemas.Entry) {
	unit, ok := m.election.Unit(x.Unit)
	if !ok {
		return // an adapter's mistake: only units of the election have entries
	}
	state := &m.units[unit]
	state.highest = max(state.highest, x.Revision)
	if x.Kind == schemas.EntryCounted {
		state.counted, state.seq, state.at, state.digest = x.Revision, x.Seq, x.At, x.Digest
	}
}

var _ Ledger = (*ledger.SQLite)(nil)
