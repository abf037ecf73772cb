package aggregate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// load reads the shard's partitions anew from the ledger: heads, rows, and for
// each unit which revision counts. Units' rows stay where they are until a
// later revision asks for them, unless the twin rule compares them with each
// other. It returns all heads.
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
	if err == nil && hasTwinRule(w.cfg.Election) {
		err = w.recallRows(ctx, v)
	}
	return heads, err
}

// recallRows reads every record of the shard again, for the rows that count.
// README.md says what that costs.
func (w *Worker) recallRows(ctx context.Context, v ledger.View) error {
	start := time.Now()
	after, rows := make([]uint64, len(v.Heads())), 0
	for p, h := range v.Heads() {
		if w.places[p] < 0 {
			after[p] = h.Size // another shard's: nothing of it
		}
	}
	err := v.Entries(ctx, after, func(x schemas.Entry, record []byte) error {
		counts, err := w.memory.recallRow(&x, record)
		if counts {
			rows++
		}
		return err
	})
	if err == nil {
		w.cfg.Logger.InfoContext(ctx, "counted rows read again", "shard", w.shard.ID, "rows", rows, "elapsed", time.Since(start))
	}
	return err
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
		w.memory.forget(e, schemas.CountyIndex(c))
	}
	return counties
}

// recall takes an entry of the ledger into the unit's state, as add and count
// did when it was made. A unit's entries come in order, and its counted
// revisions never fall.
func (m *memory) recall(x *schemas.Entry) {
	unit, ok := m.election.Unit(x.Unit)
	if !ok {
		return // an adapter's mistake: only units of the election have entries
	}
	state := &m.units[unit]
	if !x.OfRelease() {
		state.highest = max(state.highest, x.Revision)
	}
	switch x.Kind {
	case schemas.EntryCounted:
		state.counted, state.seq, state.at, state.digest = x.Revision, x.Seq, x.At, x.Digest
	case schemas.EntryReleased:
		state.counted, state.seq, state.at, state.digest = x.Revision, x.Held, 0, x.Digest
	}
}

// recallRow takes the row of an entry's record, if it is the one that counts
// for its unit, after recall has seen all entries.
func (m *memory) recallRow(x *schemas.Entry, record []byte) (counts bool, err error) {
	unit, ok := m.election.Unit(x.Unit)
	if !ok || m.units[unit].counted == 0 || m.units[unit].seq != x.Seq {
		return false, nil
	}
	if err := m.again.reopen(x, record); err != nil {
		return false, err
	}
	if err := m.again.read(m.election, unit); err != nil {
		return false, fmt.Errorf("reading record %d again: %w", x.At, err)
	}
	state := &m.units[unit]
	state.at, state.cells = x.At, m.keep(nil, m.again.statement.Cells)
	m.replaceKey(unit, nil, m.again.statement.Cells)
	return true, nil
}

var _ Ledger = (*ledger.SQLite)(nil)
