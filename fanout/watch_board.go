package fanout

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tallystream/fanout/viewer"
	"tallystream/schemas"
)

// board is what the terminal shows: the newest totals of each race. It may be
// used by one goroutine at a time.
type board struct {
	name   string
	races  []*race
	byKey  map[string]*race // by the key of the line that holds its total
	order  map[*race]int
	at     viewer.State
	newest int64 // publisher's time of the newest delta, in microseconds
}

// race is a contest with its total.
type race struct {
	contest *schemas.Contest
	unit    string // whose line is the total
	line    *schemas.Line
	shares  []share // most votes first
	votes   int64
}

// share is one selection's part.
type share struct {
	name  string
	votes int64
}

func newBoard(e *schemas.Election, races []*race) *board {
	b := &board{name: e.Definition.Name, races: races, byKey: map[string]*race{}, order: map[*race]int{}}
	for i, r := range races {
		b.order[r] = i
		b.byKey[fmt.Sprintf(`{"contest":"%s","unit":"%s"`, r.contest.ID, r.unit)] = r
	}
	return b
}

// take takes a change in and returns the races that it touched, in the order
// in which people expect to read them.
func (b *board) take(c viewer.Change) []*race {
	b.newest = max(b.newest, c.Micros)
	var touched []*race
	note := func(line []byte) {
		key, err := schemas.LineKey(line)
		if err != nil {
			return
		}
		r := b.byKey[string(key)]
		if r == nil {
			return
		}
		if l, err := schemas.ParseLine(line); err == nil { // its hash was right: it is as published
			r.set(l)
			touched = append(touched, r)
		}
	}
	for _, line := range c.Lines {
		note(line)
	}
	if c.Lines == nil {
		for i := range c.Document.Len() {
			note(c.Document.Line(i))
		}
	}
	slices.SortFunc(touched, func(x, y *race) int { return b.order[x] - b.order[y] })
	return touched
}

func (r *race) set(l *schemas.Line) {
	r.line, r.votes, r.shares = l, 0, r.shares[:0]
	for i := range r.contest.Selections {
		s := &r.contest.Selections[i]
		n := int64(0)
		for _, v := range l.Votes[s.ID] {
			n += v
		}
		name := s.Name
		if s.Party != "" {
			name += " (" + s.Party + ")"
		}
		r.votes += n
		r.shares = append(r.shares, share{name, n})
	}
	slices.SortStableFunc(r.shares, func(a, b share) int { return cmp.Compare(b.votes, a.votes) })
}

func (r *race) percent(votes int64) float64 {
	if r.votes == 0 {
		return 0
	}
	return 100 * float64(votes) / float64(r.votes)
}

func (r *race) reporting() string {
	of := 0.0
	if r.line.Units > 0 {
		of = 100 * float64(r.line.Reporting) / float64(r.line.Units)
	}
	// All of them is 100%; nothing less is.
	if of > 99.9 && r.line.Reporting < r.line.Units {
		of = 99.9
	}
	said := fmt.Sprintf("%s of %s units (%s%%)", grouped(r.line.Reporting), grouped(r.line.Units), strconv.FormatFloat(of, 'f', 1, 64))
	switch r.line.Corrections {
	case 0:
		return said
	case 1:
		return said + ", 1 correction"
	}
	return said + ", " + grouped(r.line.Corrections) + " corrections"
}

// summary is the race in one line.
func (r *race) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", r.contest.Name, r.reporting())
	for i, s := range r.shares {
		if i == 3 && len(r.shares) > 4 {
			fmt.Fprintf(&b, "; %d more", len(r.shares)-i)
			break
		}
		fmt.Fprintf(&b, "; %s %s (%.1f%%)", s.name, grouped(s.votes), r.percent(s.votes))
	}
	return b.String()
}

// draw lays the board out for a terminal of that size, the most important
// first. Races without a line are left out.
func (b *board) draw(width, height int, p paint) []string {
	width, height = max(width, 40), max(height, 6)
	lines := []string{b.head(width, p), ""}
	left := 0
	for _, r := range b.races {
		if r.line == nil {
			continue
		}
		rows := r.rows(width, p)
		if len(lines)+len(rows)+2 > height {
			left++
			continue
		}
		lines = append(append(lines, rows...), "")
	}
	switch {
	case len(lines) == 2 && left == 0:
		lines = append(lines, "Nothing is published yet.")
	case left > 0:
		lines = append(lines, p.dim(fmt.Sprintf("%d more contests: make the window larger, or name those to follow", left)))
	}
	return lines
}

func (b *board) head(width int, p paint) string {
	state := p.bad("not connected")
	if b.at.Connected {
		state = p.good("live")
	}
	told := fmt.Sprintf("  snapshot %s", grouped(int64(b.at.Snapshot)))
	if b.newest > 0 {
		told += ", last change " + time.UnixMicro(b.newest).Local().Format(time.TimeOnly)
	}
	name := clipped(b.name, width-utf8.RuneCountInString(told)-16)
	return p.bold(name) + "  " + state + p.dim(told)
}

// mostShares is how many selections of a race are drawn.
const mostShares = 4

func (r *race) rows(width int, p paint) []string {
	reporting := r.reporting()
	name := clipped(r.contest.Name, width-utf8.RuneCountInString(reporting)-3)
	gap := width - utf8.RuneCountInString(name) - utf8.RuneCountInString(reporting)
	out := []string{p.bold(name) + strings.Repeat(" ", max(gap, 2)) + p.dim(reporting)}
	label := min(44, width*2/5)
	room := max(width-label-24, 4)
	for i, s := range r.shares {
		if i == mostShares-1 && len(r.shares) > mostShares {
			rest := int64(0)
			for _, other := range r.shares[i:] {
				rest += other.votes
			}
			s = share{fmt.Sprintf("%d others", len(r.shares)-i), rest}
			out = append(out, r.row(s, label, room, p, false))
			break
		}
		out = append(out, r.row(s, label, room, p, i == 0 && s.votes > 0))
	}
	return out
}

func (r *race) row(s share, label, room int, p paint, leads bool) string {
	part := r.percent(s.votes)
	full := bar(part, room)
	if leads {
		full = p.good(full)
	}
	blank := strings.Repeat(" ", room-utf8.RuneCountInString(bar(part, room)))
	return fmt.Sprintf("  %s %s%s %5.1f%% %12s", padded(clipped(s.name, label-3), label-3), full, blank, part, grouped(s.votes))
}

// bar is a bar of eighths.
func bar(percent float64, room int) string {
	eighths := int(percent/100*float64(room)*8 + 0.5)
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s
}

// paint colours text, or does not.
type paint bool

func (p paint) with(code, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p paint) bold(s string) string { return p.with("1", s) }
func (p paint) dim(s string) string  { return p.with("2", s) }
func (p paint) good(s string) string { return p.with("32", s) }
func (p paint) bad(s string) string  { return p.with("31", s) }

// clipped shortens s to n runes, and drops what a terminal could take as a
// command.
func clipped(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
	if n = max(n, 1); utf8.RuneCountInString(s) > n {
		return string([]rune(s)[:n-1]) + "…"
	}
	return s
}

func padded(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}

// grouped writes a number with commas.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
