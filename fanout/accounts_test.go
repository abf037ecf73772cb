package fanout

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/schemas"
)

const keyed schemas.DocumentID = "contest/c"

// deltaFrame is a delta of one line, about 300 bytes.
func deltaFrame(from, to schemas.Version) []byte {
	d := schemas.Delta{Epoch: 1, Document: keyed, From: from, To: to, Log: to, Hash: schemas.DigestOf(fmt.Append(nil, to))}
	d.Lines = append(d.Lines, fmt.Appendf(nil, `{"contest":"c","unit":"u%d","reporting":1,"units":99,"votes":{"a":[%d]}}`, to%3, to))
	return d.AppendFrame(nil)
}

func next(t *testing.T, s *Session) *Frame {
	t.Helper()
	f, err := s.Next()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAKeyThatHasUsedUpItsBytesGetsUnionsAndIsWokenWhenItHasMore(t *testing.T) {
	ring := newTestKeyring()
	_, key := newMediaKey(t, "ap", KeyLimits{Bytes: 600})
	ring.set([]MediaKey{key})
	hub := NewHub(1, true, NewMetrics(prometheus.NewRegistry()))
	wakes := 0
	s := hub.Open(SessionOptions{Waker: WakerFunc(func() { wakes++ }), account: ring.all()[0]})
	defer s.Close()
	if f := next(t, s); f == nil { // hello
		t.Fatal("no hello")
	}
	if err := s.Subscribe(&schemas.Subscribe{Documents: []schemas.DocumentID{keyed}, Epoch: 1, Versions: map[schemas.DocumentID]schemas.Version{keyed: 1}}); err != nil {
		t.Fatal(err)
	}
	taken := 0
	version := schemas.Version(1)
	come := func() {
		hub.OnDelta(deltaFrame(version, version+1))
		version++
	}
	for range 20 {
		come()
		if f := next(t, s); f != nil {
			taken++
		}
	}
	if size := len(deltaFrame(1, 2)); taken != (600+size-1)/size {
		t.Errorf("%d frames of %d bytes were taken of 600 bytes", taken, size)
	}
	before := wakes
	ring.refill(10 * time.Millisecond) // 6 bytes do not make up for what the last frame was too large
	if wakes != before {
		t.Error("woken without anything to spend")
	}
	ring.refill(time.Second)
	if wakes != before+1 {
		t.Fatalf("woken %d times", wakes-before)
	}
	h, _, err := schemas.ReadDeltaHeader(next(t, s).Text())
	if err != nil || h.From != schemas.Version(1+taken) || h.To != version {
		t.Errorf("got %+v, want the union of what came meanwhile: %v", h, err)
	}
	// Not more is saved up than for two seconds.
	ring.refill(time.Hour)
	taken = 0
	for range 20 {
		come()
		if next(t, s) != nil {
			taken++
		}
	}
	if taken > 2*600/len(deltaFrame(1, 2))+1 {
		t.Errorf("%d frames were saved up for", taken)
	}
}

func TestALimitThatIsTakenAwayWakesWhoWaited(t *testing.T) {
	ring := newTestKeyring()
	_, key := newMediaKey(t, "ap", KeyLimits{Bytes: 1})
	ring.set([]MediaKey{key})
	a := ring.all()[0]
	wakes := 0
	s := &Session{waker: WakerFunc(func() { wakes++ })}
	a.spend(1000)
	if first, second := a.allows(s), a.allows(s); first || second {
		t.Error("allowed")
	}
	key.Limits.Bytes = 0
	ring.set([]MediaKey{key})
	if ring.all()[0] != a {
		t.Error("a key with new limits is another key")
	}
	ring.refill(time.Millisecond)
	if wakes != 1 || !a.allows(s) {
		t.Errorf("woken %d times", wakes)
	}
}

func TestANewSecretUnderTheSameNameIsAnotherKey(t *testing.T) {
	ring := newTestKeyring()
	oldSecret, old := newMediaKey(t, "ap", KeyLimits{})
	newSecret, young := newMediaKey(t, "ap", KeyLimits{})
	ring.set([]MediaKey{old})
	if revoked := ring.set([]MediaKey{young}); len(revoked) != 1 || revoked[0].hash != old.Hash {
		t.Errorf("%v", revoked)
	}
	if ring.find(oldSecret) != nil || ring.find(newSecret) == nil {
		t.Error("the old secret lets in, or the new one does not")
	}
}

// A file is looked at so often, and who takes nothing is given so long.
func TestAKeyThatIsTakenBackIsOutWithinFiveSeconds(t *testing.T) {
	if most := (Config{}).withDefaults().MediaKeysEvery + revokeGrace; most > 4*time.Second { // and one to do it
		t.Errorf("it may take %s", most)
	}
}

// Between the moment in which a key lets a connection in and its session, the
// key may be taken back.
func TestASessionThatOpensWithAKeyThatHasJustGoneIsEnded(t *testing.T) {
	ring := newTestKeyring()
	_, key := newMediaKey(t, "ap", KeyLimits{})
	ring.set([]MediaKey{key})
	a := ring.all()[0]
	for _, revoked := range ring.set(nil) {
		revoked.revoke()
	}
	hub := NewHub(1, false, NewMetrics(prometheus.NewRegistry()))
	s := hub.Open(SessionOptions{Waker: WakerFunc(func() {}), account: a})
	defer s.Close()
	if bye, err := schemas.ParseBye(next(t, s).Text()); err != nil || bye.Reason != revokedReason {
		t.Errorf("%+v: %v", bye, err)
	}
	if _, err := s.Next(); !errors.Is(err, ErrRevoked) {
		t.Errorf("got %v", err)
	}
}
