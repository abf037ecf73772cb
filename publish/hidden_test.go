package publish_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/publish"
	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// hidingElection has two counties with small units, among them one that votes
// on a contest alone, and one that is administrative.
func hidingElection() *schemas.Definition {
	d := smallElection()
	d.Rules.Registered, d.Rules.Suppression = true, &schemas.SuppressionRule{Below: 20}
	d.Units = nil
	for _, u := range []schemas.Unit{
		{ID: "oak.1", Style: "bonded", Registered: 900}, {ID: "oak.2", Style: "north", Registered: 7}, {ID: "oak.3", Style: "north", Registered: 19},
		{ID: "oak.4", Style: "bonded", Registered: 3}, {ID: "oak.5", Style: "north", Registered: 400}, {ID: "oak.6", Style: "north", Registered: 800},
		{ID: "ash.1", Style: "north", Registered: 100}, {ID: "ash.2", Style: "north", Registered: 100},
		{ID: "fir.1", Style: "south", Registered: 300}, {ID: "fir.2", Style: "south", Registered: 200}, {ID: "fir.x", Style: "south", Kind: schemas.AdministrativeUnit},
	} {
		u.Name, u.County = string(u.ID[4:]), schemas.CountyID(u.ID[:3])
		if u.Kind == "" {
			u.Kind = schemas.PrecinctUnit
		}
		d.Units = append(d.Units, u)
	}
	return d
}

func sealed(t testing.TB) func(*publish.Config) {
	secret, err := suppress.ParseSecret([]byte("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="))
	if err != nil {
		t.Fatal(err)
	}
	return func(c *publish.Config) {
		withFiles(c)
		c.Secret = secret
	}
}

// checkSealed holds a sealed leaf against the ledger's entry.
func checkSealed(t testing.TB, e *election, sizes []uint64, l *leaf.Sealed) {
	t.Helper()
	b := e.books
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.Seq != sizes[l.Partition] || l.Seq > uint64(len(b.entries[l.Partition])) {
		t.Fatalf("sealed entry %d of partition %d in the log, want %d", l.Seq, l.Partition, sizes[l.Partition])
	}
	x := b.entries[l.Partition][l.Seq-1]
	own, err := leaf.OfEntry(&x, b.records[x.At])
	if err != nil {
		t.Fatal(err)
	}
	var c publish.Config
	sealed(t)(&c)
	want, err := c.Secret.Seal(e.Definition.Origin, &x, own)
	if err != nil || *want != *l || !suppress.Hides(e.Election, &x) {
		t.Errorf("the log has %+v, want %+v: %v", l, want, err)
	}
}

// sending is one submission of a night, and what became of it.
type sending struct {
	unit     schemas.UnitID
	revision schemas.Revision
	kind     schemas.EntryKind
	hold     schemas.HoldCode
	cells    []schemas.Count
	pause    time.Duration // before it
}

// hidingNight draws a night: all units send, in any order, once or more often,
// and some of it is held or comes late.
func hidingNight(e *election, rng *rand.Rand) (out []sending) {
	revisions := map[schemas.UnitID]schemas.Revision{}
	var order []schemas.UnitID
	for range 2 + rng.IntN(2) {
		for _, u := range e.Definition.Units {
			if rng.IntN(12) > 0 {
				order = append(order, u.ID)
			}
		}
	}
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, id := range order {
		u, _ := e.Unit(id)
		s := sending{unit: id, kind: schemas.EntryCounted, cells: make([]schemas.Count, e.Units[u].Style.Cells), pause: time.Duration(rng.IntN(700)) * time.Millisecond}
		for i := range s.cells {
			s.cells[i] = schemas.Count(50 + rng.IntN(50))
		}
		for _, section := range e.Units[u].Style.Sections {
			s.cells[section.Offset] = 1
		}
		for k := range e.Types() {
			s.cells[1+k] += 20_000 // ballots that hold all votes
		}
		switch rng.IntN(8) {
		case 0:
			s.kind, s.hold, s.revision = schemas.EntryHeld, schemas.HoldLowered, revisions[id]+1
		case 1:
			if revisions[id] > 1 {
				s.kind, s.revision = schemas.EntrySuperseded, revisions[id]-1
				break
			}
			fallthrough
		default:
			revisions[id] += 2
			s.revision = revisions[id]
		}
		out = append(out, s)
	}
	return out
}

