package viewers

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"tallystream/schemas"
)

// stage is a crowd with a clock and a server that are the test's.
type stage struct {
	t     *testing.T
	now   time.Time
	crowd *crowd
}

func newStage(t *testing.T, p Plan) *stage {
	t.Helper()
	if p.Targets == nil {
		p.Targets = []Target{testTarget(1)}
	}
	if p.Documents == nil {
		p.Documents = []schemas.DocumentID{"contest/c"}
	}
	if p.Viewers == 0 {
		p.Viewers = 1
	}
	if p.Sample > 0 {
		p.Bucket = "http://127.0.0.1:1"
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 3, 20, 0, 0, 0, time.UTC)
	return &stage{t, now, newCrowd(&p, now)}
}

func testTarget(port uint16) Target {
	a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	return Target{Address: a, Host: a.String(), Path: livePath}
}

// dial expects that a viewer connects now, and returns it with its request.
func (s *stage) dial() (i int, request string) {
	s.t.Helper()
	i, _, _, ok := s.crowd.dial(s.now)
	if !ok {
		s.t.Fatal("nobody connects")
	}
	return i, string(s.crowd.connected(i))
}

func (s *stage) idle() {
	s.t.Helper()
	if i, _, _, ok := s.crowd.dial(s.now); ok {
		s.t.Fatalf("viewer %d connects already", i)
	}
}

// accept is a server's answer to the request of a viewer.
func (s *stage) accept(i int, extra string) []byte {
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		acceptOf(s.crowd.key(i)) + "\r\n" + extra + "\r\n")
}

// say gives a viewer text frames from its server.
func (s *stage) say(i int, frames ...[]byte) {
	s.t.Helper()
	if err := s.tell(i, frames...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) tell(i int, frames ...[]byte) error {
	var b []byte
	for _, f := range frames {
		b = append(b, serverFrame(opText, f)...)
	}
	return s.crowd.received(i, b, s.now)
}

// serverFrame is a frame as servers send it.
func serverFrame(op opcode, payload []byte) []byte {
	b := []byte{0x80 | byte(op)}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	default:
		b = append(b, 126, byte(n>>8), byte(n))
	}
	return append(b, payload...)
}

// open brings a viewer in, with a hello.
func (s *stage) open() int {
	s.t.Helper()
	i, _ := s.dial()
	if err := s.crowd.received(i, s.accept(i, ""), s.now); err != nil {
		s.t.Fatal(err)
	}
	s.say(i, helloFrame)
	return i
}

var helloFrame = (&schemas.Hello{Epoch: 1, Log: 1, Snapshot: 1}).AppendFrame(nil)

func snapFrame(epoch schemas.Epoch, v schemas.Version, body []byte) []byte {
	return (&schemas.Snap{Epoch: epoch, Document: "contest/c", Version: v, Hash: schemas.DigestOf(body), Key: "documents/k"}).AppendFrame(nil)
}

// deltaFrame is a delta that makes body one line of that number.
func (s *stage) deltaFrame(epoch schemas.Epoch, from, to schemas.Version, n int) []byte {
	d := schemas.Delta{Epoch: epoch, Document: "contest/c", From: from, To: to, Log: to, Micros: s.now.UnixMicro(), Hash: schemas.DigestOf(bodyOf(n)),
		Lines: [][]byte{[]byte(testLine(0, n))}}
	return d.AppendFrame(nil)
}

func bodyOf(n int) []byte { return []byte(testLine(0, n) + "\n") }

// heard are the text frames that a viewer sent since the last call.
func (s *stage) heard() []string {
	var out []string
	for _, a := range s.crowd.answers {
		op, payload := unmask(s.t, a.bytes)
		out = append(out, fmt.Sprintf("%d %s", op, payload))
	}
	s.crowd.answers = nil
	return out
}

func unmask(t *testing.T, b []byte) (opcode, []byte) {
	t.Helper()
	if len(b) < 6 || b[1]&0x80 == 0 || int(b[1]&0x7f) != len(b)-6 {
		t.Fatalf("a client's frame %x", b)
	}
	out := bytes.Clone(b[6:])
	for i := range out {
		out[i] ^= b[2+i%4]
	}
	return opcode(b[0] & 15), out
}

func (s *stage) pass(d time.Duration) { s.now = s.now.Add(d) }

