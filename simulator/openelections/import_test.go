package openelections_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tallystream/schemas"
	"tallystream/simulator/openelections"
)

// of imports files given as text, each under its name.
func of(t *testing.T, files ...string) (*openelections.Results, error) {
	t.Helper()
	var sources []openelections.Source
	for i, f := range files {
		sources = append(sources, openelections.Bytes(fmt.Sprintf("20241105__sc__general__%d__precinct.csv", i+1), []byte(f)))
	}
	return openelections.Import(sources, openelections.Options{})
}

func must(t *testing.T, files ...string) *openelections.Results {
	t.Helper()
	r, err := of(t, files...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const header = "county,precinct,office,district,party,candidate,votes\n"

// selectionsOf lists the selections of a contest as "id=votes".
func selectionsOf(t *testing.T, r *openelections.Results, contest schemas.ContestID) []string {
	t.Helper()
	e := r.Election()
	i, ok := e.Contest(contest)
	if !ok {
		ids := []schemas.ContestID{}
		for _, c := range e.Definition.Contests {
			ids = append(ids, c.ID)
		}
		t.Fatalf("no contest %s in %v", contest, ids)
	}
	votes := map[schemas.SelectionID]int64{}
	for k, n := range r.Sums() {
		if k.Contest == contest {
			votes[k.Selection] += n
		}
	}
	var out []string
	for _, s := range e.Definition.Contests[i].Selections {
		out = append(out, fmt.Sprintf("%s=%d", s.ID, votes[s.ID]))
	}
	return out
}

func TestSpellingsOfOneCandidateAreMerged(t *testing.T) {
	for _, c := range []struct {
		name string
		rows string
		want []string
	}{
		{"the party's code in front", "A,1,President,,REP,REP Jane Roe,1\nB,1,President,,REP,Jane Roe,2\n", []string{"jane-roe=3"}},
		{"spaces around the slash, letter case, full stops", "A,1,President,,REP,Jane Q. Roe/ John Doe,1\nB,1,President,,REP,JANE Q ROE /John Doe,2\n", []string{"jane-q-roe=3"}},
		{"the running mate left out", "A,1,President,,REP,Jane Roe/John Doe,1\nB,1,President,,REP,Jane Roe,2\n", []string{"jane-roe=3"}},
		{"a letter too many, and one too few", "A,1,President,,UNC,Cornel West,4\nB,1,President,,UNC,Cornel Westt/Ann Abdulla,1\nC,1,President,,UNC,Cornel Wes,2\n", []string{"cornel-west=7"}},
		{"the party left out", "A,1,President,,REP,Jane Roe,1\nB,1,President,,,Jane Roe,2\n", []string{"jane-roe=3"}},
		{"words around yes and no", "A,1,Amendment 1,,,\"No, Opposed\",2\nA,1,Amendment 1,,,\"Yes, In Favor\",1\nB,1,Amendment 1,,,YES,3\nB,1,Amendment 1,,,no,4\n", []string{"yes=4", "no=6"}},
		{"write-ins", "A,1,President,,,Write-In,1\nB,1,President,,,Write-ins,2\nA,1,President,,REP,Jane Roe,5\n", []string{"jane-roe=5", "write-in=3"}},
		{"two precincts of one county", "A,1,President,,REP,Jane Roe,1\nA,2,President,,REP,REP JANE ROE,2\n", []string{"jane-roe=3"}},

		{"parties by code and by name", "A,1,President,,DEM,Jane Roe,1\nB,1,President,,Democratic,Jane Roe,2\nC,1,President,,D,DEM Jane Roe,4\n", []string{"jane-roe=7"}},
		{"family name first", "A,1,President,,REP,Jane Q. Roe,2\nB,1,President,,REP,\"ROE, JANE Q\",1\n", []string{"jane-q-roe=3"}},
		{"running mates told apart in other ways", "A,1,President,,REP,Jane Roe/Ann Doe,1\nB,1,President,,REP,Jane Roe & Ann Doe,2\nC,1,President,,REP,Jane Roe and Ann Doe,4\n", []string{"jane-roe=7"}},

		{"not across parties: fusion", "A,1,President,,REP,Jane Roe,1\nB,1,President,,CON,Jane Roe,2\n", []string{"jane-roe-rep=1", "jane-roe-con=2"}},
		{"not across parties by way of one without", "A,1,President,,REP,Jane Roe,1\nB,1,President,,CON,Jane Roe,2\nC,1,President,,,Jane Roe,4\n", []string{"jane-roe-rep=1", "jane-roe-con=2", "jane-roe=4"}},
		{"not within a precinct", "A,1,President,,REP,Jane Roe,1\nA,1,President,,REP,REP Jane Roe,2\n", []string{"jane-roe-rep=1", "jane-roe-rep-2=2"}},
		{"not what a county lists side by side, be it ever so similar", "A,1,President,,REP,Marion Adams,1\nA,1,President,,REP,Marian Adams,2\n", []string{"marion-adams=1", "marian-adams=2"}},
		{"not when two are alike", "A,1,President,,REP,Marion Adams,1\nA,1,President,,REP,Marian Adams,2\nB,1,President,,REP,Mariin Adams,4\n", []string{"marion-adams=1", "marian-adams=2", "mariin-adams=4"}},
		{"not short names", "A,1,President,,REP,Li,1\nB,1,President,,REP,Lo,2\n", []string{"li=1", "lo=2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := must(t, header+c.rows)
			contest := r.Election().Definition.Contests[0].ID
			if got := selectionsOf(t, r, contest); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			merged := slices.ContainsFunc(r.Warnings(), func(w openelections.Warning) bool { return w.Kind == openelections.Merged })
			if merged == strings.HasPrefix(c.name, "not ") {
				t.Errorf("told of a merger: %v; warnings: %v", merged, r.Warnings())
			}
		})
	}
}

func TestContestsAreJoinedAcrossCountiesByRule(t *testing.T) {
	for _, c := range []struct {
		name string
		rows string
		want []string
	}{
		{"known to span counties", "A,1,State Senate,7,REP,Roe,1\nB,1,State Senate,7,DEM,Doe,2\n", []string{"state-senate-7"}},
		{"under two names", "A,1,State House,07,REP,Roe,1\nB,1,State House of Representatives,7,REP,Roe,2\n", []string{"state-house-7"}},
		{"district in the office", "A,1,U.S. House District 3,,REP,Roe,1\nB,1,U.S. House,3,REP,Roe,2\n", []string{"us-house-3"}},
		{"the same candidates", "A,1,Fire Board,,,Roe,1\nB,1,Fire Board,,,Roe,2\n", []string{"fire-board"}},
		{"both counties in the title", "A,1,A/B Bond,,,Yes,1\nB,1,A/B Bond,,,Yes,2\n", []string{"a-b-bond"}},
		{"other candidates", "A,1,Sheriff,,REP,Roe,1\nB,1,Sheriff,,REP,Doe,2\n", []string{"a-sheriff", "b-sheriff"}},
		{"few common candidates", "A,1,Mayor,,,Roe,1\nA,1,Mayor,,,Ames,1\nA,1,Mayor,,,Bell,1\nB,1,Mayor,,,Roe,2\n", []string{"a-mayor", "b-mayor"}},
		{"a local question", "A,1,Sales Tax,,,Yes,1\nB,1,Sales Tax,,,Yes,2\n", []string{"a-sales-tax", "b-sales-tax"}},
		{"straight tickets", "A,1,Straight Party,,REP,Republican,1\nB,1,Straight Party,,REP,Republican,2\n", []string{"a-straight-party", "b-straight-party"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := must(t, header+c.rows)
			var got []string
			for _, x := range r.Election().Definition.Contests {
				got = append(got, string(x.ID))
			}
			if !slices.Equal(got, c.want) || r.CountyContests() != 2 {
				t.Errorf("got %v and %d contests of counties, want %v and 2", got, r.CountyContests(), c.want)
			}
		})
	}
}

func TestBadInputIsAnErrorWithItsPlace(t *testing.T) {
	row := "A,1,President,,REP,Roe,"
	for _, c := range []struct {
		name, csv, place, want string
	}{
		{"text", header + row + "many\n", ":2:24:", "whole number"},
		{"negative", header + row + "-1\n", ":2:24:", "whole number"},
		{"fraction", header + row + "1.5\n", ":2:24:", "whole number"},
		{"huge", header + row + "100000000\n", ":2:24:", "99999999"},
		{"beyond 64 bits", header + row + "99999999999999999999999\n", ":2:24:", "99999999"},
		{"grouped wrongly", header + row + "\"1,23\"\n", ":2:24:", "whole number"},
		{"a redaction", header + row + "*\n", ":2:24:", "whole number"},
		{"in the second line", header + row + "1\n" + "A,1,President,,DEM,Doe,x\n", ":3:24:", "whole number"},
		{"too few fields", header + "A,1,President\n", ":2:", "as many fields"},
		{"a stray quotation mark", header + "A,1,Pres\"ident,,REP,Roe,1\n", ":2:", "\""},
		{"an open quotation mark", header + "A,1,\"President,,REP,Roe,1\n", ":", "\""},
		{"invalid UTF-8", header + "A,1,Pr\xff,,REP,Roe,1\n", ":2:5:", "UTF-8"},
		{"a control character", header + "A,1,Pr\x00,,REP,Roe,1\n", ":2:5:", "control"},
		{"an endless name", header + "A,1," + strings.Repeat("x", 500) + ",,REP,Roe,1\n", ":2:5:", "quotation mark"},
		{"no county", "precinct,office,candidate,votes\n", ":1:", "no column county"},
		{"no counts", "county,precinct,office,candidate\n", ":1:", "neither votes"},
		{"a column twice", "county,county,precinct,office,candidate,votes\n", ":1:", "twice"},
		{"empty", "", ":1:", "empty"},
		{"a header alone", header, "", "no row"},
		{"more than a unit may have", header + row + "99999999\nA,1,President,,REP,Roe,1\n", ":3:", "above"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := of(t, c.csv)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.place) {
				t.Errorf("got %v, want one at %q about %q", err, c.place, c.want)
			}
			var at *openelections.SyntaxError
			if c.place != "" && !errors.As(err, &at) {
				t.Errorf("%v is no SyntaxError", err)
			}
		})
	}
}

