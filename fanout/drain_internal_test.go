package fanout

import (
	"testing"

	"tallystream/schemas"
)

// TestASessionOpenedDuringDrainIsToldToComeBack: its request was let in before
// the server began to drain, and its session opened after everybody was told.
func TestASessionOpenedDuringDrainIsToldToComeBack(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	s.admission.close()
	s.hub.End(drainReason, 1, 1)
	session := s.hub.Open(SessionOptions{Waker: WakerFunc(func() {})})
	defer session.Close()
	s.lateComer(session)
	frame, err := session.Next()
	if err != nil {
		t.Fatal(err)
	}
	if bye, err := schemas.ParseBye(frame.Text()); err != nil || bye.Reason != drainReason {
		t.Errorf("%q: %+v, %v", frame.Text(), bye, err)
	}
	if _, err := session.Next(); err == nil {
		t.Error("the session goes on after bye")
	}
}
