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

// Waker is told when there is something to do for a session.
type Waker interface {
	// Wake is called when Next has something after it had nothing. It must
	// return at once and not call the session.
	Wake()
}

// WakerFunc is a function as a Waker.
type WakerFunc func()

// Wake implements Waker.
func (f WakerFunc) Wake() { f() }

// Session is one viewer as the hub sees it: for each document it follows a
// position, and a note of which of them have news. It holds no frames but one
// of its own (hello, ping, bye), so it is as small for a slow viewer as for a
// fast one: about 200 bytes with one document, since there are a million.
//
// Next is called by one goroutine at a time; everything else by any.
type Session struct {
	hub   *Hub
	waker Waker
	slot  int32 // in its registry, whose lock guards it; -1 when it left
	phase uint8 // of pings: which registry
	media bool

	awake  bool // the engine knows that there is something to do; guarded, as the rest, by mu
	ending bool // notice is the last frame
	ended  bool // nothing more comes out
	left   bool // closed: nothing more is followed

	mu          sync.Mutex // guards the rest; taken after any topic's lock
	followed    follows
	first, last *following // have news: a queue, each at most once in it
	notice      *Frame     // hello, ping or bye: goes first
}

// following is one document of one session.
type following struct {
	session *Session
	topic   *topic
	next    *following // in the session's queue; guarded by session.mu

	position Position // guarded by topic.mu
	slot     int32    // in topic.viewers, -1 when off; guarded by topic.mu
	ready    bool     // in the session's queue; guarded by session.mu
}

// SessionOptions say what a session may do.
type SessionOptions struct {
	// Media may follow all documents at once.
	Media bool
	Waker Waker
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
		if s.followed.get(g) == nil {
			added[g] = true
		}
	}
	if n := s.followed.len() + len(added); n > s.hub.maxDocuments {
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
	return s.followed.len()
}

// Next returns the next frame for the viewer, or nil when there is none now:
// the waker is then called when there is. A frame that was returned counts as
// delivered: if it cannot be, the session must be closed. After the last frame
// the error is ErrEnded.
func (s *Session) Next() (*Frame, error) {
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
		f := s.first
		if f == nil {
			s.awake = false
			s.mu.Unlock()
			return nil, nil
		}
		s.first, f.next, f.ready = f.next, nil, false
		if s.first == nil {
			s.last = nil
		}
		s.mu.Unlock()
		if frame := f.take(); frame != nil {
			return frame, nil
		}
	}
}

// take takes the document's next frame for this viewer.
func (f *following) take() *Frame {
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
	if s.last == nil {
		s.first = f
	} else {
		s.last.next = f
	}
	s.last = f
	s.rouse()
}

// rouse tells the engine once that there is something to do. s.mu is held.
func (s *Session) rouse() {
	if !s.awake {
		s.awake = true
		s.waker.Wake()
	}
}

// Tell sends a frame of the session's own, such as a ping, unless one waits.
func (s *Session) Tell(frame *Frame) { s.tell(frame, false) }

// End makes frame the last one.
func (s *Session) End(frame *Frame) { s.tell(frame, true) }

func (s *Session) tell(frame *Frame, last bool) {
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
