package fanout

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tallystream/schemas"
)

func TestABudgetAllowsABurstAndThenItsRate(t *testing.T) {
	var b budget
	now := time.Unix(1_800_000_000, 0)
	allowed := func(n int) (out int) {
		for range n {
			if b.allow(now, 5) {
				out++
			}
		}
		return out
	}
	if n := allowed(100); n != 21 {
		t.Errorf("a burst of %d, want 21", n)
	}
	now = now.Add(time.Second)
	if n := allowed(100); n != 5 {
		t.Errorf("%d in the second after, want 5", n)
	}
	now = now.Add(time.Hour)
	if n := allowed(100); n != 21 {
		t.Errorf("%d after an hour, want 21", n)
	}
	now = now.Add(-time.Hour) // a clock that was set back gives nothing, and takes nothing
	if n := allowed(100); n != 0 {
		t.Errorf("%d after the clock was set back", n)
	}
}

// A queue of deadlines against a list of them.
func TestDeadlinesComeDueInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := deadlines{delay: 10 * time.Second}
		type entry struct {
			at time.Time
			fd int32
		}
		var want []entry
		now := time.Unix(1_800_000_000, 0)
		for fd := range int32(rapid.IntRange(1, 3000).Draw(t, "steps")) {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "seconds")) * time.Second)
			d.push(now, fd, uint32(fd))
			want = append(want, entry{now.Add(d.delay), fd})
			for {
				e, ok := d.due(now)
				if !ok {
					break
				}
				if e.fd != want[0].fd || want[0].at.After(now) {
					t.Fatalf("%d is due at %s", e.fd, now)
				}
				want = want[1:]
			}
			if d.len() != len(want) || len(want) > 0 && !want[0].at.After(now) {
				t.Fatalf("%d are left at %s, want %d", d.len(), now, len(want))
			}
		}
	})
}

func TestFollowsAreASetHoweverMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f follows
		want := map[schemas.DocumentID]*following{}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			d := schemas.DocumentID(fmt.Sprint("county/", rapid.IntRange(0, 40).Draw(t, "document")))
			if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				f.remove(d)
				delete(want, d)
			} else if want[d] == nil {
				x := &following{row: &row{topic: &topic{document: d}}}
				f.add(x)
				want[d] = x
			}
			if f.get(d) != want[d] || f.len() != len(want) || len(f.all()) != len(want) {
				t.Fatalf("%s: %v of %d, want %v of %d", d, f.get(d), f.len(), want[d], len(want))
			}
		}
	})
}

// However many take a frame, it is framed once, and deflated only for those who
// agreed to that.
func TestAFrameIsBuiltOnceAndDeflatedOnlyForWhoAgreedToIt(t *testing.T) {
	f := newFrame(deltaFrame(1, 2), 0)
	first := f.Wire(false)
	if second := f.Wire(false); &first[0] != &second[0] {
		t.Error("a plain frame was built twice")
	}
	if f.deflated.Load() != nil {
		t.Error("deflated for nobody")
	}
	packed := f.Wire(true)
	if again := f.Wire(true); &packed[0] != &again[0] || len(packed) >= len(first) {
		t.Errorf("a frame of %d bytes is %d deflated, or was deflated twice", len(first), len(packed))
	}
	if ping := newPing([]byte(`{}`)); &ping.Wire(true)[0] != &ping.Wire(false)[0] {
		t.Error("a small frame was deflated")
	}
}
