package fanout

import "slices"

// class is how soon a session hears of what is new.
type class uint8

// The classes.
const (
	public  class = iota // at the next Flush, if the hub conflates
	media                // at once: every version, to those who can take them
	classes              // how many there are
)

func (s *Session) class() class {
	if s.media {
		return media
	}
	return public
}

// seenBy is what there is to tell sessions of a class of the document. The public sees the
// trail as it was at the last Flush: so all of it goes from one version to the
// next with the same frame, whenever each of them takes it. mu is held.
func (t *topic) seenBy(c class) *Trail {
	if !t.conflate || c == media {
		return t.trail
	}
	if t.view == nil {
		t.view = t.trail.clone()
	}
	return t.view
}

// clone is the trail as it is now. Frames are shared, as everywhere.
func (t *Trail) clone() *Trail {
	c := *t
	c.held, c.unions = slices.Clone(t.held), slices.Clone(t.unions)
	return &c
}

// beyond is how many bytes of t are not of other's frames.
func (t *Trail) beyond(other *Trail) int {
	n := 0
	for _, h := range t.held {
		if !slices.ContainsFunc(other.held, func(o held) bool { return o.frame == h.frame }) {
			n += len(h.frame.Text())
		}
	}
	return n
}
