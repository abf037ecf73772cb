package holds

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"tallystream/schemas"
)

// ListCommand is `tallystream holds list`.
type ListCommand struct {
	siteFlags
	County string `help:"Only of this county."`
	Code   string `help:"Only held for this reason, such as outlier."`
	All    bool   `help:"Also what was released, has lapsed, or was superseded."`
	JSON   bool   `name:"json" help:"Answer in JSON, one hold a line, as published."`
}

// Run shows the holds.
func (c *ListCommand) Run(ctx context.Context) error { return c.run(ctx, standard()) }

func (c *ListCommand) run(ctx context.Context, t *terminal) error {
	if c.Code != "" && !slices.Contains(schemas.HoldCodes, schemas.HoldCode(c.Code)) {
		return exit{fmt.Errorf("--code %q: want one of %s", c.Code, schemas.HoldCodes), exitUsage}
	}
	s, err := c.open(ctx, t.err)
	if err != nil {
		return err
	}
	all, err := s.holds(ctx)
	if err != nil {
		return exit{err, exitUsage}
	}
	shown := c.choose(all)
	if c.JSON {
		return printJSON(t.out, shown)
	}
	return printTable(t.out, s.snapshot, shown)
}

// choose filters and sorts: open ones first, then as they came.
func (c *ListCommand) choose(all []schemas.HeldEntry) []schemas.HeldEntry {
	shown := slices.DeleteFunc(slices.Clone(all), func(h schemas.HeldEntry) bool {
		return c.County != "" && string(h.County) != c.County || c.Code != "" && string(h.Code) != c.Code || !c.All && h.State != schemas.HoldOpen
	})
	slices.SortStableFunc(shown, func(a, b schemas.HeldEntry) int {
		return cmp.Compare(btoi(a.State != schemas.HoldOpen), btoi(b.State != schemas.HoldOpen))
	})
	return shown
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// printJSON writes the lines as they were published.
func printJSON(w io.Writer, holds []schemas.HeldEntry) error {
	var line []byte
	for i := range holds {
		line = holds[i].AppendLine(line[:0])
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("writing holds: %w", err)
		}
	}
	return nil
}

func printTable(w io.Writer, s *schemas.Snapshot, holds []schemas.HeldEntry) error {
	open := 0
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STATE\tCODE\tUNIT\tREVISION\tCOUNTY\tWHY")
	for i := range holds {
		h := &holds[i]
		if h.State == schemas.HoldOpen {
			open++
		}
		unit, revision := "-", "-"
		if h.Unit != "" {
			unit, revision = string(h.Unit), h.Revision.String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", h.State, h.Code, unit, revision, h.County, why(h))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("writing holds: %w", err)
	}
	_, err := fmt.Fprintf(w, "\n%d open, %d shown, as of snapshot %d of %s.\n", open, len(holds), s.Number, s.Time)
	return err
}

// why says what is wrong, with the figures where there are some.
func why(h *schemas.HeldEntry) string {
	switch {
	case h.Finding != nil:
		return h.Finding.String()
	case h.Twin != "":
		return "Exactly the numbers of " + string(h.Twin) + "."
	}
	return h.Why
}
