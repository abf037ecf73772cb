package stream

import (
	"time"

	"tallystream/schemas"
)

// lag knows how long the oldest unread record has been in the stream, from
// when each end of the stream was first seen: records carry no time. One
// goroutine owns it.
type lag struct {
	ends []streamEnd // ascending, none read
}

type streamEnd struct {
	at   schemas.Checkpoint
	seen time.Time
}

// maxEnds bounds the samples; beyond it, newer ones are left out, which
// changes nothing about the oldest.
const maxEnds = 1024

// sample notes that the stream reaches to last.
func (l *lag) sample(last schemas.Checkpoint, now time.Time) {
	if n := len(l.ends); n < maxEnds && (n == 0 || l.ends[n-1].at < last) {
		l.ends = append(l.ends, streamEnd{last, now})
	}
}

// pass notes that everything up to at was read.
func (l *lag) pass(at schemas.Checkpoint) {
	n := 0
	for n < len(l.ends) && l.ends[n].at <= at {
		n++
	}
	l.ends = append(l.ends[:0], l.ends[n:]...)
}

func (l *lag) oldest() (time.Time, bool) {
	if len(l.ends) == 0 {
		return time.Time{}, false
	}
	return l.ends[0].seen, true
}
