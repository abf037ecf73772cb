package holds

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"tallystream/ingest"
	"tallystream/ingest/client"
	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// office is a county's night: an election, what is published of it in a
// directory, and a service that takes releases.
type office struct {
	*testing.T
	election *schemas.Election
	dir      string
	url      string
	vkey     string // of the results
	body     []byte // that is held

	mu      sync.Mutex
	records [][]byte                  // that the service appended; guarded by mu
	states  []schemas.SubmissionState // that it tells; guarded by mu
}

const unit = "leon-1101"

func newOffice(t *testing.T) *office {
	t.Helper()
	definition, err := os.ReadFile("../../schemas/testdata/good/definition.json")
	must(t, err)
	o := &office{T: t, dir: t.TempDir()}
	o.election, err = schemas.OpenElection(definition)
	must(t, err)
	o.publish()
	o.serve()
	return o
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// key makes a key pair and keeps the private one in a file of that name.
func (o *office) key(name string) (note.Signer, string) {
	o.Helper()
	private, public, err := note.GenerateKey(rand.Reader, name)
	must(o, err)
	must(o, client.WriteKey(o.path(filepath.Base(name)), private))
	signer, err := note.NewSigner(private)
	must(o, err)
	return signer, public
}

func (o *office) path(name string) string { return filepath.Join(o.dir, name) }

func (o *office) put(key string, b []byte) {
	o.Helper()
	path := filepath.Join(o.dir, "public", filepath.FromSlash(key))
	must(o, errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)))
}

// publish writes a log of one hold, the list of holds, and a snapshot of both.
func (o *office) publish() {
	u, _ := o.election.Unit(unit)
	cells := make([]schemas.Count, o.election.Units[u].Style.Cells)
	cells[0], cells[1] = 1, 4242
	o.body = o.election.AppendBody(nil, u, 3, cells, nil, nil)
	official, _ := o.key("official")
	origin := o.election.Definition.Origin
	record, err := schemas.AppendEnvelope(nil, origin, unit, 3, o.body, official)
	must(o, err)
	digest := schemas.DigestOf(o.body)
	l, err := leaf.OfEntry(&schemas.Entry{Partition: 1, Seq: 7, Kind: schemas.EntryHeld, Hold: schemas.HoldOutlier, Unit: unit, Revision: 3, Digest: digest}, record)
	must(o, err)
	b, err := leaf.Append(nil, l)
	must(o, err)
	edge, objects, err := (&log.Edge{}).Append(b)
	must(o, err)
	for _, object := range objects {
		o.put(object.Key, object.Body)
	}
	signer, vkey := o.key(origin)
	o.vkey = vkey
	checkpoint, err := (&log.Checkpoint{Origin: origin, Tree: edge.Tree()}).Sign(signer)
	must(o, err)
	o.put(log.CheckpointKey, checkpoint)
	o.put("config.json", []byte(`{"key":"`+vkey+`"}`))
	o.snapshot(signer, []schemas.HeldEntry{
		{Unit: "leon-1102", County: "leon", Revision: 1, Code: schemas.HoldIdentity, Why: "W.", Digest: schemas.Digest{1}, Partition: 1, Seq: 2, State: schemas.HoldReleased},
		{Code: schemas.HoldPoison, Why: "Nobody could read it.", Digest: schemas.Digest{2}, Partition: 1, Seq: 5, State: schemas.HoldOpen},
		{
			Unit: unit, County: "leon", Revision: 3, Code: schemas.HoldOutlier, Why: "W.", Digest: digest, Partition: 1, Seq: 7, State: schemas.HoldOpen,
			Finding: &schemas.OutlierFinding{Rule: "history", Contest: schemas.BallotsCast, Value: 4242, Against: 400, Percent: 300},
		},
		{Unit: "sumter-1", County: "sumter", Revision: 2, Code: schemas.HoldTwin, Why: "W.", Digest: schemas.Digest{3}, Partition: 2, Seq: 1, State: schemas.HoldOpen, Twin: "sumter-2"},
	})
}

