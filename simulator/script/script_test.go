package script_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"tallystream/schemas"
	"tallystream/simulator/elections"
	"tallystream/simulator/script"
)

// night is a script with all that is needed to judge it.
type night struct {
	truth elections.Truth
	e     *schemas.Election
	ring  *schemas.Keyring
	s     *script.Script
}

func write(t testing.TB, truth elections.Truth, cfg script.Config) *night {
	t.Helper()
	keys, err := elections.NewKeys(truth.Election(), cfg.Seed)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := schemas.OpenRoster(keys.Roster(), truth.Election())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Truth, cfg.Keys = truth, keys
	s, err := script.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &night{truth: truth, e: truth.Election(), ring: ring, s: s}
}

func county(t testing.TB, seed uint64) elections.Truth {
	t.Helper()
	g, err := elections.Generate(elections.CountyKind, seed)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// receive checks an envelope as ingest must, and returns what it states or
// why it is refused.
func (n *night) receive(envelope []byte) (*schemas.Statement, schemas.Digest, error) {
	var v schemas.Envelope
	if err := v.Parse(envelope); err != nil {
		return nil, v.Digest, err
	}
	if string(v.Origin) != n.e.Definition.Origin {
		return nil, v.Digest, &schemas.FieldError{Code: schemas.ProblemElection}
	}
	var sub schemas.Submission
	if err := sub.Decode(v.Body); err != nil {
		return nil, v.Digest, err
	}
	st := new(schemas.Statement)
	if err := n.e.Resolve(&sub, st); err != nil {
		return nil, v.Digest, err
	}
	if string(v.Unit) != string(sub.Unit) || v.Revision != sub.Revision {
		return nil, v.Digest, errors.New("note and body differ")
	}
	if err := n.ring.Authorize(n.e, &v, st.Unit, st.Correction); err != nil {
		return nil, v.Digest, err
	}
	return st, v.Digest, nil
}

// unitTally is the rule of what counts, for one unit, in its plainest form.
type unitTally struct {
	seen    map[schemas.Revision][]schemas.Digest
	counted *schemas.Statement
	held    map[schemas.Digest]*schemas.Statement // and not released
}

// release is the rule of releases.
func (u *unitTally) release(n *night, note []byte) (script.Outcome, error) {
	var l schemas.Release
	if err := l.Parse(note); err != nil {
		return script.Outcome{}, err
	}
	unit, _ := n.e.Unit(schemas.UnitID(l.Unit))
	if err := n.ring.AuthorizeRelease(n.e, &l, unit); err != nil {
		return script.Outcome{}, err
	}
	st := u.held[l.Digest]
	switch delete(u.held, l.Digest); {
	case st == nil: // a repeat
		return script.Outcome{}, nil
	case st.Revision < u.counted.Revision:
		return script.Outcome{Entry: schemas.EntryLapsed}, nil
	}
	u.counted = st
	return script.Outcome{Entry: schemas.EntryReleased}, nil
}

func (u *unitTally) take(e *schemas.Election, st *schemas.Statement, digest schemas.Digest) script.Outcome {
	if slices.Contains(u.seen[st.Revision], digest) {
		return script.Outcome{}
	}
	before := len(u.seen[st.Revision])
	if u.seen == nil {
		u.seen = map[schemas.Revision][]schemas.Digest{}
	}
	u.seen[st.Revision] = append(u.seen[st.Revision], digest)
	hold := schemas.HoldCode("")
	switch {
	case before > 0:
		hold = schemas.HoldConflict
	case u.counted != nil && st.Revision < u.counted.Revision:
		return script.Outcome{Entry: schemas.EntrySuperseded}
	default:
		hold = e.Implausible(st)
		if hold == "" && u.counted != nil && !st.Correction {
			hold = e.Lowered(st.Unit, u.counted.Cells, st.Cells)
		}
	}
	if hold != "" {
		if u.held == nil {
			u.held = map[schemas.Digest]*schemas.Statement{}
		}
		u.held[digest] = st
		return script.Outcome{Entry: schemas.EntryHeld, Hold: hold}
	}
	u.counted = st
	return script.Outcome{Entry: schemas.EntryCounted}
}

// everything makes faults so frequent that a county meets each of them.
var everything = script.Rates{Duplicates: 0.3, Reordered: 0.2, Corrections: 0.3, Held: 0.4, Refused: 1, Released: 0.5}

func TestEveryEventHasItsOutcomeAndTheNightEndsAtTheTruth(t *testing.T) {
	skipUnderRace(t)
	for _, revisions := range []int{1, 2, 3, 6} {
		for seed := range uint64(2) {
			n := write(t, county(t, seed), script.Config{Seed: seed, Revisions: revisions, Rates: everything})
			t.Logf("seed %d, %d revisions: %+v", seed, revisions, n.s.Expected())
			tallies := make([]unitTally, len(n.e.Units))
			for ev := range n.s.All() {
				envelope, err := n.s.Envelope(ev, nil)
				if err != nil {
					t.Fatal(err)
				}
				want := ev.Outcome()
				if schemas.IsRelease(envelope) {
					if got, err := tallies[ev.Unit].release(n, envelope); err != nil || got != want {
						t.Fatalf("seed %d, %d revisions, unit %d, revision %d, %s: got %+v, %v, want %+v", seed, revisions, ev.Unit, ev.Revision, ev.Kind, got, err, want)
					}
					continue
				}
				st, digest, err := n.receive(envelope)
				if err != nil {
					var f *schemas.FieldError
					if !errors.As(err, &f) || f.Code != want.Problem {
						t.Fatalf("seed %d, %d revisions, unit %d, %s: refused for %v, want %+v", seed, revisions, ev.Unit, ev.Kind, err, want)
					}
					continue
				}
				if got := tallies[st.Unit].take(n.e, st, digest); got != want {
					t.Fatalf("seed %d, %d revisions, unit %d, revision %d, %s: got %+v, want %+v", seed, revisions, ev.Unit, ev.Revision, ev.Kind, got, want)
				}
			}
			n.checkTruth(t, tallies, 1)
		}
	}
}

// checkTruth checks the units of the first of so many parts.
func (n *night) checkTruth(t *testing.T, tallies []unitTally, parts int) {
	t.Helper()
	for u := 0; u < len(tallies); u += parts {
		if tallies[u].counted == nil || !slices.Equal(tallies[u].counted.Cells, n.truth.Cells(schemas.UnitIndex(u), nil)) {
			t.Fatalf("unit %d does not end at the truth", u)
		}
	}
}

func TestTheNightEndsAtTheTruthInAnyOrder(t *testing.T) {
	skipUnderRace(t)
	for seed := range uint64(3) {
		for _, revisions := range []int{1, 3, 5} {
			n := write(t, county(t, seed), script.Config{Seed: seed, Revisions: revisions, Rates: everything})
			events := slices.Collect(n.s.All())
			r := rand.New(rand.NewPCG(seed, 1))
			r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
			tallies := make([]unitTally, len(n.e.Units))
			for _, ev := range events {
				envelope, err := n.s.Envelope(ev, nil)
				if err != nil {
					t.Fatal(err)
				}
				if st, digest, err := n.receive(envelope); err == nil {
					tallies[st.Unit].take(n.e, st, digest)
				}
			}
			t.Logf("seed %d, %d revisions", seed, revisions)
			n.checkTruth(t, tallies, 1)
		}
	}
}

func TestEveryKindOfFaultIsWritten(t *testing.T) {
	n := write(t, county(t, 1), script.Config{Seed: 4, Revisions: 3, Rates: everything})
	written := n.s.Expected().Kinds
	for k := script.Report; k.String() != "unknown"; k++ {
		if written[k.String()] == 0 {
			t.Errorf("no %s in %d events", k, n.s.Len())
		}
	}
}

func skipUnderRace(t *testing.T) {
	t.Helper()
	if underRace {
		t.Skip("one goroutine, and slow under the race detector")
	}
}

func TestClientsMayWriteAtTheSameTime(t *testing.T) {
	n := write(t, county(t, 6), script.Config{Seed: 6, Revisions: 1, Rates: everything})
	alone := map[int][]byte{}
	for k, ev := range n.s.Shard(0, 1) {
		envelope, err := n.s.Envelope(ev, nil)
		if err != nil {
			t.Fatal(err)
		}
		alone[k] = envelope
	}
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			var envelope []byte
			for k, ev := range n.s.Shard(i, 4) {
				var err error
				if envelope, err = n.s.Envelope(ev, envelope[:0]); err != nil || !bytes.Equal(envelope, alone[k]) {
					t.Errorf("event %d: %v, or other bytes than those of one client alone", k, err)
					return
				}
			}
		})
	}
	clients.Wait()
}

