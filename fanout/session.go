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
	// ErrRevoked is what it returns instead when the media key was taken back.
	ErrRevoked = errors.New("media key revoked")
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

	awake   bool // the engine knows that there is something to do; guarded, as the rest, by mu
	ending  bool // notice is the last frame
	ended   bool // nothing more comes out
	revoked bool // ends because its key is not valid any more
	left    bool // closed: nothing more is followed

	account *account // of its media key; nil: it has none

	mu          sync.Mutex // guards the rest; taken after any topic's lock
	followed    follows
	first, last *following // have news: a queue, each at most once in it
	notice      *Frame     // hello, ping or bye: goes first
}

// following is one document of one session.
type following struct {
	session *Session
	row     *row
	next    *following // in the session's queue; guarded by session.mu

	position Position // guarded by topic.mu
	slot     int32    // in row.viewers, -1 when off; guarded by topic.mu
	ready    bool     // in the session's queue; guarded by session.mu
}

// SessionOptions say what a session may do.
type SessionOptions struct {
	// Media gets every version at once, and may follow all documents.
	Media bool
	Waker Waker

	account *account // that a media key opened it with
	cut     func()   // ends the connection at once, from any goroutine; of sessions with an account
}

// Subscribe follows documents, from the versions that the viewer has. One that
// is followed already goes on from there.
func (s *Session) Subscribe(r *schemas.Subscribe) error {
	all := false
	for _, g := range r.Documents {
		all = all || g == schemas.AllDocuments
	}
	if err := s.makeRoom(r.Documents, all); err != nil {
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
func (s *Session) makeRoom(documents []schemas.DocumentID, all bool) error {
	most := s.hub.maxDocuments
	if s.media {
		most = s.account.documents()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !all && most == 0 {
		return nil
	}
	added := map[schemas.DocumentID]bool{}
	for _, g := range documents {
		if s.followed.get(g) == nil {
			added[g] = true
		}
	}
	return permit(s.media, all, s.followed.len()+len(added), most)
}

// permit says why somebody may not follow n documents, or all; at most 0 is any
// number.
func permit(media, all bool, n, most int) error {
	switch {
	case all && !media:
		return ErrNotMedia
	case most > 0 && all:
		return fmt.Errorf("%w: all of them, want at most %d", ErrTooManyDocuments, most)
	case most > 0 && n > most:
		return fmt.Errorf("%w: %d, want at most %d", ErrTooManyDocuments, n, most)
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
			revoked := s.revoked
			s.mu.Unlock()
			if revoked {
				return nil, ErrRevoked
			}
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
		if s.account != nil && !s.account.allows(s) {
			s.mu.Unlock()
			return nil, nil // awake as it is: the account wakes it
		}
		s.first, f.next, f.ready = f.next, nil, false
		if s.first == nil {
			s.last = nil
		}
		s.mu.Unlock()
		if frame := f.take(); frame != nil {
			if s.account != nil {
				s.account.spend(len(frame.Text()))
			}
			return frame, nil
		}
	}
}

// take takes the document's next frame for this viewer.
func (f *following) take() *Frame {
	t := f.row.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.slot < 0 {
		return nil // unsubscribed meanwhile
	}
	trail := t.seenBy(f.row.class)
	frame, after, ok := trail.Next(f.position)
	if !ok {
		return nil
	}
	f.position = after
	if trail.Pending(after) {
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

// revoke ends the session because its key is not valid any more, whatever it
// is doing.
func (s *Session) revoke() {
	s.mu.Lock()
	s.revoked, s.first, s.last = true, nil, nil
	s.mu.Unlock()
	s.End(farewell(revokedReason, revokedWait, 1))
	s.waker.Wake() // also one that waits for its account
}

// What a viewer is told whose key was taken back; it may come back without.
const (
	revokedReason = "key revoked"
	revokedWait   = 60_000 // milliseconds
)

// Close leaves the hub. It may be called twice.
func (s *Session) Close() { s.hub.leave(s) }
