package publish

import "time"

// schedule is when one kind of work may be done next.
type schedule struct {
	pace pace
	next time.Time
}

func (s *Sequencer) readDue(now time.Time) bool {
	switch {
	case now.Before(s.nextRead):
		return false
	case s.hinted, !now.Before(s.lastRead.Add(s.cfg.PollEvery)):
		return true
	}
	return s.cutWanted() && !now.Before(s.tickAt())
}

// When the ledger has been quiet for a while nobody else wants the cores: what
// a stretched interval still holds back goes out now.
const (
	quietBeforeTick     = 300 * time.Millisecond
	quietBeforeSnapshot = time.Second
	quietBeforePages    = 2 * time.Second
)

// isQuiet reports whether the ledger stood still that long, as of the last
// look at it.
func (s *Sequencer) isQuiet(now time.Time, long time.Duration) bool {
	return s.still && !now.Before(s.grown.Add(long))
}

// tickAt is when a tick is due, or else a look whether the ledger stands still.
func (s *Sequencer) tickAt() time.Time {
	return earliest(s.tick.next, s.grown.Add(quietBeforeTick))
}

func (s *Sequencer) tickDue(now time.Time) bool {
	return len(s.waiting) > 0 || s.changeDue() || !now.Before(s.tick.next) || s.isQuiet(now, quietBeforeTick)
}

func (s *Sequencer) snapshotAt() time.Time {
	if !s.still {
		return s.snapshot.next
	}
	return earliest(s.snapshot.next, latest(s.grown.Add(quietBeforeSnapshot), s.head.begun.Add(s.cfg.SnapshotEvery)))
}

func (s *Sequencer) pagesAt() time.Time {
	if !s.still {
		return s.pages.when.next
	}
	return earliest(s.pages.when.next, latest(s.grown.Add(quietBeforePages), s.pages.begun.Add(s.cfg.PagesEvery)))
}

// cutWanted reports whether the books hold what a cut would show. While
// publication rests they go ahead of it, and nothing shows that.
func (s *Sequencer) cutWanted() bool { return s.first || s.behind() && !s.resting() }

// behind reports whether the books hold more than the last cut shows.
func (s *Sequencer) behind() bool { return s.first || s.fold.entries != s.cut.entries }

func (s *Sequencer) snapshotDue(now time.Time) bool {
	switch {
	case s.first:
		return false
	case s.resting():
		return !now.Before(s.restingAt())
	case s.restated:
		return true
	case len(s.waiting) > 0:
		return !s.behind()
	case s.filesDue(now) && s.behind():
		return false
	case s.cut.entries != s.head.entries || s.head.epoch != s.epoch:
		return !now.Before(s.snapshotAt())
	}
	return !now.Before(s.nextWithoutChange())
}

// filesDue reports whether the next snapshot writes files by unit. They are made
// of the books as they stand, so that snapshot waits for a cut of them.
func (s *Sequencer) filesDue(now time.Time) bool {
	at, ok := s.shelf.exports.at(s.fold)
	return ok && !now.Before(at)
}

// nextWithoutChange is when a snapshot is due though no number changed: for
// files that are out of date, or as a sign of life.
func (s *Sequencer) nextWithoutChange() time.Time {
	at := s.head.begun.Add(s.cfg.HeartbeatEvery)
	if files, ok := s.shelf.exports.at(s.fold); ok {
		at = earliest(at, latest(files, s.head.begun.Add(s.cfg.SnapshotEvery)))
	}
	return at
}

// due is when the next turn has something to do.
func (s *Sequencer) due() time.Time {
	at := s.lastRead.Add(s.cfg.PollEvery)
	if s.hinted {
		at = s.nextRead
	}
	if s.cutWanted() {
		at = earliest(at, s.tickAt())
	}
	at = latest(at, s.nextRead)
	if s.writing == nil && !s.first {
		// The same cases as in snapshotDue: a time at which that would say no
		// again would make the loop spin.
		if s.resting() {
			at = earliest(at, s.restingAt())
		} else if s.restated {
			at = time.Time{}
		} else if s.filesDue(s.cfg.Now()) && s.behind() {
			// the tick above
		} else if s.cut.entries != s.head.entries || s.head.epoch != s.epoch {
			at = earliest(at, s.snapshotAt())
		} else {
			at = earliest(at, s.nextWithoutChange())
		}
		if s.behindBy != nil {
			at = earliest(at, s.pagesAt())
		}
	}
	return at
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
