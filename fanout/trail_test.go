package fanout_test

import (
	"fmt"
	"strings"
	"testing"

	"tallystream/fanout"
	"tallystream/schemas"
)

// step is one thing that happens to a trail: a delta (from, to), or an
// announcement of a version.
type step struct {
	epoch    schemas.Epoch
	from, to schemas.Version // a delta, if to is not 0
	announce schemas.Version
	want     fanout.Outcome
}

func hashOf(v schemas.Version) schemas.Digest { return schemas.DigestOf(fmt.Append(nil, v)) }

func (s step) play(t *testing.T, trail *fanout.Trail) {
	t.Helper()
	var got fanout.Outcome
	if s.to == 0 {
		got = trail.Announce(s.epoch, s.announce, hashOf(s.announce))
	} else {
		d := schemas.Delta{Epoch: s.epoch, Document: contest, From: s.from, To: s.to, Log: s.to, Hash: hashOf(s.to)}
		d.Lines = append(d.Lines, fmt.Appendf(nil, `{"contest":"c","unit":"u%d","reporting":1}`, s.to%3))
		h := d.Header()
		got = trail.Add(&h, d.AppendFrame(nil), true)
	}
	if got != s.want {
		t.Errorf("%+v: %s", s, got)
	}
}

// told is what a viewer is told, as short words: "snap 5", "delta 5-7".
func told(t *testing.T, trail *fanout.Trail, p fanout.Position) string {
	t.Helper()
	var out []string
	for {
		next, after, ok := trail.Next(p)
		if ok != trail.Pending(p) {
			t.Errorf("%s: Pending and Next disagree at %+v", trail, p)
		}
		if !ok {
			return strings.Join(out, ", ")
		}
		frame := next.Text()
		if s, err := schemas.ParseSnap(frame); err == nil {
			out = append(out, fmt.Sprintf("snap %d", s.Version))
		} else if h, _, err := schemas.ReadDeltaHeader(frame); err == nil {
			out = append(out, fmt.Sprintf("delta %d-%d", h.From, h.To))
		} else {
			t.Fatalf("%s", frame)
		}
		if after == p {
			t.Fatalf("no progress from %+v: %s", p, frame)
		}
		p = after
	}
}

func at(epoch schemas.Epoch, v schemas.Version) fanout.Position {
	return fanout.Position{Known: true, Epoch: epoch, Version: v}
}

func TestATrailLeadsEveryViewerOn(t *testing.T) {
	published := []step{
		{epoch: 2, from: 0, to: 5, want: fanout.Extended},
		{epoch: 2, announce: 5, want: fanout.Extended},
		{epoch: 2, from: 5, to: 7, want: fanout.Extended},
		{epoch: 2, from: 7, to: 8, want: fanout.Extended},
	}
	for _, c := range []struct {
		name  string
		steps []step
		at    fanout.Position
		want  string
	}{
		{"new", published, fanout.Position{}, "snap 5, delta 5-8"},
		{"at the snapshot", published, at(2, 5), "delta 5-8"},
		{"between", published, at(2, 6), "delta 5-8"},
		{"one behind", published, at(2, 7), "delta 7-8"},
		{"up to date", published, at(2, 8), ""},
		{"ahead, since this server is behind", published, at(2, 9), ""},
		{"before the snapshot", published, at(2, 3), "snap 5, delta 5-8"},
		{"of an epoch that ended", published, at(1, 7), "snap 5, delta 5-8"},
		{
			"at the snapshot before the newest",
			append(published[:len(published):len(published)], step{epoch: 2, announce: 8, want: fanout.Extended}), at(2, 5), "delta 5-8",
		},
		{
			"before both snapshots",
			append(published[:len(published):len(published)], step{epoch: 2, announce: 8, want: fanout.Extended}), at(2, 4), "snap 8",
		},
		{
			"a delta comes twice",
			append(published[:len(published):len(published)], step{epoch: 2, from: 7, to: 8, want: fanout.Repeated}), at(2, 7), "delta 7-8",
		},
		{
			"a delta of an epoch that ended",
			append(published[:len(published):len(published)], step{epoch: 1, from: 8, to: 9, want: fanout.Superseded}, step{epoch: 1, announce: 9, want: fanout.Superseded}), at(2, 8), "",
		},
		{
			"a delta was lost: wait",
			append(published[:len(published):len(published)], step{epoch: 2, from: 9, to: 10, want: fanout.Broken}), at(2, 8), "",
		},
		{
			"a delta was lost, and its snapshot came",
			append(published[:len(published):len(published)], step{epoch: 2, from: 9, to: 10, want: fanout.Broken}, step{epoch: 2, announce: 9, want: fanout.Extended}), at(2, 8), "snap 9, delta 9-10",
		},
		{
			"all deltas of a snapshot were lost",
			append(published[:len(published):len(published)], step{epoch: 2, announce: 12, want: fanout.Broken}), at(2, 8), "snap 12",
		},
		{
			"a new epoch began, and nothing of it is published",
			append(published[:len(published):len(published)], step{epoch: 3, from: 8, to: 9, want: fanout.Broken}), at(2, 8), "",
		},
		{
			"a new epoch is published, with a smaller version",
			append(published[:len(published):len(published)], step{epoch: 3, announce: 4, want: fanout.Extended}), at(2, 8), "snap 4",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			trail := fanout.NewTrail(contest)
			for _, s := range c.steps {
				s.play(t, trail)
			}
			if got := told(t, trail, c.at); got != c.want {
				t.Errorf("%s\ngot %q, want %q", trail, got, c.want)
			}
		})
	}
}

