package aggregate

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tallystream/schemas"
)

// fate is one record and what must become of it, given those before it.
type fate struct {
	s    *sent
	want Outcome
	hold schemas.HoldCode
}

func TestFoldDecidesByTheRules(t *testing.T) {
	e := smallElection(t)
	const u = 0
	v := func(ballots, undervotes schemas.Count) []schemas.Count { return votes(e, u, ballots, undervotes) }
	broken := v(10, 0)
	broken[len(broken)-1]++ // an overvote out of nowhere
	missing := v(20, 0)
	last := e.Units[u].Style.Sections[len(e.Units[u].Style.Sections)-1]
	clear(missing[last.Offset:])
	r1, r2, r3 := send(e, u, 1, v(10, 0), false), send(e, u, 2, v(20, 1), false), send(e, u, 3, v(30, 0), false)
	other2 := send(e, u, 2, v(21, 1), false)
	low3, low4 := send(e, u, 3, v(5, 0), false), send(e, u, 4, v(5, 0), false)
	implausible := send(e, u, 2, broken, false)
	flood := send(e, u, 2, v(4000, 0), false)
	for name, c := range map[string][]fate{
		"a later revision replaces":    {{r1, Counted, ""}, {r2, Counted, ""}, {r3, Counted, ""}},
		"revisions may skip":           {{r1, Counted, ""}, {r3, Counted, ""}},
		"an earlier one is superseded": {{r3, Counted, ""}, {r1, Superseded, ""}, {r2, Superseded, ""}},
		"even if it is implausible":    {{r3, Counted, ""}, {implausible, Superseded, ""}},
		"a repeat makes no entry":      {{r1, Counted, ""}, {r1, Duplicate, ""}, {r2, Counted, ""}, {r1, Duplicate, ""}, {r2, Duplicate, ""}},
		"so does one of a superseded":  {{r3, Counted, ""}, {r1, Superseded, ""}, {r1, Duplicate, ""}},
		"or of a held one":             {{implausible, Held, schemas.HoldIdentity}, {implausible, Duplicate, ""}},
		"the same revision differs": {
			{r2, Counted, ""}, {other2, Held, schemas.HoldConflict}, {other2, Duplicate, ""}, {r2, Duplicate, ""}, {r3, Counted, ""},
		},
		"from a superseded one": {
			{r3, Counted, ""}, {r2, Superseded, ""}, {other2, Held, schemas.HoldConflict},
		},
		"from a held one": {
			{implausible, Held, schemas.HoldIdentity}, {r2, Held, schemas.HoldConflict}, {r2, Duplicate, ""}, {r3, Counted, ""},
		},
		"from another conflict": {
			{r2, Counted, ""}, {other2, Held, schemas.HoldConflict}, {flood, Held, schemas.HoldConflict}, {other2, Duplicate, ""},
		},
		"more ballots than voters": {{flood, Held, schemas.HoldRegistered}, {r1, Counted, ""}},
		"a count fell":             {{r2, Counted, ""}, {low3, Held, schemas.HoldLowered}, {r3, Held, schemas.HoldConflict}},
		"a contest is missing":     {{r1, Counted, ""}, {send(e, u, 2, missing, false), Held, schemas.HoldMissing}},
		"held ones are no measure": {{low3, Counted, ""}, {flood, Superseded, ""}, {low4, Counted, ""}},
		"a correction may lower":   {{r3, Counted, ""}, {send(e, u, 4, v(5, 0), true), Counted, ""}},
		"and leave a contest out":  {{r1, Counted, ""}, {send(e, u, 2, missing, true), Counted, ""}},
		"but must add up":          {{r1, Counted, ""}, {send(e, u, 2, broken, true), Held, schemas.HoldIdentity}},
		"another unit is another":  {{r1, Counted, ""}, {send(e, 1, 1, votes(e, 1, 3, 0), false), Counted, ""}},
	} {
		t.Run(name, func(t *testing.T) { checkFates(t, e, c) })
	}
}

