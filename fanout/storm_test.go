package fanout_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tallystream/fanout"
	"tallystream/schemas"
)

// countedBucket is the bucket as the node reads it. It is all that a node can
// ask of anybody: there is no way from here to the publisher or the ingest.
type countedBucket struct {
	fanout.Bucket
	reads atomic.Int64
}

func (b *countedBucket) Get(ctx context.Context, key string) ([]byte, error) {
	b.reads.Add(1)
	return b.Bucket.Get(ctx, key) //nolint:wrapcheck // a test's
}

// Everybody drops and comes back at once, at every kind of position: each gets
// frames that were built once for all who are there, and no snapshot's bytes
// pass through the node.
func TestAReconnectStormBuildsAHandfulOfFramesAndReadsNothing(t *testing.T) {
	const viewers = 20_000
	p := newPress(contest)
	hub := fanout.NewHub(64, true, newMetrics())
	change := func(n int) {
		for range n {
			p.change(contest, fmt.Sprintf("u%d", p.log%40))
			hub.OnDelta(p.delta(contest))
		}
	}
	change(40)
	hub.OnPublished(p.publish(true))
	oldest := p.log
	change(10)
	hub.OnPublished(p.publish(false))
	change(10)
	hub.Flush()
	random := rand.New(rand.NewPCG(1, 2))
	frames, taken := map[*fanout.Frame]bool{}, 0
	var sessions []*fanout.Session
	for range viewers {
		s := hub.Open(fanout.SessionOptions{Waker: nobody})
		sessions = append(sessions, s)
		sub := &schemas.Subscribe{Documents: []schemas.DocumentID{contest}}
		if random.IntN(5) > 0 { // the others are new
			sub.Epoch, sub.Versions = 1, map[schemas.DocumentID]schemas.Version{contest: oldest - 5 + schemas.Version(random.IntN(26))}
		}
		if err := s.Subscribe(sub); err != nil {
			t.Fatal(err)
		}
		for {
			f, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			if f == nil {
				break
			}
			frames[f] = true
			taken++
		}
	}
	for _, s := range sessions {
		s.Close()
	}
	t.Logf("%d viewers took %d frames, of which %d are different", viewers, taken, len(frames))
	// hello, snap, and a union from each of the versions they may be at.
	if most := 2 + 26; len(frames) > most || taken < viewers {
		t.Errorf("%d frames were built, want at most %d", len(frames), most)
	}
}

func TestAReconnectStormReadsNothingFromTheBucketForItsViewers(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		b := &countedBucket{Bucket: newPress()}
		x := startTier(t, fanout.Config{Bucket: b, BucketEvery: time.Hour})
		waitFor(t, func() bool { return b.reads.Load() > 0 }) // the look at the start
		before := b.reads.Load()
		var storm sync.WaitGroup
		for range 20 {
			storm.Go(func() {
				for i := range 10 {
					query, frames := "?g=contest/c", 2 // hello, snap
					if i%2 == 1 {
						query, frames = fmt.Sprintf("?g=contest/c&e=1&v=%d", 100+i), 1 // has more than the node
					}
					ws, _, err := websocket.Dial(t.Context(), x.url(query), nil)
					if err != nil {
						t.Error(err)
						return
					}
					for range frames {
						if _, _, err := ws.Read(t.Context()); err != nil {
							t.Error(err)
						}
					}
					ws.CloseNow() // as when the network goes
				}
			})
		}
		storm.Wait()
		if n := b.reads.Load() - before; n != 0 {
			t.Errorf("200 connections made the node read the bucket %d times", n)
		}
	})
}

// What is held for those who may resume is one ring for everybody: it depends
// on the document, not on how many are behind, or how far.
func TestWhatIsHeldForResumingIsBoundedByTheDocumentAndSharedByAll(t *testing.T) {
	held := func(viewers int) (most, document int) {
		p := newPress(contest)
		hub := fanout.NewHub(8, true, newMetrics())
		for u := range 20 {
			p.change(contest, fmt.Sprintf("u%02d", u))
		}
		hub.OnPublished(p.publish(true))
		var all []*watcher
		for range viewers {
			w := newWatcher(hub, contest)
			w.connect(t)
			defer w.close()
			w.take(t, p, 100)
			all = append(all, w)
		}
		for i := range 3000 {
			p.change(contest, fmt.Sprintf("u%02d", i%20))
			hub.OnDelta(p.delta(contest))
			if i%10 == 0 {
				hub.Flush()
				all[i/10%len(all)].take(t, p, 100) // one of them; the others are behind
			}
			most = max(most, hub.HeldBytes())
		}
		hub.Flush()
		for _, w := range all {
			w.take(t, p, 100)
			w.check(t, p)
		}
		return most, len(p.docs[contest].body())
	}
	few, document := held(2)
	many, _ := held(300)
	t.Logf("document of %d bytes: %d held for 2 viewers, %d for 300", document, few, many)
	if many > few {
		t.Errorf("%d bytes are held for 300 viewers, %d for 2", many, few)
	}
	// The trail, and what the public's view has of it that was packed since.
	if limit := 2 * (2*document + 20<<10); few > limit {
		t.Errorf("%d bytes are held, want at most %d", few, limit)
	}
}