func (o *office) snapshot(signer note.Signer, holds []schemas.HeldEntry) {
	var lines []byte
	for i := range holds {
		lines = holds[i].AppendLine(lines)
	}
	key := schemas.ContentKey("holds", schemas.DigestOf(lines), ".ndjson")
	o.put(key, lines)
	entry, err := json.Marshal(schemas.ManifestEntry{Name: schemas.HoldsName, Key: key, Hash: schemas.DigestOf(lines), Bytes: int64(len(lines))})
	must(o, err)
	manifest := append(entry, '\n')
	o.put(schemas.ContentKey("manifests", schemas.DigestOf(manifest), ".ndjson"), manifest)
	s := schemas.Snapshot{Origin: o.election.Definition.Origin, Number: 9, Log: 1, Manifest: schemas.DigestOf(manifest), Held: 4, Time: "2026-11-03T21:04:05.123Z"}
	b, err := schemas.AppendNote(nil, s.AppendText(nil), signer)
	must(o, err)
	o.put(schemas.LatestKey, b)
}

// serve runs the real submission service over a stream in memory.
func (o *office) serve() {
	roster := schemas.Roster{Schema: schemas.RosterSchema, Election: o.election.Definition.Election}
	for _, name := range []string{"ann", "bob"} {
		_, public := o.key(name)
		roster.Keys = append(roster.Keys, schemas.KeyEntry{Key: public, Role: schemas.Supervisor})
	}
	o.key("carol") // of no roster
	b, err := json.Marshal(roster)
	must(o, err)
	ring, err := schemas.OpenRoster(b, o.election)
	must(o, err)
	signer, public := o.key("ingest")
	s, err := ingest.New(ingest.Config{
		Election: o.election, Keyring: ring, Signer: signer, Verifier: public, Stream: o, States: o, Metrics: ingest.NewMetrics(prometheus.NewRegistry()),
	})
	must(o, err)
	server := httptest.NewServer(s.Handler())
	o.Cleanup(server.Close)
	o.url = server.URL
}

func (o *office) Append(_ context.Context, _ schemas.Partition, record []byte) (schemas.Checkpoint, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.records = append(o.records, record)
	return schemas.Checkpoint(len(o.records)), nil
}

func (o *office) Submissions(context.Context, schemas.UnitID) ([]schemas.SubmissionState, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.states, nil
}

func (o *office) say(state string, hold schemas.HoldCode) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.states = []schemas.SubmissionState{{Unit: unit, Revision: 3, Digest: schemas.DigestOf(o.body), State: state, Hold: hold}}
}

func (o *office) site() siteFlags { return siteFlags{Site: filepath.Join(o.dir, "public")} }
func (o *office) sending() sendFlags {
	return sendFlags{URL: o.url, Receipt: o.path("receipt"), Attempts: 1, Timeout: 20e9}
}

// run runs a command and returns what it printed and its exit status.
func (o *office) run(c interface {
	run(context.Context, *terminal) error
}, answer string) (stdout, stderr string, status int) {
	o.Helper()
	var out, errs bytes.Buffer
	err := c.run(o.Context(), &terminal{strings.NewReader(answer), &out, &errs})
	if err != nil {
		errs.WriteString(err.Error())
		status = 1
		if e, ok := errors.AsType[exit](err); ok {
			status = e.status
		}
	}
	return out.String(), errs.String(), status
}

var fine = because{"checked", "Held against the poll tapes."}

func (o *office) release(keys ...string) *ReleaseCommand {
	c := &ReleaseCommand{pick: pick{Unit: unit, Revision: 3}, because: fine, siteFlags: o.site(), sendFlags: o.sending()}
	for _, k := range keys {
		c.KeyFile = append(c.KeyFile, o.path(k))
	}
	return c
}