func TestWhatCanBeKeptIsKeptAndTold(t *testing.T) {
	const split = "county,precinct,office,district,party,candidate,votes,Election Day,mail,color\n"
	for _, c := range []struct {
		name, csv string
		kind      openelections.WarningKind
		line      int
		want      string // counts of the candidate by type
	}{
		{"splits that add up", split + "A,1,President,,REP,Roe,7,4,3,red\n", "", 0, "election-day=4 absentee-mail=3"},
		{"votes that no type has", split + "A,1,President,,REP,Roe,9,4,3,\n", openelections.Split, 2, "election-day=4 absentee-mail=3 other=2"},
		{"types with more than all votes", split + "A,1,President,,REP,Roe,5,4,3,\n", openelections.Split, 2, "election-day=0 absentee-mail=0 other=5"},
		{"no types", split + "A,1,President,,REP,Roe,9,,,\n", openelections.Unsplit, 2, "election-day=0 absentee-mail=0 other=9"},
		{"no votes", split + "A,1,President,,REP,Roe,,,,\n", openelections.Blank, 2, "election-day=0 absentee-mail=0"},
		{"votes left to the types", split + "A,1,President,,REP,Roe,,4,3,\n", "", 0, "election-day=4 absentee-mail=3"},
		{"thousands", split + "A,1,President,,REP,Roe,\"1,007\",1007.0,0,\n", openelections.Spelling, 2, "election-day=1007 absentee-mail=0"},
		{"a row twice", split + "A,1,President,,REP,Roe,7,4,3,\nA,1,President,,REP,Roe,1,1,0,\n", openelections.Repeated, 3, "election-day=5 absentee-mail=3"},
		{"a total row", split + "A,1,President,,REP,Roe,7,4,3,\nA,Total,President,,REP,Roe,7,4,3,\n", openelections.LeftOut, 3, "election-day=4 absentee-mail=3"},
		{"a column that nobody knows", split + "A,1,President,,REP,Roe,7,4,3,\n", openelections.Column, 1, "election-day=4 absentee-mail=3"},
		{"two precincts of one identifier", split + "A,No. 1,President,,REP,Roe,7,4,3,\nA,no 1,President,,REP,Roe,1,1,0,\n", openelections.Unit, 0, "election-day=5 absentee-mail=3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := must(t, c.csv)
			var got []string
			for _, ct := range r.Election().Definition.CountTypes {
				got = append(got, fmt.Sprintf("%s=%d", ct, r.Sums()[openelections.SumKey{County: "a", Contest: "president", Selection: "roe", CountType: ct}]))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
			found := c.kind == ""
			for _, w := range r.Warnings() {
				found = found || (w.Kind == c.kind && w.Line == c.line)
			}
			if !found {
				t.Errorf("no warning %s of line %d in %v", c.kind, c.line, r.Warnings())
			}
		})
	}
}

