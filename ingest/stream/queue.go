package stream

import (
	"slices"
	"sync"
	"time"

	"tallystream/schemas"
)

// pending is a record on its way to disk. Its waiter owns it before push and
// after done has fired, the committer between take and done. A waiter that
// gives up on a taken record leaves it to the garbage collector.
type pending struct {
	partition schemas.Partition
	record    []byte
	queued    time.Time

	// Set by the committer before it sends on done.
	at  schemas.Checkpoint
	err error

	done chan struct{} // capacity 1, so that the committer never blocks
}

// queue holds records until the committer takes them as one group.
type queue struct {
	linger   time.Duration // how long the first record waits for company
	maxGroup int
	maxBytes int // of a group
	limit    int // records
	limitOf  int // bytes

	wake chan struct{} // capacity 1: the queue is no longer empty, or is closed
	full chan struct{} // capacity 1: lingering is of no more use

	mu      sync.Mutex // guards what follows
	waiting []*pending
	bytes   int
	closed  bool
}

func newQueue(cfg *Config) *queue {
	return &queue{
		linger:   cfg.Linger,
		maxGroup: cfg.MaxGroup,
		maxBytes: maxGroupBytes,
		limit:    cfg.QueueLimit,
		limitOf:  cfg.QueueBytes,
		wake:     make(chan struct{}, 1),
		full:     make(chan struct{}, 1),
	}
}

// push queues p, or says why not.
func (q *queue) push(p *pending) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return ErrClosed
	case len(q.waiting) >= q.limit || q.bytes+len(p.record) > q.limitOf:
		return ErrBusy
	}
	q.waiting = append(q.waiting, p)
	q.bytes += len(p.record)
	if len(q.waiting) == 1 {
		signal(q.wake)
	}
	if q.isLong() {
		signal(q.full)
	}
	return nil
}

// isLong says that a whole group is here. The caller holds mu.
func (q *queue) isLong() bool { return len(q.waiting) >= q.maxGroup || q.bytes >= q.maxBytes }

// withdraw takes p out again. False means that the committer has it already.
func (q *queue) withdraw(p *pending) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, p)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.bytes -= len(p.record)
	return true
}

// take waits for records and moves the oldest of them into group, which it
// returns. The group is empty only when the queue is closed and drained.
func (q *queue) take(group []*pending) []*pending {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := q.patience()
		switch {
		case wait < 0:
			<-q.wake
			continue
		case wait > 0:
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-q.full:
			}
		}
		if group = q.pop(group); len(group) > 0 || q.drained() {
			return group
		}
	}
}

// patience is how long the committer waits for more records before it takes
// what is here: not at all for a long queue or a closed one, and negative,
// meaning until it is woken, when nothing is here.
func (q *queue) patience() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed || q.isLong():
		return 0
	case len(q.waiting) == 0:
		return -1
	}
	return max(0, q.linger-time.Since(q.waiting[0].queued))
}

func (q *queue) pop(group []*pending) []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.waiting) && n < q.maxGroup && (n == 0 || size+len(q.waiting[n].record) <= q.maxBytes) {
		size += len(q.waiting[n].record)
		n++
	}
	group = append(group, q.waiting[:n]...)
	q.waiting = slices.Delete(q.waiting, 0, n)
	q.bytes -= size
	if !q.isLong() {
		// A signal that is left over would cut the next linger short.
		select {
		case <-q.full:
		default:
		}
	}
	return group
}

func (q *queue) drained() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed && len(q.waiting) == 0
}

// close refuses new records; take still hands out what is here. It reports
// whether it was the first.
func (q *queue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := !q.closed
	q.closed = true
	signal(q.wake)
	signal(q.full)
	return first
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
