package viewer_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"tallystream/fanout/viewer"
	"tallystream/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id schemas.DocumentID = "contest/c"

func lineOf(unit string, n int) string {
	return fmt.Sprintf(`{"contest":"c","unit":"%s","reporting":%d,"units":99,"votes":{"a":[%d]}}`, unit, n%99, n)
}

func bodyOf(lines map[string]string) []byte {
	units := make([]string, 0, len(lines))
	for u := range lines {
		units = append(units, u)
	}
	slices.Sort(units)
	var b bytes.Buffer
	for _, u := range units {
		b.WriteString(lines[u] + "\n")
	}
	return b.Bytes()
}

func snapOf(epoch schemas.Epoch, v schemas.Version, body []byte) *schemas.Snap {
	return &schemas.Snap{Epoch: epoch, Document: id, Version: v, Hash: schemas.DigestOf(body), Key: "k"}
}

func deltaOf(epoch schemas.Epoch, from, to schemas.Version, body []byte, lines ...string) []byte {
	d := schemas.Delta{Epoch: epoch, Document: id, From: from, To: to, Log: to, Micros: 1, Hash: schemas.DigestOf(body)}
	for _, l := range lines {
		d.Lines = append(d.Lines, []byte(l))
	}
	return d.AppendFrame(nil)
}

func replace(t testing.TB, d *viewer.Document, s *schemas.Snap, body []byte) {
	t.Helper()
	if err := d.Replace(s, bytes.Clone(body)); err != nil {
		t.Fatal(err)
	}
}

func TestTheClientRule(t *testing.T) {
	now := map[string]string{"b": lineOf("b", 1), "d": lineOf("d", 1)}
	before := bodyOf(now)
	next := map[string]string{"a": lineOf("a", 2), "b": lineOf("b", 2), "c": lineOf("c", 2), "d": lineOf("d", 1), "e": lineOf("e", 2)}
	after := bodyOf(next)
	changed := []string{next["a"], next["b"], next["c"], next["e"]}
	for _, c := range []struct {
		name  string
		frame []byte
		want  viewer.Outcome
	}{
		{"from mine", deltaOf(3, 10, 12, after, changed...), viewer.Applied},
		{"from before mine", deltaOf(3, 7, 12, after, changed...), viewer.Applied},
		{"from after mine", deltaOf(3, 11, 12, after, changed...), viewer.Missing},
		{"to mine", deltaOf(3, 9, 10, after, changed...), viewer.Dropped},
		{"to before mine", deltaOf(3, 8, 9, after, changed...), viewer.Dropped},
		{"of an epoch that ended", deltaOf(2, 10, 12, after, changed...), viewer.Dropped},
		{"of a later epoch", deltaOf(4, 10, 12, after, changed...), viewer.Missing},
		{"with a line less", deltaOf(3, 10, 12, after, changed[1:]...), viewer.Mismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := viewer.NewDocument(id)
			replace(t, d, snapOf(3, 10, before), before)
			got, lines, err := d.Apply(c.frame)
			if err != nil || got != c.want {
				t.Fatalf("%s: %v, want %s", got, err, c.want)
			}
			if got == viewer.Applied {
				if !bytes.Equal(d.Bytes(), after) || d.Version() != 12 || d.Hash() != schemas.DigestOf(after) || len(lines) != len(changed) {
					t.Errorf("at %d:\n%s", d.Version(), d.Bytes())
				}
			} else if !bytes.Equal(d.Bytes(), before) || d.Version() != 10 {
				t.Errorf("changed without being applied: at %d\n%s", d.Version(), d.Bytes())
			}
		})
	}
}

