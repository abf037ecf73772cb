package elections

import (
	"encoding/json"
	"fmt"

	"tallystream/schemas"
)

// Kind is the size of a generated election.
type Kind string

// The kinds of generated elections.
const (
	CountyKind Kind = "county" // 150 units of an invented county
	StateKind  Kind = "state"  // 2,500 units in 60 counties of an invented state
	UnionKind  Kind = "us"     // 180,000 units in the 50 states and DC
)

// unionUnits is the size of the largest night.
const unionUnits = 180_000

// countTypes of generated elections, in the definition's order. The generator
// draws for exactly these four, 16 bits of one random number each.
var countTypes = [types]schemas.CountType{schemas.Early, schemas.ElectionDay, schemas.AbsenteeMail, schemas.Provisional}

const types = 4

// Generated is an election made from a seed. Rows are computed when they are
// asked for: it holds the definition and 32 bytes a contest.
type Generated struct {
	seed       uint64
	definition []byte
	election   *schemas.Election
	shapes     []shape       // by contest index
	counties   []countyShape // by county index
}

var _ Truth = (*Generated)(nil)

// Definition implements Truth.
func (g *Generated) Definition() []byte { return g.definition }

// Election implements Truth.
func (g *Generated) Election() *schemas.Election { return g.election }

// Generate makes an election of the given kind. The same kind and seed give
// the same definition and the same votes.
func Generate(kind Kind, seed uint64) (*Generated, error) {
	b := &builder{seed: seed}
	d := &b.definition
	*d = schemas.Definition{
		Schema: schemas.DefinitionSchema, Date: "2028-11-07", CountTypes: countTypes[:], Signatures: 1,
		Rules: schemas.Rules{Ballots: true, Registered: true},
	}
	switch kind {
	case CountyKind:
		d.Election, d.Name, d.Partitions = "madison-2028-general", "Madison County general election 2028 (rehearsal, generated)", 1
		b.build([]stateProfile{madisonProfile}, []int{madisonProfile.precincts})
	case StateKind:
		d.Election, d.Name, d.Partitions = "franklin-2028-general", "State of Franklin general election 2028 (rehearsal, generated)", 8
		b.build([]stateProfile{franklinProfile}, []int{franklinProfile.precincts})
	case UnionKind:
		d.Election, d.Name, d.Partitions = "us-2028-general", "United States general election 2028 (rehearsal, generated)", 16
		weights := make([]float64, len(unionProfiles))
		for i := range unionProfiles {
			weights[i] = float64(unionProfiles[i].precincts)
		}
		b.build(unionProfiles, apportion(unionUnits, weights))
	default:
		return nil, fmt.Errorf("generating an election: kind %q: want county, state or us", kind)
	}
	d.Origin = "rehearsal.example/" + string(d.Election)
	g := &Generated{seed: seed, shapes: b.shapes, counties: b.counties}
	var err error
	if g.definition, err = json.Marshal(d); err != nil {
		return nil, fmt.Errorf("generating an election: %w", err)
	}
	if g.election, err = schemas.OpenElection(g.definition); err != nil {
		return nil, fmt.Errorf("generating an election: %w", err)
	}
	return g, nil
}
