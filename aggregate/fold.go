package aggregate

import (
	"context"
	"fmt"

	"tallystream/schemas"
)

// Outcome says what one record did to its partition.
type Outcome int

// The outcomes of folding a record.
const (
	// Passed: at or below the partition's checkpoint, so it was folded before.
	Passed Outcome = iota
	// Duplicate: the same submission has an entry already, or the hold was
	// released already; only the checkpoint moves.
	Duplicate
	// Counted, Superseded and Held each make an entry, and so do Released and
	// Lapsed, of a release.
	Counted
	Superseded
	Held
	Released
	Lapsed
)

var outcomeNames = [...]string{"passed", "duplicate", "counted", "superseded", "held", "released", "lapsed"}

func (o Outcome) String() string { return outcomeNames[o] }

// kind is the ledger's word for an outcome that makes an entry.
func (o Outcome) kind() schemas.EntryKind {
	switch o {
	case Counted:
		return schemas.EntryCounted
	case Superseded:
		return schemas.EntrySuperseded
	case Released:
		return schemas.EntryReleased
	case Lapsed:
		return schemas.EntryLapsed
	}
	return schemas.EntryHeld
}

// history answers what a fold does not keep in memory: a unit's entries that
// are in the ledger, in order, and the exact bytes of an entry's record. What it
// answers for one argument may only grow, so asking late is safe.
type history interface {
	EntriesOf(ctx context.Context, unit schemas.UnitID) ([]schemas.Entry, error)
	Record(ctx context.Context, x schemas.Entry) ([]byte, error)
}

// unitState is what is remembered of a unit: everything that decides about its
// next revision, and nothing for each of its earlier ones.
type unitState struct {
	// counted is the revision that counts; 0: none yet. The fields below say
	// more of it.
	counted schemas.Revision
	// highest is the highest revision of any submission's entry. A revision
	// above it was certainly not seen before, so that no look-up is needed.
	highest schemas.Revision
	seq     uint64             // of the entry of the submission that counts,
	at      schemas.Checkpoint // and where its record lies; 0: look it up by seq
	digest  schemas.Digest     // of the counted body
	cells   []byte             // the counted row, compact; nil: read the record again
}

// fold takes the record at a checkpoint into the partition. After an error the
// partition is as it was before.
//
// Poison, a record that ingest should not have let through, never stops the
// partition: it is held, so that it is seen, and the checkpoint passes it.
func (p *partition) fold(ctx context.Context, at schemas.Checkpoint, record []byte) (Outcome, error) {
	if at <= p.next.Checkpoint {
		return Passed, nil
	}
	outcome, err := p.take(ctx, at, record)
	if err != nil {
		return 0, fmt.Errorf("folding record %d of partition %d: %w", at, p.next.Partition, err)
	}
	p.next.Checkpoint = at
	return outcome, nil
}

// take returns errors before it changes anything.
func (p *partition) take(ctx context.Context, at schemas.Checkpoint, record []byte) (Outcome, error) {
	if schemas.IsRelease(record) {
		return p.takeRelease(ctx, at, record)
	}
	r := &p.shared.reading
	r.open(record)
	unit, why := p.addressee()
	if why != nil {
		return p.addPoison(at, record, r.digest(), why), nil
	}
	state := &p.shared.units[unit]
	before, err := p.seen(ctx, unit, state)
	if err != nil {
		return 0, err
	}
	switch before {
	case seenSame:
		return Duplicate, nil
	case seenOther:
		return p.add(at, unit, Held, schemas.HoldConflict), nil
	}
	if err := r.read(p.shared.election, unit); err != nil {
		p.shared.onPoison(p.next.Partition, at, err)
		return p.add(at, unit, Held, schemas.HoldPoison), nil
	}
	return p.weigh(ctx, at, unit, state)
}

// weigh judges the submission at hand and, if it counts, folds it.
func (p *partition) weigh(ctx context.Context, at schemas.Checkpoint, unit schemas.UnitIndex, state *unitState) (Outcome, error) {
	m, r := p.shared, &p.shared.reading
	county := m.election.Units[unit].County
	standing := standing{counted: state.counted, county: m.rows[county], keys: m.keys[county]}
	if state.counted != 0 && r.statement.Revision > state.counted {
		var err error
		if standing.before, err = p.countedCells(ctx, unit, state); err != nil {
			return 0, err
		}
	}
	outcome, hold := judge(m.election, &standing, &r.statement)
	if outcome == Counted {
		x := schemas.Entry{Seq: p.next.Size + 1, Revision: r.statement.Revision, Digest: r.envelope.Digest, At: at}
		p.count(&x, &r.statement, standing.before)
	}
	return p.add(at, unit, outcome, hold), nil
}

// count replaces the unit's row in its county's by the one that a submission
// states, whose entry is x.
func (p *partition) count(x *schemas.Entry, st *schemas.Statement, before []schemas.Count) {
	m := p.shared
	county := m.election.Units[st.Unit].County
	m.election.Fold(m.rows[county], st.Unit, before, st.Cells)
	m.replaceKey(st.Unit, before, st.Cells)
	p.touch(county)
	state := &m.units[st.Unit]
	state.counted, state.seq, state.at, state.digest = x.Revision, x.Seq, x.At, x.Digest
	state.cells = m.keep(state.cells, st.Cells)
}

