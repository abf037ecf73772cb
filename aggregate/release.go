package aggregate

import (
	"context"
	"fmt"

	"tallystream/schemas"
)

// takeRelease folds a release: the held numbers count from here on, unless a
// later revision counts already. It returns errors before it changes anything.
//
// What a release must have been signed by was checked at ingest, as for
// submissions; here its signature lines are counted.
func (p *partition) takeRelease(ctx context.Context, at schemas.Checkpoint, record []byte) (Outcome, error) {
	l := &p.shared.release
	unit, why := p.readRelease(l, record)
	if why != nil {
		return p.addPoison(at, record, schemas.DigestOf(record), why), nil
	}
	h, err := p.findHold(ctx, unit, l)
	switch {
	case err != nil:
		return 0, err
	case h.settled:
		return Duplicate, nil
	case h.found && h.entry.Revision < p.shared.units[unit].counted:
		return p.addRelease(at, record, Lapsed, &h.entry), nil
	case h.found:
		return p.release(ctx, at, unit, record, &h)
	}
	return p.addReleaseOfNothing(at, record, unit), nil
}

// readRelease reads a release, which must be one of this partition.
func (p *partition) readRelease(l *schemas.Release, record []byte) (schemas.UnitIndex, error) {
	if err := l.Parse(record); err != nil {
		return 0, err
	}
	unit, err := p.unitOf(l.Origin, l.Unit)
	if err == nil && len(l.Signatures()) < 2 {
		err = errSignature
	}
	return unit, err
}

// foundHold is the entry that a release speaks of.
type foundHold struct {
	found   bool
	settled bool // it was released before, or lapsed
	entry   schemas.Entry
	record  []byte // nil: the ledger has it
}

// findHold looks for the hold among the unit's entries: those in the ledger
// and those of this micro-batch.
func (p *partition) findHold(ctx context.Context, unit schemas.UnitIndex, l *schemas.Release) (h foundHold, err error) {
	id := p.shared.election.Units[unit].ID
	entries, err := p.ledgerEntries(ctx, id)
	if err != nil {
		return h, err
	}
	for i := range entries {
		h.look(&entries[i], id, l, nil)
	}
	for i := range p.entries {
		h.look(&p.entries[i], id, l, p.records[i])
	}
	return h, nil
}

// look takes the next of a partition's entries. A unit has one submission of a
// revision and digest at most, so there is one hold at most.
func (h *foundHold) look(x *schemas.Entry, unit schemas.UnitID, l *schemas.Release, record []byte) {
	if x.Unit != unit || x.Revision != l.Revision || x.Digest != l.Digest {
		return
	}
	switch x.Kind {
	case schemas.EntryHeld:
		if x.Hold.Releasable() {
			h.found, h.entry, h.record = true, *x, record
		}
	case schemas.EntryReleased, schemas.EntryLapsed:
		h.settled = true
	}
}

// release lets the held row count. A conflict is held unread, so it may turn
// out to state no numbers: then nothing that could count was held.
func (p *partition) release(ctx context.Context, at schemas.Checkpoint, unit schemas.UnitIndex, record []byte, h *foundHold) (Outcome, error) {
	m := p.shared
	if h.record == nil {
		var err error
		if h.record, err = m.history.Record(ctx, h.entry); err != nil {
			return 0, fmt.Errorf("reading the held record: %w", err)
		}
	}
	r := &m.reading
	if err := r.reopen(&h.entry, h.record); err != nil {
		return 0, err
	}
	if err := r.read(m.election, unit); err != nil {
		m.onPoison(p.next.Partition, h.entry.At, fmt.Errorf("released, but unreadable: %w", err))
		return p.addReleaseOfNothing(at, record, unit), nil
	}
	state := &m.units[unit]
	var before []schemas.Count
	if state.counted != 0 {
		var err error
		if before, err = p.countedCells(ctx, unit, state); err != nil {
			return 0, err
		}
	}
	p.count(&h.entry, &r.statement, before)
	return p.addRelease(at, record, Released, &h.entry), nil
}

// addRelease makes the entry of a release of hold.
func (p *partition) addRelease(at schemas.Checkpoint, record []byte, outcome Outcome, hold *schemas.Entry) Outcome {
	p.append(schemas.Entry{
		Kind: outcome.kind(), Held: hold.Seq, Unit: hold.Unit, Revision: hold.Revision, Digest: hold.Digest, At: at,
	}, record)
	return outcome
}

// addReleaseOfNothing makes the entry of the release at hand, which names
// nothing that is held. It does not count as seen: what it names may yet come.
func (p *partition) addReleaseOfNothing(at schemas.Checkpoint, record []byte, unit schemas.UnitIndex) Outcome {
	l := &p.shared.release
	p.append(schemas.Entry{
		Kind: schemas.EntryHeld, Hold: schemas.HoldRelease, Unit: p.shared.election.Units[unit].ID,
		Revision: l.Revision, Digest: l.Digest, At: at,
	}, record)
	return Held
}