func TestADuplicateRepeatsTheBytes(t *testing.T) {
	n := write(t, county(t, 2), script.Config{Seed: 2, Revisions: 3, Rates: everything})
	type key struct {
		unit schemas.UnitIndex
		rev  schemas.Revision
		kind script.Kind
	}
	first := map[key][]byte{}
	for ev := range n.s.All() {
		envelope, err := n.s.Envelope(ev, nil)
		if err != nil {
			t.Fatal(err)
		}
		k := key{ev.Unit, ev.Revision, ev.Kind}
		if ev.Duplicate && !bytes.Equal(first[k], envelope) {
			t.Fatalf("unit %d, revision %d: a duplicate has other bytes, or comes before its original", ev.Unit, ev.Revision)
		}
		first[k] = envelope
	}
}

func TestShardsPartTheNightByUnit(t *testing.T) {
	n := write(t, county(t, 2), script.Config{Seed: 2, Revisions: 2, Rates: script.DefaultRates})
	owner := map[schemas.UnitIndex]int{}
	total := 0
	for i := range 7 {
		var last script.Event
		for _, ev := range n.s.Shard(i, 7) {
			if o, ok := owner[ev.Unit]; ok && o != i {
				t.Fatalf("unit %d falls to parts %d and %d", ev.Unit, o, i)
			}
			if ev.Offset < last.Offset {
				t.Fatal("out of time order")
			}
			owner[ev.Unit], last = i, ev
			total++
		}
	}
	if total != n.s.Len() || total != n.s.Expected().Sent {
		t.Errorf("parts have %d events, the night %d", total, n.s.Len())
	}
}