func TestResidualsFollowTheIdentityThatHolds(t *testing.T) {
	const head = "county,precinct,office,district,party,candidate,votes,early,election_day\n"
	facts := "A,1,Registered Voters,,,,20,,\nA,1,Ballots Cast,,,,10,4,6\n"
	for _, c := range []struct {
		name, rows string
		residuals  schemas.Residuals
		allowed    int
	}{
		{"by type", "A,1,Council,,,Roe,7,3,4\nA,1,Council,,,Under Votes,2,1,1\nA,1,Council,,,Over Votes,1,0,1\n", schemas.ResidualsByType, 1},
		{"three votes each", "A,1,Council,,,Roe,27,11,16\nA,1,Council,,,Under Votes,3,1,2\n", schemas.ResidualsByType, 3},
		{"in total", "A,1,Council,,,Roe,7,4,3\nA,1,Council,,,Under Votes,3,1,2\n", schemas.ResidualsTotal, 1},
		{"not at all", "A,1,Council,,,Roe,7,3,4\nA,1,Council,,,Under Votes,2,1,1\n", schemas.ResidualsNone, 1},
		{"not known", "A,1,Council,,,Roe,7,3,4\n", schemas.ResidualsNone, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := must(t, head+facts+c.rows)
			x := r.Election().Definition.Contests[0]
			if x.Residuals != c.residuals || x.VotesAllowed != c.allowed {
				t.Errorf("residuals %s, votes allowed %d; want %s, %d", x.Residuals, x.VotesAllowed, c.residuals, c.allowed)
			}
			sum := int64(0)
			for k, n := range r.Sums() {
				if k.Contest == x.ID {
					sum += n
				}
			}
			if want := int64(30); c.allowed == 3 && sum != want {
				t.Errorf("%d votes and residuals, want %d", sum, want)
			}
			if c.name == "not at all" && (len(x.Selections) != 2 || x.Selections[1].ID != "under-votes") {
				t.Errorf("selections %v: undervotes are lost", x.Selections)
			}
		})
	}
}

