package audit

import "tallystream/schemas"

// verdict is what the rules say must become of a submission or a release.
type verdict struct {
	kind    schemas.EntryKind
	hold    schemas.HoldCode
	of      *hold                   // that a release ends
	finding *schemas.OutlierFinding // of an outlier
	twin    schemas.UnitID          // of what is the same as another
}

func held(code schemas.HoldCode) verdict { return verdict{kind: schemas.EntryHeld, hold: code} }

func (v verdict) String() string {
	if v.hold != "" {
		return string(v.kind) + " (" + string(v.hold) + ")"
	}
	return string(v.kind)
}

// weigh is the rule of what counts, for a submission that could be read and
// was not seen before. before is the row that counts so far, of revision
// counted; nil and 0 where none does.
func (f *forms) weigh(r *reading, counted schemas.Revision, before []uint32) verdict {
	if r.revision < counted {
		return verdict{kind: schemas.EntrySuperseded}
	}
	if code := f.implausible(r); code != "" {
		return held(code)
	}
	if before != nil && !r.correction {
		if code := f.lowered(f.units[r.unit].style, before, r.row); code != "" {
			return held(code)
		}
	}
	return verdict{kind: schemas.EntryCounted}
}

// implausible returns the first identity that the counts break.
func (f *forms) implausible(r *reading) schemas.HoldCode {
	if r.foreign {
		return schemas.HoldDefinition
	}
	if !f.Rules.Ballots {
		return ""
	}
	u := &f.units[r.unit]
	cast := int64(0)
	for t := range f.counts {
		cast += int64(r.row[1+t])
	}
	if f.Rules.Registered && u.registered > 0 && cast > int64(u.registered) {
		return schemas.HoldRegistered
	}
	for i := range u.style.sections {
		s := &u.style.sections[i]
		if s.contest != ballots && s.residuals && r.row[s.at] == 1 && !f.balances(s, r.row) {
			return schemas.HoldIdentity
		}
	}
	return ""
}

// balances checks votes + undervotes + overvotes = ballots x votes allowed.
func (f *forms) balances(s *section, row []uint32) bool {
	contest := &f.Contests[s.contest]
	all := int64(0)
	for t := range f.counts {
		gap := -int64(row[1+t]) * int64(contest.VotesAllowed)
		for k := range s.selections + 2 {
			gap += int64(row[s.at+1+k*f.counts+t])
		}
		if gap != 0 && contest.Residuals == schemas.ResidualsByType {
			return false
		}
		all += gap
	}
	return all == 0
}

// lowered compares with what counts so far. A contest that is missing says
// more than a lower count; undervotes and overvotes may fall.
func (f *forms) lowered(style *form, before, after []uint32) schemas.HoldCode {
	fell := false
	for i := range style.sections {
		s := &style.sections[i]
		if after[s.at] < before[s.at] {
			return schemas.HoldMissing
		}
		for k := s.at + 1; k <= s.at+s.selections*f.counts; k++ {
			fell = fell || after[k] < before[k]
		}
	}
	if fell {
		return schemas.HoldLowered
	}
	return ""
}
