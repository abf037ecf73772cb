package fanout

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"tallystream/fanout/viewer"
)

// screen redraws the board in place, a few times a second.
type screen struct {
	out   io.Writer
	color bool
	size  func() (width, height int)

	mu    sync.Mutex // guards the rest
	board *board
	fresh bool // has something that was not drawn
	drawn int  // lines on the terminal
}

// redraw is how often a terminal is worth a new picture.
const redraw = 100 * time.Millisecond

func (s *screen) change(c viewer.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh = len(s.board.take(c)) > 0 || s.fresh
}

func (s *screen) state(at viewer.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !at.Connected {
		at.Snapshot = s.board.at.Snapshot
	}
	s.board.at, s.fresh = at, true
}

func (s *screen) run(ctx context.Context) {
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		s.draw()
		select {
		case <-ctx.Done():
			s.draw()
			return
		case <-tick.C:
		}
	}
}

// draw writes the whole picture at once, so that the terminal never shows
// half of it.
func (s *screen) draw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fresh && s.drawn > 0 {
		return
	}
	width, height := s.size()
	lines := s.board.draw(width-1, height-1, paint(s.color))
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dF", s.drawn)
	}
	b.WriteString("\x1b[J")
	for _, l := range lines {
		b.WriteString(l)
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(s.out, b.String()); err == nil {
		s.drawn, s.fresh = len(lines), false
	}
}

// lineOutput writes a line a change, for logs and pipes.
type lineOutput struct {
	out   io.Writer
	every time.Duration
	now   func() time.Time

	mu    sync.Mutex // guards the rest
	board *board
	next  map[*race]time.Time // when a race may be written again
	late  []*race             // that changed before it may
}

func (o *lineOutput) change(c viewer.Change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	for _, r := range o.board.take(c) {
		if now.Before(o.next[r]) {
			o.late = append(o.late, r)
			continue
		}
		o.write(r, now)
	}
}

func (o *lineOutput) write(r *race, now time.Time) {
	o.next[r] = now.Add(o.every)
	fmt.Fprintf(o.out, "%s %s\n", now.Format(time.TimeOnly), clipped(r.summary(), 1000))
}

func (o *lineOutput) state(at viewer.State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at.Connected == o.board.at.Connected {
		o.board.at = at
		return
	}
	o.board.at = at
	word := "connected"
	if !at.Connected {
		word = "connection lost, trying again"
	}
	fmt.Fprintf(o.out, "%s %s\n", o.now().Format(time.TimeOnly), word)
}

// run writes what came too soon after what was written before.
func (o *lineOutput) run(ctx context.Context) {
	tick := time.NewTicker(max(o.every/2, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			o.flush(true)
			return
		case <-tick.C:
			o.flush(false)
		}
	}
}

func (o *lineOutput) flush(all bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	written := map[*race]bool{}
	var rest []*race
	for _, r := range o.late {
		switch {
		case written[r]:
		case all || !now.Before(o.next[r]):
			o.write(r, now)
			written[r] = true
		default:
			written[r] = true // keep one of it
			rest = append(rest, r)
		}
	}
	o.late = rest
}
