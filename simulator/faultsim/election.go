package faultsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
	"tallystream/simulator/elections"
)

// place is what is counted: a selection of a contest by count type. With the
// selection "" it is whether the contest is stated at all.
type place struct {
	contest, selection string
	kind               int
}

// What stands beside selections in a contest.
const (
	stated     = ""
	undervotes = "(undervotes)"
	overvotes  = "(overvotes)"
)

// meaning is what a record says, as its maker knows it: nobody has parsed it.
type meaning struct {
	unit       schemas.UnitID // "": the record names none that its partition has
	revision   schemas.Revision
	digest     schemas.Digest
	counts     map[place]int64
	correction bool
	hold       schemas.HoldCode // for what it says by itself
	envelope   []byte
	partition  schemas.Partition // of its unit
	name       string
	// releases is what two supervisors let count: then this is a release, and
	// says the same of unit, revision and digest.
	releases *meaning
}

// town is the election of all nights, and everything that is sent in any of
// them: signed once, since signing is a good part of a night's cost.
type town struct {
	election   *schemas.Election
	definition []byte
	roster     []byte
	keyring    *schemas.Keyring
	receipts   elections.Signer
	verifier   note.Verifier // of receipts
	publisher  elections.Signer
	units      []unitStory
	poison     []*meaning
	known      map[string]*meaning // by the exact record
}

// unitStory is what a unit may send.
type unitStory struct {
	ordinary []*meaning // by revision, from 1
	odd      []*meaning // of any revision: conflicts, slips, corrections
	releases map[*meaning]*meaning
}

// revisions that a unit sends in order.
const revisions = 3

const seedOfKeys = 7

// What the definition's rules say of the unlikely. Ballots of ordinary
// statements are 100 to 312.
const (
	history          = 200 // ballots of every unit, last time
	outlierPercent   = 300
	neighbourPercent = 400
	outlierLeast     = 100
	twinLeast        = 10
)

var kinds = []schemas.CountType{schemas.Early, schemas.ElectionDay}

// oneTown is the town, made once.
var oneTown = sync.OnceValues(newTown)

func newTown() (*town, error) {
	t := &town{known: map[string]*meaning{}}
	var err error
	if t.definition, err = json.Marshal(definition()); err != nil {
		return nil, fmt.Errorf("writing the definition: %w", err)
	}
	if t.election, err = schemas.OpenElection(t.definition); err != nil {
		return nil, err
	}
	keys, err := elections.NewKeys(t.election, seedOfKeys)
	if err != nil {
		return nil, err
	}
	t.roster = keys.Roster()
	if t.keyring, err = schemas.OpenRoster(t.roster, t.election); err != nil {
		return nil, err
	}
	t.receipts, t.publisher = elections.RehearsalSigner(seedOfKeys, "receipts.example"), elections.RehearsalSigner(seedOfKeys, t.election.Definition.Origin)
	if t.verifier, err = note.NewVerifier(t.receipts.VerifierKey()); err != nil {
		return nil, fmt.Errorf("making the verifier of receipts: %w", err)
	}
	for u := range t.election.Units {
		if err := t.tell(schemas.UnitIndex(u), keys); err != nil {
			return nil, err
		}
	}
	return t, t.poisons(keys)
}

// definition has counties in four partitions, a contest of all, one of some
// and one of a single county.
func definition() *schemas.Definition {
	d := &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "faults-2026", Name: "A night of faults", Date: "2026-11-03",
		Origin: "results.example/faults-2026", CountTypes: kinds, Partitions: 4, Signatures: 1,
		Rules: schemas.Rules{Ballots: true, Registered: true, Outliers: &schemas.OutlierRules{
			History:    &schemas.HistoryRule{Percent: outlierPercent, Least: outlierLeast},
			Neighbours: &schemas.NeighbourRule{Percent: neighbourPercent, Least: outlierLeast, Units: 1},
			Twins:      &schemas.TwinRule{Least: twinLeast},
		}},
		States: []schemas.State{{ID: "north", Name: "North"}},
		Contests: []schemas.Contest{
			{ID: "bond", Name: "School bond", Kind: schemas.BallotMeasureContest, VotesAllowed: 1, Residuals: schemas.ResidualsNone,
				Selections: []schemas.Selection{{ID: "yes", Name: "Yes"}, {ID: "no", Name: "No"}}},
			{ID: "governor", Name: "Governor", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsByType,
				Selections: []schemas.Selection{{ID: "lee", Name: "Lee"}, {ID: "kim", Name: "Kim"}}},
		},
		Styles: []schemas.Style{
			{ID: "full", Contests: []schemas.ContestID{"bond", "governor"}},
			{ID: "short", Contests: []schemas.ContestID{"governor"}},
		},
	}
	for i, county := range []schemas.CountyID{"ash", "birch", "cedar", "elm", "fir"} {
		d.Counties = append(d.Counties, schemas.County{ID: county, Name: string(county), State: "north"})
		style := d.Styles[i%2].ID
		for u := range 1 + i%2 {
			d.Units = append(d.Units, schemas.Unit{
				ID: schemas.UnitID(fmt.Sprintf("%s.%d", county, u+1)), Name: fmt.Sprint(u + 1), County: county,
				Kind: schemas.PrecinctUnit, Style: style, Registered: 1000, History: history,
			})
		}
	}
	return d
}

