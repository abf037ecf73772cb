package simulator

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// moment is what the progress display shows, read at one instant.
type moment struct {
	elapsed   time.Duration
	total     uint64 // events of the script
	sent      uint64
	receipts  uint64
	refused   uint64
	inLedger  uint64
	held      uint64
	behind    uint64 // records in the stream that are not in the ledger
	snapshot  uint64
	published uint64 // ledger entries in that snapshot
	viewers   int
	deltas    uint64
	live      Quantiles
	left      time.Duration // what the script's own clock says is left; 0: not known
}

// timeLeft estimates from what is done, unless the script knows.
func (m *moment) timeLeft() time.Duration {
	if m.left > 0 || m.sent == 0 {
		return m.left
	}
	return time.Duration(float64(m.elapsed) / float64(m.sent) * float64(m.total-m.sent))
}

// display shows progress: a block redrawn in place on a terminal, a line now
// and then elsewhere.
type display struct {
	out    io.Writer
	live   bool // a terminal
	drawn  int  // lines of the block on the screen
	every  time.Duration
	lastAt time.Duration
	last   moment
}

const (
	redrawEvery = 500 * time.Millisecond
	lineEvery   = 5 * time.Second
)

func newDisplay(out io.Writer) *display {
	d := &display{out: out, every: lineEvery}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		d.live, d.every = true, redrawEvery
	}
	return d
}

// show draws m if it is time to.
func (d *display) show(m moment) {
	if m.elapsed-d.lastAt < d.every {
		return
	}
	rate := float64(m.sent-d.last.sent) / (m.elapsed - d.last.elapsed).Seconds()
	d.lastAt, d.last = m.elapsed, m
	if d.live {
		d.redraw(m, rate)
		return
	}
	fmt.Fprintf(d.out, "%6s  sent %s of %s (%.0f/s)  in ledger %s  behind %d  held %d  snapshot %d  live p99 %.0f ms  left %s\n",
		m.elapsed.Round(time.Second), grouped(m.sent), grouped(m.total), rate, grouped(m.inLedger), m.behind, m.held, m.snapshot, m.live.P99,
		m.timeLeft().Round(time.Second))
}

func (d *display) redraw(m moment, rate float64) {
	var b strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", d.drawn)
	}
	row := func(format string, args ...any) {
		b.WriteString("\x1b[2K")
		fmt.Fprintf(&b, format, args...)
		b.WriteByte('\n')
		d.drawn++
	}
	d.drawn = 0
	row("  %s %3.0f%%   %s gone, %s left", bar(m.sent, m.total), 100*float64(m.sent)/float64(max(m.total, 1)),
		m.elapsed.Round(time.Second), m.timeLeft().Round(time.Second))
	row("  ingest     %11s sent  %11s receipts  %9s refused   %6.0f/s", grouped(m.sent), grouped(m.receipts), grouped(m.refused), rate)
	row("  aggregate  %11s in ledger  %7s behind  %9s held", grouped(m.inLedger), grouped(m.behind), grouped(m.held))
	row("  publish    snapshot %-9d %11s published", m.snapshot, grouped(m.published))
	row("  fanout     %11d viewers  %8s deltas    live p50 %.0f ms, p99 %.0f ms", m.viewers, grouped(m.deltas), m.live.P50, m.live.P99)
	io.WriteString(d.out, b.String())
}

const barWidth = 30

func bar(done, total uint64) string {
	n := int(barWidth * done / max(total, 1))
	n = min(n, barWidth)
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", barWidth-n) + "]"
}

// grouped writes n with commas at the thousands.
func grouped[T int | int64 | uint64](n T) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
