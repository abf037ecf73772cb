package timeseries

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"tallystream/publish/verify"
	"tallystream/schemas"
)

// standing is the line of the election in the newest snapshot.
func (r *replay) standing() Standing {
	s := Standing{Snapshot: r.public.snapshot.Number, Votes: map[schemas.SelectionID]int64{}}
	l := r.public.total()
	if l == nil {
		return s
	}
	s.Reporting = l.Reporting
	for id, counts := range l.Votes {
		for _, n := range counts {
			s.Votes[id] += n
		}
	}
	return s
}

// Total of all selections.
func (s Standing) Total() (sum int64) {
	for _, n := range s.Votes {
		sum += n
	}
	return sum
}

// String is the standing on one line, most votes first.
func (s Standing) String() string {
	ids := make([]schemas.SelectionID, 0, len(s.Votes))
	for id := range s.Votes {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b schemas.SelectionID) int {
		return cmp.Or(cmp.Compare(s.Votes[b], s.Votes[a]), cmp.Compare(a, b))
	})
	parts := []string{fmt.Sprintf("votes %d", s.Total())}
	for _, id := range ids {
		parts = append(parts, fmt.Sprintf("%s %d", id, s.Votes[id]))
	}
	return strings.Join(parts, ", ")
}

// compare holds the published end against the script's, number by number.
func (r *replay) compare() {
	e := r.Series.Election
	whole := map[number]int64{}
	check := func(l *schemas.Line, at place, want map[number]int64) {
		if l == nil {
			r.mismatch("no line of %s in %s is published", at.contest, at.unit)
			return
		}
		for s, counts := range l.Votes {
			for i, n := range counts {
				if k := (number{at, s, e.Definition.CountTypes[i]}); want[k] != n {
					r.mismatch("%s %s in %s: %d is published, the series ends at %d", s, k.countType, at.unit, n, want[k])
				}
			}
		}
	}
	everywhere := place{contestID, string(e.Definition.Election)}
	for c, row := range r.script.end() {
		at := place{contestID, string(e.Counties[c].ID)}
		want := map[number]int64{}
		section := &e.Counties[c].Sections[1]
		for k, selection := range e.Definition.Contests[0].Selections {
			for i, t := range e.Definition.CountTypes {
				n := row[int(section.Offset)+1+k*e.Types()+i]
				want[number{at, selection.ID, t}] = n
				whole[number{everywhere, selection.ID, t}] += n
			}
		}
		check(r.public.county(e.Counties[c].ID), at, want)
	}
	check(r.public.total(), everywhere, whole)
}

func (r *replay) mismatch(format string, args ...any) {
	r.report.Mismatches = append(r.report.Mismatches, fmt.Sprintf(format, args...))
}

// moved counts what corrections.ndjson lists.
func (r *replay) moved() []MovementCount {
	var out []MovementCount
	for i := range r.public.movements {
		m := &r.public.movements[i]
		at := slices.IndexFunc(out, func(x MovementCount) bool { return x.Kind == m.Kind && x.Reason == m.Reason })
		if at < 0 {
			at = len(out)
			out = append(out, MovementCount{Kind: m.Kind, Reason: m.Reason})
		}
		out[at].Count++
	}
	slices.SortFunc(out, func(a, b MovementCount) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}

// Good reports whether everything agrees.
func (r *Report) Good() bool { return len(r.Mismatches) == 0 && r.Verdict == verify.Verified }

// Print writes the report for people.
func (r *Report) Print(out io.Writer) error {
	fmt.Fprintf(out, "\nReplayed  %s\nEnded     %s\n", r.Replayed, r.Ended)
	if r.Twice != nil {
		fmt.Fprintf(out, "Twice     %s\n", r.Twice)
	}
	fmt.Fprintln(out)
	if err := r.Holds.print(out); err != nil {
		return err
	}
	fmt.Fprintf(out, "Supervisors: %d releases, %d corrections; %d copies stay held. Entries that lowered a number:", r.Releases, r.Corrections, r.Copies)
	for _, m := range r.Moved {
		fmt.Fprintf(out, "  %s (%s) %d", m.Kind, m.Reason, m.Count)
	}
	m := &r.Movements
	fmt.Fprintf(out, "\n%d snapshots, %d numbers compared with those before: %d fell while the series was replayed, %d when supervisors decided; %d things are wrong with that.\n",
		m.Snapshots, m.Compared, r.Falls, m.Fell-r.Falls, len(m.Wrong))
	if r.Good() {
		_, err := fmt.Fprintf(out, "AGREED in %.1f s: the end is that of the series with copies counted once, and everything published is verified.\n", r.Seconds)
		return err
	}
	fmt.Fprintf(out, "NOT AGREED: %d mismatches, %s\n", len(r.Mismatches), r.Verdict)
	for _, x := range r.Mismatches {
		if _, err := fmt.Fprintf(out, "  %s\n", x); err != nil {
			return err
		}
	}
	return nil
}
