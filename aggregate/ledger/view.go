package ledger

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"tallystream/schemas"
)

// View reads one cut of the ledger: heads, entries and tallies that belong
// together, whatever is committed meanwhile. It takes one of a few
// connections and keeps the log from being reused, so close it soon. A View
// serves one goroutine.
type View struct {
	ledger *SQLite
	conn   *sqlite.Conn
	heads  []Head
}

// View begins a consistent reading.
func (l *SQLite) View(ctx context.Context) (*View, error) {
	if l.closed.Load() {
		return nil, ErrClosed
	}
	// The caller's context governs waiting for a connection; each method of
	// View has its own.
	c, err := l.pool.Take(ctx)
	if err != nil {
		return nil, fmt.Errorf("waiting for a ledger reader: %w", err)
	}
	v := &View{ledger: l, conn: c}
	if err := v.begin(); err != nil {
		l.pool.Put(c)
		return nil, err
	}
	return v, nil
}

// begin fixes the cut: SQLite takes its snapshot with the first read.
func (v *View) begin() error {
	if err := sqlitex.ExecuteTransient(v.conn, "BEGIN", nil); err != nil {
		return fmt.Errorf("beginning ledger view: %w", err)
	}
	heads, err := readHeads(v.conn)
	if err != nil {
		_ = v.end() // the first error says more
		return err
	}
	v.heads = heads
	return nil
}

func (v *View) end() error {
	v.conn.SetInterrupt(nil) // must run even if the context is done
	return sqlitex.ExecuteTransient(v.conn, "ROLLBACK", nil)
}

// Heads returns the head of every partition, in order: Heads()[p] is p's.
func (v *View) Heads() []Head { return v.heads }

// Entries calls fn with every entry behind after, ordered by (partition,
// seq) and dense in each. after holds a size for each partition; nil is all
// zero. An error of fn ends the reading and is returned.
func (v *View) Entries(ctx context.Context, after []uint64, fn func(schemas.Entry) error) error {
	v.conn.SetInterrupt(ctx.Done())
	s, err := v.conn.Prepare(selectAfter)
	if err != nil {
		return fmt.Errorf("reading ledger entries: %w", err)
	}
	for p := range v.heads {
		from := uint64(0)
		if p < len(after) {
			from = after[p]
		}
		if v.heads[p].Size <= from {
			continue
		}
		s.BindInt64(1, int64(p))
		s.BindInt64(2, int64(from))
		if err := v.ledger.eachEntry(s, fn); err != nil {
			return fmt.Errorf("reading ledger entries of partition %d: %w", p, err)
		}
	}
	return nil
}

// Tally returns a county's row at the cut.
func (v *View) Tally(ctx context.Context, county schemas.CountyIndex) ([]int64, error) {
	v.conn.SetInterrupt(ctx.Done())
	return v.ledger.readTally(v.conn, county)
}

// Close ends the reading.
func (v *View) Close() error {
	if v.conn == nil {
		return nil
	}
	err := v.end()
	v.ledger.pool.Put(v.conn)
	v.conn = nil
	if err != nil {
		return fmt.Errorf("ending ledger view: %w", err)
	}
	return nil
}
