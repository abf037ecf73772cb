package publish

import (
	"testing"
	"time"
)

func TestTicksStretchWithTheirCost(t *testing.T) {
	start := time.Unix(1000, 0)
	deltas := pace{least: 100 * time.Millisecond, most: 30 * time.Second, share: deltaShare}
	documents := pace{least: time.Second, most: 30 * time.Second, share: snapshotShare, rate: 1 << 20}
	for _, c := range []struct {
		name  string
		pace  pace
		took  time.Duration
		wrote int64
		want  time.Duration
	}{
		{"nothing to do", deltas, 0, 0, 100 * time.Millisecond},
		{"a state: cheap ticks keep their least interval", deltas, 7 * time.Millisecond, 0, 100 * time.Millisecond},
		{"the US: 0.7 s of work every 10 s", deltas, 700 * time.Millisecond, 0, 10 * time.Second},
		{"never longer than the most", deltas, 5 * time.Second, 0, 30 * time.Second},
		{"bytes count too", documents, time.Millisecond, 5 << 20, 5 * time.Second},
		{"whichever asks for more", documents, 700 * time.Millisecond, 5 << 20, 10 * time.Second},
		{"a heartbeat below the least interval", pace{least: time.Second, most: time.Millisecond, share: 1}, 0, 0, time.Second},
	} {
		if got := c.pace.next(start, c.took, c.wrote).Sub(start); got.Round(time.Millisecond) != c.want {
			t.Errorf("%s: next after %s, want %s", c.name, got, c.want)
		}
	}
}