// statement makes counts in which everything adds up, the larger the larger
// size is.
func (t *town) statement(u schemas.UnitIndex, size int64) map[place]int64 {
	m := map[place]int64{}
	for _, s := range t.election.Units[u].Style.Sections {
		contest := string(t.election.ContestID(s.Contest))
		m[place{contest, stated, 0}] = 1
		for k := range kinds {
			ballots := size*int64(2+k) + int64(u)
			switch contest {
			case string(schemas.BallotsCast):
				m[place{contest, string(schemas.Ballots), k}] = ballots
			case "bond":
				m[place{contest, "yes", k}], m[place{contest, "no", k}] = ballots/3, ballots/4
			default:
				m[place{contest, "lee", k}], m[place{contest, "kim", k}] = ballots/2, ballots/3
				m[place{contest, undervotes, k}] = ballots - ballots/2 - ballots/3
			}
		}
	}
	return m
}

// cells lays counts out as a body's writer wants them.
func (t *town) cells(u schemas.UnitIndex, counts map[place]int64) []schemas.Count {
	style := t.election.Units[u].Style
	cells := make([]schemas.Count, style.Cells)
	for i := range style.Sections {
		s := &style.Sections[i]
		for at, p := range t.places(s) {
			cells[int(s.Offset)+at] = schemas.Count(counts[p])
		}
	}
	return cells
}

// places of a section, in the order in which rows have them.
func (t *town) places(s *schemas.Section) []place {
	contest := string(t.election.ContestID(s.Contest))
	out := []place{{contest, stated, 0}}
	add := func(selection string) {
		for k := range kinds {
			out = append(out, place{contest, selection, k})
		}
	}
	for i := range int(s.Selections) {
		if s.Contest == schemas.BallotsIndex {
			add(string(schemas.Ballots))
		} else {
			add(string(t.election.Definition.Contests[s.Contest].Selections[i].ID))
		}
	}
	if s.Residuals {
		add(undervotes)
		add(overvotes)
	}
	return out
}

// tell makes all that a unit may send.
func (t *town) tell(u schemas.UnitIndex, keys *elections.Keys) error {
	story := unitStory{releases: map[*meaning]*meaning{}}
	sealed := func(name string, revision schemas.Revision, size int64, change func(map[place]int64, *meaning)) (*meaning, error) {
		m := &meaning{unit: t.election.Units[u].ID, revision: revision, counts: t.statement(u, size), name: fmt.Sprintf("%s#%d %s", t.election.Units[u].ID, revision, name)}
		if change != nil {
			change(m.counts, m)
		}
		return m, t.seal(u, m, keys)
	}
	for r := range schemas.Revision(revisions) {
		m, err := sealed("ordinary", r+1, 20+20*int64(r), nil)
		if err != nil {
			return err
		}
		story.ordinary = append(story.ordinary, m)
	}
	for _, odd := range []struct {
		name     string
		revision schemas.Revision
		size     int64
		change   func(map[place]int64, *meaning)
	}{
		{"conflict", 1, 24, nil},
		{"conflict", 2, 55, nil},
		{"lower", 3, 30, nil},
		{"lower", 4, 25, nil},
		{"correction", 4, 35, func(_ map[place]int64, m *meaning) { m.correction = true }},
		{"correction", 2, 15, func(_ map[place]int64, m *meaning) { m.correction = true }},
		{"overfull", 3, 400, func(_ map[place]int64, m *meaning) { m.hold = schemas.HoldRegistered }},
		{"edition", 3, 70, func(_ map[place]int64, m *meaning) { m.hold = schemas.HoldDefinition }},
		{"far above", 4, 150, nil},
		{"above the neighbour", 4, 110, nil},
		{"twin", 3, 60, func(c map[place]int64, _ *meaning) {
			clear(c)
			maps.Copy(c, t.statement(t.neighbour(u), 60))
		}},
		{"unbalanced", 4, 90, func(c map[place]int64, m *meaning) {
			c[place{"governor", undervotes, 0}]--
			m.hold = schemas.HoldIdentity
		}},
		{"partial", 2, 45, func(c map[place]int64, m *meaning) {
			for p := range c {
				if p.contest == "governor" {
					delete(c, p)
				}
			}
		}},
	} {
		m, err := sealed(odd.name, odd.revision, odd.size, odd.change)
		if err != nil {
			return err
		}
		story.odd = append(story.odd, m)
	}
	for _, m := range append(slices.Clone(story.odd), story.ordinary[0]) {
		if err := t.release(u, story.releases, m, keys); err != nil {
			return err
		}
	}
	t.units = append(t.units, story)
	return nil
}

