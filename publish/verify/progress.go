package verify

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// display shows progress: a line redrawn in place on a terminal, a line now and
// then elsewhere.
type display struct {
	out    io.Writer
	live   bool // a terminal
	every  time.Duration
	lastAt time.Duration
	drawn  bool
}

const (
	redrawEvery = 200 * time.Millisecond
	lineEvery   = 10 * time.Second
	barWidth    = 30
)

func newDisplay(out io.Writer) *display {
	d := &display{out: out, every: lineEvery}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		d.live, d.every = true, redrawEvery
	}
	return d
}

// show draws p if it is time to, or if nothing was drawn yet on a terminal.
func (d *display) show(p Progress) {
	if p.Elapsed-d.lastAt < d.every && (d.drawn || !d.live) {
		return
	}
	d.lastAt, d.drawn = p.Elapsed, true
	n := int(barWidth * p.Leaves / max(p.Of, 1))
	what := fmt.Sprintf("%s left", p.Left().Round(time.Second))
	if p.Comparing {
		what = "comparing what is published"
	}
	line := fmt.Sprintf("[%s%s] %3.0f%%  %d of %d leaves  %s gone, %s", strings.Repeat("#", n), strings.Repeat(".", barWidth-n),
		100*float64(p.Leaves)/float64(max(p.Of, 1)), p.Leaves, p.Of, p.Elapsed.Round(time.Second), what)
	if d.live {
		fmt.Fprintf(d.out, "\r\x1b[2K%s", line)
		return
	}
	fmt.Fprintln(d.out, line)
}

// clear takes the line off the terminal.
func (d *display) clear() {
	if d.live && d.drawn {
		fmt.Fprint(d.out, "\r\x1b[2K")
	}
}
