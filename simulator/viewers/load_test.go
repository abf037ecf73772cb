package viewers

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tallystream/fanout"
	"tallystream/schemas"
)

func testCommand(x *tier, viewers int) *ViewersCommand {
	return &ViewersCommand{
		URL: []string{x.http.URL}, Viewers: viewers, Ramp: 2000, For: 600 * time.Millisecond, Wait: time.Minute, Follow: 1, Deflate: true, Sample: 0.25,
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
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			for g := range x.press.docs {
				x.change(g)
			}
			if n%7 == 6 {
				x.OnPublished(x.press.publish())
			}
			<-pace.C
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

// waitFor asks again until a condition holds that others bring about.
func waitFor(ctx context.Context, ok func() bool) {
	for !ok() && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestViewersOfARealServerLoseNothingAndCheckEveryHash(t *testing.T) {
	t.Parallel()
	x := startTier(t, newPress("contest/a", "contest/b", "county/leon"), fanout.Config{})
	c := testCommand(x, 200)
	c.Follow = 2
	r := playLoad(t, x, c, nil)
	if !r.Good || len(r.Problems) > 0 || r.Open != 200 || r.Connects != 200 || r.Sampled != 50 {
		t.Errorf("%+v", r)
	}
	if r.Deliveries < 200*2 || r.Verified < 50*2 || r.Latency.Count == 0 || r.Latency.P50 <= 0 || r.Fetches == 0 {
		t.Errorf("too little happened: %+v", r)
	}
}

func TestAStormOverProcessesBringsEverybodyBack(t *testing.T) {
	t.Parallel()
	x := startTier(t, newPress("contest/a", "county/leon"), fanout.Config{})
	c := testCommand(x, 120)
	c.Processes, c.For = 3, time.Second
	c.StormAt, c.PID = []time.Duration{200 * time.Millisecond}, []int{os.Getpid()}
	r := playLoad(t, x, c, testWorker)
	if !r.Good || len(r.Storms) != 1 || r.Connects != 240 || r.Dropped != 120 || r.Processes != 3 {
		t.Fatalf("%+v", r)
	}
	if s := r.Storms[0]; s.Dropped != 120 || s.Missing != 0 || s.BackSeconds <= 0 {
		t.Errorf("%+v", s)
	}
	if r.Server == nil || r.Server.Resident == 0 || r.Client.Resident < r.Server.Resident/10 {
		t.Errorf("%+v, %+v", r.Server, r.Client)
	}
}

func TestADrainIsNoLossAndTheViewersComeBackToTheOtherNode(t *testing.T) {
	t.Parallel()
	press := newPress("contest/a")
	a, b := startTier(t, press, fanout.Config{}), startTier(t, press, fanout.Config{})
	c := testCommand(a, 60)
	c.URL = append(c.URL, b.http.URL)
	c.Bucket, c.For = b.http.URL, 2*time.Second
	go func() {
		waitFor(t.Context(), func() bool { return a.Hub().Sessions()+b.Hub().Sessions() == 60 })
		a.stop()
	}()
	r := playLoad(t, b, c, nil)
	if r.Byes["drain"] != 30 || len(r.Lost) != 0 || r.Open != 60 || r.Gaps+r.Mismatches+r.Behind != 0 {
		t.Errorf("%+v", r)
	}
}

func TestViewersOverTLSCheckTheSame(t *testing.T) {
	x := startTier(t, newPress("contest/a"), fanout.Config{})
	front := httptest.NewTLSServer(x.http.Config.Handler)
	t.Cleanup(front.Close)
	pool := front.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	trusted = &tls.Config{RootCAs: pool}
	t.Cleanup(func() { trusted = new(tls.Config) })
	c := testCommand(x, 20)
	c.URL, c.Bucket = []string{strings.Replace(front.URL, "https", "wss", 1)}, x.http.URL
	if r := playLoad(t, x, c, nil); !r.Good || r.Open != 20 || r.Deliveries == 0 || r.Verified == 0 {
		t.Errorf("%+v", r)
	}
}

// TestAServerThatLosesADeltaIsFoundOut: the report names it, and the command
// ends with an error.
func TestAServerThatLosesADeltaIsFoundOut(t *testing.T) {
	t.Parallel()
	press := newPress("contest/a")
	snapshot := press.publish().Documents[0]
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ctx := r.Context()
		snap := schemas.Snap{Epoch: 1, Document: "contest/a", Version: snapshot.Version, Hash: snapshot.Hash, Key: fanout.DocumentKey(snapshot.Hash)}
		press.change("contest/a") // is lost
		for _, frame := range [][]byte{helloFrame, snap.AppendFrame(nil), press.change("contest/a")} {
			if ws.Write(ctx, websocket.MessageText, frame) != nil {
				return
			}
		}
		for err == nil { // until the viewer goes
			_, _, err = ws.Read(ctx)
		}
	}))
	t.Cleanup(srv.Close)
	c := &ViewersCommand{URL: []string{srv.URL}, Viewers: 1, Ramp: 10, For: 100 * time.Millisecond, Wait: 5 * time.Second, Follow: 1, Document: []string{"contest/a"}, Processes: 1}
	s, err := c.session(t.Context(), net.DefaultResolver.LookupNetIP)
	if err != nil {
		t.Fatal(err)
	}
	s.out = io.Discard
	r, err := s.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Good || r.Gaps != 1 || r.Behind != 1 || len(r.Problems) != 2 {
		t.Errorf("%+v", r)
	}
}