func TestAnOldSnapshotDoesNotTakeBackWhatALaterOneAnnounced(t *testing.T) {
	trail := fanout.NewTrail("contest/c")
	trail.Announce(4, 15, hashOf(15))
	if trail.Restate(9, 7, hashOf(7)) {
		t.Error("bytes of version 7 were news after version 15 was announced")
	}
	frame, _, ok := trail.Next(fanout.Position{})
	if !ok || !strings.Contains(string(frame.Text()), hashOf(15).String()) {
		t.Errorf("who comes is led to %s", frame.Text())
	}
}

// The simulation of faults found this one: a sequencer that had stood still
// announced its last snapshot after its successor's was restated.
func TestWhatALateSequencerSaysDoesNotTakeBackRestatedBytes(t *testing.T) {
	trail := fanout.NewTrail("contest/c")
	trail.Restate(20, 18, hashOf(18))
	step{epoch: 1, announce: 13, want: fanout.Superseded}.play(t, trail)
	step{epoch: 1, from: 13, to: 22, want: fanout.Early}.play(t, trail)
	if got := told(t, trail, fanout.Position{}); got != "snap 18" {
		t.Errorf("who comes is told %s", got)
	}
	step{epoch: 2, announce: 21, want: fanout.Extended}.play(t, trail)
	if got := told(t, trail, fanout.Position{Known: true, Version: 18}); got != "snap 21" {
		t.Errorf("who has the restated bytes is told %s", got)
	}
}

func TestRestatedBytesLeaveViewersAloneWhoKnowMore(t *testing.T) {
	trail := fanout.NewTrail(contest)
	if !trail.Restate(10, 5, hashOf(5)) {
		t.Fatal("no news")
	}
	for p, want := range map[fanout.Position]string{{}: "snap 5", at(1, 4): "snap 5", at(1, 10): "snap 5", at(1, 11): "", at(0, 5): ""} {
		if got := told(t, trail, p); got != want {
			t.Errorf("at %+v: %q, want %q", p, got, want)
		}
	}
	trail.Restate(11, 5, hashOf(5)) // the next snapshot covers that viewer, and the document is the same
	if got := told(t, trail, at(1, 11)); got != "snap 5" {
		t.Errorf("got %q", got)
	}
	step{epoch: 4, from: 5, to: 12, want: fanout.Extended}.play(t, trail)
	if got := told(t, trail, at(0, 5)); got != "snap 5, delta 5-12" {
		t.Errorf("after the first delta: %q", got)
	}
}

func TestATrailWithoutViewersHoldsLittle(t *testing.T) {
	trail := fanout.NewTrail("county/leon")
	for v := range schemas.Version(100) {
		frame := nightFrame("county/leon", v, v+1)
		h, _, err := schemas.ReadDeltaHeader(frame)
		if err != nil {
			t.Fatal(err)
		}
		trail.Add(&h, frame, false)
	}
	// The newest is always there for those who are up to date.
	if frame, _, ok := trail.Next(at(1, 99)); !ok || len(frame.Text()) == 0 {
		t.Error("the newest delta is gone")
	}
	if got := told(t, trail, at(1, 90)); got != "" {
		t.Errorf("old deltas are held: %s", got)
	}
}