func TestAViewerAsksForItsDocumentsAndSaysWhatItHasWhenItComesBack(t *testing.T) {
	s := newStage(t, Plan{Documents: []schemas.DocumentID{"contest/c", "county/leon"}, Follow: 2})
	i, request := s.dial()
	if want := "GET /v1/live?g=contest%2Fc&g=county%2Fleon HTTP/1.1\r\n"; !strings.HasPrefix(request, want) {
		t.Fatalf("%q", request)
	}
	if err := s.crowd.received(i, s.accept(i, ""), s.now); err != nil {
		t.Fatal(err)
	}
	s.say(i, helloFrame, snapFrame(7, 40, bodyOf(1)), s.deltaFrame(7, 40, 41, 2))
	s.crowd.ended(i, errors.New("cable"), s.now)
	s.pass(mostRetry)
	if _, request = s.dial(); !strings.HasPrefix(request, "GET /v1/live?e=7&g=contest%2Fc&v=41&g=county%2Fleon&v= HTTP/1.1\r\n") {
		t.Fatalf("%q", request)
	}
	if got := s.crowd.tally; got.Lost["cable"] != 1 || got.Open != 0 || got.Deliveries != 1 {
		t.Errorf("%+v", got)
	}
}

func TestManyDocumentsAreAskedForInAFrame(t *testing.T) {
	p := Plan{Follow: maxInQuery + 1}
	for i := range maxInQuery + 1 {
		p.Documents = append(p.Documents, schemas.CountyDocument(schemas.CountyID(fmt.Sprint("c", i))))
	}
	s := newStage(t, p)
	i, request := s.dial()
	if !strings.HasPrefix(request, "GET /v1/live HTTP/1.1\r\n") {
		t.Fatalf("%q", request)
	}
	if err := s.crowd.received(i, s.accept(i, ""), s.now); err != nil {
		t.Fatal(err)
	}
	frame := s.crowd.answers[0].bytes
	var payload []byte
	if frame[1]&0x7f == 126 {
		for k, c := range frame[8:] {
			payload = append(payload, c^frame[4+k%4])
		}
	}
	if sub, _, err := schemas.ParseClientFrame(payload); err != nil || len(sub.Documents) != maxInQuery+1 {
		t.Errorf("%q: %v", payload, err)
	}
}

func TestABytesApartAnswerAndFramesAreTheSame(t *testing.T) {
	s := newStage(t, Plan{})
	i, _ := s.dial()
	all := append(s.accept(i, ""), serverFrame(opText, helloFrame)...)
	all = append(all, serverFrame(opText, snapFrame(1, 3, bodyOf(0)))...)
	for k := range all {
		if err := s.crowd.received(i, all[k:k+1], s.now); err != nil {
			t.Fatalf("byte %d: %v", k, err)
		}
	}
	if got := s.crowd.tally; got.Open != 1 || got.Snaps != 1 {
		t.Errorf("%+v", got)
	}
	if s.crowd.seats[i].partial != nil {
		t.Error("a viewer at rest holds a buffer")
	}
}

func TestAByeIsHonouredToTheMillisecondAndIsNoLoss(t *testing.T) {
	s := newStage(t, Plan{})
	i := s.open()
	s.say(i, (&schemas.Bye{Reason: "drain", Milliseconds: 1234}).AppendFrame(nil))
	var closed *closedError
	if err := s.crowd.received(i, serverFrame(opClose, []byte{0x03, 0xf4}), s.now); !errors.As(err, &closed) || closed.code != 1012 {
		t.Fatalf("%v", err)
	} else {
		s.crowd.ended(i, err, s.now)
	}
	if got := s.heard(); len(got) != 1 || got[0] != "8 \x03\xf4" {
		t.Errorf("the close was answered with %q", got)
	}
	s.pass(1233 * time.Millisecond)
	s.idle()
	s.pass(time.Millisecond)
	s.open()
	if got := s.crowd.tally; got.Byes["drain"] != 1 || len(got.Lost) != 0 || len(problems(got, false)) != 0 || got.Connects != 2 {
		t.Errorf("%+v", got)
	}
}

