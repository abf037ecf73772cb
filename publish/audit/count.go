package audit

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// unitCount is what is remembered of a unit: nothing for each of its
// submissions, so that memory grows with the election alone.
type unitCount struct {
	counted schemas.Revision // 0: none
	row     []byte           // the counted row, as varints
	highest schemas.Revision // of any entry
	sum     uint64           // of all its entries; see markOf
	holds   []*hold          // in order
	fallen  []int64          // movements by section of its style; nil: none
}

// count is the audit's own count. Its goroutine is the audit's.
type count struct {
	*forms
	ledger Ledger
	report *Report
	hidden hidden

	units  []unitCount
	rows   [][]int64            // by county
	fallen [][]int64            // by county: movements by section
	holds  [][]*hold            // by partition
	moves  [][]schemas.Movement // likewise
	at     []uint64             // entries counted, by partition
	last   []schemas.Checkpoint // of the last entry, by partition
	cells  []uint32             // scratch: the row before
	out    []byte               // scratch
}

func newCount(f *forms, l Ledger, r *Report) *count {
	c := &count{
		forms: f, ledger: l, report: r, units: make([]unitCount, len(f.units)), rows: make([][]int64, len(f.counties)),
		at: make([]uint64, f.Partitions), last: make([]schemas.Checkpoint, f.Partitions),
		fallen: make([][]int64, len(f.counties)), holds: make([][]*hold, f.Partitions), moves: make([][]schemas.Movement, f.Partitions),
	}
	for i := range c.rows {
		c.rows[i], c.fallen[i] = make([]int64, f.counties[i].cells), make([]int64, len(f.counties[i].sections))
	}
	return c
}

// take counts one entry, whose reading was made by a reader, at a cut.
func (c *count) take(ctx context.Context, x *schemas.Entry, r *reading, head *ledger.Head) error {
	c.at[x.Partition] = x.Seq
	c.report.Entries++
	if r.lost != "" {
		c.report.entry(KindEntry, x, r.lost)
		return nil
	}
	c.place(x, head)
	want, err := c.judge(ctx, x, r)
	if err != nil {
		return err
	}
	c.compare(x, r, want)
	if r.unsigned != "" {
		c.report.entry(KindSignature, x, r.unsigned)
	}
	switch want.kind {
	case schemas.EntryCounted:
		kind := schemas.MovementAdjudication
		if r.correction {
			kind = schemas.MovementCorrection
		}
		c.replace(x, r, r.row, kind)
		c.report.Accepted++
	case schemas.EntrySuperseded:
		c.report.Accepted++
	case schemas.EntryReleased, schemas.EntryLapsed:
		c.settle(x, r, want)
		c.report.Accepted++
	default:
		c.held(x, r, want)
		c.report.Held++
	}
	if r.addressed && !r.release {
		u := &c.units[r.unit]
		u.highest = max(u.highest, r.revision)
	}
	if u, ok := c.unitIndex[string(x.Unit)]; ok {
		c.units[u].sum += markOf(x)
	}
	return nil
}

// place checks where the entry lies in the stream.
func (c *count) place(x *schemas.Entry, head *ledger.Head) {
	last := &c.last[x.Partition]
	if x.At <= *last {
		c.report.entry(KindEntry, x, fmt.Sprintf("its record lies at %d, not behind the one before it at %d", x.At, *last))
	}
	if x.At > head.Checkpoint {
		c.report.entry(KindEntry, x, fmt.Sprintf("its record lies at %d, behind the checkpoint %d of its partition", x.At, head.Checkpoint))
	}
	*last = max(*last, x.At)
}

// judge says what the rules make of a reading.
func (c *count) judge(ctx context.Context, x *schemas.Entry, r *reading) (verdict, error) {
	if !r.addressed {
		return held(schemas.HoldPoison), nil
	}
	if r.release {
		return c.judgeRelease(x, r), nil
	}
	u := &c.units[r.unit]
	if r.revision <= u.highest {
		same, other, err := c.seen(ctx, x, r)
		if err != nil {
			return verdict{}, err
		}
		if same {
			c.report.entry(KindEntry, x, "the same submission has an entry before this one")
			return verdict{kind: x.Kind, hold: x.Hold}.unless(schemas.EntryCounted), nil
		}
		if other {
			return held(schemas.HoldConflict), nil
		}
	}
	if r.poison != "" {
		return held(schemas.HoldPoison), nil
	}
	var before []uint32
	if u.counted != 0 && r.revision > u.counted {
		before = c.before(r.unit)
	}
	want := c.weigh(r, u.counted, before)
	if want.kind != schemas.EntryCounted || r.correction {
		return want, nil
	}
	// Of a county's numbers the rules know more than of a unit's own.
	if twin := c.hasTwin(r); twin != "" {
		return verdict{kind: schemas.EntryHeld, hold: schemas.HoldTwin, twin: twin}, nil
	}
	if finding := c.outlier(r, before); finding != nil {
		return verdict{kind: schemas.EntryHeld, hold: schemas.HoldOutlier, finding: finding}, nil
	}
	return want, nil
}

