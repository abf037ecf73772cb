package publish_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/publish"
	"tallystream/schemas"
)

// TestNoNumberFallsWithoutACorrection plays random nights of submissions,
// corrections, adjudications, holds and releases, cut into deltas and
// snapshots at random. No number of a line that a viewer had falls unless the
// line's corrections grew; corrections are as many as the public file of the
// same snapshot lists; and no number of a table by unit falls that it does not
// list.
func TestNoNumberFallsWithoutACorrection(t *testing.T) {
	t.Parallel()
	falls, released := 0, 0
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			e := openElection(t, smallElection())
			b, store := newBooks(t, e), newBucket(t)
			w := &watchfulViewer{viewer: newViewer(t, store)}
			n := begin(t, b, store.process(nil), w, func(cfg *publish.Config) { cfg.ExportEvery, cfg.UnitLines = time.Second, true })
			night := randomNight{books: b, r: rand.New(rand.NewPCG(seed, 1))}
			for range 80 {
				night.event()
				n.hint()
				time.Sleep(time.Duration(night.r.IntN(400)) * time.Millisecond)
			}
			n.mustFinish()
			n.mustEnd()
			if chain := checkChain(t, store, e); len(chain) < 10 {
				t.Errorf("seed %d: %d snapshots", seed, len(chain))
			}
			falls += checkFalls(t, store, e)
			checkHolds(t, store, b)
			released += night.releases
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
	if falls < 200 || released < 20 {
		t.Errorf("%d numbers fell, %d holds were released: too little to prove anything", falls, released)
	}
}

// randomNight makes the events of one.
type randomNight struct {
	*books
	r        *rand.Rand
	releases int
}

func (n *randomNight) event() {
	u := schemas.UnitIndex(n.r.IntN(len(n.e.Units)))
	id, next := n.e.Units[u].ID, n.counted[u]+1
	cells := n.cells(u, func() schemas.Count { return schemas.Count(n.r.IntN(30)) })
	switch before := n.latest[u]; {
	case before == nil || n.r.IntN(4) == 0:
		n.count(id, next, cells) // mostly a correction
	case n.r.IntN(4) == 0: // a contest is not stated any more
		s := n.e.Units[u].Style.Sections[1]
		cells = slices.Clone(before)
		clear(cells[s.Offset:][:s.Size(n.e.Types())])
		n.count(id, next, cells)
	case n.r.IntN(3) == 0: // growth; residuals may fall
		n.count(id, next, n.adjudicated(u, before))
	case n.r.IntN(2) == 0:
		n.submit(id, next-schemas.Revision(n.r.IntN(2)), cells, schemas.EntryHeld, schemas.HoldConflict)
	default:
		for _, h := range n.held {
			if h.released == "" && n.r.IntN(2) == 0 {
				n.release(h, schemas.ReleaseChecked, "Held <against> the tape & found right.")
				n.releases++
				return
			}
		}
	}
}

// adjudicated is a row with more votes and fewer undervotes and overvotes.
func (n *randomNight) adjudicated(u schemas.UnitIndex, before []schemas.Count) []schemas.Count {
	cells := slices.Clone(before)
	for _, s := range n.e.Units[u].Style.Sections {
		for k := 1; k < s.Size(n.e.Types()) && cells[s.Offset] == 1; k++ {
			at := &cells[int(s.Offset)+k]
			if k > int(s.Selections)*n.e.Types() {
				*at -= min(*at, schemas.Count(n.r.IntN(3)))
			} else {
				*at += schemas.Count(n.r.IntN(3))
			}
		}
	}
	return cells
}

// watchfulViewer holds every line against what it was.
type watchfulViewer struct{ *viewer }

func (w *watchfulViewer) Delta(ctx context.Context, document schemas.DocumentID, frame []byte) error {
	before := w.lines(document)
	err := w.viewer.Delta(ctx, document, frame)
	for key, line := range w.lines(document) {
		if old := before[key]; old != "" {
			checkLine(w.t, fmt.Sprintf("a delta of %s", document), old, line)
		}
	}
	return err
}

func (v *viewer) lines(document schemas.DocumentID) map[string]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.documents[document] == nil {
		return nil
	}
	return maps.Clone(v.documents[document].lines)
}

// checkLine holds a line against an earlier one of the same key, and returns
// how many of its numbers fell.
func checkLine(t testing.TB, where, old, line string) (fell int) {
	a, errA := schemas.ParseLine([]byte(strings.TrimSpace(old)))
	b, errB := schemas.ParseLine([]byte(strings.TrimSpace(line)))
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	was, is := numbersOf(a), numbersOf(b)
	for i := range was {
		if is[i] < was[i] {
			fell++
		}
	}
	if b.Corrections < a.Corrections || fell > 0 && b.Corrections == a.Corrections {
		t.Errorf("%s: %d numbers fell and corrections went from %d to %d:\n%s%s", where, fell, a.Corrections, b.Corrections, old, line)
	}
	return fell
}

func numbersOf(l *schemas.Line) []int64 {
	out := []int64{l.Reporting, l.Units}
	for _, id := range slices.Sorted(maps.Keys(l.Votes)) {
		out = append(out, l.Votes[id]...)
	}
	return append(append(out, l.Undervotes...), l.Overvotes...)
}