func TestCtrlCEndsEarlyWithAReport(t *testing.T) {
	t.Parallel()
	x := startTier(t, newPress("contest/a"), fanout.Config{})
	c := testCommand(x, 50)
	c.For = time.Hour
	s, err := c.session(t.Context(), net.DefaultResolver.LookupNetIP)
	if err != nil {
		t.Fatal(err)
	}
	s.out, s.self = io.Discard, testWorker
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		waitFor(t.Context(), func() bool { return x.Hub().Sessions() == 50 })
	}()
	r, err := s.run(ctx)
	if err != nil || !r.Interrupted || !r.Good || r.Open != 50 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAServerThatIsNotThereIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	c := &ViewersCommand{
		URL: []string{"ws://127.0.0.1:1"}, Viewers: 5, Ramp: 100, For: time.Hour, Wait: 2 * time.Second, Follow: 1, Document: []string{"election"}, Processes: 1,
	}
	s, err := c.session(t.Context(), net.DefaultResolver.LookupNetIP)
	if err != nil {
		t.Fatal(err)
	}
	s.out = io.Discard
	r, err := s.run(t.Context())
	if err != nil || r.Good || r.Open != 0 || r.Failures["connection refused"] < 5 || len(r.Problems) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAProcessThatDiesIsAnErrorNotALowerNumber(t *testing.T) {
	x := startTier(t, newPress("contest/a"), fanout.Config{})
	c := testCommand(x, 50)
	c.For = time.Hour
	s, err := c.session(t.Context(), net.DefaultResolver.LookupNetIP)
	if err != nil {
		t.Fatal(err)
	}
	s.out = io.Discard
	s.self = func() *exec.Cmd { return exec.Command("false") }
	if r, err := s.run(t.Context()); err == nil {
		t.Errorf("%+v", r)
	}
}

// A server that has no descriptor left for its metrics page is what a load may
// find out: it is reported with all that viewers saw.
func TestAServerThatCannotSayWhatItUsesLosesNoReport(t *testing.T) {
	t.Parallel()
	x := startTier(t, newPress("contest/a"), fanout.Config{})
	s, err := testCommand(x, 20).session(t.Context(), net.DefaultResolver.LookupNetIP)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	s.out, s.server = io.Discard, func(context.Context) (Usage, error) {
		if asked++; asked > 1 {
			return Usage{}, errNoUsage
		}
		return Usage{1, 2}, nil
	}
	r, err := s.run(t.Context())
	if err != nil || !r.Good || r.Open != 20 || r.Server != nil || r.ServerUnread != errNoUsage.Error() || asked != 2 {
		t.Fatalf("%+v, %v, asked %d times", r, err, asked)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "is not known: "+errNoUsage.Error()) {
		t.Errorf("%s, %v", text.String(), err)
	}
}

// TestTheReportIsJSONWithEveryNumber: a program reads back what was written.
func TestTheReportIsJSONWithEveryNumber(t *testing.T) {
	r := Report{
		Targets: []string{"ws://x"}, Processes: 2, Problems: []string{"p"}, Counts: Counts{Viewers: 7, Open: 6, Deliveries: 5, Gaps: 4}, Failures: map[string]uint64{"503": 3},
		Lost: map[string]uint64{}, Byes: map[string]uint64{"drain": 1}, Latency: Quantiles{Count: 1, P99: 2.5}, Storms: []StormReport{{Dropped: 9}}, Server: &Cost{CPUSeconds: 1.5},
	}
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{`"viewers": 7`, `"open": 6`, `"good": false`, `"p99_ms": 2.5`, `"seconds_per_million": 0`, `"problems": [`} {
		if !strings.Contains(b.String(), member) {
			t.Errorf("%s is missing in %s", member, b.String())
		}
	}
	var back Report
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil || back.Counts != r.Counts || !reflect.DeepEqual(back.Storms, r.Storms) || *back.Server != *r.Server {
		t.Errorf("%+v: %v", back, err)
	}
}

func TestTheServersOwnMetricsAreRead(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	srv := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(srv.Close)
	u, err := serverUsage([]string{srv.URL}, nil)(t.Context())
	if err != nil || u.Resident < 1<<20 || u.CPUSeconds <= 0 {
		t.Errorf("%+v, %v", u, err)
	}
	own, err := ProcessUsage(os.Getpid())
	if err != nil || own.Resident < u.Resident/2 || own.Resident > 2*u.Resident {
		t.Errorf("/proc says %+v, metrics say %+v: %v", own, u, err)
	}
	if _, err := readMetrics(strings.NewReader("process_cpu_seconds_total 1\n")); !errors.Is(err, errNoUsage) {
		t.Errorf("half of it: %v", err)
	}
	if _, err := readMetrics(strings.NewReader("process_cpu_seconds_total x\nprocess_resident_memory_bytes 1\n")); err == nil {
		t.Error("a number that is none is taken")
	}
	if _, err := usageOf("1 (a ) b) R 1 2", 4096); err == nil {
		t.Error("half a line of /proc is taken")
	}
	got, err := usageOf("7 (a ) b) S 1 1 1 0 -1 4 9 0 0 0 150 50 0 0 20 0 1 0 5 1000 25 18446744073709551615", 4096)
	if err != nil || got != (Usage{2, 25 * 4096}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheDisplayOfAPipeIsALineNowAndThen(t *testing.T) {
	var b bytes.Buffer
	d := newDisplay(&b)
	tally := newTally()
	tally.Viewers, tally.Open, tally.Missing = 10, 5, 2
	for at := range 12 {
		d.show(moment{elapsed: time.Duration(at) * time.Second, tally: tally})
	}
	if got := strings.Count(b.String(), "viewers 5 of 10"); got != 2 || strings.Contains(b.String(), "\x1b") || !strings.Contains(b.String(), "2 not back") {
		t.Errorf("%q", b.String())
	}
}