func TestRulesApplyOnlyWhereTheirFactsAreKnown(t *testing.T) {
	rows := "A,1,President,,REP,Roe,5\nA,2,President,,REP,Roe,5\nA,Provisional,President,,REP,Roe,1\n"
	both := "A,1,Ballots Cast,,,,6\nA,2,Ballots Cast,,,,6\n"
	registered := "A,1,Registered Voters,,,,9\nA,2,Registered Voters,,,,5\n"
	for _, c := range []struct {
		name, csv string
		want      schemas.Rules
	}{
		{"neither", rows, schemas.Rules{}},
		{"ballots of one precinct", rows + "A,1,Ballots Cast,,,,6\n", schemas.Rules{}},
		{"ballots", rows + both, schemas.Rules{Ballots: true}},
		{"both", rows + both + registered, schemas.Rules{Ballots: true, Registered: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := must(t, header+c.csv)
			if got := r.Election().Definition.Rules; got != c.want {
				t.Errorf("rules %+v, want %+v", got, c.want)
			}
			units := r.Election().Definition.Units
			if c.want.Registered && (units[0].Registered != 9 || units[1].Registered != 0) {
				t.Errorf("registered %d and %d; want 9, and 0 where more ballots were cast", units[0].Registered, units[1].Registered)
			}
			if units[2].Kind != schemas.AdministrativeUnit {
				t.Errorf("unit %s is no administrative unit", units[2].ID)
			}
		})
	}
}

