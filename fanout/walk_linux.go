package fanout

import "slices"

// stepLength is how many places of a row are looked at with the document's lock
// held. The writes come after.
const stepLength = 64

// call implements caller.
func (l *loop) call(r *row) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.called {
		return
	}
	r.called = true
	l.calls = append(l.calls, r)
	l.ring()
}

// hearCalls begins walks along the rows that were called. mu is held.
func (l *loop) hearCalls() {
	for _, r := range l.calls {
		r.called = false
		if r.left > 0 {
			r.again = r.left != wholeRow // one that has not begun will see what is new
			continue
		}
		r.left = wholeRow
		l.rows = append(l.rows, r)
	}
	clear(l.calls)
	l.calls = l.calls[:0]
}

// walk goes along rows and writes to who is there, turnLength places at most.
func (l *loop) walk() {
	for places := turnLength; places > 0 && len(l.rows) > 0; places -= stepLength {
		r := l.rows[0]
		handings, done := r.step(l.handings[:0], stepLength)
		l.now = l.server.now()
		for _, h := range handings {
			l.hand(h.to.(*conn), h.frame)
		}
		clear(handings)
		l.handings = handings[:0]
		switch {
		case !done:
		case r.again:
			r.again, r.left = false, wholeRow
		default:
			l.rows = slices.Delete(l.rows, 0, 1)
		}
	}
}

// hand writes one frame to one viewer. One that ended since it was looked at
// does not miss it.
func (l *loop) hand(c *conn, f *Frame) {
	b := f.Wire(c.deflate)
	l.count(f, len(b))
	l.write(c, b, true)
}
