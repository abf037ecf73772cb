package fanout

import "time"

// deadlines is a queue of moments that all lie the same delay ahead when they
// are pushed, so that the oldest is the next. It replaces a timer for each
// connection by 16 bytes. An entry names a connection by descriptor and serial
// number; whether there still is something to do then is asked when it is due.
type deadlines struct {
	delay time.Duration
	queue []deadline // from first on
	first int
}

type deadline struct {
	at     int64 // nanoseconds since 1970
	fd     int32
	serial uint32 // of the connection that had the descriptor
}

func (d *deadlines) push(now time.Time, fd int32, serial uint32) {
	if d.first > 1024 && d.first > len(d.queue)/2 {
		d.queue = append(d.queue[:0], d.queue[d.first:]...)
		d.first = 0
	}
	d.queue = append(d.queue, deadline{now.Add(d.delay).UnixNano(), fd, serial})
}

// len counts those that wait, done or not.
func (d *deadlines) len() int { return len(d.queue) - d.first }

// due takes out one that has passed.
func (d *deadlines) due(now time.Time) (deadline, bool) {
	if at, ok := d.next(); !ok || at > now.UnixNano() {
		return deadline{}, false
	}
	return d.take()
}

// take takes out the oldest.
func (d *deadlines) take() (deadline, bool) {
	if d.len() == 0 {
		return deadline{}, false
	}
	e := d.queue[d.first]
	d.first++
	if d.first == len(d.queue) {
		d.queue, d.first = d.queue[:0], 0
		if cap(d.queue) > 4096 {
			d.queue = nil // nobody is left: nothing is kept for them
		}
	}
	return e, true
}

// next is when the oldest is due.
func (d *deadlines) next() (at int64, ok bool) {
	if d.len() == 0 {
		return 0, false
	}
	return d.queue[d.first].at, true
}
