package elections

import (
	"strconv"
	"strings"

	"tallystream/schemas"
)

// form is what a contest is made from; zero values are a candidate contest
// for one seat.
type form struct {
	kind       schemas.ContestKind
	candidates int
	allowed    int
	party      bool    // the first two are a Democrat and a Republican
	writeIn    bool    // a line for write-ins
	under      float64 // mean share of undervotes
}

// contest adds a contest with invented candidates and what its votes are
// drawn from.
func (b *builder) contest(d *Draw, id, name string, f form) schemas.ContestID {
	if f.kind == "" {
		f.kind = schemas.CandidateContest
	}
	c := schemas.Contest{
		ID: schemas.ContestID(id), Name: name, Kind: f.kind, VotesAllowed: max(f.allowed, 1), Residuals: schemas.ResidualsByType,
	}
	if f.kind == schemas.CandidateContest {
		c.Selections = candidates(d, f)
	} else {
		c.Selections = []schemas.Selection{{ID: "yes", Name: "Yes"}, {ID: "no", Name: "No"}}
	}
	b.definition.Contests = append(b.definition.Contests, c)
	b.shapes = append(b.shapes, newShape(d, &c, f))
	return c.ID
}

// parties in the order of the ballot; further candidates are independents.
var parties = []string{"Democratic", "Republican", "Libertarian", "Green"}

func candidates(d *Draw, f form) []schemas.Selection {
	out := make([]schemas.Selection, 0, f.candidates+1)
	for i, p := range people(d, f.candidates) {
		s := schemas.Selection{ID: schemas.SelectionID(strings.ToLower(p.family)), Name: p.given + " " + p.family}
		switch {
		case !f.party:
		case f.candidates == 1:
			s.Party = parties[d.Below(2)]
		case i < len(parties):
			s.Party = parties[i]
		default:
			s.Party = "Independent"
		}
		out = append(out, s)
	}
	if f.writeIn {
		out = append(out, schemas.Selection{ID: "write-in", Name: "Write-in", WriteIn: true})
	}
	return out
}

// federal adds President, U.S. Senate and U.S. House.
func (b *builder) federal() {
	d := DrawOf(b.seed, drawContests)
	president := b.contest(&d, "president", "President", form{party: true, candidates: 4, writeIn: true, under: 0.008})
	for i, s := range b.states {
		s.wide = append(s.wide, president)
		// A third of the Senate's classes has no election: 33 or 34 states vote.
		if i%3 != 1 && s.id != "dc" {
			s.wide = append(s.wide, b.stateContest(&d, s, "us-senate", "U.S. Senate", form{party: true, candidates: 3, writeIn: true, under: 0.015}))
		}
	}
	for _, s := range b.states {
		s.house = b.districts(&d, s, "us-house", "U.S. House", s.stateProfile.house, form{party: true, candidates: 2, under: 0.03})
	}
}

func (b *builder) stateContest(d *Draw, s *stateBuild, short, name string, f form) schemas.ContestID {
	return b.contest(d, s.id+"-"+short, s.name+" "+name, f)
}

func (b *builder) districts(d *Draw, s *stateBuild, short, name string, n int, f form) []schemas.ContestID {
	out := make([]schemas.ContestID, n)
	for i := range n {
		number := strconv.Itoa(i + 1)
		if f.candidates == 2 && d.Chance(0.3) && short != "us-house" {
			out[i] = b.stateContest(d, s, short+"-"+number, name+", district "+number, form{party: true, candidates: 1, under: 0.2})
			continue
		}
		out[i] = b.stateContest(d, s, short+"-"+number, name+", district "+number, f)
	}
	return out
}

var stateOffices = []struct{ id, name string }{
	{"governor", "Governor"}, {"attorney-general", "Attorney General"}, {"secretary-of-state", "Secretary of State"},
	{"treasurer", "Treasurer"}, {"auditor", "Auditor"}, {"superintendent", "Superintendent of Schools"},
}

// statewide adds a state's executive offices.
func (b *builder) statewide(s *stateBuild) {
	d := DrawOf(b.seed, drawContests, hashText(s.id), 1)
	for i, o := range stateOffices {
		s.wide = append(s.wide, b.stateContest(&d, s, o.id, o.name, form{party: true, candidates: max(2, 3-i), under: 0.02 + 0.008*float64(i)}))
	}
}

// legislature adds a state's legislative districts.
func (b *builder) legislature(s *stateBuild) {
	d := DrawOf(b.seed, drawContests, hashText(s.id), 2)
	s.upper = b.districts(&d, s, "senate", "Senate", s.stateProfile.upper, form{party: true, candidates: 2, under: 0.05})
	s.lower = b.districts(&d, s, "house", "House", s.stateProfile.lower, form{party: true, candidates: 2, under: 0.055})
}

// measures adds a state's ballot measures and the retention of its judges.
func (b *builder) measures(s *stateBuild) {
	d := DrawOf(b.seed, drawContests, hashText(s.id), 3)
	for i := range 4 {
		n := strconv.Itoa(i + 1)
		s.wide = append(s.wide, b.stateContest(&d, s, "amendment-"+n, "Amendment "+n, form{kind: schemas.BallotMeasureContest, under: 0.04 + 0.01*float64(i)}))
	}
	for i := range 3 {
		n := strconv.Itoa(i + 1)
		p := people(&d, 1)[0]
		s.wide = append(s.wide, b.stateContest(&d, s, "justice-"+n, "Supreme Court: retain "+p.given+" "+p.family+"?",
			form{kind: schemas.RetentionContest, under: 0.18}))
	}
}