// checkFates folds the records one by one, once keeping memory and once with a
// new process before each.
func checkFates(t *testing.T, e *schemas.Election, fates []fate) {
	t.Helper()
	var records [][]byte
	for _, f := range fates {
		records = append(records, f.s.record)
	}
	for _, crashes := range []bool{false, true} {
		s := newStore(e, records)
		partitions := s.load()
		for i, f := range fates {
			if crashes {
				partitions = s.load()
			}
			p := &partitions[s.partitionOf(f.s.record)]
			got, err := p.fold(t.Context(), schemas.Checkpoint(i+1), f.s.record)
			if err != nil {
				t.Fatal(err)
			}
			hold := schemas.HoldCode("")
			if got == Held {
				hold = p.entries[len(p.entries)-1].Hold
			}
			if got != f.want || hold != f.hold {
				t.Errorf("record %d (crashes: %t): %s %s, want %s %s", i+1, crashes, got, hold, f.want, f.hold)
			}
			if crashes {
				if err := s.commit(partitions); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestPoisonIsHeldAndPassed(t *testing.T) {
	e := smallElection(t)
	good := send(e, 0, 1, votes(e, 0, 10, 0), false)
	body := e.AppendBody(nil, 0, 2, votes(e, 0, 20, 0), nil, nil)
	correction := e.AppendBody(nil, 0, 2, votes(e, 0, 20, 0), nil, &schemas.Correction{Reason: schemas.CorrectRecount, Text: "x"})
	unit := e.Units[0].ID
	for name, c := range map[string]struct {
		record []byte
		unit   schemas.UnitID
	}{
		"nothing":               {nil, ""},
		"noise":                 {[]byte("\x00\xff noise"), ""},
		"a cut note":            {good.record[:40], ""},
		"a changed body":        {bytes.Replace(good.record, []byte(`"ballots"`), []byte(`"ballotz"`), 1), ""},
		"another election":      {bytes.Replace(good.record, []byte("example.org/test"), []byte("example.org/tess"), 1), ""},
		"an unknown unit":       {envelope(e, "nowhere", 2, body, one), ""},
		"another partition":     {envelope(e, e.Units[2].ID, 2, body, one), ""},
		"no JSON":               {envelope(e, unit, 2, []byte("{"), one), unit},
		"another unit's body":   {envelope(e, e.Units[1].ID, 2, body, one), e.Units[1].ID},
		"another revision":      {envelope(e, unit, 3, body, one), unit},
		"a one-man correction":  {envelope(e, unit, 2, correction, one), unit},
		"a contest from abroad": {envelope(e, unit, 2, bytes.Replace(body, []byte("contest-001"), []byte("contest-009"), 1), one), unit},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(e, nil)
			partitions := s.load()
			p := &partitions[0]
			if outcome, err := p.fold(t.Context(), 1, c.record); err != nil || outcome != Held {
				t.Fatalf("%s, %v; want held", outcome, err)
			}
			x := p.entries[0]
			if x.Hold != schemas.HoldPoison || x.Unit != c.unit || x.Seq != 1 || x.At != 1 || x.Digest.IsZero() {
				t.Errorf("entry %+v", x)
			}
			if p.next.Checkpoint != 1 {
				t.Errorf("checkpoint %d, want 1", p.next.Checkpoint)
			}
			if outcome, err := p.fold(t.Context(), 2, good.record); err != nil || outcome != Counted {
				t.Errorf("the record after: %s, %v; want counted", outcome, err)
			}
		})
	}
}

func TestRecordsAtOrBelowTheCheckpointPass(t *testing.T) {
	e := smallElection(t)
	s := newStore(e, nil)
	p := &s.load()[0]
	p.next.Checkpoint = 5
	for at := range schemas.Checkpoint(6) {
		if outcome, err := p.fold(t.Context(), at, []byte("whatever")); err != nil || outcome != Passed {
			t.Errorf("record %d: %s, %v; want passed", at, outcome, err)
		}
	}
}

func TestAFailedLookupChangesNothing(t *testing.T) {
	e := smallElection(t)
	r1, r2 := send(e, 0, 1, votes(e, 0, 10, 0), false), send(e, 0, 2, votes(e, 0, 20, 0), false)
	s := newStore(e, [][]byte{r1.record})
	partitions := s.load()
	if err := s.fold(partitions, 0, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.commit(partitions); err != nil {
		t.Fatal(err)
	}
	s.records = nil // the stream forgets what was counted
	p := &s.load()[0]
	before := p.next
	if _, err := p.fold(t.Context(), 2, r2.record); err == nil {
		t.Fatal("folded without the row before")
	}
	if p.next != before || len(p.entries) != 0 || len(p.touched) != 0 {
		t.Errorf("the partition changed: %+v", p.next)
	}
}

// TestAnyHistoryEqualsTheFoldFromScratch is the promise: whatever order,
// repetition, micro-batches, crashes and reloads, what is committed is the fold
// of the stream's prefix, and its tallies are those of the naive model.
func TestAnyHistoryEqualsTheFoldFromScratch(t *testing.T) {
	for name, e := range map[string]*schemas.Election{"few rules": smallElection(t), "every rule": watchful(t)} {
		t.Run(name, func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { checkHistory(t, e) }) })
	}
}

func checkHistory(t *rapid.T, e *schemas.Election) {
	night := drawNight(t, e)
	records := make([][]byte, len(night))
	for i, s := range night {
		records[i] = s.record
	}
	s := newStore(e, records)
	at := 0 // everything before is committed
	partitions := s.load()
	for at < len(records) {
		to := rapid.IntRange(at, len(records)).Draw(t, "to")
		if err := s.fold(partitions, at, to); err != nil {
			t.Fatal(err)
		}
		switch rapid.SampledFrom([]string{"commit", "commit", "commit and crash", "crash", "rival"}).Draw(t, "then") {
		case "crash": // before the transaction
			partitions = s.load()
			continue
		case "rival": // another process commits other micro-batches first
			rival := s.load()
			if err := s.fold(rival, at, len(records)); err != nil {
				t.Fatal(err)
			}
			if err := s.commit(rival); err != nil {
				t.Fatal(err)
			}
			if err := s.commit(partitions); err == nil {
				t.Fatal("a stale owner committed")
			}
			partitions, at = s.load(), len(records)
			continue
		case "commit and crash":
			if err := s.commit(partitions); err != nil {
				t.Fatal(err)
			}
			partitions = s.load()
		default:
			if err := s.commit(partitions); err != nil {
				t.Fatal(err)
			}
		}
		at = to
		compare(t, e, s, records[:at], night[:at])
	}
	compare(t, e, s, records, night)
}

func compare(t *rapid.T, e *schemas.Election, s *store, records [][]byte, night []*sent) {
	want := newStore(e, records)
	partitions := want.load()
	if err := want.fold(partitions, 0, len(records)); err != nil {
		t.Fatal(err)
	}
	if err := want.commit(partitions); err != nil {
		t.Fatal(err)
	}
	want.sort()
	got := slices.Clone(s.entries)
	slices.SortStableFunc(got, func(a, b schemas.Entry) int { return int(a.Partition) - int(b.Partition) })
	if diff := cmp.Diff(want.entries, got); diff != "" {
		t.Fatalf("entries (-scratch +committed):\n%s", diff)
	}
	if diff := cmp.Diff(want.rows, s.rows); diff != "" {
		t.Fatalf("rows (-scratch +committed):\n%s", diff)
	}
	entries, rows := naive(e, night)
	if diff := cmp.Diff(rows, s.rows); diff != "" {
		t.Fatalf("rows (-naive +committed):\n%s", diff)
	}
	var kinds []string
	slices.SortFunc(got, func(a, b schemas.Entry) int { return int(a.At) - int(b.At) })
	for _, x := range got {
		kinds = append(kinds, fmt.Sprint(x.At, " ", x.Kind, " ", x.Hold))
	}
	if diff := cmp.Diff(entries, kinds); diff != "" {
		t.Fatalf("entries (-naive +committed):\n%s", diff)
	}
}

// kept is a submission as naive keeps it: all of them.
type kept struct {
	*sent
	digest  schemas.Digest
	hold    schemas.HoldCode // why it was held; empty: it was not
	settled bool             // released or lapsed
}

// paper is a count as one would do it on paper: it keeps everything, and looks
// through all of it for every record.
type paper struct {
	e      *schemas.Election
	seen   []*kept
	counts map[schemas.UnitIndex]*sent
}

func naive(e *schemas.Election, night []*sent) (entries []string, rows [][]int64) {
	p := &paper{e: e, counts: map[schemas.UnitIndex]*sent{}}
	for i, s := range night {
		fate, hold := "", schemas.HoldCode("")
		if s.releases != nil {
			fate, hold = p.release(s)
		} else {
			fate, hold = p.submission(s)
		}
		if fate != "duplicate" {
			entries = append(entries, fmt.Sprint(i+1, " ", fate, " ", hold))
		}
	}
	for c := range e.Counties {
		rows = append(rows, p.row(schemas.CountyIndex(c), nil))
	}
	return entries, rows
}

// row adds a county up, but for one submission.
func (p *paper) row(c schemas.CountyIndex, without *sent) []int64 {
	row := make([]int64, p.e.Counties[c].Cells)
	for _, u := range p.e.Counties[c].Units {
		if s := p.counts[u]; s != nil && s != without {
			p.e.Fold(row, u, nil, s.cells)
		}
	}
	return row
}

func (p *paper) submission(s *sent) (fate string, hold schemas.HoldCode) {
	digest := s.digest()
	for _, k := range p.seen {
		if k.unit == s.unit && k.revision == s.revision {
			if k.digest == digest {
				return "duplicate", ""
			}
			hold = schemas.HoldConflict
		}
	}
	latest := p.counts[s.unit]
	switch {
	case hold != "":
	case s.poison:
		hold = schemas.HoldPoison
	case latest != nil && s.revision < latest.revision:
		fate = "superseded"
	default:
		if hold = p.doubt(s, latest); hold == "" {
			fate, p.counts[s.unit] = "counted", s
		}
	}
	if hold != "" {
		fate = "held"
	}
	p.seen = append(p.seen, &kept{sent: s, digest: digest, hold: hold})
	return fate, hold
}

// doubt is why a readable, new submission would not count.
func (p *paper) doubt(s, latest *sent) schemas.HoldCode {
	if hold := p.e.Implausible(&schemas.Statement{Unit: s.unit, Cells: s.cells}); hold != "" || s.correction {
		return hold
	}
	var before []schemas.Count
	if latest != nil {
		before = latest.cells
		if hold := p.e.Lowered(s.unit, before, s.cells); hold != "" {
			return hold
		}
	}
	county := p.e.Units[s.unit].County
	if rules := p.e.Definition.Rules.Outliers; rules != nil {
		for _, other := range p.e.Counties[county].Units {
			o := p.counts[other]
			if o == nil || other == s.unit || p.e.Definition.Units[other].Style != p.e.Definition.Units[s.unit].Style {
				continue
			}
			if _, enough := p.e.Twin(s.unit, s.cells); enough && slices.Equal(o.cells, s.cells) {
				return schemas.HoldTwin
			}
		}
	}
	// Without the unit's own row there is nothing of before to take out.
	if p.e.Outlier(s.unit, p.row(county, latest), nil, s.cells) != nil {
		return schemas.HoldOutlier
	}
	return ""
}

func (p *paper) release(s *sent) (string, schemas.HoldCode) {
	for _, k := range p.seen {
		if k.unit != s.unit || k.revision != s.revision || k.digest != s.releases.digest() || !k.hold.Releasable() || k.hold == "" {
			continue
		}
		latest := p.counts[k.unit]
		switch {
		case k.settled:
			return "duplicate", ""
		case latest != nil && k.revision < latest.revision:
			k.settled = true
			return "lapsed", ""
		case k.poison: // a conflict, held unread
			return "held", schemas.HoldRelease
		}
		k.settled = true
		p.counts[k.unit] = k.sent
		return "released", ""
	}
	return "held", schemas.HoldRelease
}

// drawNight draws submissions of every sort, repeats some and shuffles them.
// Then two supervisors release some of them, mostly after they came, and some
// of that comes again.
func drawNight(t *rapid.T, e *schemas.Election) []*sent {
	night := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *sent { return drawSent(t, e) }), 1, 24).Draw(t, "submissions")
	for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(night)-1), 0, 8).Draw(t, "repeats") {
		night = append(night, night[i])
	}
	night = rapid.Permutation(night).Draw(t, "order")
	for range rapid.IntRange(0, 12).Draw(t, "releases") {
		of := rapid.IntRange(0, len(night)-1).Draw(t, "of")
		s := night[of]
		if s.releases == nil {
			s = release(e, s, rapid.SampledFrom([]string{"Right.", "Checked."}).Draw(t, "text"), two...)
		}
		after := of + 1
		if rapid.IntRange(0, 9).Draw(t, "early") == 0 {
			after = 0
		}
		night = slices.Insert(night, rapid.IntRange(after, len(night)).Draw(t, "at"), s)
	}
	return night
}