func BenchmarkEnvelope(b *testing.B) {
	n := write(b, county(b, 1), script.Config{Seed: 1, Revisions: 1})
	events := slices.Collect(n.s.All())
	var dst []byte
	i := 0
	for b.Loop() {
		var err error
		if dst, err = n.s.Envelope(events[i%len(events)], dst[:0]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkBody(b *testing.B) {
	n := write(b, county(b, 1), script.Config{Seed: 1, Revisions: 1})
	events := slices.Collect(n.s.All())
	var dst []byte
	i := 0
	for b.Loop() {
		dst = n.s.Body(events[i%len(events)], dst[:0])
		i++
	}
}

// twoSignatures is a truth whose election asks for an approver.
type twoSignatures struct {
	elections.Truth
	definition []byte
	election   *schemas.Election
}

func (t *twoSignatures) Definition() []byte          { return t.definition }
func (t *twoSignatures) Election() *schemas.Election { return t.election }

func TestEveryEventHasItsOutcomeWithTwoSignatures(t *testing.T) {
	truth := &twoSignatures{Truth: county(t, 3)}
	truth.definition = bytes.Replace(truth.Truth.Definition(), []byte(`"signatures":1`), []byte(`"signatures":2`), 1)
	var err error
	if truth.election, err = schemas.OpenElection(truth.definition); err != nil {
		t.Fatal(err)
	}
	n := write(t, truth, script.Config{Seed: 5, Revisions: 1, Rates: everything})
	for ev := range n.s.All() {
		envelope, err := n.s.Envelope(ev, nil)
		if err != nil {
			t.Fatal(err)
		}
		if schemas.IsRelease(envelope) {
			continue
		}
		_, _, err = n.receive(envelope)
		var f *schemas.FieldError
		if want := ev.Outcome().Problem; (want != "") != errors.As(err, &f) || (want != "" && f.Code != want) {
			t.Errorf("unit %d, %s: %v, want %q", ev.Unit, ev.Kind, err, want)
		}
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	truth := county(t, 1)
	keys, err := elections.NewKeys(truth.Election(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]script.Config{
		"no revisions":       {Revisions: 0},
		"too many revisions": {Revisions: script.MaxRevisions + 1},
		"a rate below 0":     {Revisions: 1, Rates: script.Rates{Duplicates: -0.1}},
		"a rate above 1":     {Revisions: 1, Rates: script.Rates{Refused: 1.1}},
		"more than all":      {Revisions: 1, Rates: script.Rates{Held: 0.6, Corrections: 0.6}},
	} {
		cfg.Truth, cfg.Keys = truth, keys
		if _, err := script.New(cfg); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}
