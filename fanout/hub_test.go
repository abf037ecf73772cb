package fanout_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"tallystream/fanout"
	"tallystream/fanout/viewer"
	"tallystream/schemas"
)

func newMetrics() *fanout.Metrics { return fanout.NewMetrics(prometheus.NewRegistry()) }

var nobody = fanout.WakerFunc(func() {})

// watcher is a viewer without a network: it follows the client rule.
type watcher struct {
	hub     *fanout.Hub
	session *fanout.Session
	woken   bool
	docs    map[schemas.DocumentID]*viewer.Document
	follows []schemas.DocumentID
	asks    int
}

func newWatcher(hub *fanout.Hub, follows ...schemas.DocumentID) *watcher {
	w := &watcher{hub: hub, docs: map[schemas.DocumentID]*viewer.Document{}, follows: follows}
	for _, g := range follows {
		w.docs[g] = viewer.NewDocument(g)
	}
	return w
}

// connect opens a session that resumes from what the viewer has.
func (w *watcher) connect(t rapid.TB) {
	w.close()
	w.session = w.hub.Open(fanout.SessionOptions{Waker: fanout.WakerFunc(func() { w.woken = true })})
	sub := schemas.Subscribe{Documents: w.follows, Versions: map[schemas.DocumentID]schemas.Version{}}
	for _, d := range w.docs {
		sub.Epoch = max(sub.Epoch, d.Epoch())
	}
	for g, d := range w.docs {
		if d.Known() && d.Epoch() == sub.Epoch {
			sub.Versions[g] = d.Version()
		}
	}
	if err := w.session.Subscribe(&sub); err != nil {
		t.Fatal(err)
	}
}

func (w *watcher) close() {
	if w.session != nil {
		w.session.Close()
		w.session = nil
	}
}

// take takes up to n frames, and reports whether there was nothing more.
func (w *watcher) take(t rapid.TB, p *press, n int) bool {
	for range n {
		frame, err := w.session.Next()
		if err != nil {
			t.Fatal(err)
		}
		if frame == nil {
			return true
		}
		w.apply(t, p, frame.Text())
	}
	return false
}

func (w *watcher) apply(t rapid.TB, p *press, frame []byte) {
	kind, err := schemas.KindOfFrame(frame)
	if err != nil {
		t.Fatal(err)
	}
	switch kind {
	case schemas.FrameSnap:
		s, err := schemas.ParseSnap(frame)
		if err != nil {
			t.Fatal(err)
		}
		d := w.docs[s.Document]
		if d.Relabel(s) {
			return
		}
		body, err := p.Get(context.Background(), s.Key)
		if err != nil {
			t.Fatalf("%s: %v", s.Key, err)
		}
		if err := d.Replace(s, bytes.Clone(body)); err != nil {
			t.Fatal(err)
		}
	case schemas.FrameDelta:
		h, _, err := schemas.ReadDeltaHeader(frame)
		if err != nil {
			t.Fatal(err)
		}
		d := w.docs[h.Document]
		outcome, _, err := d.Apply(frame)
		if err != nil {
			t.Fatal(err)
		}
		switch outcome {
		case viewer.Mismatch:
			t.Fatalf("%s: delta %d to %d of epoch %d at %d: wrong hash", h.Document, h.From, h.To, h.Epoch, d.Version())
		case viewer.Missing:
			w.asks++
			sub := schemas.Subscribe{Documents: []schemas.DocumentID{h.Document}, Epoch: d.Epoch()}
			if d.Known() {
				sub.Versions = map[schemas.DocumentID]schemas.Version{h.Document: d.Version()}
			}
			if err := w.session.Subscribe(&sub); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (w *watcher) check(t rapid.TB, p *press) {
	for g, d := range w.docs {
		want := p.docs[g]
		if want == nil || want.version == 0 && !d.Known() {
			continue
		}
		if !bytes.Equal(d.Bytes(), want.body()) {
			t.Fatalf("%s: viewer is at %d of epoch %d (known %t), publisher at %d of epoch %d", g, d.Version(), d.Epoch(), d.Known(), want.version, p.epoch)
		}
	}
}

func TestAnyNightEndsWithEveryViewerHoldingTheDocumentsBytes(t *testing.T) {
	documents := []schemas.DocumentID{"election", "contest/c", "county/x"}
	rapid.Check(t, func(t *rapid.T) {
		p := newPress(documents...)
		hub := newHub(8)
		var watchers []*watcher
		for i := range rapid.IntRange(1, 3).Draw(t, "viewers") {
			w := newWatcher(hub, documents[:1+i]...)
			w.connect(t)
			watchers = append(watchers, w)
		}
		defer func() {
			for _, w := range watchers {
				w.close()
			}
		}()
		all := true
		anyDocument := rapid.SampledFrom(documents)
		lost := rapid.IntRange(0, 5)
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				g := anyDocument.Draw(t, "document")
				units := rapid.SliceOfNDistinct(rapid.IntRange(0, 30), 1, 6, rapid.ID).Draw(t, "units")
				for _, u := range units {
					p.change(g, fmt.Sprintf("u%02d", u))
				}
			},
			"deltas": func(t *rapid.T) {
				for _, g := range documents {
					if frame := p.delta(g); frame != nil && lost.Draw(t, "lost") > 0 {
						hub.OnDelta(frame)
						if lost.Draw(t, "repeated") == 0 {
							hub.OnDelta(frame)
						}
					}
				}
			},
			"snapshot": func(t *rapid.T) {
				published := p.publish(all)
				if lost.Draw(t, "lost") > 0 {
					hub.OnPublished(published)
				}
				all = false
			},
			"restart of the publisher": func(t *rapid.T) {
				if lost.Draw(t, "rare") == 0 {
					p.restart()
					all = true
				}
			},
			"restatement": func(t *rapid.T) {
				if hub.State().Snapshot < p.snapshot {
					restate(hub, p)
				}
			},
			"take": func(t *rapid.T) {
				w := rapid.SampledFrom(watchers).Draw(t, "viewer")
				w.take(t, p, rapid.IntRange(1, 5).Draw(t, "frames"))
			},
			"reconnect": func(t *rapid.T) {
				rapid.SampledFrom(watchers).Draw(t, "viewer").connect(t)
			},
		})
		// The night ends: the last snapshot names everything that changed, and
		// what the bus lost before is found in the bucket.
		hub.OnPublished(p.publish(all))
		restate(hub, p)
		for _, w := range watchers {
			for i := 0; !w.take(t, p, 100); i++ {
				if i > 10 {
					t.Fatal("frames without an end")
				}
			}
			w.check(t, p)
		}
	})
}