func drawSent(t *rapid.T, e *schemas.Election) *sent {
	unit := schemas.UnitIndex(rapid.IntRange(0, len(e.Units)-1).Draw(t, "unit"))
	revision := schemas.Revision(rapid.IntRange(1, 4).Draw(t, "revision"))
	// Counts mostly grow with the revision.
	ballots := schemas.Count(uint32(revision)*20) + schemas.Count(rapid.IntRange(0, 15).Draw(t, "ballots"))
	cells := votes(e, unit, ballots, schemas.Count(rapid.IntRange(0, 2).Draw(t, "undervotes")))
	correction := false
	switch rapid.SampledFrom([]string{"", "", "", "", "same", "same", "same", "many", "broken", "flood", "low", "correction", "missing", "poison"}).Draw(t, "sort") {
	case "broken":
		cells[len(cells)-1]++
	case "same":
		cells = votes(e, unit, 50, 0)
	case "many":
		cells = votes(e, unit, 200, 0)
	case "flood":
		cells = votes(e, unit, 4000, 0)
	case "low":
		cells = votes(e, unit, 3, 0)
	case "correction":
		correction = true
		cells = votes(e, unit, 7, 0)
	case "missing":
		clear(cells[e.Units[unit].Style.Sections[1].Offset:])
	case "poison":
		return sendPoison(e, unit, revision, rapid.SampledFrom([]string{"{", "[]", "null"}).Draw(t, "body"))
	}
	return send(e, unit, revision, cells, correction)
}

