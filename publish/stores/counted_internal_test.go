package stores

import (
	"context"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tallystream/ingest"
	"tallystream/ingest/stream/kinesis"
	"tallystream/publish"
	"tallystream/schemas"
)

// TestWhatALagPromisesIsCounted: whatever comes in and is counted between looks,
// everything that lay in the stream so long ago is in the ledger, and a ledger
// that has caught up is known to have.
func TestWhatALagPromisesIsCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var now time.Duration
		var last, folded schemas.Checkpoint
		var ends []end // at every moment
		failing := false
		d := &drained{
			newest: func(context.Context) (schemas.Checkpoint, error) {
				if failing {
					return 0, errors.New("the file cannot be read")
				}
				return last, nil
			},
			folded: func(context.Context) (schemas.Checkpoint, error) { return folded, nil },
			now:    func() time.Duration { return now },
		}
		for range rapid.IntRange(1, 1500).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 3).Draw(t, "ms")) * time.Millisecond
			last += schemas.Checkpoint(rapid.IntRange(0, 2).Draw(t, "come"))
			folded += schemas.Checkpoint(rapid.IntRange(0, int(last-folded)).Draw(t, "counted"))
			ends = append(ends, end{now, last})
			failing = rapid.IntRange(0, 9).Draw(t, "failing") == 0
			lag, err := d.lag(t.Context())
			switch {
			case failing && err == nil:
				t.Fatal("a lag of a stream that cannot be read")
			case failing:
			case err == nil:
				for _, e := range ends {
					if e.at < now-lag && e.last > folded {
						t.Fatalf("at %v record %d, of %v ago, is not counted; the lag is said to be %v", now, e.last, now-e.at, lag)
					}
				}
			case folded == last:
				t.Fatalf("all is counted, and it is not known: %v", err)
			}
			if len(d.ends) > mostEnds {
				t.Fatalf("%d ends are remembered", len(d.ends))
			}
		}
	})
}

// TestAChangeWaitsForTheSlowestAppend: checked on the oldest knowledge that
// ingest takes anything on, and tried to the end.
func TestAChangeWaitsForTheSlowestAppend(t *testing.T) {
	if slowest := ingest.KeysPatience + kinesis.DefaultBudget + kinesis.DefaultAttempt; publish.DefaultDrain <= slowest {
		t.Errorf("a change waits %v, an append may end after %v", publish.DefaultDrain, slowest)
	}
}
