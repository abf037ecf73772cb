package stream

import (
	"errors"
	"fmt"
	"os"
	"time"

	"tallystream/schemas"
)

// writer is the committing side of a stream: one goroutine that turns the
// queue into transactions, and one that copies the write-ahead log into the
// main file beside it.
type writer struct {
	s    *SQLite
	lock *os.File
	// store commits a group. Tests put faults here.
	store func(f *file, group []*pending) error

	backfill *backfill
	drained  chan struct{} // closed when the committer has ended

	// Owned by the committer until drained is closed.
	file   *file     // nil after a failure, until it is opened again
	failed int       // records since the last line about such
	told   time.Time // when that was
}

// openWriter takes the lock and opens the file.
func openWriter(s *SQLite) (_ *writer, err error) {
	lock, err := lockFile(s.cfg.Path + "-lock")
	if err != nil {
		return nil, err
	}
	w := &writer{s: s, lock: lock, store: (*file).store, drained: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if err = w.open(); err != nil {
		return nil, err
	}
	// The names of a new file must outlive a power cut as its records do.
	if err = syncDirectoryOf(s.cfg.Path); err != nil {
		return nil, err
	}
	if w.backfill, err = openBackfill(s.cfg.Path, s.metrics, s.logger); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *writer) start() {
	w.backfill.start()
	go w.commitGroups()
}

// stop waits until the closed queue is drained, and closes everything.
func (w *writer) stop() error {
	<-w.drained
	return w.close()
}

func (w *writer) close() error {
	var err error
	if w.backfill != nil {
		err = w.backfill.stop()
	}
	if w.file != nil {
		err = errors.Join(err, w.file.close())
	}
	return errors.Join(err, unlockFile(w.lock))
}

// open opens the file and believes what it says: at the start as after a
// failure.
func (w *writer) open() error {
	f, err := openFile(w.s.cfg.Path)
	if err != nil {
		return err
	}
	w.file = f
	w.s.tail.moveTo(f.next - 1)
	w.s.metrics.checkpoint.Set(float64(f.next - 1))
	return nil
}

// commitGroups is the committer. A group that fails fails alone: the file is
// opened anew for the next one, and if that works the stream goes on.
func (w *writer) commitGroups() {
	defer close(w.drained)
	var group []*pending
	for {
		clear(group)
		group = w.s.queue.take(group[:0])
		if len(group) == 0 {
			return
		}
		w.s.metrics.queueRecords.Sub(float64(len(group)))
		w.commit(group)
	}
}

func (w *writer) commit(group []*pending) {
	began := time.Now()
	if err := w.storeGroup(group); err != nil {
		w.fail(group, err)
		return
	}
	// Durable from here on. First the readers, who have the longer way, then
	// those who wait for their receipts.
	last, size := group[len(group)-1].at, sizeOf(group)
	w.s.tail.add(group)
	if w.s.cfg.OnCommit != nil {
		w.s.cfg.OnCommit(last)
	}
	w.observe(group, began, size, last)
	for _, p := range group {
		p.done <- struct{}{}
	}
	w.backfill.wrote(size)
}

func (w *writer) storeGroup(group []*pending) error {
	if w.file == nil {
		if err := w.open(); err != nil {
			return fmt.Errorf("opening again: %w", err)
		}
	}
	err := w.store(w.file, group)
	if err != nil {
		// What the connection believes is of no more use.
		err = errors.Join(err, w.file.close())
		w.file = nil
	}
	return err
}

func (w *writer) fail(group []*pending, err error) {
	w.tell(len(group), err)
	outcome := w.s.metrics.failed
	if errors.Is(err, ErrUnknownOutcome) {
		outcome = w.s.metrics.unknown
	}
	outcome.Add(float64(len(group)))
	for _, p := range group {
		p.at, p.err = 0, err
		p.done <- struct{}{}
	}
}

// tellEvery bounds how often failures are logged: on a full disk, where the log
// may lie too, every group fails. The metrics count them all.
const tellEvery = time.Second

func (w *writer) tell(records int, err error) {
	w.failed += records
	if time.Since(w.told) < tellEvery {
		return
	}
	w.s.logger.Error("storing records failed", "file", w.s.cfg.Path, "records", w.failed, "err", err)
	w.failed, w.told = 0, time.Now()
}

func (w *writer) observe(group []*pending, began time.Time, size int, last schemas.Checkpoint) {
	m, now := w.s.metrics, time.Now()
	m.stored.Add(float64(len(group)))
	m.storedBytes.Add(float64(size))
	m.groupRecords.Observe(float64(len(group)))
	m.commitSeconds.Observe(now.Sub(began).Seconds())
	for _, p := range group {
		m.appendSeconds.Observe(now.Sub(p.queued).Seconds())
	}
	m.checkpoint.Set(float64(last))
	m.tailBytes.Set(float64(w.s.tail.size()))
}

func sizeOf(group []*pending) int {
	size := 0
	for _, p := range group {
		size += len(p.record)
	}
	return size
}
