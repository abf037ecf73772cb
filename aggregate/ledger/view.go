package ledger

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"tallystream/schemas"
)

// sqliteView is one cut over all partitions, whatever is committed meanwhile.
// It takes one of a few connections and keeps the log from being reused.
type sqliteView struct {
	ledger *SQLite
	conn   *sqlite.Conn
	heads  []Head
}

// View begins a consistent reading.
func (l *SQLite) View(ctx context.Context) (View, error) {
	if l.closed.Load() {
		return nil, ErrClosed
	}
	// The caller's context governs waiting for a connection; each method of
	// View has its own.
	c, err := l.pool.Take(ctx)
	if err != nil {
		return nil, fmt.Errorf("waiting for a ledger reader: %w", err)
	}
	v := &sqliteView{ledger: l, conn: c}
	if err := v.begin(); err != nil {
		l.pool.Put(c)
		return nil, err
	}
	return v, nil
}

// begin fixes the cut: SQLite takes its snapshot with the first read.
func (v *sqliteView) begin() error {
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

func (v *sqliteView) end() error {
	v.conn.SetInterrupt(nil) // must run even if the context is done
	return sqlitex.ExecuteTransient(v.conn, "ROLLBACK", nil)
}

func (v *sqliteView) Heads() []Head { return v.heads }

func (v *sqliteView) Entries(ctx context.Context, after []uint64, fn func(schemas.Entry, []byte) error) error {
	if v.ledger.records == nil {
		return errNoRecords
	}
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
		err := v.ledger.eachEntry(s, func(x schemas.Entry) error {
			record, err := v.ledger.Record(ctx, x)
			if err != nil {
				return err
			}
			return fn(x, record)
		})
		if err != nil {
			return fmt.Errorf("reading ledger entries of partition %d: %w", p, err)
		}
	}
	return nil
}

func (v *sqliteView) Tallies(ctx context.Context, counties []schemas.CountyIndex) ([]Tally, error) {
	v.conn.SetInterrupt(ctx.Done())
	out := make([]Tally, len(counties))
	for i, c := range counties {
		row, err := v.ledger.readTally(v.conn, c)
		if err != nil {
			return nil, err
		}
		// The cut is one over everything: what it shows stands as of its heads.
		out[i] = Tally{Row: row, Size: v.heads[v.ledger.election.Counties[c].Partition].Size}
	}
	return out, nil
}

// Follow takes a new cut, of all partitions.
func (v *sqliteView) Follow(_ context.Context, _ []schemas.Partition) error {
	if err := v.end(); err != nil {
		return fmt.Errorf("moving ledger view: %w", err)
	}
	return v.begin()
}

// Close ends the reading.
func (v *sqliteView) Close() error {
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
