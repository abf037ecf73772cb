package cdf

import (
	"slices"
	"strconv"

	"tallystream/schemas"
)

// cell is a count of a unit or a sum of a place.
type cell interface{ ~int64 | ~uint32 }

// counted is one place's cells of one section, from the report cell on.
type counted[C cell] struct {
	id    string // @id of the place
	cells []C
	// votesOnly: its undervotes and overvotes are not told.
	votesOnly bool
}

// voteCount and ballotCount begin a count, up to its place's @id.
const (
	voteCount   = `{"@type":"` + classPrefix + `VoteCounts","GpUnitId":"`
	ballotCount = `{"@type":"` + classPrefix + `BallotCounts","GpUnitId":"`
)

// writeCounts writes one selection's counts in all places, zeros included.
func writeCounts[C cell](r *report, start string, types [][]byte, places []counted[C], selection int) {
	for i := range places {
		cells := places[i].cells[1+selection*len(types):]
		for t, tail := range types {
			r.comma()
			r.b = append(r.b, start...)
			r.b = append(r.b, places[i].id...)
			r.b = append(r.b, '"')
			r.b = append(r.b, tail...)
			r.b = strconv.AppendInt(r.b, int64(cells[t]), 10)
			r.end()
		}
	}
}

// writeBallots writes ballots cast, where they are known.
func writeBallots[C cell](r *report, places []counted[C]) {
	if !r.election.Definition.Rules.Ballots {
		return
	}
	r.list("BallotCounts")
	writeCounts(r, ballotCount, r.ballotTypes, places, 0)
	r.endList()
}

// contestClass is the class of a contest by its kind.
func contestClass(k schemas.ContestKind) string {
	switch k {
	case schemas.CandidateContest:
		return "CandidateContest"
	case schemas.RetentionContest:
		return "RetentionContest"
	case schemas.PartyContest:
		return "PartyContest"
	}
	return "BallotMeasureContest"
}

// writeContest writes one contest with its counts in places.
func writeContest[C cell](r *report, i schemas.ContestIndex, p progress, places []counted[C]) {
	c := &r.election.Definition.Contests[i]
	r.next(contestClass(c.Kind))
	r.id("@id", contestPrefix, string(c.ID))
	r.string("Name", c.Name)
	r.id("ElectionDistrictId", r.contests[i].district)
	r.int("SequenceOrder", int64(i)+1)
	if c.Kind == schemas.CandidateContest {
		r.int("VotesAllowed", int64(c.VotesAllowed))
	}
	if c.VotesAllowed > 1 {
		r.string("VoteVariation", "n-of-m")
	}
	if c.Kind == schemas.RetentionContest {
		r.id("CandidateId", candidatePrefix, string(c.ID))
	}
	r.progress(p)
	if r.facts.Status == PreElection {
		r.contestExternals(c)
	}
	r.list("ContestSelection")
	for k := range c.Selections {
		r.selection(c, &c.Selections[k])
		if len(places) > 0 {
			r.list("VoteCounts")
			writeCounts(r, voteCount, r.voteTypes, places, k)
			r.endList()
		}
		r.end()
	}
	r.endList()
	if c.Residuals != schemas.ResidualsNone && slices.ContainsFunc(places, func(p counted[C]) bool { return !p.votesOnly }) {
		writeResiduals(r, c, places)
	}
	r.end()
}

// writeResiduals writes under- and overvotes. The standard does not split them
// by count type.
func writeResiduals[C cell](r *report, c *schemas.Contest, places []counted[C]) {
	types := r.election.Types()
	sum := func(cells []C) (n int64) {
		for _, x := range cells {
			n += int64(x)
		}
		return n
	}
	r.list("OtherCounts")
	for i := range places {
		if places[i].votesOnly {
			continue
		}
		cells := places[i].cells[1+len(c.Selections)*types:]
		r.next("OtherCounts")
		r.id("GpUnitId", places[i].id)
		r.int("Undervotes", sum(cells[:types]))
		r.int("Overvotes", sum(cells[types:2*types]))
		r.end()
	}
	r.endList()
}

// selection opens a selection, up to its counts.
func (r *report) selection(c *schemas.Contest, s *schemas.Selection) {
	switch c.Kind {
	case schemas.CandidateContest:
		r.next("CandidateSelection")
		r.id("@id", selectionPrefix, string(c.ID), ofContest, string(s.ID))
		r.list("CandidateIds")
		r.ref(candidatePrefix, string(c.ID), ofContest, string(s.ID))
		r.endList()
		if s.WriteIn {
			r.bool("IsWriteIn", true)
		}
	case schemas.PartyContest:
		r.next("PartySelection")
		r.id("@id", selectionPrefix, string(c.ID), ofContest, string(s.ID))
		r.list("PartyIds")
		r.ref(partyPrefix, r.party(partyOf(s)))
		r.endList()
	default:
		r.next("BallotMeasureSelection")
		r.id("@id", selectionPrefix, string(c.ID), ofContest, string(s.ID))
		r.internationalized("Selection", s.Name)
	}
}

// candidates writes those of one contest. The line of a ballot for write-ins is
// one too: it has a name there.
func (r *report) candidates(c *schemas.Contest) {
	if c.Kind == schemas.RetentionContest {
		r.next("Candidate")
		r.id("@id", candidatePrefix, string(c.ID))
		r.internationalized("BallotName", c.Name)
		r.end()
	}
	if c.Kind != schemas.CandidateContest {
		return
	}
	for k := range c.Selections {
		s := &c.Selections[k]
		r.next("Candidate")
		r.id("@id", candidatePrefix, string(c.ID), ofContest, string(s.ID))
		r.internationalized("BallotName", s.Name)
		if s.Party != "" {
			r.id("PartyId", partyPrefix, r.party(s.Party))
		}
		r.end()
	}
}

// contestExternals writes what the classes have no member for.
func (r *report) contestExternals(c *schemas.Contest) {
	r.list("ExternalIdentifier")
	r.external(extResiduals, string(c.Residuals))
	if c.Kind != schemas.CandidateContest {
		if c.VotesAllowed != 1 {
			r.external(extVotesAllowed, strconv.Itoa(c.VotesAllowed))
		}
		for k := range c.Selections {
			r.selectionExternals(c, &c.Selections[k])
		}
	}
	r.endList()
}

func (r *report) selectionExternals(c *schemas.Contest, s *schemas.Selection) {
	if s.WriteIn {
		r.external(extWriteIn, string(s.ID))
	}
	if s.Party != "" {
		r.external(extParty, string(s.ID)+" "+s.Party)
	}
	if c.Kind == schemas.PartyContest && s.Name != partyOf(s) {
		r.external(extName, string(s.ID)+" "+s.Name)
	}
}
