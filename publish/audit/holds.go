package audit

import (
	"slices"

	"tallystream/schemas"
)

// hold is an entry that is or was held, by the rules.
type hold struct {
	partition schemas.Partition
	seq       uint64
	unit      int // -1: it names none
	revision  schemas.Revision
	digest    schemas.Digest
	code      schemas.HoldCode
	state     schemas.HoldState
	row       []byte // as varints; nil: it states no numbers, or they cannot count any more
	finding   *schemas.OutlierFinding
	twin      schemas.UnitID
}

// releasable: its record states numbers that two supervisors may let count.
func (h *hold) releasable() bool {
	return h.code != schemas.HoldPoison && h.code != schemas.HoldRelease
}

// held remembers what the rules hold.
func (c *count) held(x *schemas.Entry, r *reading, want verdict) {
	h := &hold{
		partition: x.Partition, seq: x.Seq, unit: -1, digest: r.digest, code: want.hold, state: schemas.HoldOpen, finding: want.finding, twin: want.twin,
	}
	if r.addressed {
		u := &c.units[r.unit]
		h.unit, h.revision = r.unit, r.revision
		u.holds = append(u.holds, h)
		switch {
		case r.revision < u.counted:
			h.state = schemas.HoldSuperseded
		case h.releasable() && r.poison == "":
			h.row = pack(nil, r.row)
		}
	}
	c.holds[x.Partition] = append(c.holds[x.Partition], h)
}

// judgeRelease looks for the hold that a release names: it counts unless a later
// revision does.
func (c *count) judgeRelease(x *schemas.Entry, r *reading) verdict {
	u := &c.units[r.unit]
	at := slices.IndexFunc(u.holds, func(h *hold) bool { return h.revision == r.revision && h.digest == r.digest && h.releasable() })
	if at < 0 {
		return held(schemas.HoldRelease)
	}
	h := u.holds[at]
	switch {
	case h.state == schemas.HoldReleased || h.state == schemas.HoldLapsed:
		c.report.entry(KindEntry, x, "the hold that it names was released before: this has no entry")
		return verdict{kind: schemas.EntryLapsed}
	case h.revision < u.counted:
		return verdict{kind: schemas.EntryLapsed, of: h}
	case h.row == nil:
		return held(schemas.HoldRelease)
	}
	return verdict{kind: schemas.EntryReleased, of: h}
}

// settle ends the hold that a release names.
func (c *count) settle(x *schemas.Entry, r *reading, want verdict) {
	h := want.of
	if h == nil {
		return
	}
	row := h.row
	if h.row = nil; want.kind == schemas.EntryLapsed {
		h.state = schemas.HoldLapsed
		return
	}
	h.state = schemas.HoldReleased
	c.replace(x, r, unpack(row, c.forms.units[h.unit].style.cells, nil), schemas.MovementRelease)
}

// supersede closes the unit's holds below what counts now.
func (u *unitCount) supersede() {
	for _, h := range u.holds {
		if h.revision < u.counted && h.state == schemas.HoldOpen {
			h.state, h.row = schemas.HoldSuperseded, nil
		}
	}
}

// movement records that an entry lowers numbers of its unit, if it does.
func (c *count) movement(x *schemas.Entry, r *reading, before, after []uint32, kind schemas.MovementKind) {
	u, unit := &c.forms.units[r.unit], &c.units[r.unit]
	var changes []schemas.Fall
	for i := range u.style.sections {
		s := &u.style.sections[i]
		known := len(changes)
		for k := range c.size(s) {
			was, is := before[s.at+k], after[s.at+k]
			if is >= was {
				continue
			}
			fall := schemas.Fall{Contest: c.contestID(s.contest), Before: schemas.Count(was), After: schemas.Count(is)}
			if fall.Selection, fall.CountType = c.cellName(s, k); k == 0 {
				fall.Selection = "reporting"
			}
			changes = append(changes, fall)
		}
		if len(changes) > known {
			c.fallen[u.county][c.counties[u.county].index[s.contest]]++
			if unit.fallen == nil {
				unit.fallen = make([]int64, len(u.style.sections))
			}
			unit.fallen[i]++
		}
	}
	if len(changes) == 0 {
		return
	}
	c.report.Movements++
	m := schemas.Movement{
		Unit: u.id, County: c.counties[u.county].id, Revision: r.revision, Replaces: unit.counted, Kind: kind,
		Signers: slices.Clone(r.signers), Partition: x.Partition, Seq: x.Seq, Changes: changes,
	}
	if kind != schemas.MovementAdjudication {
		m.Reason, m.Text = r.reason, r.text
	}
	c.moves[x.Partition] = append(c.moves[x.Partition], m)
}