func TestAnUnknownDocumentNeedsASnapshot(t *testing.T) {
	d := viewer.NewDocument(id)
	if got, _, err := d.Apply(deltaOf(1, 0, 1, nil)); got != viewer.Missing || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

func TestASnapshotMustBeADocumentOfItsHash(t *testing.T) {
	d := viewer.NewDocument(id)
	good := []byte(lineOf("a", 1) + "\n" + lineOf("b", 1) + "\n")
	if err := d.Replace(snapOf(1, 1, good), append(bytes.Clone(good), ' ')); !errors.Is(err, viewer.ErrHash) {
		t.Errorf("other bytes: %v", err)
	}
	for name, body := range map[string]string{
		"no newline": lineOf("a", 1), "not rising": lineOf("b", 1) + "\n" + lineOf("a", 1) + "\n",
		"twice": lineOf("a", 1) + "\n" + lineOf("a", 2) + "\n", "no line": "{}\n", "empty line": "\n",
	} {
		if err := d.Replace(snapOf(1, 1, []byte(body)), []byte(body)); err == nil || errors.Is(err, viewer.ErrHash) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d.Known() {
		t.Error("known without a good snapshot")
	}
	replace(t, d, snapOf(1, 1, good), good)
	empty := viewer.NewDocument(id)
	replace(t, empty, snapOf(1, 0, nil), nil)
	if !empty.Known() || empty.Len() != 0 {
		t.Error("an empty document is one too")
	}
}

func TestTheSameBytesAreNotFetchedAgain(t *testing.T) {
	body := bodyOf(map[string]string{"a": lineOf("a", 1)})
	d := viewer.NewDocument(id)
	if d.Relabel(snapOf(1, 1, body)) {
		t.Error("nothing is relabelled")
	}
	replace(t, d, snapOf(1, 5, body), body)
	for _, c := range []struct{ epoch, version, wantEpoch, wantVersion uint64 }{{1, 4, 1, 5}, {1, 6, 1, 6}, {2, 3, 2, 3}, {0, 9, 0, 9}} {
		if !d.Relabel(snapOf(schemas.Epoch(c.epoch), schemas.Version(c.version), body)) || uint64(d.Epoch()) != c.wantEpoch || uint64(d.Version()) != c.wantVersion {
			t.Errorf("%+v: at %d of %d", c, d.Version(), d.Epoch())
		}
	}
	if d.Relabel(snapOf(3, 9, []byte("other"))) {
		t.Error("other bytes are relabelled")
	}
}

func TestASnapshotFromBeforeIsOnlyNeededInDoubt(t *testing.T) {
	before, now := bodyOf(map[string]string{"a": lineOf("a", 1)}), bodyOf(map[string]string{"a": lineOf("a", 2)})
	d := viewer.NewDocument(id)
	replace(t, d, snapOf(1, 5, now), now)
	if !d.Relabel(snapOf(1, 4, before)) || d.Version() != 5 || !bytes.Equal(d.Bytes(), now) {
		t.Errorf("an older snapshot of the epoch is needed, at %d", d.Version())
	}
	if d.Relabel(snapOf(2, 4, before)) {
		t.Error("a snapshot of another epoch is not needed")
	}
	if got, _, err := d.Apply(deltaOf(1, 5, 6, before, lineOf("a", 3))); got != viewer.Mismatch || err != nil {
		t.Fatal(got, err)
	}
	if d.Relabel(snapOf(1, 4, before)) {
		t.Error("in doubt an older snapshot is not needed")
	}
	replace(t, d, snapOf(1, 4, before), before)
	if !d.Relabel(snapOf(1, 3, now)) {
		t.Error("the doubt stays after a snapshot")
	}
}

func TestAnyDeltasLeadToTheSameBytesAsASortedMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := map[string]string{}
		units := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c][a-c0-9.-]{0,2}`), 0, 8, rapid.ID)
		for i, u := range units.Draw(t, "start") {
			model[u] = lineOf(u, i)
		}
		d := viewer.NewDocument(id)
		body := bodyOf(model)
		if err := d.Replace(snapOf(1, 1, body), body); err != nil {
			t.Fatal(err)
		}
		for v := range rapid.IntRange(1, 8).Draw(t, "deltas") {
			changed := units.Draw(t, "changed")
			slices.Sort(changed)
			var lines []string
			for _, u := range changed {
				model[u] = lineOf(u, rapid.IntRange(0, 1_000_000).Draw(t, "votes"))
				lines = append(lines, model[u])
			}
			at := schemas.Version(v + 1)
			if got, _, err := d.Apply(deltaOf(1, at, at+1, bodyOf(model), lines...)); got != viewer.Applied || err != nil {
				t.Fatalf("%s, %v", got, err)
			}
			var again bytes.Buffer
			for i := range d.Len() {
				again.Write(append(bytes.Clone(d.Line(i)), '\n'))
			}
			if !bytes.Equal(d.Bytes(), bodyOf(model)) || !bytes.Equal(again.Bytes(), d.Bytes()) {
				t.Fatalf("got\n%swant\n%s", d.Bytes(), bodyOf(model))
			}
		}
	})
}

func FuzzApply(f *testing.F) {
	start := bodyOf(map[string]string{"b": lineOf("b", 1), "d": lineOf("d", 1)})
	f.Add(deltaOf(1, 1, 2, start, lineOf("b", 1)))
	f.Add(deltaOf(1, 1, 2, start))
	f.Fuzz(func(t *testing.T, frame []byte) {
		d := viewer.NewDocument(id)
		replace(t, d, snapOf(1, 1, start), start)
		outcome, _, err := d.Apply(frame)
		if err != nil && outcome == viewer.Applied {
			t.Error("applied with an error")
		}
		if schemas.DigestOf(d.Bytes()) != d.Hash() {
			t.Error("the document does not have its hash")
		}
	})
}

// BenchmarkApply is what a viewer of a state's contest does for a delta: 46
// counties, each line new; and one of 3,000 counties with a tenth new.
func BenchmarkApply(b *testing.B) {
	for _, c := range []struct{ units, changed int }{{46, 46}, {3000, 300}} {
		b.Run(fmt.Sprintf("%d of %d lines", c.changed, c.units), func(b *testing.B) {
			model := map[string]string{}
			for i := range c.units {
				u := fmt.Sprintf("county-%04d", i)
				model[u] = lineOf(u, 1000) + "" // about 80 bytes
			}
			body := bodyOf(model)
			var lines []string
			for i := range c.changed {
				u := fmt.Sprintf("county-%04d", i*c.units/c.changed)
				model[u] = lineOf(u, 1001)
				lines = append(lines, model[u])
			}
			frame := deltaOf(1, 1, 2, bodyOf(model), lines...)
			d := viewer.NewDocument(id)
			if err := d.Replace(snapOf(1, 1, body), body); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				d.Relabel(&schemas.Snap{Epoch: 0, Document: id, Version: 1, Hash: d.Hash()})
				d.Relabel(&schemas.Snap{Epoch: 1, Document: id, Version: 1, Hash: d.Hash()})
				if got, _, err := d.Apply(frame); got != viewer.Applied || err != nil {
					b.Fatal(got, err)
				}
			}
		})
	}
}