// checkFalls reads every snapshot from public files alone.
func checkFalls(t *testing.T, store *strictBucket, e *election) (fell int) {
	lines, cells, listed := map[string]string{}, map[string]string{}, map[string]bool{}
	for number := schemas.SnapshotNumber(1); ; number++ {
		note, err := store.Get(t.Context(), schemas.SnapshotKey(number))
		if err != nil {
			return fell
		}
		s, err := schemas.OpenSnapshot(note, e.verifier)
		if err != nil {
			t.Fatal(err)
		}
		files := map[string][]byte{}
		for _, m := range manifestOf(t, store, s) {
			files[m.Name] = store.must(m.Key)
		}
		moves, fresh := readMovements(t, files[schemas.CorrectionsName], listed)
		for name, body := range files {
			if id, err := schemas.ParseDocumentID(name); err == nil {
				fell += compareLines(t, fmt.Sprintf("snapshot %d: %s", number, id), body, lines, func(l *schemas.Line) {
					if want := movementsOf(e, moves, l); l.Corrections != want {
						t.Errorf("snapshot %d: %s of %s in %s has %d corrections, the file lists %d", number, l.Contest, l.Unit, name, l.Corrections, want)
					}
				})
			}
			if strings.HasPrefix(name, "csv/") {
				fell += compareTable(t, number, body, cells, fresh)
			}
			if strings.HasPrefix(name, "units/") {
				compareLines(t, fmt.Sprintf("snapshot %d: %s", number, name), body, lines, nil)
			}
		}
	}
}

// readMovements reads the public file, which may only have grown. fresh are the
// movements by unit that the tables' last look may not have known: all of them,
// since tables are older than the file.
func readMovements(t *testing.T, file []byte, listed map[string]bool) (all []*schemas.Movement, fresh map[string]bool) {
	now, fresh := map[string]bool{}, map[string]bool{}
	last := [2]uint64{}
	for line := range bytes.Lines(file) {
		m, err := schemas.ParseMovement(line)
		if err != nil {
			t.Fatal(err)
		}
		if at := [2]uint64{uint64(m.Partition), m.Seq}; slices.Compare(last[:], at[:]) >= 0 && len(all) > 0 {
			t.Errorf("entry %v stands behind %v", at, last)
		} else {
			last = at
		}
		all = append(all, m)
		now[string(line)] = true
		for _, c := range m.Changes {
			fresh[fmt.Sprintf("%s,%s,%s,%s,%s,", m.County, m.Unit, c.Contest, c.Selection, c.CountType)] = true
		}
	}
	for line := range listed {
		if !now[line] {
			t.Errorf("a movement is not listed any more: %s", line)
		}
	}
	maps.Copy(listed, now)
	return all, fresh
}

// movementsOf counts those that lowered a number of a line.
func movementsOf(e *election, moves []*schemas.Movement, l *schemas.Line) (n int64) {
	for _, m := range moves {
		c, _ := e.County(m.County)
		in := string(m.County) == l.Unit || l.Unit == string(e.Definition.Election) ||
			string(e.Definition.States[e.Counties[c].State].ID) == l.Unit
		if in && slices.ContainsFunc(m.Changes, func(f schemas.Fall) bool { return f.Contest == l.Contest }) {
			n++
		}
	}
	return n
}

// compareLines holds lines against those of their key before.
func compareLines(t *testing.T, where string, body []byte, before map[string]string, also func(*schemas.Line)) (fell int) {
	for line := range bytes.Lines(body) {
		key, _ := schemas.LineKey(line)
		if old := before[string(key)]; old != "" {
			fell += checkLine(t, where, old, string(line))
		}
		before[string(key)] = string(line)
		if l, err := schemas.ParseLine(bytes.TrimSpace(line)); err == nil && also != nil {
			also(l)
		}
	}
	return fell
}

// compareTable holds a county's table against the one before.
func compareTable(t *testing.T, number schemas.SnapshotNumber, body []byte, before map[string]string, listed map[string]bool) (fell int) {
	now := map[string]bool{}
	county := ""
	for line := range strings.Lines(string(body)) {
		at := strings.LastIndexByte(line, ',') + 1
		key, value := line[:at], strings.TrimSpace(line[at:])
		if key == "county,unit,contest,selection,count_type," {
			continue
		}
		county, _, _ = strings.Cut(key, ",")
		now[key] = true
		was, is := 0, 0
		fmt.Sscan(before[key], &was)
		fmt.Sscan(value, &is)
		if before[key] != "" && is < was {
			if fell++; !listed[key] {
				t.Errorf("snapshot %d: %s fell from %d to %d, and no movement says so", number, key, was, is)
			}
		}
		before[key] = value
	}
	for key := range before {
		if strings.HasPrefix(key, county+",") && !now[key] && county != "" {
			f := strings.Split(key, ",")
			if delete(before, key); !listed[strings.Join(f[:3], ",")+",reporting,,"] {
				t.Errorf("snapshot %d: %s is gone, and no movement says so", number, key)
			}
		}
	}
	return fell
}

// checkHolds holds the public list of holds against the books.
func checkHolds(t *testing.T, store *strictBucket, b *books) {
	got := map[string]schemas.HoldState{}
	for line := range strings.Lines(document(t, store, b.e, schemas.HoldsName)) {
		h, err := schemas.ParseHeldEntry([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		got[fmt.Sprint(h.Partition, h.Seq, h.Unit, h.Revision, h.Digest, h.Code, h.County)] = h.State
	}
	for _, h := range b.held {
		county := b.e.Counties[b.e.Units[h.unit].County].ID
		x := &h.entry
		if state := got[fmt.Sprint(x.Partition, x.Seq, x.Unit, x.Revision, x.Digest, x.Hold, county)]; state != b.state(h) {
			t.Errorf("entry %d of partition %d is listed as %q, want %q", x.Seq, x.Partition, state, b.state(h))
		}
	}
	if len(got) != len(b.held) {
		t.Errorf("%d holds are listed, want %d", len(got), len(b.held))
	}
}
