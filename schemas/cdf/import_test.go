package cdf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
	"tallystream/simulator/elections"
)

// checkRoundTrip writes a definition, reads it, and wants an equal one.
func checkRoundTrip(e *schemas.Election) error {
	var b bytes.Buffer
	if err := cdf.NewExporter(e).Definition(&b, &cdf.Facts{Time: night}); err != nil {
		return err
	}
	got, err := cdf.Import(bytes.NewReader(b.Bytes()), cdf.Options{})
	if err != nil {
		return err
	}
	if d := cmp.Diff(e.Definition, got); d != "" {
		return fmt.Errorf("(-want +got)\n%s", d)
	}
	// And once more the same bytes, but for the hash of the definition's own.
	text, err := json.Marshal(got)
	if err != nil {
		return err
	}
	again, err := schemas.OpenElection(text)
	if err != nil {
		return err
	}
	var c bytes.Buffer
	if err := cdf.NewExporter(again).Definition(&c, &cdf.Facts{Time: night}); err != nil {
		return err
	}
	if !bytes.Equal(bytes.ReplaceAll(b.Bytes(), []byte(e.Hash.String()), []byte(again.Hash.String())), c.Bytes()) {
		return errors.New("written again it is other bytes")
	}
	return nil
}

func TestADefinitionThatIsWrittenAndReadAgainIsEqual(t *testing.T) {
	if err := checkRoundTrip(open(t, example())); err != nil {
		t.Error(err)
	}
	for _, kind := range []elections.Kind{elections.CountyKind, elections.StateKind} {
		g, err := elections.Generate(kind, 7)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkRoundTrip(g.Election()); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		got, err := cdf.Import(bytes.NewReader(preElection(t, g.Election())), cdf.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(got); err != nil || !bytes.Equal(b, g.Definition()) {
			t.Errorf("%s: the definition has other bytes, and with that another hash: %v", kind, err)
		}
	}
}

// drawn is any valid definition.
func drawn(t *rapid.T) *schemas.Definition {
	taken := map[string]bool{"place.any": true}
	id := func(space string) string {
		return rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,6}(\.s\.)?[a-z0-9._-]{0,3}`).Filter(func(s string) bool {
			if taken[space+s] || slices.Contains([]string{"ballots-cast", "overvotes", "undervotes", "any"}, s) {
				return false
			}
			taken[space+s] = true
			return true
		}).Draw(t, space+"id")
	}
	text := rapid.OneOf(rapid.SampledFrom([]string{"", " ", "Ann", "Party A", "Östlich \"x\"", "<a>&\\\n\t\u2028", "yes no", "\uFFFD\""}), rapid.StringN(0, 6, 20))
	d := &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "any", Name: text.Draw(t, "name"), Date: "2026-11-03", Origin: "a.b/" + id("origin"),
		Partitions: rapid.IntRange(1, 4096).Draw(t, "partitions"), Signatures: rapid.IntRange(1, 2).Draw(t, "signatures"),
		Rules:    schemas.Rules{Ballots: rapid.Bool().Draw(t, "ballots"), Registered: rapid.Bool().Draw(t, "registered")},
		Contests: []schemas.Contest{}, Styles: []schemas.Style{}, Units: []schemas.Unit{},
	}
	d.CountTypes = rapid.SliceOfNDistinct(rapid.SampledFrom([]schemas.CountType{
		"early", "election-day", "absentee", "absentee-mail", "uocava", "write-in", "other", "other-a", "other--b", "other-.c", "provisional",
	}), 1, 5, func(c schemas.CountType) schemas.CountType { return c }).Draw(t, "types")
	for range rapid.IntRange(1, 3).Draw(t, "states") {
		d.States = append(d.States, schemas.State{ID: schemas.CountyID(id("place.")), Name: text.Draw(t, "state")})
	}
	for range rapid.IntRange(1, 4).Draw(t, "counties") {
		d.Counties = append(d.Counties, schemas.County{ID: schemas.CountyID(id("place.")), Name: text.Draw(t, "county"), State: rapid.SampledFrom(d.States).Draw(t, "of").ID})
	}
	for range rapid.IntRange(0, 5).Draw(t, "contests") {
		d.Contests = append(d.Contests, drawnContest(t, d, id, text))
	}
	for range rapid.IntRange(1, 4).Draw(t, "styles") {
		s := schemas.Style{ID: schemas.StyleID(id("style.")), Contests: []schemas.ContestID{}}
		for _, c := range d.Contests {
			if rapid.Bool().Draw(t, "on") {
				s.Contests = append(s.Contests, c.ID)
			}
		}
		slices.Sort(s.Contests)
		d.Styles = append(d.Styles, s)
	}
	for range rapid.IntRange(0, 8).Draw(t, "units") {
		d.Units = append(d.Units, schemas.Unit{
			ID: schemas.UnitID(id("unit.")), Name: text.Draw(t, "unit"), County: rapid.SampledFrom(d.Counties).Draw(t, "in").ID,
			Kind:  rapid.SampledFrom([]schemas.UnitKind{schemas.PrecinctUnit, schemas.AdministrativeUnit}).Draw(t, "kind"),
			Style: rapid.SampledFrom(d.Styles).Draw(t, "style").ID, Registered: rapid.SampledFrom([]int{0, 1, 99_999_999}).Draw(t, "voters"),
		})
	}
	return d
}

func drawnContest(t *rapid.T, d *schemas.Definition, id func(string) string, text *rapid.Generator[string]) schemas.Contest {
	residuals := []schemas.Residuals{schemas.ResidualsNone}
	if d.Rules.Ballots {
		residuals = append(residuals, schemas.ResidualsTotal, schemas.ResidualsByType)
	}
	c := schemas.Contest{
		ID: schemas.ContestID(id("contest.")), Name: text.Draw(t, "contest"), VotesAllowed: rapid.SampledFrom([]int{1, 2, 100}).Draw(t, "allowed"),
		Kind:      rapid.SampledFrom([]schemas.ContestKind{schemas.CandidateContest, schemas.BallotMeasureContest, schemas.RetentionContest, schemas.PartyContest}).Draw(t, "class"),
		Residuals: rapid.SampledFrom(residuals).Draw(t, "residuals"),
	}
	for range rapid.IntRange(1, 4).Draw(t, "selections") {
		c.Selections = append(c.Selections, schemas.Selection{
			ID: schemas.SelectionID(id(string(c.ID) + "/")), Name: text.Draw(t, "selection"), Party: text.Draw(t, "party"), WriteIn: rapid.Bool().Draw(t, "write-in"),
		})
	}
	return c
}

func TestAnyDefinitionRoundTripsAndEveryReportOfItIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, err := json.Marshal(drawn(t))
		if err != nil {
			t.Fatal(err)
		}
		e, err := schemas.OpenElection(b)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if err := checkRoundTrip(e); err != nil {
			t.Fatal(err)
		}
		missing := rapid.IntRange(0, 3).Draw(t, "missing")
		ts := tally(e, func(u schemas.UnitIndex) bool { return int(u) != missing })
		x := cdf.NewExporter(e)
		var out bytes.Buffer
		if err := errors.Join(x.Summary(&out, facts(cdf.UnofficialPartial), ts.counties), checkReferences(out.Bytes())); err != nil {
			t.Fatal(err)
		}
		for c := range e.Counties {
			out.Reset()
			if err := x.County(&out, facts(cdf.UnofficialPartial), schemas.CountyIndex(c), ts.row); err != nil {
				t.Fatal(err)
			}
			if err := checkReferences(out.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAnyReportIsValidByTheStandardsSchema(t *testing.T) {
	s, _ := standard(t)
	rapid.Check(t, func(t *rapid.T) {
		b, err := json.Marshal(drawn(t))
		if err != nil {
			t.Fatal(err)
		}
		e, err := schemas.OpenElection(b)
		if err != nil {
			t.Fatal(err)
		}
		ts, x := tally(e, all), cdf.NewExporter(e)
		for name, write := range map[string]func(io.Writer) error{
			"definition": func(w io.Writer) error { return x.Definition(w, facts("")) },
			"summary":    func(w io.Writer) error { return x.Summary(w, facts(cdf.Recount), ts.counties) },
			"county":     func(w io.Writer) error { return x.County(w, facts(cdf.Correction), 0, ts.row) },
		} {
			var out bytes.Buffer
			if err := write(&out); err != nil {
				t.Fatal(err)
			}
			if err := validate(s, out.Bytes()); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out.Bytes())
			}
		}
	})
}

func TestAFileOfAnotherProgramIsReadWithWhatItDoesNotSayGiven(t *testing.T) {
	b := file(t, "testdata/foreign.json")
	options := cdf.Options{
		Origin: "results.example/leon", Ballots: true, Residuals: schemas.ResidualsTotal,
		CountTypes: []schemas.CountType{schemas.Early, schemas.ElectionDay}, State: schemas.State{ID: "fl", Name: "Florida"},
	}
	d, err := cdf.Import(bytes.NewReader(b), options)
	if err != nil {
		t.Fatal(err)
	}
	want := &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "leon-county-municipal", Name: "Leon County Municipal", Date: "2026-11-03",
		Origin: "results.example/leon", CountTypes: options.CountTypes, Partitions: 1, Signatures: 1,
		Rules:    schemas.Rules{Ballots: true, Registered: true},
		States:   []schemas.State{options.State},
		Counties: []schemas.County{{ID: "gp-leon", Name: "Leon", State: "fl"}},
		Contests: []schemas.Contest{
			{ID: "con-mayor", Name: "Mayor", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsTotal, Selections: []schemas.Selection{
				{ID: "cs-1", Name: "Ann Smith / Bob Lee", Party: "Blue"}, {ID: "cs-w", Name: "Write-in", WriteIn: true},
			}},
			{ID: "con-tax", Name: "Tax", Kind: schemas.BallotMeasureContest, VotesAllowed: 1, Residuals: schemas.ResidualsTotal, Selections: []schemas.Selection{
				{ID: "bs-yes", Name: "Yes"}, {ID: "bs-no", Name: "No"},
			}},
		},
		Styles: []schemas.Style{{ID: "bs-01", Contests: []schemas.ContestID{"con-mayor", "con-tax"}}, {ID: "style-2", Contests: []schemas.ContestID{"con-mayor"}}},
		Units: []schemas.Unit{
			{ID: "gp-1101", Name: "1101", County: "gp-leon", Kind: schemas.PrecinctUnit, Style: "bs-01", Registered: 1200},
			{ID: "gp-1102", Name: "1102", County: "gp-leon", Kind: schemas.PrecinctUnit, Style: "style-2"},
		},
	}
	if d := cmp.Diff(want, d); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if s, _ := standard(t); s != nil {
		if err := validate(s, b); err != nil {
			t.Errorf("the example itself is not valid: %v", err)
		}
	}
}

func TestABadFileIsRefusedWithThePathOfWhatIsWrong(t *testing.T) {
	good := string(preElection(t, open(t, example())))
	for _, c := range []struct{ from, to, want string }{
		{`"Status":"pre-election"`, `"Status":"certified"`, `$.Status: is "certified", want "pre-election"`},
		{`"Status":"pre-election",`, ``, `$: member Status is missing, which class ElectionReport needs`},
		{`"@type":"ElectionResults.ElectionReport"`, `"@type":"ElectionReport"`, `$.@type: is "ElectionReport", want ElectionResults. and a class`},
		{`"@type":"ElectionResults.ElectionReport"`, `"@type":"ElectionResults.Party"`, `$: is of class "Party", want ElectionReport`},
		{`"Name":{"@type":"ElectionResults.InternationalizedText","Text":[{"@type":"ElectionResults.LanguageString","Language":"en","Content":"Emerald"}]}`, `"Name":"Emerald"`,
			`$.GpUnit[3].Name: is a string, want an object of class InternationalizedText`},
		{`"VotersRegistered":300`, `"VotersRegistered":300.5`, `$.GpUnit[6].VotersRegistered: is "300.5", want a whole number from 0 to 99999999`},
		{`"VotersRegistered":300`, `"VotersRegistered":-1`, `$.GpUnit[6].VotersRegistered: is "-1", want`},
		{`"VotersRegistered":300`, `"VotersRegistered":null`, `$.GpUnit[6].VotersRegistered: is null`},
		{`"VotersRegistered":300`, `"VotersRegistered":300,"VotersRegistered":300`, `$.GpUnit[6]: member "VotersRegistered" stands twice`},
		{`"VotersRegistered":300`, `"Voters":300`, `$.GpUnit[6]: member "Voters": class ReportingUnit of NIST SP 1500-100 v2 has no such`},
		{`"@id":"unit.emerald.2"`, `"@id":"unit.emerald.1"`, `$.GpUnit[8]: @id "unit.emerald.1" stands twice, first at $.GpUnit[7]`},
		{`["unit.winkie.1"]}`, `["unit.winkie.1","unit.emerald.1"]}`, `$.GpUnit[5].ComposingGpUnitIds[1]: "unit.emerald.1" is in county emerald already`},
		{`["unit.winkie.1"]}`, `["unit.winkie.2"]}`, `$.GpUnit[5].ComposingGpUnitIds[0]: "unit.winkie.2" is not there`},
		{`["place.emerald","place.winkie"]`, `["place.emerald"]`, `$.GpUnit[5]: no GpUnit of Type "state" composes this county`},
		{`["place.emerald","place.winkie"]`, `["place.emerald","place.winkie","place.x"]`, `$.GpUnit: state oz is composed of "place.x", which is not there`},
		{`"ContestId":"contest.measure"`, `"ContestId":"contest.measures"`, `$.Election[0].BallotStyle[0].OrderedContent: contest "contest.measures" is not there`},
		{`"GpUnitIds":["unit.emerald.2"]`, `"GpUnitIds":["unit.emerald.1"]`, `$.Election[0].BallotStyle[1].GpUnitIds[0]: unit emerald.1 has ballot style oz-1 already`},
		{`"GpUnitIds":["unit.east.1","unit.east.2"]`, `"GpUnitIds":["unit.east.1"]`, `$.GpUnit[11]: no BallotStyle is for unit "unit.east.2"`},
		{`"CandidateIds":["candidate.council.S.a"]`, `"CandidateIds":["candidate.x"]`, `$.Election[0].Contest[1].ContestSelection[0].CandidateIds[0]: candidate "candidate.x" is not there`},
		{`"PartyId":"party.2"`, `"PartyId":"party.9"`, `$.Election[0].Contest[0].ContestSelection[1].CandidateIds[0]: its party "party.9" is not there`},
		{`"CandidateIds":["candidate.council.S.a"]`, `"CandidateIds":[]`, `$.Election[0].Contest[1].ContestSelection[0].CandidateIds: names nobody`},
		{`"ElectionResults.BallotMeasureContest"`, `"ElectionResults.PartyContest"`, `$.Election[0].Contest[3].ContestSelection[0]: is of class BallotMeasureSelection, want PartySelection`},
		{`"VotesAllowed":2`, `"VotesAllowed":200`, `$.Election[0].Contest[1].VotesAllowed: is "200", want a whole number from 0 to 100`},
		{`"VotesAllowed":2`, `"VotesAllowed":0`, `contest council: votesAllowed 0: want 1 to 100`},
		{`"Type":"early"`, `"Type":"total"`, `$.Election[0].CountStatus[0]: count type "total"`},
		{`"OtherType":"tallystream.signatures","Value":"2"`, `"OtherType":"tallystream.signatures","Value":"two"`, `$.ExternalIdentifier: tallystream.signatures is "two", want a int`},
		{`"OtherType":"tallystream.origin"`, `"OtherType":"x"`, `$.ExternalIdentifier: has none of OtherType "tallystream.origin"`},
		{`"StartDate":"2026-11-03"`, `"StartDate":"3 Nov"`, `date "3 Nov": want YYYY-MM-DD`},
		{`"Language":"en","Content":"Winkie"`, `"Language":"en","Content":"\ud800"`, `.Content: has an escape that is no character`},
		{`{"@type":"ElectionResults.ElectionReport"`, `[{"@type":"ElectionResults.ElectionReport"`, `$: is no JSON: line 2`},
		{`"Format":"precinct-level"`, "\"Format\":\"\xff\"", `$: want UTF-8`},
	} {
		bad := strings.Replace(good, c.from, c.to, 1)
		if bad == good {
			t.Errorf("the example has no %s", c.from)
			continue
		}
		_, err := cdf.Import(strings.NewReader(bad), cdf.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.to, err, c.want)
		}
	}
}

func TestWhatTheStandardHasAndADefinitionDoesNotUseIsPassedOver(t *testing.T) {
	good := string(preElection(t, open(t, example())))
	with := strings.Replace(good, `"GpUnit":[`, `"Office":[{"@type":"ElectionResults.Office","x":[1,{"a":"]}"}, null]}],"GpUnit":[`, 1)
	with = strings.Replace(with, `"@id":"unit.emerald.2"`, `"ContactInformation":{"Name":"\"}"},"@id":"unit.emerald.2"`, 1)
	d, err := cdf.Import(strings.NewReader(with), cdf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(example(), d); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestAFileAboveTheLimitIsRefused(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(`{"@type":"`), spaces{})
	if _, err := cdf.Import(endless, cdf.Options{}); err == nil || !strings.Contains(err.Error(), fmt.Sprint(cdf.MaxBytes)) {
		t.Errorf("got %v", err)
	}
}

type spaces struct{}

func (spaces) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}
