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
		says = &meaning{digest: says.digest, hold: schemas.HoldPoison}
	}
	if kind, hold := b.judge(says); kind != "" {
		b.facts = append(b.facts, fact{kind, hold, says, r.at, r.record})
		if kind == schemas.EntryCounted {
			b.latest[says.unit] = says
		}
		b.totals = append(b.totals, o.count(b))
	}
	b.sizes = append(b.sizes, len(b.facts))
}

// judge says what becomes of a record; "" of one that was there before.
func (b *oracleBook) judge(says *meaning) (schemas.EntryKind, schemas.HoldCode) {
	if says.unit == "" {
		return schemas.EntryHeld, schemas.HoldPoison
	}
	other := false
	for _, f := range b.facts {
		if f.says.unit == says.unit && f.says.revision == says.revision {
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
	case before != nil && !says.correction:
		if hold := fallen(before.counts, says.counts); hold != "" {
			return schemas.EntryHeld, hold
		}
	}
	return schemas.EntryCounted, ""
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