// add makes the entry of the submission at hand.
func (p *partition) add(at schemas.Checkpoint, unit schemas.UnitIndex, outcome Outcome, hold schemas.HoldCode) Outcome {
	v := &p.shared.reading.envelope
	state := &p.shared.units[unit]
	state.highest = max(state.highest, v.Revision)
	p.append(schemas.Entry{
		Kind: outcome.kind(), Hold: hold, Unit: p.shared.election.Units[unit].ID,
		Revision: v.Revision, Digest: v.Digest, At: at,
	}, p.shared.reading.record)
	return outcome
}

// addPoison makes the entry of a record that names no unit of this partition.
func (p *partition) addPoison(at schemas.Checkpoint, record []byte, digest schemas.Digest, why error) Outcome {
	p.shared.onPoison(p.next.Partition, at, why)
	p.append(schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldPoison, Digest: digest, At: at}, record)
	return Held
}

func (p *partition) append(x schemas.Entry, record []byte) {
	p.next.Size++
	x.Partition, x.Seq = p.next.Partition, p.next.Size
	p.entries = append(p.entries, x)
	p.records = append(p.records, record)
	p.bytes += len(record)
}

// Whether a unit's revision was seen before.
type sight int

const (
	unseen    sight = iota
	seenSame        // with the same digest
	seenOther       // only with other digests
)

// seen looks for the submission at hand among the unit's entries: those in the
// ledger and those of this micro-batch. New revisions, and repeats of the one
// that counts, need no look-up.
func (p *partition) seen(ctx context.Context, unit schemas.UnitIndex, state *unitState) (sight, error) {
	v := &p.shared.reading.envelope
	if v.Revision > state.highest {
		return unseen, nil
	}
	if v.Revision == state.counted && v.Digest == state.digest {
		return seenSame, nil
	}
	id := p.shared.election.Units[unit].ID
	found := sightOf(p.entries, id, v)
	if found == seenSame {
		return seenSame, nil
	}
	entries, err := p.ledgerEntries(ctx, id)
	if err != nil {
		return 0, err
	}
	if s := sightOf(entries, id, v); s != unseen {
		found = s
	}
	return found, nil
}

// ledgerEntries looks a unit's entries up, as far as this partition's head: a
// rival may have written more of them meanwhile, and what follows from those
// follows from no prefix of the stream that ends here.
func (p *partition) ledgerEntries(ctx context.Context, unit schemas.UnitID) ([]schemas.Entry, error) {
	p.shared.metrics.lookups.Inc()
	entries, err := p.shared.history.EntriesOf(ctx, unit)
	if err != nil {
		return nil, fmt.Errorf("looking up entries of unit %s: %w", unit, err)
	}
	for len(entries) > 0 && entries[len(entries)-1].Seq > p.head.Size {
		entries = entries[:len(entries)-1]
	}
	return entries, nil
}

func sightOf(entries []schemas.Entry, unit schemas.UnitID, v *schemas.Envelope) sight {
	found := unseen
	for i := range entries {
		x := &entries[i]
		if x.Revision != v.Revision || x.Unit != unit || x.OfRelease() {
			continue
		}
		if x.Digest == v.Digest {
			return seenSame
		}
		found = seenOther
	}
	return found
}

// countedCells returns the unit's counted row: from memory, or after a restart
// from its record in the stream, which was counted before and so must read.
func (p *partition) countedCells(ctx context.Context, unit schemas.UnitIndex, state *unitState) ([]schemas.Count, error) {
	cells := p.shared.cellsOf(unit)
	if state.cells != nil {
		return cells, schemas.ReadCells(state.cells, cells)
	}
	p.shared.metrics.reloads.Inc()
	x, err := p.countedEntry(ctx, unit, state)
	if err != nil {
		return nil, err
	}
	record, err := p.shared.history.Record(ctx, x)
	if err != nil {
		return nil, fmt.Errorf("reading the counted record again: %w", err)
	}
	r := &p.shared.again
	if err := r.reopen(&x, record); err != nil {
		return nil, err
	}
	if err := r.read(p.shared.election, unit); err != nil {
		return nil, fmt.Errorf("reading record %d again: %w", x.At, err)
	}
	return r.statement.Cells, nil
}

// countedEntry is where the counted submission stands. Who recalls a release
// knows the entry of the hold by its number alone.
func (p *partition) countedEntry(ctx context.Context, unit schemas.UnitIndex, state *unitState) (schemas.Entry, error) {
	id := p.shared.election.Units[unit].ID
	if state.at != 0 {
		return schemas.Entry{
			Partition: p.next.Partition, Seq: state.seq, Unit: id, Revision: state.counted, Digest: state.digest, At: state.at,
		}, nil
	}
	entries, err := p.shared.history.EntriesOf(ctx, id)
	if err != nil {
		return schemas.Entry{}, fmt.Errorf("looking up the released entry of unit %s: %w", id, err)
	}
	for i := range entries {
		if entries[i].Seq == state.seq {
			state.at = entries[i].At
			return entries[i], nil
		}
	}
	return schemas.Entry{}, fmt.Errorf("unit %s has no entry %d, which was released", id, state.seq)
}
