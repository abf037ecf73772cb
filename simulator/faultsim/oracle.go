package faultsim

import (
	"maps"

	"tallystream/schemas"
)

// oracle counts the night again, in the plainest way that there is: it takes
// each partition's records one after the other as the stream has them, knows
// what they mean from who made them, keeps everything, and adds up from
// nothing each time. No code of the fold is in it.
type oracle struct {
	world   *world
	town    *town
	records func(schemas.Partition) []placed // all that the stream holds, in order
	books   []*oracleBook                    // by partition
}

// oracleBook is what becomes of a partition.
type oracleBook struct {
	records []placed
	facts   []fact
	latest  map[schemas.UnitID]*meaning            // what counts
	sizes   []int                                  // facts, by how many records were read
	totals  []map[schemas.CountyID]map[place]int64 // by size
}

// fact is an entry that the ledger must have.
type fact struct {
	kind   schemas.EntryKind
	hold   schemas.HoldCode
	held   uint64 // of a release: which entry it releases, from 1
	says   *meaning
	at     schemas.Checkpoint
	record string
}

func newOracle(w *world, t *town, records func(schemas.Partition) []placed) *oracle {
	o := &oracle{world: w, town: t, records: records}
	for range t.election.Definition.Partitions {
		o.books = append(o.books, &oracleBook{
			latest: map[schemas.UnitID]*meaning{}, sizes: []int{0}, totals: []map[schemas.CountyID]map[place]int64{{}},
		})
	}
	return o
}

// size is how many entries partition p has at a checkpoint.
func (o *oracle) size(p schemas.Partition, at schemas.Checkpoint) int {
	b := o.books[p]
	if len(b.records) == 0 || b.records[len(b.records)-1].at < at {
		b.records = o.records(p)
	}
	read := 0
	for read < len(b.records) && b.records[read].at <= at {
		if read++; read == len(b.sizes) {
			o.next(b, p, b.records[read-1])
		}
	}
	return b.sizes[read]
}

// next takes a record in.
func (o *oracle) next(b *oracleBook, p schemas.Partition, r placed) {
	says := o.town.known[r.record]
	if says == nil {
		o.world.violate("partition %d: the stream holds a record that nobody made: %.100q", p, r.record)
		says = &meaning{digest: schemas.DigestOf([]byte(r.record)), hold: schemas.HoldPoison, partition: p}
	}
	if says.partition != p { // right in another partition: poison here
		digest := says.digest
		if says.releases != nil {
			digest = schemas.DigestOf([]byte(r.record))
		}
		says = &meaning{digest: digest, hold: schemas.HoldPoison}
	}
	f := fact{says: says, at: r.at, record: r.record}
	if says.releases != nil {
		f.kind, f.hold, f.held = b.release(says)
	} else {
		f.kind, f.hold = o.judge(b, says)
	}
	if f.kind != "" {
		b.facts = append(b.facts, f)
		switch f.kind {
		case schemas.EntryCounted:
			b.latest[says.unit] = says
		case schemas.EntryReleased:
			b.latest[says.unit] = says.releases
		}
		b.totals = append(b.totals, o.count(b))
	}
	b.sizes = append(b.sizes, len(b.facts))
}

// judge says what becomes of a record; "" of one that was there before.
func (o *oracle) judge(b *oracleBook, says *meaning) (schemas.EntryKind, schemas.HoldCode) {
	if says.unit == "" {
		return schemas.EntryHeld, schemas.HoldPoison
	}
	other := false
	for _, f := range b.facts {
		if f.says.releases == nil && f.says.unit == says.unit && f.says.revision == says.revision {
			if f.says.digest == says.digest {
				return "", ""
			}
			other = true
		}
	}
	before := b.latest[says.unit]
	switch {
	case other:
		return schemas.EntryHeld, schemas.HoldConflict
	case says.hold == schemas.HoldPoison:
		return schemas.EntryHeld, says.hold
	case before != nil && says.revision < before.revision:
		return schemas.EntrySuperseded, ""
	case says.hold != "":
		return schemas.EntryHeld, says.hold
	case says.correction:
		return schemas.EntryCounted, ""
	case before != nil:
		if hold := fallen(before.counts, says.counts); hold != "" {
			return schemas.EntryHeld, hold
		}
	}
	if hold := o.unlikely(b, says); hold != "" {
		return schemas.EntryHeld, hold
	}
	return schemas.EntryCounted, ""
}

