package publish

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"tallystream/schemas"
)

// drawStage makes any stage of three partitions.
func drawStage(t *rapid.T) *stage {
	st := &stage{snapshot: schemas.SnapshotNumber(rapid.Uint64Range(0, 1<<40).Draw(t, "snapshot"))}
	st.tree.N, st.to.N = rapid.Int64Range(0, 1<<50).Draw(t, "tree"), rapid.Int64Range(0, 1<<50).Draw(t, "to")
	st.tree.Hash = tlog.Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "root"))
	at := make([]uint64, 3)
	for p := range at {
		at[p] = rapid.Uint64Range(0, 1<<40).Draw(t, "before")
		st.before = append(st.before, at[p])
	}
	for range rapid.IntRange(0, 5).Draw(t, "cuts") {
		var cut []reach
		for p := range at {
			if grown := rapid.Uint64Range(0, 3).Draw(t, "grown"); grown > 0 {
				at[p] += grown
				cut = append(cut, reach{schemas.Partition(p), at[p]})
			}
		}
		if len(cut) > 0 {
			st.cuts = append(st.cuts, cut)
		}
	}
	if rapid.Bool().Draw(t, "statement") {
		st.statement = []byte("tallystream/leaf/pause/v1\nbytes 1\n\nx\n")
	}
	if rapid.Bool().Draw(t, "first") {
		st.definition = []byte("tallystream/leaf/definition/v1\norigin a\n\n")
	}
	return st
}

func TestAStageAndAMarkReadBackAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := drawStage(t)
		b := st.encode()
		got, err := parseStage(b, 3)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if !bytes.Equal(got.encode(), b) || len(got.runs()) != len(st.runs()) {
			t.Errorf("read back as\n%s\nwant\n%s", got.encode(), b)
		}
		if _, err := parseStage(b, 4); err == nil {
			t.Error("a stage of three partitions passes for one of four")
		}
		m := &mark{epoch: 7, owner: "somebody", note: []byte("a note\n\nof lines\n"), stage: b}
		if rapid.Bool().Draw(t, "in the bucket") {
			m.stage, m.stageObject = nil, schemas.DigestOf(b)
		}
		if rapid.Bool().Draw(t, "paused") {
			m.pause = []byte("a pause\n\nsigned\n")
		}
		if rapid.Bool().Draw(t, "changed") {
			m.powers = []int64{17, 170}
		}
		text := m.encode("results.example/x")
		read, err := parseMark(text, "results.example/x")
		if err != nil || !bytes.Equal(read.pause, m.pause) || !slices.Equal(read.powers, m.powers) || !bytes.Equal(read.note, m.note) || !bytes.Equal(read.stage, m.stage) || read.stageObject != m.stageObject {
			t.Errorf("%v: %+v\n%s", err, read, text)
		}
	})
}

// FuzzMark: what is no mark is refused, and what is one has one spelling.
func FuzzMark(f *testing.F) {
	st := &stage{before: []uint64{1, 2, 3}, cuts: [][]reach{{{0, 4}, {2, 9}}}, definition: []byte("leaf")}
	f.Add((&mark{epoch: 1, owner: "a"}).encode("o"))
	f.Add((&mark{epoch: 1, owner: "a", note: []byte("n\n\ns\n"), stage: st.encode()}).encode("o"))
	f.Add((&mark{epoch: 1, owner: "a", note: []byte("n\n\ns\n"), stageObject: schemas.Digest{1}}).encode("o"))
	f.Add((&mark{epoch: 1, owner: "a", note: []byte("n\n\ns\n"), pause: []byte("p\n\ns\n"), powers: []int64{3}, stageObject: schemas.Digest{1}}).encode("o"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMark(b, "o")
		if err != nil {
			return
		}
		if !bytes.Equal(m.encode("o"), b) {
			t.Errorf("%q reads as %q", b, m.encode("o"))
		}
		if st, err := parseStage(m.stage, 3); err == nil {
			for _, r := range st.runs() {
				if r.to <= r.after {
					t.Errorf("a run from %d to %d", r.after, r.to)
				}
			}
		}
	})
}
