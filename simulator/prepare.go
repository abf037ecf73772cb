package simulator

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"

	"tallystream/schemas"
	"tallystream/simulator/elections"
	"tallystream/simulator/openelections"
)

// open makes the truth that the flags ask for.
func (d *drive) open(ctx context.Context, f electionFlags) error {
	if results := slices.Concat(f.Results, f.More); len(results) > 0 {
		return d.openResults(ctx, results)
	}
	g, err := elections.Generate(elections.Kind(f.Generate), f.Seed)
	if err != nil {
		return err
	}
	d.truth, d.sums, d.contests = g, expectFromTruth(g), countyContests(g)
	return nil
}

// countyContests counts each contest once in each county that votes on it.
func countyContests(t elections.Truth) int {
	n := 0
	for _, c := range t.Election().Counties {
		n += len(c.Sections) - 1 // the first is ballots
	}
	return n
}

// openResults imports real results.
func (d *drive) openResults(ctx context.Context, names []string) error {
	sources, err := openelections.Find(ctx, http.DefaultClient, names...)
	if err != nil {
		return err
	}
	r, err := openelections.Import(sources, openelections.Options{})
	if err != nil {
		return err
	}
	d.truth, d.sums, d.contests = r, expectFromRows(r), r.CountyContests()
	for _, w := range r.Warnings() {
		d.warnings = append(d.warnings, Warning{Kind: string(w.Kind), File: w.File, Line: w.Line, Text: w.Text})
	}
	printWarnings(d.out, d.warnings)
	return nil
}

// expectFromRows expects the sums of the input's own rows.
func expectFromRows(r *openelections.Results) Expected {
	byCounty := make(map[schemas.CountyID]map[Cell]int64)
	for k, n := range r.Sums() {
		if byCounty[k.County] == nil {
			byCounty[k.County] = make(map[Cell]int64)
		}
		byCounty[k.County][Cell{k.Contest, k.Selection, k.CountType}] = n
	}
	e := r.Election()
	return func(c schemas.CountyIndex) map[Cell]int64 { return byCounty[e.Counties[c].ID] }
}

// warningExamples is how many warnings of a kind the terminal shows; the
// report has all.
const warningExamples = 3

// printWarnings shows what the importer handled, kind by kind.
func printWarnings(out io.Writer, all []Warning) {
	byKind := map[string][]Warning{}
	var kinds []string
	for _, w := range all {
		if byKind[w.Kind] == nil {
			kinds = append(kinds, w.Kind)
		}
		byKind[w.Kind] = append(byKind[w.Kind], w)
	}
	slices.Sort(kinds)
	for _, k := range kinds {
		fmt.Fprintf(out, "%s: %s\n", k, grouped(len(byKind[k])))
		for _, w := range byKind[k][:min(len(byKind[k]), warningExamples)] {
			fmt.Fprintf(out, "  %s\n", w)
		}
	}
}