func TestFailuresWaitLongerAndLongerAndMoveOn(t *testing.T) {
	s := newStage(t, Plan{Targets: []Target{testTarget(1), testTarget(2)}})
	var ports []uint16
	var waited time.Duration
	for n := range 8 {
		i, target, _, ok := s.crowd.dial(s.now)
		if !ok {
			t.Fatal("nobody connects")
		}
		ports = append(ports, target.Address.Port())
		s.crowd.ended(i, syscall.ECONNREFUSED, s.now)
		most := min(leastRetry<<n, mostRetry)
		s.pass(most/2 - time.Millisecond)
		s.idle()
		s.pass(most/2 + time.Millisecond)
		waited += most
	}
	if fmt.Sprint(ports) != "[1 2 1 2 1 2 1 2]" || waited < mostRetry {
		t.Errorf("targets %v within %s", ports, waited)
	}
	if got := s.crowd.tally; got.Failures["connection refused"] != 8 || got.Open != 0 || s.crowd.inFlight != 0 {
		t.Errorf("%+v", got)
	}
}

// A server of somebody else that refuses everybody is knocked at no faster than
// the ramp, and the driver does not wait in a loop for that.
func TestAGentlePlanKeepsItsPaceWhenAllAreRefused(t *testing.T) {
	s := newStage(t, Plan{Viewers: strangerViewers, Ramp: strangerRamp, Gentle: true})
	var knocks []time.Time
	for begun := s.now; s.now.Sub(begun) < time.Minute; {
		if i, _, _, ok := s.crowd.dial(s.now); ok {
			knocks = append(knocks, s.now)
			s.crowd.ended(i, syscall.ECONNREFUSED, s.now)
			continue
		}
		wait := s.crowd.wait(s.now)
		if wait <= 0 {
			t.Fatalf("after %s nobody connects, and nothing is waited for", s.now.Sub(begun))
		}
		s.pass(wait)
	}
	for i := strangerRamp; i < len(knocks); i++ {
		if passed := knocks[i].Sub(knocks[i-strangerRamp]); passed < time.Second {
			t.Fatalf("connections %d to %d within %s", i-strangerRamp, i, passed)
		}
	}
	if len(knocks) <= strangerViewers {
		t.Errorf("%d connections in a minute: nobody came back", len(knocks))
	}
	if p := (Plan{Targets: []Target{testTarget(1)}, Viewers: 1, Documents: []schemas.DocumentID{"election"}, Gentle: true}); p.Validate() == nil {
		t.Error("a gentle plan without a ramp is taken")
	}
}