// restate does what a server does when the bucket is ahead of the bus.
func restate(hub *fanout.Hub, p *press) {
	for _, g := range p.order {
		d := p.docs[g]
		if d.printed.IsZero() {
			continue
		}
		hub.Restate(p.printedLog, g, d.printedVersion, d.printed)
	}
	hub.RestateSnapshot(p.printedLog, p.snapshot)
}

// The simulation of faults found this one: the announcement that was lost
// named a document that no later one named, and its viewers never heard of it.
func TestAnAnnouncementThatWasLostBetweenOthersIsFoundInTheBucket(t *testing.T) {
	const quiet, busy schemas.DocumentID = "contest/quiet", "contest/busy"
	p := newPress(quiet, busy)
	hub := newHub(8)
	restater := fanout.NewRestater(hub, p)
	w := newWatcher(hub, quiet, busy)
	w.connect(t)
	p.change(quiet, "u1")
	p.change(busy, "u1")
	hub.OnPublished(p.publish(true))
	look := func() bool {
		snapshot, _, err := restater.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return snapshot != nil
	}
	look() // the first look is for everything
	p.change(quiet, "u1")
	p.publish(false) // the bus lost it
	p.change(busy, "u1")
	hub.OnPublished(p.publish(false))
	if !look() {
		t.Error("a gap in the announcements was not seen")
	}
	for !w.take(t, p, 100) {
	}
	w.check(t, p)
	if look() {
		t.Error("everything is known, and was restated again")
	}
}

// movedBack is a bucket in which a stale sequencer has moved latest back.
type movedBack struct {
	*press
	latest []byte
}

func (m *movedBack) Get(ctx context.Context, key string) ([]byte, error) {
	if key == schemas.LatestKey {
		return m.latest, nil
	}
	return m.press.Get(ctx, key)
}

func TestAnOldLatestIsNotRestated(t *testing.T) {
	const g schemas.DocumentID = "contest/c"
	p := newPress(g)
	hub := newHub(8)
	p.change(g, "u1")
	p.publish(true) // the bus lost it
	old, err := p.Get(t.Context(), schemas.LatestKey)
	if err != nil {
		t.Fatal(err)
	}
	p.change(g, "u1")
	hub.OnPublished(p.publish(false))
	snapshot, _, err := fanout.NewRestater(hub, &movedBack{p, old}).Look(t.Context())
	if err != nil || snapshot != nil {
		t.Errorf("snapshot %v was restated over a later one: %v", snapshot, err)
	}
	w := newWatcher(hub, g)
	w.connect(t)
	for !w.take(t, p, 100) {
	}
	w.check(t, p)
}

