package fanout

import (
	"errors"
	"fmt"
	"sync"

	"tallystream/schemas"
)

// Errors about what a client asks for.
var (
	ErrTooManyDocuments = errors.New("too many documents")
	ErrNotMedia         = errors.New("all documents at once are for media with a key")
	// ErrEnded is what Next returns after the last frame.
	ErrEnded = errors.New("session ended")
)

// Session is one viewer as the hub sees it: for each document it follows a
// position, and a note of which of them have news. It holds no frames but one
// of its own (hello, ping, bye), so it is as small for a slow viewer as for a
// fast one.
//
// Next is called by one goroutine at a time; everything else by any.
type Session struct {
	hub   *Hub
	media bool
	phase int // of pings
	wake  func()

	mu       sync.Mutex // guards the rest; taken after any topic's lock
	followed map[schemas.DocumentID]*following
	ready    []*following // have news; a queue, each at most once in it
	notice   []byte       // hello, ping or bye: goes first
	awake    bool         // the engine knows that there is something to do
	ending   bool         // notice is the last frame
	ended    bool         // nothing more comes out
	left     bool         // closed: nothing more is followed
}

// following is one document of one session.
type following struct {
	session *Session
	topic   *topic

	position Position // guarded by topic.mu
	slot     int      // in topic.viewers, -1 when off; guarded by topic.mu
	ready    bool     // in session.ready; guarded by session.mu
}

// SessionOptions say what a session may do.
type SessionOptions struct {
	// Media may follow all documents at once.
	Media bool
	// Wake is called when Next has something after it had nothing. It must
	// return at once and not call the session.
	Wake func()
}

// Subscribe follows documents, from the versions that the viewer has. One that
// is followed already goes on from there.
func (s *Session) Subscribe(r *schemas.Subscribe) error {
	all := false
	for _, g := range r.Documents {
		all = all || g == schemas.AllDocuments
	}
	if all && !s.media {
		return ErrNotMedia
	}
	if err := s.makeRoom(r.Documents); err != nil {
		return err
	}
	position := func(g schemas.DocumentID) Position {
		v, ok := r.Versions[g]
		return Position{Known: ok, Epoch: r.Epoch, Version: v}
	}
	if all {
		s.hub.followAll(s, position)
	}
	for _, g := range r.Documents {
		if g != schemas.AllDocuments {
			s.hub.follow(s, g, position(g))
		}
	}
	return nil
}

// makeRoom checks that the documents fit beside those that are followed.
func (s *Session) makeRoom(documents []schemas.DocumentID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.media {
		return nil
	}
	added := map[schemas.DocumentID]bool{}
	for _, g := range documents {
		if s.followed[g] == nil {
			added[g] = true
		}
	}
	if n := len(s.followed) + len(added); n > s.hub.maxDocuments {
		return fmt.Errorf("%w: %d, want at most %d", ErrTooManyDocuments, n, s.hub.maxDocuments)
	}
	return nil
}

// Unsubscribe ends the following of documents.
func (s *Session) Unsubscribe(documents []schemas.DocumentID) {
	for _, g := range documents {
		if g == schemas.AllDocuments {
			s.hub.unfollowAll(s)
			continue
		}
		s.hub.unfollow(s, g)
	}
}

// Documents is how many documents are followed.
func (s *Session) Documents() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.followed)
}

// Next returns the next frame for the viewer, which must not be changed, or
// nil when there is none now: Wake is then called when there is. A frame that
// was returned counts as delivered: if it cannot be, the session must be
// closed. After the last frame the error is ErrEnded.
func (s *Session) Next() ([]byte, error) {
	for {
		s.mu.Lock()
		if s.ended {
			s.mu.Unlock()
			return nil, ErrEnded
		}
		if notice := s.notice; notice != nil {
			s.notice, s.ended = nil, s.ending
			s.mu.Unlock()
			return notice, nil
		}
		if len(s.ready) == 0 {
			s.ready, s.awake = nil, false // a session at rest holds nothing
			s.mu.Unlock()
			return nil, nil
		}
		f := s.ready[0]
		s.ready[0], s.ready = nil, s.ready[1:]
		f.ready = false
		s.mu.Unlock()
		if frame := f.next(); frame != nil {
			return frame, nil
		}
	}
}

// next takes the document's next frame for this viewer.
func (f *following) next() []byte {
	f.topic.mu.Lock()
	defer f.topic.mu.Unlock()
	if f.slot < 0 {
		return nil // unsubscribed meanwhile
	}
	frame, after, ok := f.topic.trail.Next(f.position)
	if !ok {
		return nil
	}
	f.position = after
	if f.topic.trail.Pending(after) {
		f.news()
	}
	return frame
}

// news puts the document into the session's queue, and wakes the engine if it
// sleeps.
func (f *following) news() {
	s := f.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.ready || s.ended {
		return
	}
	f.ready = true
	s.ready = append(s.ready, f)
	s.rouse()
}

// rouse tells the engine once that there is something to do. s.mu is held.
func (s *Session) rouse() {
	if !s.awake {
		s.awake = true
		s.wake()
	}
}

// Tell sends a frame of the session's own, such as a ping, unless one waits.
func (s *Session) Tell(frame []byte) { s.tell(frame, false) }

// End makes frame the last one.
func (s *Session) End(frame []byte) { s.tell(frame, true) }

func (s *Session) tell(frame []byte, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.ending || s.notice != nil && !last {
		return
	}
	s.notice, s.ending = frame, last
	s.rouse()
}

// Close leaves the hub. It may be called twice.
func (s *Session) Close() { s.hub.leave(s) }