func TestARefusalWithATimeIsHonoured(t *testing.T) {
	s := newStage(t, Plan{})
	i, _ := s.dial()
	err := s.crowd.received(i, []byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\n\r\nfull"), s.now)
	var no *refused
	if !errors.As(err, &no) || no.status != 503 {
		t.Fatal(err)
	}
	s.crowd.ended(i, err, s.now)
	s.pass(10*time.Second - time.Millisecond)
	s.idle()
	s.pass(5*time.Second + time.Millisecond)
	s.open()
	if got := s.crowd.tally.Failures; got["503 service unavailable"] != 1 || len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestAStormBringsEverybodyBackWithinItsSpread(t *testing.T) {
	const n, spread = 400, 8 * time.Second
	s := newStage(t, Plan{Viewers: n, InFlight: n, Seed: 5})
	for range n {
		s.open()
	}
	s.crowd.storm(0.5, spread, s.now)
	cut := len(s.crowd.closes)
	if cut < n/3 || cut > 2*n/3 || s.crowd.tally.Missing != uint64(cut) {
		t.Fatalf("%d cut off, %d missing", cut, s.crowd.tally.Missing)
	}
	for _, c := range s.crowd.closes {
		s.crowd.ended(c.seat, c.why, s.now)
	}
	s.crowd.closes = nil
	var quarters [4]int
	for step := range 4 {
		s.pass(spread / 4)
		for {
			if _, _, _, ok := s.crowd.dial(s.now); !ok {
				break
			}
			quarters[step]++
		}
	}
	total := 0
	for _, q := range quarters {
		total += q
		if q < cut/8 {
			t.Errorf("they come back together: %v", quarters)
		}
	}
	if got := s.crowd.tally; total != cut || got.Dropped != uint64(cut) || len(got.Lost) != 0 {
		t.Errorf("%d of %d come back: %+v", total, cut, got)
	}
}

func TestTheRampAndTheHandshakesUnderWayAreBounded(t *testing.T) {
	s := newStage(t, Plan{Viewers: 100, Ramp: 10, InFlight: 7})
	count := func() (n int) {
		for {
			if _, _, _, ok := s.crowd.dial(s.now); !ok {
				return n
			}
			n++
		}
	}
	if n := count(); n != 1 {
		t.Errorf("%d at once", n)
	}
	if w := s.crowd.wait(s.now); w <= 0 || w > mostWait {
		t.Errorf("waits %s", w)
	}
	s.pass(300 * time.Millisecond)
	if n := count(); n != 3 {
		t.Errorf("%d after 300 ms of 10 a second", n)
	}
	s.pass(time.Minute)
	if n := count(); n != 3 {
		t.Errorf("%d more: want 7 handshakes under way", n)
	}
}

func TestHandshakesThatAreNotAnsweredAndSilentConnectionsEnd(t *testing.T) {
	s := newStage(t, Plan{Viewers: 2, Handshake: time.Second, Silence: time.Minute})
	s.dial()
	s.open()
	s.pass(time.Second)
	s.crowd.tick(s.now)
	if c := s.crowd.closes; len(c) != 1 || c[0].seat != 0 || !errors.Is(c[0].why, errTimeout) {
		t.Fatalf("%+v", c)
	}
	s.crowd.ended(0, errTimeout, s.now)
	s.crowd.closes = nil
	for range 4 * sweepParts * 10 { // 80 s
		s.pass(sweepEvery)
		s.crowd.tick(s.now)
	}
	if c := s.crowd.closes; len(c) == 0 || c[0].seat != 1 || !errors.Is(c[0].why, errSilent) {
		t.Fatalf("%+v", c)
	}
}

func TestAGapIsCountedAskedAboutAndHealed(t *testing.T) {
	s := newStage(t, Plan{})
	i := s.open()
	s.say(i, snapFrame(1, 5, bodyOf(0)), s.deltaFrame(1, 6, 7, 1), s.deltaFrame(1, 7, 8, 2))
	if got := s.heard(); len(got) != 1 || got[0] != `1 {"p":1,"t":"sub","g":["contest/c"],"e":1,"v":{"contest/c":5}}` {
		t.Fatalf("asked %q", got)
	}
	s.say(i, s.deltaFrame(1, 5, 8, 2))
	if got := s.crowd.tally; got.Gaps != 1 || got.Asked != 1 || got.Healed != 1 || got.Advanced != 3 || len(problems(got, false)) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestRepeatsAreWrongUnlessTheViewerAsked(t *testing.T) {
	s := newStage(t, Plan{})
	i := s.open()
	s.say(i, snapFrame(1, 5, bodyOf(0)), s.deltaFrame(1, 5, 6, 1), s.deltaFrame(1, 5, 6, 1))
	if got := s.crowd.tally.Repeats; got != 1 {
		t.Errorf("%d repeats", got)
	}
	s.say(i, s.deltaFrame(1, 8, 9, 1)) // a gap: it asks
	s.say(i, s.deltaFrame(1, 5, 6, 1)) // was on its way
	if got := s.crowd.tally; got.Repeats != 1 || got.Gaps != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWhatAServerMayNotSayEndsTheConnection(t *testing.T) {
	for name, frames := range map[string][][]byte{
		"no hello":       {snapFrame(1, 5, bodyOf(0))},
		"a second hello": {helloFrame, helloFrame},
		"no frame":       {[]byte(`{"p":1}`)},
		"a client's":     {helloFrame, []byte(`{"p":1,"t":"sub","g":["election"]}`)},
		"half a delta":   {helloFrame, []byte(`{"p":1,"t":"delta","e":1,"g":"contest/c"`)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, Plan{})
			i, _ := s.dial()
			if err := s.crowd.received(i, s.accept(i, ""), s.now); err != nil {
				t.Fatal(err)
			}
			if err := s.tell(i, frames...); err == nil {
				t.Error("taken")
			}
		})
	}
}

func TestTwoHashesOfOneVersionAreNoticed(t *testing.T) {
	s := newStage(t, Plan{Viewers: 2})
	a, b := s.open(), s.open()
	s.say(a, snapFrame(1, 5, bodyOf(0)))
	s.say(b, snapFrame(1, 5, bodyOf(1)))
	if got := s.crowd.tally; got.Disagreed != 1 || len(problems(got, false)) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestLatencyIsThatOfDeltasMadeWhileTheViewerWasThere(t *testing.T) {
	s := newStage(t, Plan{})
	old := s.deltaFrame(1, 5, 6, 1)
	s.pass(time.Minute)
	i := s.open()
	s.say(i, snapFrame(1, 5, bodyOf(0)), old)
	fresh := s.deltaFrame(1, 6, 7, 2)
	s.pass(40 * time.Millisecond)
	s.say(i, fresh)
	got := s.crowd.tally
	if got.CaughtUp != 1 || got.Latency.Count() != 1 || got.Latency.Quantile(1) != 40*time.Millisecond || got.Early != 0 {
		t.Errorf("%+v: %s", got.Counts, got.Latency.Quantile(1))
	}
	s.pass(-time.Second)
	early := s.crowd.tally.Early
	s.now = s.now.Add(2 * time.Second)
	ahead := s.deltaFrame(1, 7, 8, 3)
	s.now = s.now.Add(-time.Second)
	s.say(i, ahead)
	if s.crowd.tally.Early != early+1 {
		t.Error("a delta from the future was not noticed")
	}
}

func TestABehindViewerIsFoundAtTheEnd(t *testing.T) {
	s := newStage(t, Plan{Viewers: 2})
	a, b := s.open(), s.open()
	s.say(a, snapFrame(1, 5, bodyOf(0)), s.deltaFrame(1, 5, 6, 1))
	s.say(b, snapFrame(1, 5, bodyOf(0)))
	heads := s.crowd.snapshot(true).Heads
	if heads["contest/c"] != (Head{1, 6}) {
		t.Fatalf("%v", heads)
	}
	if behind, _ := s.crowd.behind(heads); behind != 1 {
		t.Errorf("%d behind", behind)
	}
}

// TestAnyCourseOfConnectionsKeepsTheCounts plays random ends, refusals and
// storms: nobody is counted twice or forgotten.
func TestAnyCourseOfConnectionsKeepsTheCounts(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := newStage(t, Plan{Viewers: 20, InFlight: 5, Handshake: 2 * time.Second, Seed: seed})
		for range 400 {
			switch r.IntN(8) {
			case 0, 1, 2, 3:
				if i, _, _, ok := s.crowd.dial(s.now); ok && r.IntN(4) > 0 {
					s.crowd.connected(i)
					if err := s.crowd.received(i, append(s.accept(i, ""), serverFrame(opText, helloFrame)...), s.now); err != nil {
						t.Fatal(err)
					}
				}
			case 4:
				s.crowd.ended(r.IntN(20), errors.New("x"), s.now)
			case 5:
				if i := r.IntN(20); s.crowd.seats[i].state == open {
					s.say(i, (&schemas.Bye{Reason: "drain", Milliseconds: r.Int64N(3000)}).AppendFrame(nil))
				}
			case 6:
				if r.IntN(10) == 0 {
					s.crowd.storm(r.Float64(), time.Second, s.now)
				}
			case 7:
				s.pass(time.Duration(r.IntN(1000)) * time.Millisecond)
				s.crowd.tick(s.now)
			}
			for _, c := range s.crowd.closes {
				s.crowd.ended(c.seat, c.why, s.now)
			}
			s.crowd.closes = nil
			s.check(seed)
		}
	}
}

func (s *stage) check(seed uint64) {
	s.t.Helper()
	var opened, flying, missing, waiting int
	for i := range s.crowd.seats {
		switch s.crowd.seats[i].state {
		case open:
			opened++
		case dialing, asking:
			flying++
		case away:
			waiting++
		}
		if s.crowd.seats[i].missing {
			missing++
		}
	}
	if uint64(opened) != s.crowd.tally.Open || flying != s.crowd.inFlight || uint64(missing) != s.crowd.tally.Missing ||
		waiting != len(s.crowd.back)+len(s.crowd.seats)-s.crowd.fresh {
		s.t.Fatalf("seed %d: %d open, %d in flight, %d missing, %d away: %+v, %d in flight, %d come back, %d fresh", seed, opened, flying, missing, waiting,
			s.crowd.tally.Counts, s.crowd.inFlight, len(s.crowd.back), s.crowd.fresh)
	}
}
