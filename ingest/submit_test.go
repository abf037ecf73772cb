package ingest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"tallystream/ingest"
	"tallystream/schemas"
)

const definitionPath = "../schemas/testdata/good/definition.json"

// polls is a clerk's directory and a service to send to.
type polls struct {
	*bench
	t   *testing.T
	dir string
	url string
}

func newPolls(t *testing.T) *polls {
	t.Helper()
	p := &polls{t: t, dir: t.TempDir()}
	// The clerk's own keys come out of `keys new`, the roster out of `keys roster`.
	adds := []string{"keys", "roster", "--definition", definitionPath, "--out", p.path("roster.json")}
	for _, k := range []string{"official:leon:clerk", "supervisor::sup-1", "supervisor::sup-2"} {
		name := k[strings.LastIndexByte(k, ':')+1:]
		if out, _, code := p.run("keys", "new", name, "--out", p.path(name)); code != 0 {
			t.Fatalf("keys new: %d %s", code, out)
		}
		adds = append(adds, "--add", strings.TrimSuffix(k, name)+p.path(name))
	}
	if out, _, code := p.run(adds...); code != 0 {
		t.Fatalf("keys roster: %d %s", code, out)
	}
	p.bench = newBench(t, func(c *ingest.Config) {
		b, err := os.ReadFile(p.path("roster.json"))
		if err != nil {
			t.Fatal(err)
		}
		if c.Keyring, err = schemas.OpenRoster(b, c.Election); err != nil {
			t.Fatal(err)
		}
	})
	s := httptest.NewServer(p.handler)
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *polls) path(name string) string { return filepath.Join(p.dir, name) }

func (p *polls) write(name, content string) string {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return p.path(name)
}

// run runs a command line as main would and returns what it printed and its
// exit status.
func (p *polls) run(args ...string) (stdout, stderr string, status int) {
	p.t.Helper()
	var cli struct {
		Submit ingest.SubmitCommand `cmd:""`
		Keys   ingest.KeysCommand   `cmd:""`
	}
	parser, err := kong.New(&cli)
	if err != nil {
		p.t.Fatal(err)
	}
	k, err := parser.Parse(args)
	if err != nil {
		return "", err.Error(), 80
	}
	var out, errs bytes.Buffer
	err = ingest.RunCommand(p.t.Context(), k.Selected().Target.Addr().Interface(), &out, &errs)
	if err == nil {
		return out.String(), errs.String(), 0
	}
	errs.WriteString(err.Error())
	var coder kong.ExitCoder
	if errors.As(err, &coder) {
		return out.String(), errs.String(), coder.ExitCode()
	}
	return out.String(), errs.String(), 1
}

// submit sends file with the clerk's key.
func (p *polls) submit(file string, args ...string) (stdout, stderr string, status int) {
	args = append([]string{"submit", file, "--url", p.url, "--definition", definitionPath, "--receipt", p.path("receipt")}, args...)
	if !strings.Contains(strings.Join(args, " "), "--key") {
		args = append(args, "--key", p.path("clerk"))
	}
	return p.run(args...)
}

const unitCSV = "\ufeffunit,contest,selection,count_type,votes\n" +
	"leon-1102,ballots-cast,ballots,election-day,30\n" +
	"leon-1102,Amendment 1,Yes,election-day,20\n" +
	"leon-1102,amendment-1,no,election-day,9\n" +
	"leon-1102,president,smith,election-day,15\n" +
	"leon-1102,president,Bob Jones,election-day,14\n" +
	"leon-1102,president,write-in,election-day,0\n" +
	"leon-1102,president,undervotes,election-day,1\n" +
	"leon-1102,president,overvotes,election-day,0\n"

func TestSubmitSendsABodyAndKeepsItsReceipt(t *testing.T) {
	p := newPolls(t)
	out, errs, status := p.submit(p.write("body.json", p.body(t, 1)))
	if status != 0 || p.stream.count() != 1 {
		t.Fatalf("status %d, %d records: %s %s", status, p.stream.count(), out, errs)
	}
	saved, err := os.ReadFile(p.path("receipt"))
	if err != nil || !strings.Contains(out, string(saved)) {
		t.Errorf("receipt %s, %v is not in what was printed: %s", saved, err, out)
	}
	if _, err := schemas.OpenReceipt(saved, p.receipts); err != nil {
		t.Error(err)
	}
	if !strings.Contains(errs, p.vkey) {
		t.Errorf("which key was believed is not said: %s", errs)
	}
}

