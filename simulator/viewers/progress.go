package viewers

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// moment is what the display shows, read at one instant.
type moment struct {
	elapsed   time.Duration
	tally     *Tally
	processes int
	left      time.Duration
	holding   bool // all were there
}

// display shows progress: a block redrawn in place on a terminal, a line now
// and then elsewhere.
type display struct {
	out   io.Writer
	live  bool // a terminal
	every time.Duration
	drawn int // lines of the block on the screen
	last  moment
}

const (
	redrawEvery = 500 * time.Millisecond
	lineEvery   = 5 * time.Second
)

func newDisplay(out io.Writer) *display {
	d := &display{out: out, every: lineEvery, last: moment{tally: newTally()}}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		d.live, d.every = true, redrawEvery
	}
	return d
}

// show draws m if it is time to.
func (d *display) show(m moment) {
	passed := m.elapsed - d.last.elapsed
	if passed < d.every {
		return
	}
	recent := m.tally.Since(d.last.tally)
	d.last = m
	rows := rowsOf(m, recent, passed)
	if !d.live {
		fmt.Fprintf(d.out, "%6s  %s\n", m.elapsed.Round(time.Second), strings.Join(rows, "  "))
		return
	}
	var b strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", d.drawn)
	}
	rows = append([]string{heading(m)}, rows...)
	for _, row := range rows {
		b.WriteString("\x1b[2K  " + row + "\n")
	}
	d.drawn = len(rows)
	_, _ = io.WriteString(d.out, b.String()) // a display that fails stops nothing
}

const barWidth = 30

func heading(m moment) string {
	n := int(barWidth * m.tally.Open / max(m.tally.Viewers, 1))
	bar := "[" + strings.Repeat("#", min(n, barWidth)) + strings.Repeat(".", max(barWidth-n, 0)) + "]"
	if !m.holding {
		return fmt.Sprintf("%s connecting, %s gone", bar, m.elapsed.Round(time.Second))
	}
	return fmt.Sprintf("%s %s gone, %s left", bar, m.elapsed.Round(time.Second), max(m.left, 0).Round(time.Second))
}

func rowsOf(m moment, recent *Tally, passed time.Duration) []string {
	t, latency := m.tally, recent.Latency.Quantiles()
	rows := []string{
		fmt.Sprintf("viewers %s of %s  %.0f/s  %d processes", grouped(t.Open), grouped(t.Viewers), perSecond(recent.Connects, passed), m.processes),
		fmt.Sprintf("deliveries %s  %.0f/s  p50 %.0f ms, p99 %.0f ms", grouped(t.Deliveries), perSecond(recent.Deliveries, passed), latency.P50, latency.P99),
		fmt.Sprintf("failures %s  lost %s  gaps %s  wrong hashes %s  verified %s", grouped(sum(t.Failures)), grouped(sum(t.Lost)), grouped(t.Gaps),
			grouped(t.Mismatches+t.Disagreed), grouped(t.Verified)),
	}
	if t.Missing > 0 {
		rows = append(rows, fmt.Sprintf("storm: %s not back", grouped(t.Missing)))
	}
	return rows
}
