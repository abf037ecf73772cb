package fanout

import "sync"

// pingPhases is how many parts the sessions are split into, so that pings are
// spread over time.
const pingPhases = 32

// registry is one part of the sessions.
type registry struct {
	mu       sync.Mutex // guards sessions and their slots
	sessions []*Session
}

func (r *registry) add(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.slot = int32(len(r.sessions))
	r.sessions = append(r.sessions, s)
}

// remove may be called twice.
func (r *registry) remove(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.slot < 0 {
		return
	}
	last := len(r.sessions) - 1
	moved := r.sessions[last]
	r.sessions[s.slot], moved.slot = moved, s.slot
	r.sessions[last] = nil
	r.sessions = r.sessions[:last]
	s.slot = -1
	if last == 0 {
		r.sessions = nil // nobody is left: nothing is kept for them
	}
}

func (r *registry) each(fn func(*Session)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sessions {
		fn(s)
	}
}

func (r *registry) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}