func TestSubmitSendsTheCSVOfAUnit(t *testing.T) {
	p := newPolls(t)
	out, errs, status := p.submit(p.write("unit.csv", unitCSV), "--revision", "1", "--json", "--receipt-key", p.vkey)
	if status != 0 || p.stream.count() != 1 {
		t.Fatalf("status %d, %d records: %s %s", status, p.stream.count(), out, errs)
	}
	var o struct {
		Outcome, Unit, Receipt, SHA256 string
		Revision                       int
	}
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		t.Fatal(err)
	}
	if o.Outcome != "receipt" || o.Unit != "leon-1102" || o.Revision != 1 || o.Receipt == "" {
		t.Errorf("printed %s", out)
	}
	var v schemas.Envelope
	if err := v.Parse(p.stream.records[0]); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"countTypes":["election-day"]`, `"ballots":[30]`, `{"selection":"yes","counts":[20]}`, `{"selection":"jones","counts":[14]}`, `"undervotes":[1]`} {
		if !strings.Contains(string(v.Body), want) {
			t.Errorf("body lacks %s: %s", want, v.Body)
		}
	}
}

func TestSubmitSendsACorrectionOfTwoSupervisors(t *testing.T) {
	p := newPolls(t)
	out, errs, status := p.submit(p.write("unit.csv", unitCSV), "--revision", "2", "--key", p.path("sup-1"), "--second-key", p.path("sup-2"),
		"--correction-reason", "recount", "--correction-text", "Recount of 4 November")
	if status != 0 {
		t.Fatalf("status %d: %s %s", status, out, errs)
	}
	if !bytes.Contains(p.stream.records[0], []byte(`"correction":{"reason":"recount","text":"Recount of 4 November"}`)) {
		t.Errorf("no correction in %s", p.stream.records[0])
	}
}

func TestSubmitSaysWhatIsWrong(t *testing.T) {
	p := newPolls(t)
	p.stream.forbid = true
	body := p.body(t, 1)
	for _, c := range []struct {
		name, file, content string
		args                []string
		status              int
		want                string
	}{
		{"refused by the service", "a.json", body, []string{"--key", p.path("sup-1")}, 1, "wrong-role"},
		{"refused before it is sent", "b.json", replace(t, body, `"counts":[55,20,4]`, `"counts":[155,20,4]`), nil, 1, "votes-exceed-ballots"},
		{"no such file", "c.json", body, []string{"--second-key", p.path("nothing")}, 2, "nothing"},
		{"a key that is none", "d.json", body, []string{"--key", p.write("nokey", "x")}, 2, "private key"},
		{"another unit", "e.json", body, []string{"--unit", "leon-1102"}, 2, "leon-1101"},
		{"CSV without revision", "a.csv", unitCSV, nil, 2, "--revision"},
		{"CSV with a count missing", "b.csv", strings.TrimSuffix(unitCSV, "leon-1102,president,overvotes,election-day,0\n"), []string{"--revision", "1"}, 2, "--zeros"},
		{"CSV with a count twice", "c.csv", unitCSV + "leon-1102,president,jones,election-day,14\n", []string{"--revision", "1"}, 2, "line 10: president jones election-day stands twice"},
		{"CSV with another contest", "d.csv", unitCSV + "leon-1102,council,lee,election-day,14\n", []string{"--revision", "1"}, 2, "not on the ballot"},
		{"CSV with another selection", "e.csv", unitCSV + "leon-1102,president,lee,election-day,14\n", []string{"--revision", "1"}, 2, "is not one of president"},
		{"CSV with another count type", "f.csv", unitCSV + "leon-1102,president,smith,mail,14\n", []string{"--revision", "1"}, 2, "count_type"},
		{"CSV with a fraction", "g.csv", unitCSV + "leon-1102,president,smith,early,1.5\n", []string{"--revision", "1"}, 2, "whole number"},
		{"CSV with two units", "h.csv", unitCSV + "leon-1101,president,smith,early,1\n", []string{"--revision", "1"}, 2, "--unit"},
		{"CSV without a column", "i.csv", "contest,selection,votes\n", []string{"--revision", "1"}, 2, "count_type is missing"},
		{"CSV without counts", "j.csv", "unit,contest,selection,count_type,votes\n", []string{"--revision", "1"}, 2, "no counts"},
		{"CSV with a quote open", "k.csv", "contest,selection,count_type,votes\n\"a", []string{"--revision", "1"}, 2, "line 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, status := p.submit(p.write(c.file, c.content), c.args...)
			if status != c.status || !strings.Contains(errs, c.want) {
				t.Errorf("status %d, want %d; %q is not in: %s %s", status, c.status, c.want, out, errs)
			}
		})
	}
}

func TestSubmitTakesMissingCountsAsZeroOnlyWhenTold(t *testing.T) {
	p := newPolls(t)
	file := p.write("u.csv", strings.TrimSuffix(unitCSV, "leon-1102,president,overvotes,election-day,0\n"))
	if out, errs, status := p.submit(file, "--revision", "1", "--zeros"); status != 0 {
		t.Errorf("status %d: %s %s", status, out, errs)
	}
}

func TestSubmitWarnsOfWhatWillBeHeld(t *testing.T) {
	p := newPolls(t)
	body := replace(t, p.body(t, 1), `"undervotes":[2,1,0]`, `"undervotes":[3,1,0]`)
	if _, errs, status := p.submit(p.write("b.json", body)); status != 0 || !strings.Contains(errs, schemas.HoldIdentity.Explanation()) {
		t.Errorf("status %d: %s", status, errs)
	}
}

// TestSubmitKeepsWhatItSends, though the service is not there: it may have it.
func TestSubmitKeepsWhatItSends(t *testing.T) {
	p := newPolls(t)
	kept := p.path("kept")
	for _, args := range [][]string{{"--url", "http://127.0.0.1:1", "--attempts", "1", "--receipt-key", p.vkey}, nil} {
		if err := os.RemoveAll(kept); err != nil {
			t.Fatal(err)
		}
		_, errs, _ := p.submit(p.write("unit.csv", unitCSV), append(args, "--revision", "1", "--zeros", "--keep", kept)...)
		b, err := os.ReadFile(kept)
		if err != nil {
			t.Fatalf("%v: %s", err, errs)
		}
		var v schemas.Envelope
		if err := v.Parse(b); err != nil || string(v.Unit) != "leon-1102" {
			t.Errorf("%v: kept %s", err, b)
		}
	}
	if _, errs, status := p.submit(p.write("unit.csv", unitCSV), "--revision", "2", "--zeros", "--keep", p.path("no/such/directory")); status != 2 || p.stream.count() != 1 {
		t.Errorf("sent what could not be kept: status %d, %d records: %s", status, p.stream.count(), errs)
	}
}

func TestSubmitGivesUpOnAServiceThatDoesNotAnswer(t *testing.T) {
	p := newPolls(t)
	file := p.write("b.json", p.body(t, 1))
	p.url = "http://127.0.0.1:1"
	out, _, status := p.submit(file, "--receipt-key", p.vkey, "--attempts", "1", "--json")
	if status != 3 || !strings.Contains(out, `"gave-up"`) {
		t.Errorf("status %d: %s", status, out)
	}
}

func TestKeysShowsWhatNewMade(t *testing.T) {
	p := newPolls(t)
	made, _, _ := p.run("keys", "new", "k", "--out", p.path("k"))
	shown, _, status := p.run("keys", "show", p.path("k"))
	if status != 0 || made != shown {
		t.Errorf("made %s, shown %s", made, shown)
	}
	if info, err := os.Stat(p.path("k")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, args := range [][]string{
		{"keys", "new", "k", "--out", p.path("k")},
		{"keys", "new", "two words", "--out", p.path("l")},
		{"keys", "show", definitionPath},
		{"keys", "roster", "--election", "e", "--add", "king::" + p.path("k")},
		{"keys", "roster", "--election", "e", "--add", "official"},
		{"keys", "roster", "--add", "official::" + p.path("k")},
		{"keys", "roster", "--definition", definitionPath, "--add", "official:nowhere:" + p.path("k")},
	} {
		if out, _, status := p.run(args...); status == 0 {
			t.Errorf("%v: %s", args, out)
		}
	}
	out, _, status := p.run("keys", "roster", "--election", "e", "--add", "official::"+p.path("k"), "--add", "approver:leon:"+p.write("k.pub", made))
	if status != 0 || strings.Count(out, strings.TrimSpace(made)) != 2 || strings.Contains(out, "PRIVATE") {
		t.Errorf("status %d: %s", status, out)
	}
}