func TestListShowsWhatIsHeldWithItsReason(t *testing.T) {
	o := newOffice(t)
	for name, c := range map[string]struct {
		list       ListCommand
		want, hide []string
	}{
		"open ones": {ListCommand{}, []string{"history of ballots-cast: 4242, against 400", "Exactly the numbers of sumter-2.", "Nobody could read it.", "3 open, 3 shown, as of snapshot 9"}, []string{"leon-1102"}},
		"all":       {ListCommand{All: true}, []string{"leon-1102", "released", "3 open, 4 shown"}, nil},
		"a county":  {ListCommand{County: "sumter"}, []string{"sumter-1"}, []string{"leon", "poison"}},
		"a code":    {ListCommand{Code: "outlier"}, []string{unit}, []string{"sumter", "poison"}},
		"in JSON":   {ListCommand{JSON: true, County: "leon"}, []string{`"finding":{"rule":"history"`, `"state":"open"`}, []string{"snapshot", "sumter"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.list.siteFlags = o.site()
			out, errs, status := o.run(&c.list, "")
			if status != 0 || !strings.Contains(errs, o.vkey) {
				t.Fatalf("status %d: %s", status, errs)
			}
			for _, w := range c.want {
				if !strings.Contains(out, w) {
					t.Errorf("%q is not in\n%s", w, out)
				}
			}
			for _, h := range c.hide {
				if strings.Contains(out, h) {
					t.Errorf("%q is in\n%s", h, out)
				}
			}
		})
	}
	out, _, _ := o.run(&ListCommand{siteFlags: o.site(), All: true}, "")
	if strings.Index(out, "leon-1102") < strings.Index(out, "sumter-1") {
		t.Errorf("what is open does not come first:\n%s", out)
	}
}

func TestAReleaseIsShownSignedByTwoAndSent(t *testing.T) {
	o := newOffice(t)
	if _, errs, status := o.run(o.release("ann", "bob"), "n\n"); status != exitUsage || len(o.records) != 0 || !strings.Contains(errs, "4242") {
		t.Fatalf("status %d, %d records, and what would count was not shown: %s", status, len(o.records), errs)
	}
	out, errs, status := o.run(o.release("ann", "bob"), "y\n")
	if status != 0 || len(o.records) != 1 {
		t.Fatalf("status %d, %d records: %s", status, len(o.records), errs)
	}
	saved, err := os.ReadFile(o.path("receipt"))
	if err != nil || !strings.Contains(out, string(saved)) || !strings.Contains(string(saved), "/release-receipt/v1") {
		t.Errorf("receipt %s, %v is not in what was printed: %s", saved, err, out)
	}
	var l schemas.Release
	must(t, l.Parse(o.records[0]))
	if l.Digest != schemas.DigestOf(o.body) || l.Revision != 3 || len(l.Signatures()) != 2 || string(l.Public) != fine.Text {
		t.Errorf("sent %s", o.records[0])
	}
}

func TestTwoMachinesSignOneAfterTheOther(t *testing.T) {
	o := newOffice(t)
	file := o.path("x.release")
	sign := &SignCommand{pick: pick{Unit: unit, Revision: 3}, because: fine, siteFlags: o.site(), KeyFile: o.path("ann"), Out: file}
	if _, errs, status := o.run(sign, "y\n"); status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	if _, errs, status := o.run(&SendCommand{sendFlags: o.sending(), File: file}, ""); status != exitRefused || !strings.Contains(errs, "two supervisors") {
		t.Errorf("sent with one signature: status %d: %s", status, errs)
	}
	cosign := &CosignCommand{siteFlags: o.site(), File: file, KeyFile: o.path("ann")}
	if _, errs, status := o.run(cosign, "y\n"); status != exitUsage || !strings.Contains(errs, "two different supervisors") {
		t.Errorf("cosigned by the first: status %d: %s", status, errs)
	}
	cosign.KeyFile = o.path("bob")
	if _, errs, status := o.run(cosign, "y\n"); status != 0 || !strings.Contains(errs, "4242") || !strings.Contains(errs, fine.Text) {
		t.Fatalf("status %d, or not shown: %s", status, errs)
	}
	if _, errs, status := o.run(&SendCommand{sendFlags: o.sending(), File: file}, ""); status != 0 || len(o.records) != 1 {
		t.Errorf("status %d, %d records: %s", status, len(o.records), errs)
	}
}

