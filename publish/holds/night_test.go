package holds

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
	"tallystream/service"
	"tallystream/simulator"
)

// votes stand for a unit that has fewer voters than that: its submission is
// held. They stand nowhere else in what is published.
const votes = 31415

// running is a whole night over HTTP: ingest, ledger, snapshots and proofs.
type running struct {
	*office
	night    *simulator.Night
	official note.Signer
}

// begin starts a night of the example election, as changed.
func begin(t *testing.T, change func(*schemas.Definition)) *running {
	t.Helper()
	b, err := os.ReadFile("../../schemas/testdata/good/definition.json")
	must(t, err)
	d := new(schemas.Definition)
	must(t, json.Unmarshal(b, d))
	change(d)
	definition, err := json.Marshal(d)
	must(t, err)
	r := &running{office: &office{T: t, dir: t.TempDir()}}
	r.election, err = schemas.OpenElection(definition)
	must(t, err)
	roster := schemas.Roster{Schema: schemas.RosterSchema, Election: d.Election}
	for name, role := range map[string]schemas.Role{"official": schemas.Official, "ann": schemas.Supervisor, "bob": schemas.Supervisor} {
		signer, public := r.key(name)
		if role == schemas.Official {
			r.official = signer
		}
		roster.Keys = append(roster.Keys, schemas.KeyEntry{Key: public, Role: role, County: "leon"})
	}
	keys, err := json.Marshal(roster)
	must(t, err)
	data := service.Data{Dir: t.TempDir()}
	must(t, errors.Join(data.Create(definition, keys), data.NewKey("ingest", d.Origin), data.NewKey("publish", d.Origin)))
	if d.Rules.Suppression != nil {
		secret := make([]byte, 32)
		rand.Read(secret)
		must(t, os.WriteFile(data.KeyPath("seal"), []byte(base64.StdEncoding.EncodeToString(secret)), 0o600))
	}
	r.night, err = simulator.StartNight(context.WithoutCancel(t.Context()), simulator.NightOptions{
		Data: data, Bucket: r.path("public"), Listen: "127.0.0.1:0", Eager: true, Logger: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	t.Cleanup(func() { must(t, r.night.Close()) })
	r.url = r.night.IngestURL()
	return r
}

// report sends a unit's revision with n ballots, and keeps it in a file.
func (r *running) report(unit schemas.UnitID, revision schemas.Revision, n schemas.Count) (file string, digest schemas.Digest) {
	r.Helper()
	u, ok := r.election.Unit(unit)
	if !ok {
		r.Fatalf("%s is no unit", unit)
	}
	style := r.election.Units[u].Style
	cells := make([]schemas.Count, style.Cells)
	for i := range style.Sections {
		s := &style.Sections[i]
		cells[s.Offset], cells[s.Offset+1] = 1, n // all for the first, of the first count type
		if s.Contest >= 0 && r.election.Definition.Contests[s.Contest].VotesAllowed == 2 {
			cells[int(s.Offset)+1+r.election.Types()] = n
		}
	}
	body := r.election.AppendBody(nil, u, revision, cells, nil, nil)
	envelope, err := schemas.AppendEnvelope(nil, r.election.Definition.Origin, unit, revision, body, r.official)
	must(r, err)
	sending := r.sending()
	sender, err := sending.client(r.Context(), &terminal{in: strings.NewReader(""), out: new(bytes.Buffer), err: new(bytes.Buffer)})
	must(r, err)
	_, err = sender.Send(r.Context(), envelope)
	must(r, err)
	file = r.path(string(unit) + ".submission")
	must(r, os.WriteFile(file, envelope, 0o600))
	return file, schemas.DigestOf(body)
}

func (r *running) site() siteFlags { return siteFlags{Site: r.night.PublicURL()} }

// listed waits until the public list of holds has a line with all of these words.
func (r *running) listed(words ...string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	for {
		out, errs, _ := r.run(&ListCommand{siteFlags: r.site(), All: true, JSON: true}, "")
		for line := range strings.Lines(out) {
			missing := false
			for _, w := range words {
				missing = missing || !strings.Contains(line, w)
			}
			if !missing {
				return
			}
		}
		select {
		case <-ctx.Done():
			r.Fatalf("no line has %q:\n%s%s", words, out, errs)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// published says whether something that is published has these bytes.
func (r *running) published(those []byte) bool {
	r.Helper()
	found := false
	must(r, filepath.WalkDir(r.path("public"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, those)
		return err
	}))
	return found
}

func (r *running) pick(unit schemas.UnitID) pick { return pick{Unit: string(unit), Revision: 1} }

// TestSupervisorsReleaseOverHTTP releases one hold by one command and one by
// three, each of which asks the running services.
func TestSupervisorsReleaseOverHTTP(t *testing.T) {
	t.Parallel()
	r := begin(t, func(*schemas.Definition) {})
	for _, u := range []schemas.UnitID{"leon-1101", "leon-1102"} {
		r.report(u, 1, votes)
		r.listed(`"unit":"`+string(u)+`"`, `"code":"ballots-over-registered"`, `"state":"open"`)
	}
	waiting := r.sending()
	waiting.Wait = true
	release := &ReleaseCommand{pick: r.pick("leon-1101"), because: fine, siteFlags: r.site(), sendFlags: waiting, KeyFile: []string{r.path("ann"), r.path("bob")}}
	out, errs, status := r.run(release, "y\n")
	if status != 0 || !strings.Contains(out, "The ledger says: released.") || !strings.Contains(errs, "31415") {
		t.Fatalf("status %d: %s%s", status, out, errs)
	}
	r.listed(`"unit":"leon-1101"`, `"state":"released"`)
	if _, errs, status := r.run(release, "y\n"); status != exitUsage || !strings.Contains(errs, "it is released") {
		t.Errorf("released again: status %d: %s", status, errs)
	}

	file := r.path("1102.release")
	for _, c := range []interface {
		run(context.Context, *terminal) error
	}{
		&SignCommand{pick: r.pick("leon-1102"), because: fine, siteFlags: r.site(), KeyFile: r.path("ann"), Out: file},
		&CosignCommand{siteFlags: r.site(), File: file, KeyFile: r.path("bob")},
		&SendCommand{sendFlags: waiting, File: file},
	} {
		if out, errs, status := r.run(c, "y\n"); status != 0 {
			t.Fatalf("%T: status %d: %s%s", c, status, out, errs)
		}
	}
	r.listed(`"unit":"leon-1102"`, `"state":"released"`)
	for what, b := range map[string]string{"the supervisors' reason": fine.Text, "the numbers": "31415"} {
		if !r.published([]byte(b)) {
			t.Errorf("nothing that is published has %s", what)
		}
	}
}

// TestSupervisorsReleaseWhatIsHidden: of a hidden unit's hold nothing is
// published but that it is held; who releases it brings its numbers.
func TestSupervisorsReleaseWhatIsHidden(t *testing.T) {
	t.Parallel()
	r := begin(t, func(d *schemas.Definition) {
		d.Rules.Suppression = &schemas.SuppressionRule{Below: 25}
		d.Units[1].Registered = 7
	})
	const unit = "leon-1102"
	if u, _ := r.election.Unit(unit); r.election.RemainderOf(u) < 0 {
		t.Fatal("the unit is not hidden")
	}
	file, digest := r.report(unit, 1, votes)
	r.listed(`"unit":"`+unit+`"`, `"code":"ballots-over-registered"`, `"state":"open"`)

	signed := r.path("1102.release")
	sign := &SignCommand{pick: r.pick(unit), because: fine, siteFlags: r.site(), KeyFile: r.path("ann"), Out: signed}
	if _, errs, status := r.run(sign, "y\n"); status != exitUsage || !strings.Contains(errs, "hidden from the public") {
		t.Fatalf("signed without having seen the numbers: status %d: %s", status, errs)
	}
	other, _ := r.report("leon-1101", 1, votes) // hidden beside it
	sign.Submission = other
	if _, errs, status := r.run(sign, "y\n"); status != exitUsage || !strings.Contains(errs, "is of leon-1101") {
		t.Fatalf("signed another unit's numbers: status %d: %s", status, errs)
	}
	sign.Submission = file
	if _, errs, status := r.run(sign, "y\n"); status != 0 || !strings.Contains(errs, "31415") {
		t.Fatalf("status %d: %s", status, errs)
	}
	cosign := &CosignCommand{siteFlags: r.site(), File: signed, KeyFile: r.path("bob")}
	if _, errs, status := r.run(cosign, "y\n"); status != exitUsage || !strings.Contains(errs, "hidden from the public") {
		t.Fatalf("cosigned without having seen the numbers: status %d: %s", status, errs)
	}
	cosign.Submission = file
	if _, errs, status := r.run(cosign, "y\n"); status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	send := &SendCommand{sendFlags: r.sending(), File: signed}
	send.Wait = true
	if out, errs, status := r.run(send, ""); status != 0 || !strings.Contains(out, "The ledger says: released.") {
		t.Fatalf("status %d: %s%s", status, out, errs)
	}
	r.listed(`"unit":"`+unit+`"`, `"state":"released"`)

	for what, b := range map[string][]byte{
		"its numbers": []byte("31415"), "its hash": digest[:], "its hash in hex": []byte(hex.EncodeToString(digest[:])),
		"its hash in base64": []byte(base64.StdEncoding.EncodeToString(digest[:])), "the release": []byte(fine.Text),
	} {
		if r.published(b) {
			t.Errorf("%s stands in what is published", what)
		}
	}
}
