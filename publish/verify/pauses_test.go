package verify_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/publish"
	"tallystream/publish/verify"
	"tallystream/schemas"
)

// TestANightWithAPauseVerifies: also for a reader whose earlier run ended in the
// middle of the pause.
func TestANightWithAPauseVerifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := open(t)
		count := func(revision int) {
			record := envelope(x.e, "oak.1", revision, numbers(x.e, 0, revision), nil, "official.oak")
			x.ledgers.add(entry(x.e, record, schemas.EntryCounted, ""), record, numbers(x.e, 0, revision))
			time.Sleep(3 * time.Second)
		}
		ask := func(pause bool) {
			q := publish.PauseRequest{Register: x.store, Origin: origin, Pause: pause, Reason: "court-order", Text: "A court ordered it."}
			if err := q.Send(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
		}
		count(1)
		ask(true)
		count(2)
		time.Sleep(2 * time.Minute)
		r, resting := check(t, verify.Options{Source: x.store.copy(), All: true})
		if r.Verdict != verify.Verified || r.Counted != 1 || !strings.Contains(print(r), "publication was paused at") {
			t.Error(print(r))
		}
		ask(false)
		late := x.close()
		for _, o := range []verify.Options{{Source: late, All: true}, {Source: late, State: resting}} {
			if r, _ := check(t, o); r.Verdict != verify.Verified || r.Counted != 2 {
				t.Error(print(r))
			}
		}
	})
}