// neighbour is another unit of the county with the same ballot style, or the
// unit itself where it is alone.
func (t *town) neighbour(u schemas.UnitIndex) schemas.UnitIndex {
	units := t.election.Counties[t.election.Units[u].County].Units
	return units[(slices.Index(units, u)+1)%len(units)]
}

// release signs a release of m by two supervisors.
func (t *town) release(u schemas.UnitIndex, all map[*meaning]*meaning, m *meaning, keys *elections.Keys) (err error) {
	l := &meaning{unit: m.unit, revision: m.revision, digest: m.digest, partition: m.partition, name: "release of " + m.name, releases: m}
	l.envelope, err = schemas.AppendRelease(nil, t.election.Definition.Origin, m.unit, m.revision, m.digest,
		schemas.ReleaseChecked, "Held against the tapes.", keys.Correct(nil, t.election.Units[u].County)...)
	if err != nil {
		return fmt.Errorf("signing %s: %w", l.name, err)
	}
	t.known[string(l.envelope)], all[m] = l, l
	return nil
}

// seal signs a statement and remembers what the record means.
func (t *town) seal(u schemas.UnitIndex, m *meaning, keys *elections.Keys) error {
	var correction *schemas.Correction
	signers := keys.Sign(nil, t.election.Units[u].County)
	if m.correction {
		correction = &schemas.Correction{Reason: schemas.CorrectRecount, Text: "counted again"}
		signers = keys.Correct(nil, t.election.Units[u].County)
	}
	body := t.election.AppendBody(nil, u, m.revision, t.cells(u, m.counts), nil, correction)
	if m.hold == schemas.HoldDefinition {
		body = bytes.Replace(body, []byte(t.election.Hash.String()), []byte(schemas.Digest{1}.String()), 1)
	}
	return t.envelope(u, m, t.election.Definition.Origin, m.unit, body, signers)
}

func (t *town) envelope(u schemas.UnitIndex, m *meaning, origin string, unit schemas.UnitID, body []byte, signers []note.Signer) (err error) {
	m.digest, m.partition = schemas.DigestOf(body), t.election.PartitionOf(u)
	if m.envelope, err = schemas.AppendEnvelope(nil, origin, unit, m.revision, body, signers...); err != nil {
		return fmt.Errorf("signing %s: %w", m.name, err)
	}
	t.known[string(m.envelope)] = m
	return nil
}

// poisons makes records that ingest would not have let through: of another
// election, of no unit, with a body that is none, and plain rubbish.
func (t *town) poisons(keys *elections.Keys) error {
	for i := range t.election.Units {
		u := schemas.UnitIndex(i)
		unit := t.election.Units[u].ID
		signers := keys.Sign(nil, t.election.Units[u].County)
		body := []byte(`{"not":"a submission"}`)
		for _, x := range []struct {
			name, origin string
			note, unit   schemas.UnitID
			revision     schemas.Revision
		}{
			{"of another election", "results.example/other", unit, "", 1},
			{"of no unit", t.election.Definition.Origin, "nowhere.1", "", 1},
			{"without a body", t.election.Definition.Origin, unit, unit, schemas.Revision(1 + i%4)},
			{"without a body, far ahead", t.election.Definition.Origin, unit, unit, 90},
		} {
			m := &meaning{unit: x.unit, revision: x.revision, hold: schemas.HoldPoison, name: fmt.Sprintf("poison %s at %s", x.name, unit)}
			if err := t.envelope(u, m, x.origin, x.note, body, signers); err != nil {
				return err
			}
			if x.unit == "" {
				m.revision = 0
			} else if err := t.release(u, t.units[u].releases, m, keys); err != nil {
				return err
			}
			t.poison = append(t.poison, m)
		}
		if err := t.releaseByOne(u, keys); err != nil {
			return err
		}
		rubbish := fmt.Appendf(nil, "rubbish %d", i)
		m := &meaning{hold: schemas.HoldPoison, digest: schemas.DigestOf(rubbish), envelope: rubbish, partition: t.election.PartitionOf(u), name: "rubbish"}
		t.known[string(rubbish)] = m
		t.poison = append(t.poison, m)
	}
	return nil
}

// releaseByOne makes a release that ingest would not have let through.
func (t *town) releaseByOne(u schemas.UnitIndex, keys *elections.Keys) error {
	held, signers := t.units[u].odd[0], keys.Correct(nil, t.election.Units[u].County)
	b, err := schemas.AppendRelease(nil, t.election.Definition.Origin, held.unit, held.revision, held.digest, schemas.ReleaseChecked, "Trust me.", signers[0])
	if err != nil {
		return fmt.Errorf("signing alone: %w", err)
	}
	m := &meaning{hold: schemas.HoldPoison, digest: schemas.DigestOf(b), envelope: b, partition: held.partition, name: "poison release by one of " + held.name}
	t.known[string(b)] = m
	t.poison = append(t.poison, m)
	return nil
}

// releaseOf is the release of what was made of some unit; nil if there is none.
func (t *town) releaseOf(m *meaning) *meaning {
	for i := range t.units {
		if l := t.units[i].releases[m]; l != nil {
			return l
		}
	}
	return nil
}
