package viewers

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestQuantilesAreRightToASixteenth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.SliceOfN(rapid.Int64Range(0, 1<<35), 1, 200).Draw(t, "micros")
		var h Histogram
		for _, m := range micros {
			h.Add(time.Duration(m) * time.Microsecond)
		}
		slices.Sort(micros)
		for _, q := range []float64{0.01, 0.5, 0.99, 1} {
			want := micros[max(int(math.Ceil(q*float64(len(micros))))-1, 0)]
			got := h.Quantile(q).Microseconds()
			if got < want || float64(got) > float64(want)*(1+1.0/16)+1 {
				t.Fatalf("quantile %g of %v is %d, want %d", q, micros, got, want)
			}
		}
	})
}

func TestHistogramsAddUpAndSurviveThePipe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (h Histogram) {
			for _, m := range rapid.SliceOf(rapid.Int64Range(-5, 1<<40)).Draw(t, name) {
				h.Add(time.Duration(m) * time.Microsecond)
			}
			return h
		}
		a, b := draw("a"), draw("b")
		whole := a
		whole.Merge(&b)
		since := whole.Since(&a)
		if since.counts != b.counts || since.n != b.n {
			t.Fatal("what came after is not what was added")
		}
		raw, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		var back Histogram
		if err := json.Unmarshal(raw, &back); err != nil || back != whole {
			t.Fatalf("%s: %v", raw, err)
		}
	})
	var h Histogram
	if err := json.Unmarshal([]byte(`{"most":1,"buckets":[[640,1]]}`), &h); err == nil {
		t.Error("a bucket that does not exist is taken")
	}
}

// TestEveryNumberOfATallyIsAddedAndTakenAway fails when a field is forgotten in
// Counts.each.
func TestEveryNumberOfATallyIsAddedAndTakenAway(t *testing.T) {
	var numbers map[string]uint64
	raw, err := json.Marshal(Counts{})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &numbers); err != nil {
		t.Fatal(err)
	}
	n := uint64(1)
	for name := range numbers {
		numbers[name] = n
		n++
	}
	if raw, err = json.Marshal(numbers); err != nil {
		t.Fatal(err)
	}
	one := newTally()
	if err := json.Unmarshal(raw, &one.Counts); err != nil {
		t.Fatal(err)
	}
	one.Failures["x"], one.Heads["election"] = 2, Head{1, 2}
	two := newTally()
	two.Merge(one)
	two.Merge(one)
	back := two.Since(one)
	back.Viewers, back.Open, back.Sampled, back.Missing = one.Viewers, one.Open, one.Sampled, one.Missing // states, not counts
	if d := cmp.Diff(one.Counts, back.Counts); d != "" || back.Failures["x"] != 2 {
		t.Errorf("%s %v", d, back.Failures)
	}
	var doubled map[string]uint64
	if raw, err = json.Marshal(two.Counts); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &doubled); err != nil {
		t.Fatal(err)
	}
	for name, n := range numbers {
		if doubled[name] != 2*n {
			t.Errorf("%s is not added", name)
		}
	}
}

func TestReasonsThatAServerInventsAreBounded(t *testing.T) {
	m := map[string]uint64{}
	for i := range 1000 {
		count(m, string(rune('a'+i%26))+string(rune('a'+i/26))+string(make([]byte, 100)))
	}
	if len(m) > maxReasons+1 || sum(m) != 1000 {
		t.Errorf("%d reasons, %d counted", len(m), sum(m))
	}
}