func TestAViewerThatTakesNothingHoldsNothing(t *testing.T) {
	const g schemas.DocumentID = "contest/c"
	p := newPress(g)
	hub := newHub(8)
	slow, quick := newWatcher(hub, g), newWatcher(hub, g)
	slow.connect(t)
	quick.connect(t)
	defer slow.close()
	defer quick.close()
	for u := range 20 {
		p.change(g, fmt.Sprintf("u%02d", u))
	}
	hub.OnPublished(p.publish(true))
	slow.take(t, p, 100)
	most := 0
	for i := range 5000 {
		p.change(g, fmt.Sprintf("u%02d", i%20))
		hub.OnDelta(p.delta(g))
		quick.take(t, p, 100)
		most = max(most, hub.HeldBytes())
	}
	quick.check(t, p)
	// Twice the document and the slack that trails may hold.
	if limit := 2*len(p.docs[g].body()) + 20<<10; most > limit {
		t.Errorf("the hub held up to %d bytes for a viewer that took nothing, want at most %d", most, limit)
	}
	frames := 0
	for {
		frame, err := slow.session.Next()
		if err != nil {
			t.Fatal(err)
		}
		if frame == nil {
			break
		}
		frames++
		slow.apply(t, p, frame.Text())
	}
	slow.check(t, p)
	if frames != 1 {
		t.Errorf("the slow viewer got %d frames, want one union", frames)
	}
}

func TestViewersAtTheSameVersionShareOneFrame(t *testing.T) {
	const g schemas.DocumentID = "contest/c"
	p := newPress(g)
	hub := newHub(8)
	p.change(g, "u1", "u2")
	hub.OnPublished(p.publish(true))
	watchers := []*watcher{newWatcher(hub, g), newWatcher(hub, g)}
	for _, w := range watchers {
		w.connect(t)
		defer w.close()
		w.take(t, p, 100)
	}
	p.delta(g)
	for range 3 { // three deltas that both miss: one union for the two
		p.change(g, "u1")
		hub.OnDelta(p.delta(g))
	}
	a, _ := watchers[0].session.Next()
	b, _ := watchers[1].session.Next()
	if a == nil || a != b {
		t.Errorf("%s\nand\n%s\nare two frames", a.Text(), b.Text())
	}
	if h, _, err := schemas.ReadDeltaHeader(a.Text()); err != nil || h.To-h.From != 3 {
		t.Errorf("union leads from %d to %d: %v", h.From, h.To, err)
	}
}

func TestAResumedViewerGetsTheUnionOfWhatItMissed(t *testing.T) {
	const g schemas.DocumentID = "contest/c"
	p := newPress(g)
	hub := newHub(8)
	p.change(g, "u1", "u2", "u3")
	hub.OnPublished(p.publish(true))
	w := newWatcher(hub, g)
	w.connect(t)
	w.take(t, p, 100)
	w.close()
	p.change(g, "u1")
	hub.OnDelta(p.delta(g))
	hub.OnPublished(p.publish(false)) // one snapshot later, deltas still reach back
	p.change(g, "u3")
	hub.OnDelta(p.delta(g))
	w.connect(t)
	defer w.close()
	var kinds []schemas.FrameKind
	for {
		frame, err := w.session.Next()
		if err != nil {
			t.Fatal(err)
		}
		if frame == nil {
			break
		}
		kind, _ := schemas.KindOfFrame(frame.Text())
		kinds = append(kinds, kind)
		w.apply(t, p, frame.Text())
	}
	if fmt.Sprint(kinds) != "[hello delta]" {
		t.Errorf("got %v", kinds)
	}
	w.check(t, p)
}

func TestANewViewerGetsTheSnapshotAndTheUnionSince(t *testing.T) {
	const g schemas.DocumentID = "contest/c"
	p := newPress(g)
	hub := newHub(8)
	p.change(g, "u1", "u2", "u3")
	hub.OnPublished(p.publish(true))
	for range 4 {
		p.change(g, "u2")
		hub.OnDelta(p.delta(g))
	}
	w := newWatcher(hub, g)
	w.connect(t)
	defer w.close()
	if w.take(t, p, 3); w.docs[g].Version() != p.log {
		t.Errorf("after hello, snap and delta the viewer is at %d, want %d", w.docs[g].Version(), p.log)
	}
	w.check(t, p)
	if frame, _ := w.session.Next(); frame != nil {
		t.Errorf("one more frame: %s", frame.Text())
	}
}

