package viewers

import (
	"errors"
	"testing"

	"tallystream/schemas"
)

// fetchAll answers what sampled viewers want from a bucket of one object.
func (s *stage) fetchAll(body []byte, err error) int {
	n := len(s.crowd.wants)
	for _, w := range s.crowd.wants {
		s.crowd.fetched(w, append([]byte(nil), body...), err)
	}
	s.crowd.wants = nil
	return n
}

func (s *stage) verified(t *testing.T, verified, mismatches uint64) {
	t.Helper()
	if got := s.crowd.tally; got.Verified != verified || got.Mismatches != mismatches {
		t.Errorf("%d verified, %d mismatches, want %d and %d", got.Verified, got.Mismatches, verified, mismatches)
	}
}

func TestASampledViewerChecksEveryVersion(t *testing.T) {
	s := newStage(t, Plan{Sample: 1})
	i := s.open()
	s.say(i, snapFrame(1, 5, bodyOf(0)), s.deltaFrame(1, 5, 6, 1)) // the delta comes before the snapshot's bytes
	s.verified(t, 0, 0)
	if _, unverified := s.crowd.behind(map[schemas.DocumentID]Head{"contest/c": {1, 6}}); unverified != 1 {
		t.Error("a document without bytes counts as checked")
	}
	if n := s.fetchAll(bodyOf(0), nil); n != 1 {
		t.Fatalf("%d fetches", n)
	}
	s.verified(t, 2, 0)
	s.say(i, s.deltaFrame(1, 6, 9, 2))
	s.verified(t, 3, 0)
	if behind, unverified := s.crowd.behind(map[schemas.DocumentID]Head{"contest/c": {1, 9}}); behind+unverified != 0 {
		t.Errorf("%d behind, %d unverified", behind, unverified)
	}
	s.say(i, snapFrame(2, 1, bodyOf(2))) // a new epoch with the same bytes
	if s.verified(t, 4, 0); len(s.crowd.wants) != 0 {
		t.Error("the same bytes are fetched again")
	}
}

func TestAWrongHashIsFoundAndTheViewerBeginsAnew(t *testing.T) {
	s := newStage(t, Plan{Sample: 1})
	i := s.open()
	s.say(i, snapFrame(1, 5, bodyOf(0)))
	s.fetchAll(bodyOf(0), nil)
	wrong := s.deltaFrame(1, 5, 6, 1)
	d, err := schemas.ParseDelta(wrong)
	if err != nil {
		t.Fatal(err)
	}
	d.Hash = schemas.DigestOf([]byte("something else"))
	s.say(i, d.AppendFrame(nil))
	s.verified(t, 1, 1)
	if got := s.heard(); len(got) != 1 || got[0] != `1 {"p":1,"t":"sub","g":["contest/c"],"e":0,"v":{}}` {
		t.Errorf("asked %q", got)
	}
	s.say(i, snapFrame(1, 7, bodyOf(1)))
	s.fetchAll(bodyOf(1), nil)
	s.verified(t, 2, 1)
	if p := problems(s.crowd.tally, false); len(p) != 1 {
		t.Errorf("%q", p)
	}
}

func TestASnapshotWithOtherBytesIsAMismatch(t *testing.T) {
	s := newStage(t, Plan{Sample: 1})
	i := s.open()
	s.say(i, snapFrame(1, 5, bodyOf(0)))
	s.fetchAll(bodyOf(1), nil)
	s.verified(t, 0, 1)
}

func TestASnapshotThatCannotBeHadEndsTheConnection(t *testing.T) {
	s := newStage(t, Plan{Sample: 1})
	i := s.open()
	s.say(i, snapFrame(1, 5, bodyOf(0)))
	s.fetchAll(nil, errors.New("404"))
	if c := s.crowd.closes; len(c) != 1 || c[0].seat != i || !errors.Is(c[0].why, errSnapshot) || s.crowd.tally.FetchFailures != 1 {
		t.Errorf("%+v: %+v", c, s.crowd.tally)
	}
}

func TestTheBytesOfAnOlderSnapIgnoreTheNewerOne(t *testing.T) {
	s := newStage(t, Plan{Sample: 1})
	i := s.open()
	s.say(i, snapFrame(1, 5, bodyOf(0)), snapFrame(1, 6, bodyOf(1)))
	old, fresh := s.crowd.wants[0], s.crowd.wants[1]
	s.crowd.fetched(old, bodyOf(0), nil)
	s.verified(t, 0, 0)
	s.crowd.fetched(fresh, bodyOf(1), nil)
	s.verified(t, 1, 0)
}

func TestMediaFollowEverythingThatComes(t *testing.T) {
	s := newStage(t, Plan{All: true, Key: "secret", Documents: []schemas.DocumentID{"election"}})
	i, request := s.dial()
	if want := "GET /v1/live?g=%2A HTTP/1.1\r\n"; request[:len(want)] != want {
		t.Fatalf("%q", request)
	}
	if err := s.crowd.received(i, s.accept(i, ""), s.now); err != nil {
		t.Fatal(err)
	}
	s.say(i, helloFrame, snapFrame(1, 5, bodyOf(0)), s.deltaFrame(1, 5, 6, 1))
	if got := s.crowd.tally; got.Deliveries != 1 || got.Strangers != 0 {
		t.Errorf("%+v", got)
	}
}
