package fanout

// row is those who follow a document and hear of it in the same way: a
// document's followers of one class stand in a few rows.
type row struct {
	topic *topic
	class class
	by    caller // nil: each is woken for itself

	viewers []*following // guarded by topic.mu; a following's slot is its place here

	called bool // guarded by the caller's lock

	// The caller's goroutine's.
	left  int  // viewers before this place are still to be served in this walk
	again bool // was called during the walk: another follows
}

// wholeRow is where a walk begins: behind more than any row has.
const wholeRow = 1 << 30

// caller serves many sessions with one goroutine. It is told once that a
// document has news for them, and walks along the row itself: marking each
// session is work, and its memory would go from one processor to another and
// back for each delivery.
type caller interface {
	// call is told that the row has news, with the document's lock held. It must
	// return at once.
	call(r *row)
}

// called is a Waker whose session a caller serves.
type called interface {
	Waker
	caller() caller
	// takes reports whether the socket would take a frame now. Only the caller's
	// goroutine asks.
	takes() bool
}

// caller is who walks along the rows that s is in; nil: s is woken. Accounts
// decide about each session for itself.
func (s *Session) caller() caller {
	if c, ok := s.waker.(called); ok && s.account == nil {
		return c.caller()
	}
	return nil
}

// rowFor finds or makes the row that a session belongs in. mu is held.
func (t *topic) rowFor(s *Session) *row {
	by := s.caller()
	for _, r := range t.rows[s.class()] {
		if r.by == by {
			return r
		}
	}
	r := &row{topic: t, class: s.class(), by: by}
	t.rows[r.class] = append(t.rows[r.class], r)
	return r
}

// add puts a following at the end. The topic's lock is held.
func (r *row) add(f *following) {
	f.row, f.slot = r, int32(len(r.viewers))
	r.viewers = append(r.viewers, f)
	r.topic.followers[r.class]++
}

// remove fills the gap with the last one: a walk, which goes from the end to the
// beginning, has passed that one, or is before both. The topic's lock is held.
func (r *row) remove(f *following) {
	last := len(r.viewers) - 1
	r.viewers[f.slot] = r.viewers[last]
	r.viewers[f.slot].slot = f.slot
	r.viewers[last] = nil
	r.viewers = r.viewers[:last]
	f.slot = -1
	t := r.topic
	t.followers[r.class]--
	if last == 0 {
		r.viewers = nil // nobody is left: nothing is kept for them
		t.forget(r)
	}
}

// forget takes an empty row out. mu is held.
func (t *topic) forget(r *row) {
	rows := t.rows[r.class][:0]
	for _, other := range t.rows[r.class] {
		if other != r {
			rows = append(rows, other)
		}
	}
	clear(t.rows[r.class][len(rows):])
	t.rows[r.class] = rows
}

// tell makes those of a class who follow t, and are not up to date, hear of it.
// mu is held.
func (t *topic) tell(c class, trail *Trail) {
	for _, r := range t.rows[c] {
		if r.by != nil {
			r.by.call(r)
			continue
		}
		for _, f := range r.viewers {
			if trail.Pending(f.position) {
				f.news()
			}
		}
	}
}

// handing is a frame that a session must be written now.
type handing struct {
	to    called
	frame *Frame
}

// step goes on with a walk by at most n places and appends to out what is to be
// written: each frame counts as delivered, as those of Session.Next. Whoever
// cannot be given it at once is marked instead: a socket that is full, a
// session with something else to say, one that follows more than this document
// and may get several frames in one write. The caller's goroutine calls it.
func (r *row) step(out []handing, n int) (_ []handing, done bool) {
	t := r.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	trail := t.seenBy(r.class)
	// Nearly all are at the same place, so the answer is nearly always the last one.
	var at, after Position
	var frame *Frame
	asked := false
	r.left = min(r.left, len(r.viewers))
	for ; r.left > 0 && n > 0; n-- {
		r.left--
		f := r.viewers[r.left]
		if !asked || f.position != at {
			at, asked = f.position, true
			frame, after, _ = trail.Next(at)
		}
		if frame == nil {
			continue // up to date
		}
		to := f.session.waker.(called) // as rowFor saw
		if !to.takes() || !f.session.onlyThis() {
			f.news()
			continue
		}
		f.position = after
		if trail.Pending(after) {
			f.news()
		}
		out = append(out, handing{to, frame})
	}
	return out, r.left == 0
}

// onlyThis reports whether a frame can go past the session's queue: nothing is
// in it, and there is no other document.
func (s *Session) onlyThis() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended && s.first == nil && s.notice == nil && s.followed.len() == 1
}