// FuzzFold: no record stops a partition. Each makes an entry or repeats one,
// and the same bytes do the same again.
func FuzzFold(f *testing.F) {
	e := smallElection(f)
	good := send(e, 0, 2, votes(e, 0, 20, 0), false)
	f.Add(good.record)
	f.Add(send(e, 0, 1, votes(e, 0, 10, 0), true).record)
	f.Add(send(e, 4, 7, votes(e, 4, 4000, 0), false).record)
	f.Add(sendPoison(e, 0, 3, "{").record)
	f.Add(envelope(e, "nowhere", 1, []byte("{}"), one))
	f.Add([]byte("\n\n\n\n"))
	f.Add(release(e, good, "It counts already.", two...).record)
	f.Add(release(e, good, "One alone.", one...).record)
	f.Fuzz(func(t *testing.T, record []byte) {
		s := newStore(e, [][]byte{good.record})
		p := &s.load()[0]
		if outcome, err := p.fold(t.Context(), 1, good.record); err != nil || outcome != Counted {
			t.Fatal(outcome, err)
		}
		size := p.next.Size
		outcome, err := p.fold(t.Context(), 2, record)
		if err != nil {
			t.Fatal(err)
		}
		made := p.next.Size - size
		if (outcome == Duplicate) != (made == 0) || made > 1 || p.next.Checkpoint != 2 {
			t.Fatalf("%s made %d entries, head %+v", outcome, made, p.next)
		}
		again, err := p.fold(t.Context(), 3, record)
		if err != nil {
			t.Fatal(err)
		}
		if x := p.entries[len(p.entries)-1]; again != Duplicate && x.Unit != "" && x.Hold != schemas.HoldRelease {
			t.Fatalf("the repeat of %s is %s: %+v", outcome, again, x)
		}
	})
}
