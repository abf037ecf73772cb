package verify_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/publish"
	"tallystream/publish/log/leaf"
	"tallystream/publish/suppress"
	"tallystream/publish/verify"
	"tallystream/schemas"
)

// hidingDefinition hides two small units of fir and one of oak, and whom they
// are combined with.
func hidingDefinition() *schemas.Definition {
	d := definition()
	d.Rules.Suppression = &schemas.SuppressionRule{Below: 5000}
	for i := range d.Units {
		switch u := &d.Units[i]; u.ID {
		case "oak.2", "fir.2", "fir.3":
			u.Registered = 2000
		}
	}
	return d
}

func sealSecret() *suppress.Secret {
	s, err := suppress.ParseSecret([]byte("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="))
	if err != nil {
		panic(err)
	}
	return s
}

// hidingNight is a night with hidden units, and the openings of their leaves.
type hidingNight struct {
	*night
	openings []byte
}

var (
	hiding       sync.Mutex
	playedHiding *hidingNight
)

func playHiding(t *testing.T) *hidingNight {
	hiding.Lock()
	defer hiding.Unlock()
	if playedHiding == nil {
		synctest.Test(t, func(t *testing.T) { playedHiding = performHiding(t) })
	}
	return playedHiding
}

func performHiding(t *testing.T) *hidingNight {
	x := script{openAs(t, hidingDefinition(), func(c *publish.Config) { c.Secret = sealSecret() })}
	n := &hidingNight{night: &night{election: x.e, definition: x.bytes}}
	submit := func(unit schemas.UnitID, revision, like int) {
		u, _ := x.e.Unit(unit)
		x.submit(schemas.EntryCounted, "", unit, revision, x.numbers(unit, like), nil, "official."+string(x.e.Counties[x.e.Units[u].County].ID))
	}
	for revision := 1; revision <= 4; revision++ {
		for u := range x.e.Units {
			if id := x.e.Units[u].ID; id != "oak.2" || revision < 3 {
				submit(id, 10*revision, revision)
			}
		}
		time.Sleep(1100 * time.Millisecond)
		if revision == 2 {
			n.early = x.store.copy()
		}
	}
	// Everything that can become of a hidden unit's submission.
	lowered := x.submit(schemas.EntryHeld, schemas.HoldLowered, "fir.2", 50, x.numbers("fir.2", 2), nil, "official.fir")
	x.submit(schemas.EntrySuperseded, "", "fir.2", 15, x.numbers("fir.2", 1), nil, "official.fir")
	x.submit(schemas.EntryHeld, schemas.HoldConflict, "fir.3", 40, x.numbers("fir.3", 7), nil, "official.fir")
	late := x.submit(schemas.EntryHeld, schemas.HoldLowered, "fir.3", 50, x.numbers("fir.3", 3), nil, "official.fir")
	x.release(lowered, schemas.EntryReleased)
	submit("fir.3", 60, 5)
	x.release(late, schemas.EntryLapsed)
	x.submit(schemas.EntryCounted, "", "fir.1", 60, x.numbers("fir.1", 1), correctly, "supervisor.1", "supervisor.2")
	submit("oak.1", 60, 5) // waits for oak.2
	poison := []byte("no envelope at all")
	x.ledgers.add(entry(x.e, poison, schemas.EntryHeld, schemas.HoldPoison), poison, nil)
	time.Sleep(1100 * time.Millisecond)
	n.late = x.close()
	for _, entries := range x.ledgers.entries {
		for i := range entries {
			if !suppress.Hides(x.e, &entries[i]) {
				continue
			}
			own, err := leaf.OfEntry(&entries[i], x.ledgers.records[entries[i].At])
			if err != nil {
				t.Fatal(err)
			}
			if n.openings, err = sealSecret().AppendOpening(n.openings, origin, &entries[i], own); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

func readOpenings(t *testing.T, b []byte) *suppress.Openings {
	o, err := suppress.ReadOpenings(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestANightWithHiddenUnitsVerifiesAndSaysWhatRestsOnThem(t *testing.T) {
	n := playHiding(t)
	for _, c := range []struct {
		name string
		o    verify.Options
	}{
		{"the newest snapshot", verify.Options{Source: n.late}},
		{"every snapshot", verify.Options{Source: n.late, All: true}},
		{"opened", verify.Options{Source: n.late, All: true, Unseal: readOpenings(t, n.openings)}},
	} {
		r, _ := check(t, c.o)
		if r.Verdict != verify.Verified {
			t.Fatalf("%s:\n%s", c.name, print(r))
		}
		s := r.Sealed
		if s == nil || s.Opened != (c.o.Unseal != nil) || int(s.Leaves) != bytes.Count(n.openings, []byte{'\n'}) || len(s.Counties) != 2 {
			t.Fatalf("%s: %+v", c.name, s)
		}
		if want := []schemas.ContestID{"ballots-cast", "bond", "governor", "president"}; !slices.Equal(s.Contests, want) {
			t.Errorf("%s: totals of %s rest on sealed leaves, want %s", c.name, s.Contests, want)
		}
		oak, fir := s.Counties[0].Remainders[0], s.Counties[1].Remainders[0]
		if oak.Units != 2 || oak.Takings != 2 || oak.Waiting != 1 || fir.Units != 3 || fir.Takings != 5 || fir.Waiting != 0 {
			t.Errorf("%s: %+v, %+v", c.name, oak, fir)
		}
		if text := print(r); !strings.Contains(text, "combined-1 of 2 units, added up 2 times, 1 statements wait") {
			t.Errorf("%s: the report says\n%s", c.name, text)
		}
		if r.Released != 1 || r.Lapsed != 1 || r.Superseded != 1 || r.Held[schemas.HoldLowered] != 2 || r.Held[schemas.HoldConflict] != 1 || r.Held[schemas.HoldPoison] != 1 {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestALaterRunGoesOnWithHiddenUnits(t *testing.T) {
	n := playHiding(t)
	r, st := check(t, verify.Options{Source: n.early})
	if r.Verdict != verify.Verified {
		t.Fatal(print(r))
	}
	path := filepath.Join(t.TempDir(), "state")
	if err := verify.WriteState(path, st); err != nil {
		t.Fatal(err)
	}
	st, err := verify.ReadState(path)
	if err != nil {
		t.Fatal(err)
	}
	r, last := check(t, verify.Options{Source: n.late, State: st, All: true})
	if r.Verdict != verify.Verified || r.Resumed == 0 || r.Sealed.Counties[1].Remainders[0].Takings != 5 {
		t.Fatal(print(r))
	}
	if r, _ = check(t, verify.Options{Source: n.late, State: last}); r.Verdict != verify.Verified {
		t.Fatal(print(r))
	}
	f := newForger(t, n.night)
	f.republish("remainders/fir", "remainders", ".ndjson", oneMore(`"smith":[`)).relog()
	if r, _ = check(t, verify.Options{Source: f.site, State: last}); r.Verdict != verify.Failed {
		t.Errorf("a sum that was verified is another one now:\n%s", print(r))
	}
}

// sealedAt is the index of a hidden unit's leaf.
func (f *forger) sealedAt(unit schemas.UnitID, outcome schemas.EntryKind) int {
	return f.find(0, func(l leaf.Leaf) bool { s, ok := l.(*leaf.Sealed); return ok && s.Unit == unit && s.Outcome == outcome })
}

func (f *forger) reseal(unit schemas.UnitID, outcome schemas.EntryKind, change func(*leaf.Sealed)) {
	at := f.sealedAt(unit, outcome)
	s := f.decode(at).(*leaf.Sealed)
	change(s)
	f.leaves[at] = f.encode(s)
	f.relog()
}

var hidingAttacks = []struct {
	name   string
	do     func(f *forger)
	by     verify.Check
	says   string
	unseal bool // only an auditor with the openings finds it
	all    bool // only who looks at every snapshot does
}{
	{name: "one vote in a sum, by nobody's hand", by: verify.CheckRemainder, says: "remainders/fir", do: func(f *forger) {
		f.replace(f.named("remainders/fir").Key, oneMore(`"smith":[`))
	}},
	{name: "one vote in the newest sum, signed", by: verify.CheckDocument, says: "votes of smith", do: func(f *forger) {
		f.republish("remainders/fir", "remainders", ".ndjson", func(b []byte) []byte {
			last := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
			return append(b[:last:last], oneMore(`"smith":[`)(b[last:])...)
		}).relog()
	}},
	{name: "one vote in an old sum, signed", by: verify.CheckRemainder, says: "later snapshots sign", all: true, do: func(f *forger) {
		f.republish("remainders/fir", "remainders", ".ndjson", oneMore(`"smith":[`)).relog()
	}},
	{name: "one vote in a sum, signed, for the auditor", by: verify.CheckRemainder, says: "is not what its 3 opened leaves add up to", unseal: true, do: func(f *forger) {
		f.republish("remainders/fir", "remainders", ".ndjson", oneMore(`"smith":[`)).relog()
	}},
	{name: "a sum taken back", by: verify.CheckRemainder, says: "signs no numbers", do: func(f *forger) {
		f.republish("remainders/oak", "remainders", ".ndjson", func(b []byte) []byte { return b[:bytes.IndexByte(b, '\n')+1] }).relog()
	}},
	{name: "no sums at all", by: verify.CheckRemainder, says: "signs no numbers", do: func(f *forger) {
		f.remanifest(func(entries []schemas.ManifestEntry) []schemas.ManifestEntry {
			return slices.DeleteFunc(entries, func(e schemas.ManifestEntry) bool { return e.Name == "remainders/oak" })
		}).relog()
	}},
	{name: "a sum of other statements", by: verify.CheckRemainder, says: "of other statements", do: func(f *forger) {
		f.republish("remainders/oak", "remainders", ".ndjson", oneMore(`"revision":`)).relog()
	}},
	{name: "another commitment", by: verify.CheckRemainder, says: "of other statements", do: func(f *forger) {
		f.reseal("fir.2", schemas.EntryCounted, func(s *leaf.Sealed) { s.Commitment[0] ^= 1 })
	}},
	{name: "another commitment of a hold, for the auditor", by: verify.CheckSeal, says: "does not open the seal", unseal: true, do: func(f *forger) {
		f.reseal("fir.2", schemas.EntryHeld, func(s *leaf.Sealed) { s.Commitment[0] ^= 1 })
	}},
	{name: "a hold counted", by: verify.CheckRemainder, says: "of other statements", do: func(f *forger) {
		f.reseal("fir.2", schemas.EntryHeld, func(s *leaf.Sealed) { s.Outcome, s.Code = schemas.EntryCounted, "" })
	}},
	{name: "an old revision counted", by: verify.CheckDecision, says: "counts already", do: func(f *forger) {
		f.reseal("fir.2", schemas.EntrySuperseded, func(s *leaf.Sealed) { s.Outcome = schemas.EntryCounted })
	}},
	{name: "a new revision superseded", by: verify.CheckDecision, says: "no later revision counts", do: func(f *forger) {
		f.reseal("fir.3", schemas.EntryCounted, func(s *leaf.Sealed) { s.Outcome = schemas.EntrySuperseded })
	}},
	{name: "a release of another hold", by: verify.CheckDecision, says: "is no hold of it", do: func(f *forger) {
		f.reseal("fir.2", schemas.EntryReleased, func(s *leaf.Sealed) { s.Hold-- })
	}},
	{name: "a lapse counted", by: verify.CheckDecision, says: "what counts is revision", do: func(f *forger) {
		f.reseal("fir.3", schemas.EntryLapsed, func(s *leaf.Sealed) { s.Outcome = schemas.EntryReleased })
	}},
	{name: "a leaf of somebody who is not hidden", by: verify.CheckDecision, says: "none that the definition hides", do: func(f *forger) {
		at := f.submission("ash.1", 10)
		s, err := leaf.Seal(f.decode(at), [leaf.SaltSize]byte{1})
		if err != nil {
			f.t.Fatal(err)
		}
		f.leaves[at] = f.encode(s)
		f.relog()
	}},
	{name: "a hidden unit's leaf in the open", by: verify.CheckSeal, says: "hides the unit", do: func(f *forger) {
		at := f.sealedAt("oak.2", schemas.EntryCounted)
		s := f.decode(at).(*leaf.Sealed)
		record := envelope(f.n.election, "oak.2", int(s.Revision), numbers(f.n.election, 1, 1), nil, "official.oak")
		f.leaves[at] = f.encode(&leaf.Submission{Outcome: s.Outcome, Partition: s.Partition, Seq: s.Seq, Unit: s.Unit, Revision: s.Revision, Record: record})
		f.relog()
	}},
}

func TestAttacksOnHiddenUnitsAreFound(t *testing.T) {
	n := playHiding(t)
	for _, a := range hidingAttacks {
		f := newForger(t, n.night)
		a.do(f)
		o := verify.Options{Source: f.site, All: a.all}
		if a.unseal {
			o.Unseal = readOpenings(t, n.openings)
		}
		r, _ := check(t, o)
		found := slices.ContainsFunc(r.Findings, func(x verify.Finding) bool { return x.Check == a.by && strings.Contains(x.String(), a.says) })
		if r.Verdict != verify.Failed || !found {
			t.Errorf("%s: want %s: ...%s...\n%s", a.name, a.by, a.says, print(r))
		}
	}
}

func TestOpeningsThatAreMissingAreFindings(t *testing.T) {
	n := playHiding(t)
	most := n.openings[bytes.IndexByte(n.openings, '\n')+1:]
	r, _ := check(t, verify.Options{Source: n.late, Unseal: readOpenings(t, most)})
	if r.Verdict != verify.Failed || r.Findings[0].Check != verify.CheckSeal {
		t.Errorf("one is missing:\n%s", print(r))
	}
	for name, bad := range map[string][]byte{
		"twice": append(bytes.Clone(most), most...), "no JSON": []byte("x\n"), "a short salt": []byte(`{"partition":0,"seq":1,"salt":"AA==","leaf":"AA=="}`),
	} {
		if _, err := suppress.ReadOpenings(bytes.NewReader(bad)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

func TestTheReportOfHiddenUnitsIsThereForPrograms(t *testing.T) {
	r, _ := check(t, verify.Options{Source: playHiding(t).late})
	var b bytes.Buffer
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var out struct {
		Sealed struct {
			Leaves   int
			Contests []string
			Counties []struct{ Remainders []struct{ Takings int } }
		}
	}
	if err := json.Unmarshal(b.Bytes(), &out); err != nil || out.Sealed.Leaves == 0 || len(out.Sealed.Contests) != 4 || out.Sealed.Counties[0].Remainders[0].Takings != 2 {
		t.Errorf("%+v, %v\n%s", out, err, b.Bytes())
	}
}