// unlikely holds a statement against what the other units of its county say,
// and against the last time.
func (o *oracle) unlikely(b *oracleBook, says *meaning) schemas.HoldCode {
	county := o.town.countyOf(says.unit)
	ballots, others, sum := says.ballots(), int64(0), int64(0)
	for unit, m := range b.latest {
		if unit == says.unit || o.town.countyOf(unit) != county {
			continue
		}
		// Units of a county have one ballot style here.
		if says.votes() >= twinLeast && maps.Equal(nonzero(m.counts), nonzero(says.counts)) {
			return schemas.HoldTwin
		}
		others++
		sum += m.ballots()
	}
	switch {
	case ballots <= outlierLeast:
	case ballots*100 > history*outlierPercent:
		return schemas.HoldOutlier
	case others > 0 && ballots*100*others > sum*neighbourPercent:
		return schemas.HoldOutlier
	}
	return ""
}

func (t *town) countyOf(unit schemas.UnitID) schemas.CountyIndex {
	u, _ := t.election.Unit(unit)
	return t.election.Units[u].County
}

// ballots that a statement says, of all count types.
func (m *meaning) ballots() (n int64) {
	for p, count := range m.counts {
		if p.selection == string(schemas.Ballots) {
			n += count
		}
	}
	return n
}

// votes for selections that a statement says, in all.
func (m *meaning) votes() (n int64) {
	for p, count := range m.counts {
		switch p.selection {
		case stated, undervotes, overvotes, string(schemas.Ballots):
		default:
			n += count
		}
	}
	return n
}

// nonzero leaves out what is zero: said or not, it is the same.
func nonzero(counts map[place]int64) map[place]int64 {
	out := maps.Clone(counts)
	maps.DeleteFunc(out, func(_ place, n int64) bool { return n == 0 })
	return out
}

// release says what becomes of a release; "" if its hold was released, or
// lapsed, before.
func (b *oracleBook) release(says *meaning) (kind schemas.EntryKind, hold schemas.HoldCode, held uint64) {
	for i, f := range b.facts {
		if f.kind == schemas.EntryHeld && f.says == says.releases && f.hold != schemas.HoldPoison {
			held = uint64(i + 1)
		}
	}
	before := b.latest[says.unit]
	switch {
	case held == 0:
		return schemas.EntryHeld, schemas.HoldRelease, 0
	case b.isSettled(held):
		return "", "", 0
	case before != nil && says.revision < before.revision:
		return schemas.EntryLapsed, "", held
	case says.releases.hold == schemas.HoldPoison: // held as a conflict, and nobody can read it
		return schemas.EntryHeld, schemas.HoldRelease, 0
	}
	return schemas.EntryReleased, "", held
}

func (b *oracleBook) isSettled(held uint64) bool {
	for _, f := range b.facts {
		if f.held == held {
			return true
		}
	}
	return false
}

// fallen says why a statement without a reason may not replace another.
func fallen(before, after map[place]int64) (hold schemas.HoldCode) {
	for p, n := range before {
		switch {
		case p.selection == stated && after[p] < n:
			return schemas.HoldMissing
		case p.selection != undervotes && p.selection != overvotes && after[p] < n:
			hold = schemas.HoldLowered
		}
	}
	return hold
}

// count adds up what counts, by county.
func (o *oracle) count(b *oracleBook) map[schemas.CountyID]map[place]int64 {
	all := map[schemas.CountyID]map[place]int64{}
	for unit, says := range b.latest {
		u, _ := o.town.election.Unit(unit)
		county := o.town.election.Counties[o.town.election.Units[u].County].ID
		if all[county] == nil {
			all[county] = map[place]int64{}
		}
		for p, n := range says.counts {
			all[county][p] += n
		}
	}
	return all
}

// sum is what stands in the given counties at a cut, and how many entries of
// the cut are held.
func (o *oracle) sum(cut []int, in func(schemas.CountyID) bool) map[place]int64 {
	out := map[place]int64{}
	for p, size := range cut {
		for county, counts := range o.books[p].totals[size] {
			if !in(county) {
				continue
			}
			if len(out) == 0 {
				maps.Copy(out, counts)
				continue
			}
			for at, n := range counts {
				out[at] += n
			}
		}
	}
	return out
}

// split counts a cut's entries that were accepted and that are held.
func (o *oracle) split(cut []int) (accepted, held uint64) {
	for p, size := range cut {
		for _, f := range o.books[p].facts[:size] {
			if f.kind == schemas.EntryHeld {
				held++
			} else {
				accepted++
			}
		}
	}
	return accepted, held
}
