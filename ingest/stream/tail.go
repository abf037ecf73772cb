package stream

import (
	"sync"

	"tallystream/schemas"
)

// recordCost is what a record in the tail costs beside its bytes.
const recordCost = 64

// tail is the newest part of the stream in memory, for readers that keep up,
// and the place where readers wait. Everything in it is durable.
type tail struct {
	limit int // bytes

	mu sync.RWMutex // guards what follows
	// ring holds count records of dense checkpoints that end with last; the
	// oldest is at ring[head]. Its length is a power of two.
	ring  []Record
	head  int
	count int
	bytes int
	last  schemas.Checkpoint
	// changed is closed when last moves or someone calls wake; nil while
	// nobody waits.
	changed chan struct{}
}

// add appends records that have just become durable; they follow last.
func (t *tail) add(group []*pending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range group {
		t.push(Record{Partition: p.partition, At: p.at, Bytes: p.record})
	}
	t.last = group[len(group)-1].at
	for t.bytes > t.limit && t.count > 0 {
		t.drop()
	}
	t.broadcast()
}

func (t *tail) push(r Record) {
	if t.count == len(t.ring) {
		t.grow()
	}
	t.ring[(t.head+t.count)&(len(t.ring)-1)] = r
	t.count++
	t.bytes += len(r.Bytes) + recordCost
}

func (t *tail) drop() {
	oldest := &t.ring[t.head]
	t.bytes -= len(oldest.Bytes) + recordCost
	*oldest = Record{}
	t.head = (t.head + 1) & (len(t.ring) - 1)
	t.count--
}

func (t *tail) grow() {
	ring := make([]Record, max(64, 2*len(t.ring)))
	for i := range t.count {
		ring[i] = t.ring[(t.head+i)&(len(t.ring)-1)]
	}
	t.ring, t.head = ring, 0
}

// moveTo sets last to what the file says, unless that is old news. Records
// that do not lead up to it are forgotten.
func (t *tail) moveTo(last schemas.Checkpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last <= t.last {
		return
	}
	for t.count > 0 {
		t.drop()
	}
	t.last = last
	t.broadcast()
}

// read returns up to n records after the given checkpoint. False means that
// only the file can tell.
func (t *tail) read(after schemas.Checkpoint, n int) ([]Record, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if after >= t.last {
		return nil, true
	}
	lag := uint64(t.last - after)
	if lag > uint64(t.count) {
		return nil, false
	}
	n = min(n, int(lag))
	records := make([]Record, n)
	start := t.head + t.count - int(lag)
	for i := range records {
		records[i] = t.ring[(start+i)&(len(t.ring)-1)]
	}
	return records, true
}

// get returns the record at the given checkpoint, if it is here.
func (t *tail) get(at schemas.Checkpoint) ([]byte, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if at == 0 || at > t.last || uint64(t.last-at) >= uint64(t.count) {
		return nil, false
	}
	i := t.head + t.count - 1 - int(t.last-at)
	return t.ring[i&(len(t.ring)-1)].Bytes, true
}

// watch returns the newest checkpoint, and a channel that is closed when it
// has moved or someone calls wake.
func (t *tail) watch() (schemas.Checkpoint, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.last, t.changed
}

func (t *tail) newest() schemas.Checkpoint {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.last
}

func (t *tail) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broadcast()
}

// broadcast wakes all who watch. The caller holds mu.
func (t *tail) broadcast() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

func (t *tail) size() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.bytes
}
