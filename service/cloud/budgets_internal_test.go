package cloud

import (
	"testing"
	"time"
)

func TestPausesDoubleUpToTheLongest(t *testing.T) {
	b := Budget{Pause: 25 * time.Millisecond, MaxPause: 500 * time.Millisecond}
	for attempt, want := range map[int]time.Duration{
		1: 25 * time.Millisecond, 2: 50 * time.Millisecond, 5: 400 * time.Millisecond, 6: 500 * time.Millisecond, 100: 500 * time.Millisecond,
	} {
		if got := b.pauseAfter(attempt, 1); got != want {
			t.Errorf("after attempt %d: %v, want %v", attempt, got, want)
		}
		if got := b.pauseAfter(attempt, 0.5); got != want/2 {
			t.Errorf("half of it after attempt %d: %v, want %v", attempt, got, want/2)
		}
	}
}
