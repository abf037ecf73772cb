package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// mostFollowing bounds how often a count follows a ledger that moves on while
// its tallies are read.
const mostFollowing = 20

// tallies compares each county's tally in the ledger with the count, and with
// what its published document says (nil: not known). Where the ledger moved on
// before a tally was read, the count follows it.
func (a *auditor) tallies(ctx context.Context, view ledger.View, published [][]int64) error {
	left := make([]schemas.CountyIndex, len(a.forms.counties))
	for i := range left {
		left[i] = schemas.CountyIndex(i)
	}
	moved, err := a.compareTallies(ctx, view, left, published)
	if err != nil {
		return err
	}
	// What is published was compared at its cut; behind it there is the ledger.
	for range mostFollowing {
		if len(moved) == 0 {
			return nil
		}
		if err := view.Follow(ctx, a.partitionsOf(moved)); err != nil {
			return fmt.Errorf("following the ledger: %w", err)
		}
		a.report.heads(view.Heads())
		if err := a.countTo(ctx, view, nil); err != nil {
			return err
		}
		if moved, err = a.compareTallies(ctx, view, moved, make([][]int64, len(a.forms.counties))); err != nil {
			return err
		}
	}
	return errors.New("the ledger moves on faster than its tallies can be read; audit at a quiet moment")
}

func (a *auditor) partitionsOf(counties []schemas.CountyIndex) (out []schemas.Partition) {
	for _, c := range counties {
		if p := a.forms.counties[c].partition; !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// compareTallies returns the counties whose tallies are of entries behind the
// view's.
func (a *auditor) compareTallies(ctx context.Context, view ledger.View, counties []schemas.CountyIndex, published [][]int64) (moved []schemas.CountyIndex, err error) {
	tallies, err := view.Tallies(ctx, counties)
	if err != nil {
		return nil, fmt.Errorf("reading tallies: %w", err)
	}
	heads := view.Heads()
	for i, c := range counties {
		county := &a.forms.counties[c]
		var kept []int64
		if tallies[i].Size > heads[county.partition].Size {
			moved = append(moved, c)
		} else if kept, err = a.ledgerRow(c, tallies[i].Row); err != nil {
			a.report.add(Difference{Kind: KindTally, Where: "ledger", County: county.id, What: err.Error()})
		}
		a.compareCounty(int(c), kept, published[c])
	}
	return moved, nil
}

// ledgerRow reads a county's tally in the layout of schemas.CountyPlace into
// the county's form, contest by contest.
func (a *auditor) ledgerRow(c schemas.CountyIndex, row []int64) ([]int64, error) {
	place, county := &a.cfg.Election.Counties[c], &a.forms.counties[c]
	if len(row) != county.cells {
		return nil, fmt.Errorf("its tally has %d cells, want %d", len(row), county.cells)
	}
	out := make([]int64, county.cells)
	for i := range place.Sections {
		from := &place.Sections[i]
		k, ok := county.index[int(from.Contest)]
		if !ok {
			return nil, fmt.Errorf("its tally has the contest %s, which nobody there votes on", a.cfg.Election.ContestID(from.Contest))
		}
		s := &county.sections[k]
		copy(out[s.at:s.at+a.forms.size(s)], row[from.Offset:])
	}
	return out, nil
}

// compareCounty names each number of a county that is not the same everywhere.
func (a *auditor) compareCounty(c int, kept, published []int64) {
	county := &a.forms.counties[c]
	for i := range county.sections {
		s := &county.sections[i]
		for k := range a.forms.size(s) {
			want := a.count.rows[c][s.at+k]
			d := Difference{Kind: KindTally, Where: "county " + string(county.id), Recomputed: &want}
			if kept != nil {
				d.Ledger = &kept[s.at+k]
			}
			if published != nil {
				d.Published = &published[s.at+k]
			}
			if kept != nil || published != nil {
				a.report.Compared++
			}
			if d.agrees() {
				continue
			}
			d.County, d.Contest = county.id, a.forms.contestID(s.contest)
			d.Selection, d.CountType = a.forms.cellName(s, k)
			a.report.add(d)
		}
	}
}

// unitRows checks that what the ledger tells of each unit are its entries, no
// more and no fewer: the fold asks there what it has seen.
func (a *auditor) unitRows(ctx context.Context) error {
	all := make([]schemas.Partition, a.forms.Partitions)
	for p := range all {
		all[p] = schemas.Partition(p)
	}
	sums := make([]uint64, len(a.forms.units))
	err := a.cfg.Ledger.Units(ctx, all, func(x schemas.Entry) error {
		if x.Seq > a.count.at[x.Partition] {
			return nil // came while we were counting
		}
		u, ok := a.forms.unitIndex[string(x.Unit)]
		if !ok {
			a.report.entry(KindUnit, &x, "the ledger lists it for a unit that the election does not have")
			return nil
		}
		sums[u] += markOf(&x)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading what the ledger has of units: %w", err)
	}
	for u := range sums {
		if sums[u] != a.count.units[u].sum {
			f := &a.forms.units[u]
			a.report.add(Difference{Kind: KindUnit, Where: "ledger", Unit: f.id, County: a.forms.counties[f.county].id,
				What: "what the ledger has of this unit are not its entries"})
		}
	}
	return nil
}

// headsLater looks at the heads once more: they only ever grow.
func (a *auditor) headsLater(ctx context.Context) error {
	view, err := a.cfg.Ledger.View(ctx)
	if err != nil {
		return fmt.Errorf("opening a ledger view: %w", err)
	}
	a.report.heads(view.Heads())
	return view.Close()
}