// unless is v, or a hold where v is of the kind: a repeat counts for nothing.
func (v verdict) unless(kind schemas.EntryKind) verdict {
	if v.kind == kind {
		return held(schemas.HoldConflict)
	}
	return v
}

// seen looks for the revision among the unit's entries before x: with the same
// digest, or with others only. Few submissions come late, so asking the ledger is
// cheaper than remembering all of them.
func (c *count) seen(ctx context.Context, x *schemas.Entry, r *reading) (same, other bool, err error) {
	entries, err := c.ledger.EntriesOf(ctx, c.forms.units[r.unit].id)
	if err != nil {
		return false, false, fmt.Errorf("looking up the entries before entry %d of partition %d: %w", x.Seq, x.Partition, err)
	}
	for i := range entries {
		if e := &entries[i]; e.Seq < x.Seq && e.Partition == x.Partition && e.Revision == r.revision && !e.OfRelease() {
			same, other = same || e.Digest == r.digest, true
		}
	}
	return same, other, nil
}

// compare holds what the entry says against what its record says and the rules
// make of it.
func (c *count) compare(x *schemas.Entry, r *reading, want verdict) {
	unit := schemas.UnitID("")
	if r.addressed {
		unit = c.forms.units[r.unit].id
	}
	switch {
	case x.Digest != r.digest && !r.cut:
		c.report.entry(KindRecord, x, fmt.Sprintf("its record has the digest %s, the entry says %s", r.digest, x.Digest))
	case x.Unit != unit:
		c.report.entry(KindRecord, x, fmt.Sprintf("its record names the unit %q, the entry %q", unit, x.Unit))
	case r.addressed && x.Revision != r.revision:
		c.report.entry(KindRecord, x, fmt.Sprintf("its record is revision %s, the entry says %s", r.revision, x.Revision))
	}
	if want.of != nil && x.Kind == want.kind && x.Held != want.of.seq {
		c.report.entry(KindDecision, x, fmt.Sprintf("it ends the hold of entry %d, the entry says %d", want.of.seq, x.Held))
	}
	if got := (verdict{kind: x.Kind, hold: x.Hold}); got.kind != want.kind || got.hold != want.hold {
		why := ""
		if r.poison != "" {
			why = ": " + r.poison
		}
		c.report.entry(KindDecision, x, fmt.Sprintf("the ledger has it as %s, by the rules it is %s%s", got, want, why))
	}
}

// replace makes row what counts for the unit of a reading. kind is what that is
// if a number falls by it.
func (c *count) replace(x *schemas.Entry, r *reading, row []uint32, kind schemas.MovementKind) {
	u := &c.units[r.unit]
	if u.counted != 0 {
		before := c.before(r.unit)
		c.movement(x, r, before, row, kind)
		c.add(r.unit, before, -1)
	}
	c.add(r.unit, row, 1)
	c.out = pack(c.out[:0], row)
	u.row = slices.Clone(c.out)
	u.counted = r.revision
	u.supersede()
}

// pack appends a row as varints.
func pack(dst []byte, row []uint32) []byte {
	for _, n := range row {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

// unpack expands a packed row of n cells into room, or into more.
func unpack(b []byte, n int, room []uint32) []uint32 {
	room = slices.Grow(room[:0], n)[:n]
	for i := range room {
		v, k := binary.Uvarint(b)
		room[i], b = uint32(v), b[k:]
	}
	return room
}

// add adds a unit's row to its county's, sign times.
func (c *count) add(unit int, row []uint32, sign int64) {
	u := &c.forms.units[unit]
	county := c.rows[u.county]
	for i := range u.style.sections {
		s := &u.style.sections[i]
		for k := range c.size(s) {
			county[u.to[i]+k] += sign * int64(row[s.at+k])
		}
	}
}

// before is the unit's counted row; valid until it is called again.
func (c *count) before(unit int) []uint32 {
	c.cells = c.counted(unit, c.cells)
	return c.cells
}

// counted expands the row that counts for a unit into room.
func (c *count) counted(unit int, room []uint32) []uint32 {
	return unpack(c.units[unit].row, c.forms.units[unit].style.cells, room)
}

// markOf is a number that two entries share only by an accident of 2^-64. Sums
// of marks compare sets of entries without keeping them.
func markOf(x *schemas.Entry) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %s %s %d %s %d %d ", x.Partition, x.Seq, x.Kind, x.Hold, x.Held, x.Unit, x.Revision, x.At)
	h.Write(x.Digest[:])
	return h.Sum64()
}