// elsewise is the same night with other numbers in hidden units, such that every
// sum of statements that is taken is the same. It works out by itself what is
// taken: it knows the rule in words only.
func elsewise(e *election, night []sending, rng *rand.Rand) []sending {
	out := slices.Clone(night)
	for i := range out {
		out[i].cells = slices.Clone(out[i].cells)
	}
	anything := func(i int) {
		u, _ := e.Unit(out[i].unit)
		for _, s := range e.Units[u].Style.Sections {
			for k := s.Offset + 1; k < s.Offset+int32(s.Size(e.Types())); k++ {
				out[i].cells[k] = schemas.Count(rng.IntN(100))
				if s.Contest == schemas.BallotsIndex {
					out[i].cells[k] += 10_000
				}
			}
		}
	}
	fresh := make([]map[schemas.UnitID]int, len(e.Remainders)) // statements since the last taking
	for i := range fresh {
		fresh[i] = map[schemas.UnitID]int{}
	}
	for i := range out {
		u, _ := e.Unit(out[i].unit)
		r := e.RemainderOf(u)
		if r < 0 {
			continue
		}
		if out[i].kind != schemas.EntryCounted {
			anything(i)
			continue
		}
		if before, ok := fresh[r][out[i].unit]; ok {
			anything(before) // another one came: nobody ever sees this
		}
		fresh[r][out[i].unit] = i
		if len(fresh[r]) == len(e.Remainders[r].Units) {
			shift(e, &e.Remainders[r], slices.Sorted(maps.Values(fresh[r])), out, rng)
			clear(fresh[r])
		}
	}
	for r := range fresh {
		for _, i := range fresh[r] {
			anything(i)
		}
	}
	return out
}

// shift moves votes between two statements of a taking wherever both state them,
// and changes what is not shown at all as it likes.
func shift(e *election, r *schemas.Remainder, taken []int, out []sending, rng *rand.Rand) {
	for k, section := range e.Counties[r.County].Sections {
		var at []*schemas.Count // the first cell of each statement that has the contest
		for _, i := range taken {
			u, _ := e.Unit(out[i].unit)
			if own, ok := e.Units[u].Style.Find(section.Contest); ok {
				at = append(at, &out[i].cells[e.Units[u].Style.Sections[own].Offset])
			}
		}
		if len(at) == 0 {
			continue
		}
		cell := func(i, c int) *schemas.Count {
			for _, s := range taken {
				u, _ := e.Unit(out[s].unit)
				if own, ok := e.Units[u].Style.Find(section.Contest); ok && at[i] == &out[s].cells[e.Units[u].Style.Sections[own].Offset] {
					return &out[s].cells[int(e.Units[u].Style.Sections[own].Offset)+c]
				}
			}
			return nil
		}
		for c := 1; c < section.Size(e.Types()); c++ {
			residual := c > int(section.Selections)*e.Types()
			if shown := r.Sections[k].Shown && (!residual || r.Sections[k].Residuals); !shown {
				*cell(rng.IntN(len(at)), c) = schemas.Count(rng.IntN(1000))
				continue
			}
			i := rng.IntN(len(at))
			from, to := cell(i, c), cell((i+1)%len(at), c)
			n := schemas.Count(rng.IntN(min(int(*from), 5000) + 1))
			*from -= n
			*to += n
		}
	}
}

// onlooker is everything that an attacker can get hold of: every object ever
// written and every delta.
type onlooker struct {
	mu     sync.Mutex
	deltas []string
	seen   map[string]string
}

func (w *onlooker) Delta(_ context.Context, document schemas.DocumentID, frame []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deltas = append(w.deltas, string(document)+" "+string(frame))
	return nil
}

func (w *onlooker) Published(context.Context, schemas.Published) error { return nil }

// play runs a night with a process that ends in its middle, and returns what is
// seen of it.
func play(t *testing.T, d *schemas.Definition, night []sending) (w *onlooker) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, d)
		b, store := newBooks(t, e), newBucket(t)
		w = &onlooker{}
		n := begin(t, b, store.process(nil), w, sealed(t))
		for i, s := range night {
			time.Sleep(s.pause)
			b.submit(s.unit, s.revision, s.cells, s.kind, s.hold)
			n.hint()
			if i == len(night)/2 {
				time.Sleep(time.Second)
				n.mustEnd()
				n = begin(t, b, store.process(nil), w, sealed(t))
			}
		}
		time.Sleep(2 * time.Second)
		n.mustFinish()
		n.mustEnd()
		w.seen = look(t, store, e)
		for i, d := range w.deltas {
			w.seen[fmt.Sprint("delta ", i)] = d
		}
	})
	return w
}

var hash = regexp.MustCompile(`[0-9a-f]{64}`)