func TestSeveralFilesOfSeveralStatesMakeOneElection(t *testing.T) {
	r := must(t, "fips,"+header+"45001,Lee,1,President,,REP,Roe,1\n45001,Lee,1,U.S. Senate,,REP,Ames,1\n",
		strings.TrimSuffix(header, "\n")+",fips\nLee,1,President,,REP,Roe,2,12071\nLee,1,U.S. Senate,,REP,Bell,2,12071\n")
	var got []string
	for _, c := range r.Election().Definition.Contests {
		got = append(got, string(c.ID))
	}
	if want := []string{"president", "sc-us-senate", "fl-us-senate"}; !slices.Equal(got, want) {
		t.Errorf("contests %v, want %v", got, want)
	}
	if got := selectionsOf(t, r, "president"); !slices.Equal(got, []string{"roe=3"}) {
		t.Errorf("president: %v", got)
	}
	if len(r.Election().Counties) != 2 || len(r.Election().Definition.States) != 2 {
		t.Errorf("want two counties named Lee, in two states")
	}
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestFilesPatternsAndGzipAreFound(t *testing.T) {
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"b.csv.gz":  zipped(t, []byte(header+"B,1,President,,REP,Roe,2\n")),
		"a.csv":     []byte("\ufeff" + header + "A,1,President,,REP,Roe,1\n"),
		"[odd].csv": []byte(header + "C,1,President,,REP,Roe,4\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sources, err := openelections.Find(t.Context(), nil, filepath.Join(dir, "?.csv*"), filepath.Join(dir, "[odd].csv"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := openelections.Import(sources, openelections.Options{Date: "2024-11-05", State: "sc", Election: "test-2024"})
	if err != nil {
		t.Fatal(err)
	}
	if got := selectionsOf(t, r, "president"); !slices.Equal(got, []string{"roe=7"}) {
		t.Errorf("president: %v", got)
	}
	if _, err := openelections.Find(t.Context(), nil, filepath.Join(dir, "nothing*")); err == nil {
		t.Error("a pattern that matches nothing is no error")
	}
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte("A,1,President,,REP,Roe,0\n"), len(p)/25+1)), nil
}

func TestAFileThatIsTooLargeFailsInsteadOfBeingCut(t *testing.T) {
	r := openelections.Limited(io.MultiReader(strings.NewReader(header), zeros{}), 1<<16)
	if _, err := io.ReadAll(r); err == nil {
		t.Error("a file above the limit was cut")
	}
	whole := strings.Repeat("x", 1<<10)
	if b, err := io.ReadAll(openelections.Limited(strings.NewReader(whole), 1<<10)); err != nil || string(b) != whole {
		t.Errorf("a file of just the limit: %d bytes, %v", len(b), err)
	}
}

func TestResultsAreFetchedOverHTTPSAlone(t *testing.T) {
	csv := []byte(header + "A,1,President,,REP,Roe,1\n")
	var server *httptest.Server
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/20241105__sc__general__precinct.csv":
			w.Write(csv)
		case "/packed.csv.gz":
			w.Write(zipped(t, csv))
		case "/away":
			http.Redirect(w, r, strings.Replace(server.URL, "https", "http", 1)+"/20241105__sc__general__precinct.csv", http.StatusFound)
		case "/near":
			http.Redirect(w, r, "/packed.csv.gz", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for path, ok := range map[string]bool{"/20241105__sc__general__precinct.csv": true, "/packed.csv.gz": true, "/near": true, "/away": false, "/none": false} {
		sources, err := openelections.Find(t.Context(), server.Client(), server.URL+path)
		if err == nil {
			_, err = openelections.Import(sources, openelections.Options{})
		}
		if (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := openelections.FromURLs(t.Context(), server.Client(), "http://example.com/a.csv"); err == nil {
		t.Error("plain http is not refused")
	}
}

// Whatever bytes come in, an import ends in an error or in an election whose
// cells add up to the sums of the rows.
func FuzzImport(f *testing.F) {
	f.Add([]byte(header + "A,1,President,,REP,Roe,1\nB,2,President,,REP,REP Roe/Doe,2\nA,Provisional,Sheriff,,,Write-In,3\n"))
	f.Add([]byte("county,precinct,office,district,party,candidate,votes,early_voting,failsafe\nA,1,Ballots Cast,,,,9,4,5\nA,1,Registered Voters,,,,9,,\nA,1,Bond,,,Yes,7,3,4\nA,1,Bond,,,Under Votes,2,1,1\n"))
	f.Add([]byte("\ufeffcounty,precinct,office,candidate,votes\n\"A\nB\",\"x\"\"y\",Mayor,\"é, ñ\",\"1,000\"\n"))
	f.Add(zippedSeed)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := openelections.Import([]openelections.Source{openelections.Bytes("20241105__sc__general.csv", b)}, openelections.Options{})
		if err != nil {
			return
		}
		got := published(r)
		for k, n := range r.Sums() {
			if got[k] != n {
				t.Fatalf("%+v is %d in the cells, %d in the rows", k, got[k], n)
			}
		}
	})
}

var zippedSeed = func() []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write([]byte(header + "A,1,President,,REP,Roe,1\n"))
	z.Close()
	return out.Bytes()
}()
