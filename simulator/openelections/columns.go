package openelections

import (
	"cmp"
	"slices"
	"strings"

	"tallystream/schemas"
)

// columns says where a file has what.
type columns struct {
	county, fips, precinct, office, district, party, candidate, votes int // -1: none
	counts                                                            []countColumn
}

// countColumn is a column of one count type.
type countColumn struct {
	at        int
	countType schemas.CountType
}

// ignored are columns of OpenElections that say nothing that is needed.
var ignored = []string{
	"", "state", "county_code", "county_fips", "precinct_code", "precinct_id", "precinct_name", "winner", "incumbent", "notes", "id",
	"parent_jurisdiction", "jurisdiction", "ward", "municipality", "town", "city", "vtd", "percentage", "percent", "pct", "vote_pct",
	"election_id", "date", "type", "updated_at", "office_code", "candidate_code", "party_code", "reporting_level",
}

// countTypes maps column names, lower case with underscores, to count types
// of NIST SP 1500-100. OpenElections has no fixed set: each state's sources
// name what they split.
var countTypeNames = map[schemas.CountType]string{
	schemas.Early: `early early_voting early_votes early_vote early_in_person early_voting_votes in_person_early advance advance_voting
advance_voting_votes advanced_voting one_stop onestop one_stop_voting early_walk_in walk_in_early`,
	"absentee-in-person": `absentee_in_person in_person_absentee absentee_inperson inperson_absentee absentee_walk_in walk_in_absentee`,
	schemas.ElectionDay: `election_day election_day_votes electionday election_day_voting polling_place polling polls poll poll_votes
at_polls e_day eday in_person in_person_votes precinct_votes day_of`,
	"absentee": `absentee absentee_votes absentee_voting absentees absentee_early`,
	schemas.AbsenteeMail: `absentee_by_mail absentee_by_mail_votes absentee_mail absentee_mail_in mail mail_in mail_votes mail_in_votes
mail_ballots by_mail vote_by_mail votes_by_mail vbm mailed`,
	"uocava":            `uocava military overseas military_overseas military_and_overseas uocava_votes`,
	"absentee-fwab":     `fwab federal_write_in_absentee`,
	schemas.Provisional: `provisional provisional_votes provisionals provisional_ballots affidavit affidavits`,
	// Bookkeeping that the standard has no word for.
	"other-failsafe":             `failsafe fail_safe`,
	"other-failsafe-provisional": `failsafe_provisional failsafe_provision`,
	"other-curbside":             `curbside`,
	"other-emergency":            `emergency`,
	"other-machine":              `machine machine_votes`,
	"other-paper":                `paper paper_votes paper_ballots`,
	"other-hand":                 `hand hand_count hand_counted`,
	"other-challenged":           `challenged challenged_votes`,
	"other-transfer":             `transfer`,
	"other-limited":              `limited limited_ballots`,
	"other-central":              `central central_count`,
	"other-federal":              `federal federal_votes federal_only presidential presidential_only`,
	schemas.OtherCounts:          `other other_votes misc`,
}

// countTypeOrder is the order of count types in a definition.
var countTypeOrder = []schemas.CountType{
	schemas.Early, "absentee-in-person", schemas.ElectionDay, "absentee", schemas.AbsenteeMail, "uocava", "absentee-fwab", schemas.Provisional,
}

// orderCountTypes sorts as countTypeOrder has it; then come our own types by
// name; what was not split is last.
func orderCountTypes(types []schemas.CountType) {
	rank := func(t schemas.CountType) int {
		if t == schemas.OtherCounts {
			return len(countTypeOrder) + 1
		}
		if i := slices.Index(countTypeOrder, t); i >= 0 {
			return i
		}
		return len(countTypeOrder)
	}
	slices.SortFunc(types, func(a, b schemas.CountType) int {
		return cmp.Or(rank(a)-rank(b), strings.Compare(string(a), string(b)))
	})
}

// countTypeColumns is countTypeNames, turned round.
var countTypeColumns = func() map[string]schemas.CountType {
	m := map[string]schemas.CountType{}
	for t, names := range countTypeNames {
		for _, n := range strings.Fields(names) {
			m[n] = t
		}
	}
	return m
}()

// columnName is how a column is called, whoever wrote the header.
func columnName(s string) string {
	s = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(s, "\ufeff")))
	return strings.Trim(strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '.', '/':
			return '_'
		}
		return r
	}, s), "_")
}

// readHeader finds the columns. Known ones may stand in any order.
func readHeader(file string, header []string, w *warnings) (*columns, error) {
	c := &columns{-1, -1, -1, -1, -1, -1, -1, -1, nil}
	known := map[string]*int{
		"county": &c.county, "fips": &c.fips, "precinct": &c.precinct, "office": &c.office, "district": &c.district,
		"party": &c.party, "candidate": &c.candidate, "votes": &c.votes,
	}
	for i, raw := range header {
		name := columnName(raw)
		at, isKnown := known[name]
		countType, isCount := countTypeColumns[name]
		switch {
		case isKnown && *at >= 0:
			return nil, &SyntaxError{file, 1, 0, "column " + name + " stands twice in the header"}
		case isKnown:
			*at = i
		case isCount:
			c.counts = append(c.counts, countColumn{i, countType})
		case !slices.Contains(ignored, name):
			w.add(Column, file, 1, "column %q is not understood and left out; votes that only it splits off count as %q", raw, schemas.OtherCounts)
		}
	}
	for _, name := range []string{"county", "precinct", "office", "candidate"} {
		if *known[name] < 0 {
			return nil, &SyntaxError{file, 1, 0, "the header has no column " + name + "; want county, precinct, office, district, party, candidate, votes"}
		}
	}
	if c.votes < 0 && len(c.counts) == 0 {
		return nil, &SyntaxError{file, 1, 0, "the header has neither votes nor a column of a known count type"}
	}
	return c, nil
}