// look reads the whole bucket. Left out is what follows from hidden numbers by a
// hash alone that a secret salt went into: commitments, and the hashes of what
// they stand in.
func look(t *testing.T, store *strictBucket, e *election) map[string]string {
	out := map[string]string{}
	blank := func(b []byte) string { return string(hash.ReplaceAll(b, []byte("#"))) }
	for _, key := range store.keys() {
		switch kind, _, _ := strings.Cut(key, "/"); kind {
		case "tile", "stages", "checkpoint", "latest", "snapshots", "manifests", "remainders":
		case "documents", "units", "csv", "cdf":
			out[key] = string(store.must(key)) // names with hashes, and to the byte
		default:
			out[key] = blank(store.must(key))
		}
	}
	for _, s := range checkChain(t, store, e) {
		out[fmt.Sprint("snapshot ", s.Number)] = fmt.Sprint(s.Log, s.Accepted, s.Held, s.Time)
		for _, m := range manifestOf(t, store, s) {
			text := fmt.Sprint(m.Key, m.Version, m.Bytes)
			if strings.HasPrefix(m.Name, suppress.Folder) {
				text = fmt.Sprint(m.Version, m.Bytes, blank(store.must(m.Key)))
			}
			out[fmt.Sprint("snapshot ", s.Number, " ", m.Name)] = text
		}
	}
	c, _, err := log.OpenCheckpoint(store.must(log.CheckpointKey), e.verifier)
	if err != nil {
		t.Fatal(err)
	}
	for entry, err := range log.NewReader(store, c.Tree).Entries(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(entry.Leaf, []byte(leaf.KindSnapshot)) {
			continue
		}
		out[fmt.Sprint("leaf ", entry.Index)] = string(entry.Leaf)
		if bytes.HasPrefix(entry.Leaf, []byte(leaf.KindSealed)) {
			out[fmt.Sprint("leaf ", entry.Index)] = blank(entry.Leaf)
		}
	}
	return out
}

// difference names the first thing that is not the same in two views.
func difference(a, b map[string]string) string {
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if a[k] != b[k] {
			return fmt.Sprintf("%s:\n%s\n%s", k, a[k], b[k])
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			return k
		}
	}
	return ""
}

// TestTwoNightsThatDifferInHiddenNumbersLookTheSame is the property that nothing
// leaks by subtraction, over all snapshots, deltas, files, pages and leaves: two
// nights in which hidden units have other numbers, of which only the sums that are
// published are the same, cannot be told apart by any byte that no secret salt went
// into. So no computation on what is public finds a hidden unit's row.
func TestTwoNightsThatDifferInHiddenNumbersLookTheSame(t *testing.T) {
	taken := 0
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 2028))
		e := openElection(t, hidingElection())
		one := hidingNight(e, rng)
		other := elsewise(e, one, rng)
		a, b := play(t, hidingElection(), one), play(t, hidingElection(), other)
		if at := difference(a.seen, b.seen); at != "" {
			t.Fatalf("seed %d: the nights can be told apart by %s", seed, at)
		}
		for k, v := range a.seen {
			if strings.Contains(k, " "+suppress.Folder) {
				taken += strings.Count(v, "\n")
			}
		}
	}
	if taken == 0 {
		t.Error("no night showed a sum of hidden units")
	}
}

// TestNightsWhoseSumsDifferCanBeToldApart: the comparison is one that sees.
func TestNightsWhoseSumsDifferCanBeToldApart(t *testing.T) {
	e := openElection(t, hidingElection())
	var one []sending
	for _, u := range e.Definition.Units {
		i, _ := e.Unit(u.ID)
		cells := make([]schemas.Count, e.Units[i].Style.Cells)
		for _, s := range e.Units[i].Style.Sections {
			cells[s.Offset] = 1
		}
		one = append(one, sending{unit: u.ID, revision: 1, kind: schemas.EntryCounted, cells: cells, pause: 50 * time.Millisecond})
	}
	other := slices.Clone(one)
	other[1].cells = slices.Clone(other[1].cells)
	other[1].cells[1]++ // a ballot in a hidden unit
	if difference(play(t, hidingElection(), one).seen, play(t, hidingElection(), other).seen) == "" {
		t.Error("nobody sees a ballot more in a sum")
	}
}

func TestHiddenUnitsNeedASecret(t *testing.T) {
	e := openElection(t, hidingElection())
	cfg := newBooks(t, e).config(newBucket(t).process(nil), deaf{}, nil)
	if _, err := publish.New(cfg); err == nil || !strings.Contains(err.Error(), "Secret") {
		t.Errorf("New returned %v", err)
	}
}
