package viewers

import (
	"bytes"
	"context"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"

	"tallystream/fanout"
)

func testCommand(x *tier, viewers int) *ViewersCommand {
	return &ViewersCommand{
		URL: []string{x.http.URL}, Viewers: viewers, Ramp: 2000, For: 1200 * time.Millisecond, Wait: 10 * time.Second, Follow: 1, Deflate: true, Sample: 0.25,
		Processes: 1, InFlight: 64, StormShare: 1, StormSpread: 300 * time.Millisecond,
	}
}

// playLoad runs a command while deltas are made, and returns what it reports.
func playLoad(t *testing.T, x *tier, c *ViewersCommand, self func() *exec.Cmd) *Report {
	t.Helper()
	s, err := c.session(t.Context(), net.DefaultResolver.LookupNetIP)
	if err != nil {
		t.Fatal(err)
	}
	s.self, s.out = self, io.Discard
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			for g := range x.press.docs {
				x.change(g)
			}
			if n%7 == 6 {
				x.OnPublished(x.press.publish())
			}
			time.Sleep(20 * time.Millisecond) // the pace of the night
		}
	}()
	report, err := s.run(t.Context())
	cancel()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	return report
}

func TestViewersOfARealServerLoseNothingAndCheckEveryHash(t *testing.T) {
	x := startTier(t, newPress("contest/a", "contest/b", "county/leon"), fanout.Config{})
	c := testCommand(x, 200)
	c.Follow = 2
	r := playLoad(t, x, c, nil)
	if !r.Good || len(r.Problems) > 0 || r.Open != 200 || r.Connects != 200 || r.Sampled != 50 {
		t.Errorf("%+v", r)
	}
	if r.Deliveries < 200*2*10 || r.Verified < 50*2*10 || r.Latency.Count == 0 || r.Latency.P50 <= 0 || r.Fetches == 0 {
		t.Errorf("too little happened: %+v", r)
	}
}