func TestWaitTellsWhatBecameOfIt(t *testing.T) {
	for _, c := range []struct {
		state  string
		hold   schemas.HoldCode
		status int
	}{
		{"released", schemas.HoldOutlier, 0},
		{"superseded", schemas.HoldOutlier, 0}, // it counted, until a later one did
		{"lapsed", schemas.HoldOutlier, exitUnreleased},
		{"held", schemas.HoldRelease, exitUnreleased},
	} {
		o := newOffice(t)
		o.say(c.state, c.hold)
		command := o.release("ann", "bob")
		command.Yes, command.Wait, command.JSON = true, true, true
		out, errs, status := o.run(command, "")
		var got sent
		if err := json.Unmarshal([]byte(out), &got); err != nil || status != c.status || got.Outcome != "receipt" || got.Became == "" {
			t.Errorf("%s: status %d, %+v, %v: %s", c.state, status, got, err, errs)
		}
	}
	o := newOffice(t)
	o.say("held", schemas.HoldOutlier)
	command := o.release("ann", "bob")
	command.Yes, command.Wait, command.Timeout = true, true, 1500e6
	if _, errs, status := o.run(command, ""); status != exitUnreleased || !strings.Contains(errs, "did not say") {
		t.Errorf("the ledger is silent: status %d: %s", status, errs)
	}
}

func TestWhatCannotBeReleasedIsNotSigned(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*office, *ReleaseCommand)
		status int
		want   string
	}{
		"one key":            {func(o *office, c *ReleaseCommand) { c.KeyFile = c.KeyFile[:1] }, exitUsage, "two supervisors"},
		"no such hold":       {func(o *office, c *ReleaseCommand) { c.Revision = 4 }, exitUsage, "nothing of leon-1101 revision 4 is held"},
		"released before":    {func(o *office, c *ReleaseCommand) { c.Unit, c.Revision = "leon-1102", 1 }, exitUsage, "it is released"},
		"another body":       {func(o *office, c *ReleaseCommand) { c.Digest = "ffff" }, exitUsage, "nothing of"},
		"no typed reason":    {func(o *office, c *ReleaseCommand) { c.Reason = "because" }, exitUsage, "/release/reason"},
		"no sentence":        {func(o *office, c *ReleaseCommand) { c.Text = "" }, exitUsage, "/release/text"},
		"no such key":        {func(o *office, c *ReleaseCommand) { c.KeyFile[0] = o.path("nobody") }, exitUsage, "reading key"},
		"another's site":     {func(o *office, c *ReleaseCommand) { _, c.LogKey = o.key("other") }, exitUsage, "reading what is published"},
		"a stranger beside":  {func(o *office, c *ReleaseCommand) { c.KeyFile[1] = o.path("carol") }, exitRefused, "unknown-key"},
		"nobody answers":     {func(o *office, c *ReleaseCommand) { c.URL = "http://127.0.0.1:1" }, exitGaveUp, "receipt key"},
		"numbers not proven": {func(o *office, c *ReleaseCommand) { o.put(log.CheckpointKey, []byte("?")) }, exitUsage, "reading the numbers"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			command := o.release("ann", "bob")
			command.Yes = true
			c.change(o, command)
			_, errs, status := o.run(command, "")
			if status != c.status || !strings.Contains(errs, c.want) {
				t.Errorf("status %d, want %d and %q: %s", status, c.status, c.want, errs)
			}
			if len(o.records) != 0 {
				t.Error("something was stored")
			}
		})
	}
}

func TestAListThatTheSnapshotDoesNotNameIsNotShown(t *testing.T) {
	o := newOffice(t)
	err := filepath.WalkDir(filepath.Join(o.dir, "public", "holds"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path, bytes.Replace(b, []byte("open"), []byte("lapsed"), 1), 0o644))
	})
	must(t, err)
	if out, errs, status := o.run(&ListCommand{siteFlags: o.site()}, ""); status != exitUsage || out != "" || !strings.Contains(errs, "hash") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}

// TestOverHTTPTheSiteIsTheSame: a list and a page of settings from a web server.
func TestOverHTTPTheSiteIsTheSame(t *testing.T) {
	o := newOffice(t)
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(o.dir, "public"))))
	defer server.Close()
	out, errs, status := o.run(&ListCommand{siteFlags: siteFlags{Site: server.URL}}, "")
	if status != 0 || !strings.Contains(out, unit) {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}