func TestADeltaThatLeadsOnFromRestatedBytesNeedsNoNewSnapshot(t *testing.T) {
	p := newPress(contest)
	hub := newHub(8)
	p.change(contest, "u1", "u2")
	p.delta(contest)
	p.publish(true) // before the hub was there
	restate(hub, p)
	w := newWatcher(hub, contest)
	w.connect(t)
	defer w.close()
	w.take(t, p, 100)
	w.check(t, p)
	p.change(contest, "u2")
	hub.OnDelta(p.delta(contest))
	w.take(t, p, 100)
	w.check(t, p)
	if w.asks > 0 {
		t.Errorf("%d gaps", w.asks)
	}
}

func TestTooManyDocumentsAreRefusedAndAllOfThemWithoutAKey(t *testing.T) {
	hub := newHub(2)
	s := hub.Open(fanout.SessionOptions{Waker: nobody})
	defer s.Close()
	three := &schemas.Subscribe{Documents: []schemas.DocumentID{"county/a", "county/b", "county/c"}}
	if err := s.Subscribe(three); !errors.Is(err, fanout.ErrTooManyDocuments) {
		t.Errorf("got %v", err)
	}
	if err := s.Subscribe(&schemas.Subscribe{Documents: []schemas.DocumentID{schemas.AllDocuments}}); !errors.Is(err, fanout.ErrNotMedia) {
		t.Errorf("got %v", err)
	}
	if err := s.Subscribe(&schemas.Subscribe{Documents: []schemas.DocumentID{"county/a", "county/a", "county/b"}}); err != nil {
		t.Error(err)
	}
	s.Unsubscribe([]schemas.DocumentID{"county/a"})
	if err := s.Subscribe(&schemas.Subscribe{Documents: []schemas.DocumentID{"county/c"}}); err != nil {
		t.Error(err)
	}
}

func TestNamesThatDoNotExistLeaveNothingBehind(t *testing.T) {
	hub := newHub(64)
	for i := range 100 {
		s := hub.Open(fanout.SessionOptions{Waker: nobody})
		if err := s.Subscribe(&schemas.Subscribe{Documents: []schemas.DocumentID{schemas.ContestDocument(schemas.ContestID(fmt.Sprint("no", i)))}}); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	if n := hub.Documents(); n != 0 {
		t.Errorf("%d documents are left", n)
	}
	if n := hub.Sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestMediaFollowsDocumentsThatComeLater(t *testing.T) {
	p := newPress("county/a", "county/b")
	hub := newHub(1)
	s := hub.Open(fanout.SessionOptions{Media: true, Waker: nobody})
	defer s.Close()
	if err := s.Subscribe(&schemas.Subscribe{Documents: []schemas.DocumentID{schemas.AllDocuments}}); err != nil {
		t.Fatal(err)
	}
	p.change("county/a", "u1")
	p.change("county/b", "u1")
	hub.OnPublished(p.publish(true))
	got := map[schemas.DocumentID]bool{}
	for {
		frame, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if frame == nil {
			break
		}
		if snap, err := schemas.ParseSnap(frame.Text()); err == nil {
			got[snap.Document] = true
		}
	}
	if !got["county/a"] || !got["county/b"] {
		t.Errorf("got %v", got)
	}
}

func TestDeltasWaitForTheFlushWhereTheHubConflates(t *testing.T) {
	const g schemas.DocumentID = "contest/c"
	p := newPress(g)
	hub := fanout.NewHub(8, true, newMetrics())
	p.change(g, "u1", "u2")
	hub.OnPublished(p.publish(true))
	w := newWatcher(hub, g)
	w.connect(t)
	defer w.close()
	w.take(t, p, 100)
	w.woken = false
	p.delta(g)
	for range 5 {
		p.change(g, "u1")
		hub.OnDelta(p.delta(g))
	}
	if w.woken {
		t.Error("woken before the flush")
	}
	hub.Flush()
	if !w.woken {
		t.Error("not woken by the flush")
	}
	frame, _ := w.session.Next()
	if h, _, err := schemas.ReadDeltaHeader(frame.Text()); err != nil || h.To-h.From != 5 {
		t.Errorf("got %s", frame.Text())
	}
}

func TestTheLastFrameIsTheBye(t *testing.T) {
	hub := newHub(8)
	s := hub.Open(fanout.SessionOptions{Waker: nobody})
	defer s.Close()
	hub.End("drain", 100, 50)
	frame, err := s.Next()
	if err != nil {
		t.Fatal(err)
	}
	bye, err := schemas.ParseBye(frame.Text())
	if err != nil || bye.Milliseconds < 100 || bye.Milliseconds >= 150 {
		t.Errorf("%s: %v", frame.Text(), err)
	}
	if _, err := s.Next(); !errors.Is(err, fanout.ErrEnded) {
		t.Errorf("got %v", err)
	}
}
