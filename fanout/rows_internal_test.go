package fanout

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"tallystream/schemas"
)

// walker is a caller without a socket: it holds what each of its viewers was
// handed.
type walker struct{ rows []*row }

func (w *walker) call(r *row) {
	if !r.called {
		r.called = true
		w.rows = append(w.rows, r)
	}
}

// walked is one of its viewers.
type walked struct {
	Session
	by    *walker
	full  bool // its socket takes nothing now
	woken bool
	at    schemas.Version
}

func (v *walked) Wake()          { v.woken = true }
func (v *walked) caller() caller { return v.by }
func (v *walked) takes() bool    { return !v.full }

// took notes a frame. One that begins after what the viewer has is a gap.
func (v *walked) took(t *rapid.T, f *Frame) {
	if h, _, err := schemas.ReadDeltaHeader(f.Text()); err == nil {
		if h.From > v.at || h.To <= v.at {
			t.Fatalf("a viewer at %d was handed %d to %d", v.at, h.From, h.To)
		}
		v.at = h.To
	}
	if s, err := schemas.ParseSnap(f.Text()); err == nil {
		v.at = s.Version
	}
}

// However viewers come, go and stand still while a row is walked along: nobody
// in it misses the newest version, and nobody is handed a frame that does not
// lead on.
func TestAWalkMissesNobodyWhoeverComesAndGoes(t *testing.T) {
	const document schemas.DocumentID = "contest/c"
	rapid.Check(t, func(t *rapid.T) {
		hub := NewHub(4, false, NewMetrics(prometheus.NewRegistry()))
		by, log := &walker{}, schemas.Version(1)
		delta := func() {
			d := schemas.Delta{Epoch: 1, Document: document, From: log, To: log + 1, Log: log + 1,
				Lines: [][]byte{fmt.Appendf(nil, `{"contest":"c","unit":"u%d","reporting":1,"units":2,"votes":{"a":[%d]}}`, log%3, log)}}
			d.Hash = schemas.DigestOf(fmt.Append(nil, log))
			log++
			hub.OnDelta(d.AppendFrame(nil))
		}
		hub.OnPublished(schemas.Published{Epoch: 1, Log: 1, Snapshot: 1, Documents: []schemas.Announcement{{Document: document, Version: 1, Hash: schemas.DigestOf([]byte("x"))}}})
		var there []*walked
		serve := func(v *walked) { // what an engine does when a session was woken
			for !v.full {
				f, err := v.Next()
				if err != nil || f == nil {
					return
				}
				v.took(t, f)
			}
		}
		step := func(n int) {
			if len(by.rows) == 0 {
				return
			}
			r := by.rows[0]
			if r.called {
				r.called, r.left = false, wholeRow
			}
			handings, done := r.step(nil, n)
			for _, h := range handings {
				h.to.(*walked).took(t, h.frame)
			}
			if done {
				if by.rows = by.rows[1:]; r.called {
					by.rows = append(by.rows, r)
				}
			}
		}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2:
				v := &walked{by: by}
				hub.open(&v.Session, SessionOptions{Waker: v})
				documents := []schemas.DocumentID{document}
				if len(there)%5 == 4 {
					documents = append(documents, "contest/other")
				}
				if err := v.Subscribe(&schemas.Subscribe{Documents: documents}); err != nil {
					t.Fatal(err)
				}
				serve(v)
				there = append(there, v)
			case 3:
				if len(there) > 0 {
					i := rapid.IntRange(0, len(there)-1).Draw(t, "who")
					there[i].Close()
					there = append(there[:i], there[i+1:]...)
				}
			case 4:
				if len(there) > 0 {
					v := there[rapid.IntRange(0, len(there)-1).Draw(t, "who")]
					v.full = !v.full
					serve(v)
				}
			case 5, 6:
				delta()
			default:
				step(rapid.IntRange(1, 4).Draw(t, "places"))
			}
		}
		for len(by.rows) > 0 {
			step(7)
		}
		for _, v := range there {
			v.full = false
			serve(v)
			if v.at != log {
				t.Fatalf("a viewer is at %d, want %d", v.at, log)
			}
			v.Close()
		}
		if n := hub.Documents(); n > 1 {
			t.Errorf("%d documents are left", n)
		}
		if topic := hub.topic(document); topic.watched() || len(topic.rows[public]) != 0 {
			t.Errorf("%d followers in %d rows are left", topic.followers[public], len(topic.rows[public]))
		}
	})
}
