package schemas

import "fmt"

// DefinitionSchema is the version that every definition carries.
const DefinitionSchema = "tallystream.definition/1"

// Definition is an election as its authority states it before the night. Its
// exact bytes are hashed: that hash is the ballot-definition hash which every
// submission repeats. Names follow NIST SP 1500-100 v2 where it has one.
type Definition struct {
	Schema   string     `json:"schema"`
	Election ElectionID `json:"election"`
	Name     string     `json:"name"`
	Date     string     `json:"date"` // YYYY-MM-DD
	// Origin is the first line of every note of this election: a URL without
	// its scheme, never changed.
	Origin string `json:"origin"`
	// CountTypes fixes the order of every array of counts.
	CountTypes []CountType `json:"countTypes"`
	// Partitions of the stream; county number i goes to partition i mod this.
	Partitions int `json:"partitions"`
	// Signatures an ordinary submission needs: 1 (an official) or 2 (an
	// official and an approver).
	Signatures int      `json:"signatures"`
	Rules      Rules    `json:"rules"`
	States     []State  `json:"states"`
	Counties   []County `json:"counties"`
	// Contests in the order in which people expect to read them.
	Contests []Contest `json:"contests"`
	Styles   []Style   `json:"styles"`
	Units    []Unit    `json:"units"`
}

// Rules says which of the facts that the checks need are known in this
// election. A rule whose fact is unknown does not apply.
type Rules struct {
	// Ballots: submissions state ballots cast, so that votes can be held
	// against them.
	Ballots bool `json:"ballots"`
	// Registered: units state registered voters, so that ballots can be held
	// against them.
	Registered bool `json:"registered"`
	// Outliers: what is held because it is too much, or too much alike. Absent:
	// nothing is.
	Outliers *OutlierRules `json:"outliers,omitempty"`
	// Suppression hides the numbers of small units. Absent: nothing is hidden.
	Suppression *SuppressionRule `json:"suppression,omitempty"`
}

// OutlierRules hold what is possible and yet unlikely. Each is optional. They
// do not apply to corrections, which two supervisors signed.
type OutlierRules struct {
	// History: a precinct's ballots against Unit.History.
	History *HistoryRule `json:"history,omitempty"`
	// Neighbours: a precinct against the mean of the units of its county that
	// count already; ballots where they are known, else the votes of each contest.
	Neighbours *NeighbourRule `json:"neighbours,omitempty"`
	// Twins: a unit that states exactly the numbers of another one of its county.
	Twins *TwinRule `json:"twins,omitempty"`
}

// HistoryRule holds more than Percent of what was, above Least ballots.
type HistoryRule struct {
	Percent int `json:"percent"`
	Least   int `json:"least"`
}

// NeighbourRule holds more than Percent of the mean, above Least, once Units
// others count.
type NeighbourRule struct {
	Percent int `json:"percent"`
	Least   int `json:"least"`
	Units   int `json:"units"`
}

// TwinRule holds equal rows whose votes, over all contests, reach Least.
type TwinRule struct {
	Least int `json:"least"`
}

// State is a state of the election; a county's night has just one.
type State struct {
	ID   CountyID `json:"id"`
	Name string   `json:"name"`
}

// County is the parent of units.
type County struct {
	ID    CountyID `json:"id"`
	Name  string   `json:"name"`
	State CountyID `json:"state"`
}

// ContestKind is the kind of a contest, after NIST's subclasses of Contest.
type ContestKind string

// The kinds of contests.
const (
	CandidateContest     ContestKind = "candidate"
	BallotMeasureContest ContestKind = "ballot-measure"
	RetentionContest     ContestKind = "retention"
	PartyContest         ContestKind = "party"
)

// Residuals says whether a contest's over- and undervotes are known, and with
// that which form of the identity
//
//	votes + undervotes + overvotes = ballots x votes allowed
//
// applies to it.
type Residuals string

// The forms of the identity.
const (
	ResidualsNone   Residuals = "none"       // not known: no identity
	ResidualsTotal  Residuals = "total"      // holds for the sum over count types
	ResidualsByType Residuals = "count-type" // holds for each count type
)

// Contest is one question on the ballot.
type Contest struct {
	ID           ContestID   `json:"id"`
	Name         string      `json:"name"`
	Kind         ContestKind `json:"kind"`
	VotesAllowed int         `json:"votesAllowed"`
	Residuals    Residuals   `json:"residuals"`
	Selections   []Selection `json:"selections"`
}

// Selection is a candidate or an answer.
type Selection struct {
	ID      SelectionID `json:"id"`
	Name    string      `json:"name"`
	Party   string      `json:"party,omitempty"`
	WriteIn bool        `json:"writeIn,omitempty"`
}

// Style is a ballot style: the contests that its units vote on, sorted by
// identifier. A submission lists them in this order.
type Style struct {
	ID       StyleID     `json:"id"`
	Contests []ContestID `json:"contests"`
}

// UnitKind tells places from bookkeeping.
type UnitKind string

// The kinds of units.
const (
	PrecinctUnit       UnitKind = "precinct"
	AdministrativeUnit UnitKind = "administrative" // such as "Provisional": counts that belong to no precinct
)

// Unit is a reporting unit: what sends submissions.
type Unit struct {
	ID     UnitID   `json:"id"`
	Name   string   `json:"name"`
	County CountyID `json:"county"`
	Kind   UnitKind `json:"kind"`
	Style  StyleID  `json:"style"`
	// Registered voters; zero where Rules.Registered is false or the unit is
	// administrative.
	Registered int `json:"registered,omitempty"`
	// History: ballots cast in the last comparable election; zero: not known.
	History int `json:"history,omitempty"`
}

// ParseDefinition reads and validates a definition. Unknown fields are an
// error: a definition that says more than we understand must not be counted by.
func ParseDefinition(b []byte) (*Definition, error) {
	d := new(Definition)
	if err := readJSON(b, d); err != nil {
		return nil, fmt.Errorf("reading election definition: %w", err)
	}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	return d, nil
}
