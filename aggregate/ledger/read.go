package ledger

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"

	"tallystream/schemas"
)

const (
	selectHeads  = "SELECT partition, checkpoint, size, epoch, cursor FROM head ORDER BY partition"
	selectFolded = "SELECT coalesce(max(checkpoint), 0) FROM head"
	selectTally  = "SELECT tally FROM county WHERE number = ?"
	entryColumns = "SELECT partition, seq, kind, hold, unit, revision, digest, at, held FROM entry "
	selectUnit   = entryColumns + "WHERE unit = ? ORDER BY at"
	selectUnits  = entryColumns + "WHERE partition = ? AND unit <> '' ORDER BY seq"
	selectAfter  = entryColumns + "WHERE partition = ? AND seq > ? ORDER BY seq"
)

// Heads returns the head of every partition, in order.
func (l *SQLite) Heads(ctx context.Context) (heads []Head, err error) {
	err = l.read(ctx, func(c *sqlite.Conn) error {
		heads, err = readHeads(c)
		return err
	})
	return heads, err
}

// Folded is the newest checkpoint of all heads. Everything up to it is in the
// ledger, because the embedded stream has one order and the aggregator's
// transactions carry all partitions that they touch.
func (l *SQLite) Folded(ctx context.Context) (at schemas.Checkpoint, err error) {
	err = l.read(ctx, func(c *sqlite.Conn) error {
		s, err := c.Prepare(selectFolded)
		if err != nil {
			return err
		}
		return each(s, func() error {
			at = schemas.Checkpoint(s.ColumnInt64(0))
			return nil
		})
	})
	return at, err
}

// Tally returns a county's row; all zero before anything of it is counted.
func (l *SQLite) Tally(ctx context.Context, county schemas.CountyIndex) (row []int64, err error) {
	err = l.read(ctx, func(c *sqlite.Conn) error {
		row, err = l.readTally(c, county)
		return err
	})
	return row, err
}

// EntriesOf returns a unit's entries in the order of its partition.
func (l *SQLite) EntriesOf(ctx context.Context, unit schemas.UnitID) (entries []schemas.Entry, err error) {
	err = l.read(ctx, func(c *sqlite.Conn) error {
		s, err := c.Prepare(selectUnit)
		if err != nil {
			return err
		}
		s.BindText(1, string(unit))
		return l.eachEntry(s, func(x schemas.Entry) error {
			entries = append(entries, x)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading ledger entries of unit %s: %w", unit, err)
	}
	return entries, nil
}

// Units calls fn with every entry of the partitions that names a unit, those of
// a unit in order.
func (l *SQLite) Units(ctx context.Context, partitions []schemas.Partition, fn func(schemas.Entry) error) error {
	return l.read(ctx, func(c *sqlite.Conn) error {
		c.SetInterrupt(ctx.Done())
		s, err := c.Prepare(selectUnits)
		if err != nil {
			return err
		}
		for _, p := range partitions {
			s.BindInt64(1, int64(p))
			if err := l.eachEntry(s, fn); err != nil {
				return fmt.Errorf("reading units of partition %d: %w", p, err)
			}
		}
		return nil
	})
}

// Record returns the exact bytes of an entry's record, from the stream.
func (l *SQLite) Record(ctx context.Context, x schemas.Entry) ([]byte, error) {
	if l.records == nil {
		return nil, errNoRecords
	}
	record, err := l.records.Get(ctx, x.At)
	if err != nil {
		return nil, fmt.Errorf("reading the record of entry %d of partition %d: %w", x.Seq, x.Partition, err)
	}
	return record, nil
}

// Submissions tells a submitter what became of each of a unit's submissions.
func (l *SQLite) Submissions(ctx context.Context, unit schemas.UnitID) ([]schemas.SubmissionState, error) {
	entries, err := l.EntriesOf(ctx, unit)
	if err != nil {
		return nil, err
	}
	return States(entries), nil
}

func readHeads(c *sqlite.Conn) (heads []Head, err error) {
	s, err := c.Prepare(selectHeads)
	if err != nil {
		return nil, err
	}
	err = each(s, func() error {
		heads = append(heads, Head{
			Partition:  schemas.Partition(s.ColumnInt64(0)),
			Checkpoint: schemas.Checkpoint(s.ColumnInt64(1)),
			Size:       uint64(s.ColumnInt64(2)),
			Epoch:      schemas.Epoch(s.ColumnInt64(3)),
			Cursor:     s.ColumnText(4),
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading ledger heads: %w", err)
	}
	return heads, nil
}

func (l *SQLite) readTally(c *sqlite.Conn, county schemas.CountyIndex) ([]int64, error) {
	place := &l.election.Counties[county]
	row := make([]int64, place.Cells)
	s, err := c.Prepare(selectTally)
	if err != nil {
		return nil, err
	}
	s.BindInt64(1, int64(county))
	err = each(s, func() error {
		b := make([]byte, s.ColumnLen(0))
		s.ColumnBytes(0, b)
		return schemas.ReadRow(b, row)
	})
	if err != nil {
		return nil, fmt.Errorf("reading tally of county %s: %w", place.ID, err)
	}
	return row, nil
}

// eachEntry calls fn with every entry that s yields.
func (l *SQLite) eachEntry(s *sqlite.Stmt, fn func(schemas.Entry) error) error {
	var text [schemas.MaxIdentifier]byte
	return each(s, func() error {
		x := schemas.Entry{
			Partition: schemas.Partition(s.ColumnInt64(0)),
			Seq:       uint64(s.ColumnInt64(1)),
			Revision:  schemas.Revision(s.ColumnInt64(5)),
			At:        schemas.Checkpoint(s.ColumnInt64(7)),
			Held:      uint64(s.ColumnInt64(8)),
		}
		x.Kind = kindOf(text[:s.ColumnBytes(2, text[:])])
		x.Hold = holdOf(text[:s.ColumnBytes(3, text[:])])
		x.Unit = l.unitOf(text[:s.ColumnBytes(4, text[:])])
		s.ColumnBytes(6, x.Digest[:])
		return fn(x)
	})
}

// kindOf, holdOf and unitOf return the program's own string where there is
// one: a reader that keeps entries keeps no copies of the words in them.
func kindOf(b []byte) schemas.EntryKind {
	for _, kind := range schemas.EntryKinds {
		if string(kind) == string(b) {
			return kind
		}
	}
	return schemas.EntryKind(b)
}

func holdOf(b []byte) schemas.HoldCode {
	if len(b) == 0 {
		return ""
	}
	for _, code := range schemas.HoldCodes {
		if string(code) == string(b) {
			return code
		}
	}
	return schemas.HoldCode(b)
}

func (l *SQLite) unitOf(b []byte) schemas.UnitID {
	if i, ok := l.election.Unit(schemas.UnitID(b)); ok {
		return l.election.Units[i].ID
	}
	return schemas.UnitID(b)
}

// each steps through s and resets it.
func each(s *sqlite.Stmt, fn func() error) (err error) {
	defer func() {
		if e := s.Reset(); err == nil {
			err = e
		}
	}()
	for {
		more, err := s.Step()
		if err != nil || !more {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
	}
}