// hasTwin is the unit of the county that counts with the same row of the same
// style, the first by the definition; "" where the rule does not hold that.
func (c *count) hasTwin(r *reading) schemas.UnitID {
	rule := c.Rules.Outliers
	if rule == nil || rule.Twins == nil || c.hidden.units[r.unit] {
		return ""
	}
	style, votes := c.forms.units[r.unit].style, int64(0)
	for i := range style.sections {
		if s := &style.sections[i]; s.contest != ballots {
			votes += c.votes(s, r.row)
		}
	}
	if votes < int64(rule.Twins.Least) {
		return ""
	}
	c.out = pack(c.out[:0], r.row)
	for _, other := range c.counties[c.forms.units[r.unit].county].units {
		if other != r.unit && !c.hidden.units[other] && c.forms.units[other].style == style && c.units[other].counted != 0 && slices.Equal(c.units[other].row, c.out) {
			return c.forms.units[other].id
		}
	}
	return ""
}

// votes adds up a section of a row, without undervotes and overvotes.
func (f *forms) votes(s *section, row []uint32) (n int64) {
	for _, v := range row[s.at+1:][:s.selections*f.counts] {
		n += int64(v)
	}
	return n
}

// outlier is the first of the rules against history and neighbours that a row
// breaks, or nil. before is what counts so far; nil: nothing.
func (c *count) outlier(r *reading, before []uint32) *schemas.OutlierFinding {
	u, rules := &c.forms.units[r.unit], c.Rules.Outliers
	if rules == nil || u.administrative {
		return nil
	}
	if h := rules.History; h != nil && c.Rules.Ballots && u.history > 0 {
		if n := c.votes(&u.style.sections[0], r.row); n > int64(h.Least) && n*100 > int64(u.history)*int64(h.Percent) {
			return &schemas.OutlierFinding{Rule: "history", Contest: schemas.BallotsCast, Value: n, Against: int64(u.history), Percent: h.Percent}
		}
	}
	if rules.Neighbours == nil || c.hidden.counties[u.county] {
		return nil
	}
	asked := u.style.sections
	if c.Rules.Ballots {
		asked = asked[:1]
	}
	for i := range asked {
		if f := c.aboveOthers(r, &asked[i], u.to[i], before, rules.Neighbours); f != nil {
			return f
		}
	}
	return nil
}

// aboveOthers compares what a unit states of a contest with the mean of the
// others that state it.
func (c *count) aboveOthers(r *reading, s *section, at int, before []uint32, rule *schemas.NeighbourRule) *schemas.OutlierFinding {
	county := c.rows[c.forms.units[r.unit].county][at:]
	others, sum := county[0], int64(0)
	for _, n := range county[1:][:s.selections*c.counts] {
		sum += n
	}
	if before != nil {
		others -= int64(before[s.at])
		sum -= c.votes(s, before)
	}
	n := c.votes(s, r.row)
	if others < int64(rule.Units) || sum == 0 || n <= int64(rule.Least) || n*100*others <= sum*int64(rule.Percent) {
		return nil
	}
	return &schemas.OutlierFinding{Rule: "neighbours", Contest: c.contestID(s.contest), Value: n, Against: sum / others, Percent: rule.Percent}
}
