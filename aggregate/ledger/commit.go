package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"zombiezen.com/go/sqlite"

	"tallystream/schemas"
)

// writer is the connection that commits, with its statements.
type writer struct {
	conn                          *sqlite.Conn
	begin, commit, rollback       *sqlite.Stmt
	moveHead, addEntry, putCounty *sqlite.Stmt
}

func openWriter(path string) (*writer, error) {
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: c}
	if err := w.prepare(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return w, nil
}

func (w *writer) prepare() error {
	w.conn.SetBusyTimeout(busyTimeout)
	page, err := oneInteger(w.conn, "PRAGMA page_size")
	if err != nil {
		return err
	}
	// FULL: COMMIT returns after the log is synced, so what it wrote survives
	// a power cut.
	if err := pragmas(w.conn, "synchronous=FULL", "cache_size=-65536", "wal_autocheckpoint="+strconv.FormatInt(walBytes/page, 10)); err != nil {
		return err
	}
	for query, stmt := range map[string]**sqlite.Stmt{
		"BEGIN IMMEDIATE": &w.begin,
		"COMMIT":          &w.commit,
		"ROLLBACK":        &w.rollback,
		`UPDATE head SET checkpoint = ?, size = ?, epoch = ?, cursor = ?
			WHERE partition = ? AND checkpoint = ? AND size = ? AND epoch = ? AND cursor = ?`: &w.moveHead,
		"INSERT INTO entry(at, partition, seq, kind, hold, held, unit, revision, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)": &w.addEntry,
		"UPDATE county SET tally = ? WHERE number = ?": &w.putCounty,
	} {
		if *stmt, err = w.conn.Prepare(query); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) close() error { return w.conn.Close() }

// Commit writes all batches in one transaction: all of them or nothing. It
// returns ErrConflict if a head is not the batch's Before. After any other
// error the outcome may be unknown; load again.
func (l *SQLite) Commit(ctx context.Context, batches []Batch) error {
	for i := range batches {
		if err := batches[i].Validate(l.election); err != nil {
			return err
		}
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.closed.Load() {
		return ErrClosed
	}
	if l.writer == nil {
		w, err := openWriter(l.path)
		if err != nil {
			return fmt.Errorf("opening ledger for writing: %w", err)
		}
		l.writer = w
	}
	err := l.write(batches)
	if err != nil && !errors.Is(err, ErrConflict) {
		// What state the connection is in is not worth finding out.
		err = errors.Join(err, l.writer.close())
		l.writer = nil
	}
	return err
}

func (l *SQLite) write(batches []Batch) error {
	w := l.writer
	if err := run(w.begin); err != nil {
		return fmt.Errorf("beginning ledger transaction: %w", err)
	}
	for i := range batches {
		if err := l.writeBatch(&batches[i]); err != nil {
			return errors.Join(fmt.Errorf("partition %d: %w", batches[i].Before.Partition, err), run(w.rollback))
		}
	}
	if err := run(w.commit); err != nil {
		return fmt.Errorf("committing ledger transaction: %w", err)
	}
	return nil // durable now
}

// writeBatch moves the head first: a conflict costs nothing else.
func (l *SQLite) writeBatch(b *Batch) error {
	w := l.writer
	s := w.moveHead
	s.BindInt64(1, int64(b.After.Checkpoint))
	s.BindInt64(2, int64(b.After.Size))
	s.BindInt64(3, int64(b.After.Epoch))
	s.BindText(4, b.After.Cursor)
	s.BindInt64(5, int64(b.Before.Partition))
	s.BindInt64(6, int64(b.Before.Checkpoint))
	s.BindInt64(7, int64(b.Before.Size))
	s.BindInt64(8, int64(b.Before.Epoch))
	s.BindText(9, b.Before.Cursor)
	if err := run(s); err != nil {
		return fmt.Errorf("moving head: %w", err)
	}
	if w.conn.Changes() != 1 {
		return ErrConflict
	}
	for i := range b.Entries {
		if err := w.writeEntry(&b.Entries[i]); err != nil {
			return fmt.Errorf("writing entry: %w", err)
		}
	}
	for i := range b.Tallies {
		t := &b.Tallies[i]
		l.row = schemas.AppendRow(l.row[:0], t.Row)
		w.putCounty.BindBytes(1, l.row)
		w.putCounty.BindInt64(2, int64(t.County))
		if err := run(w.putCounty); err != nil {
			return fmt.Errorf("writing tally: %w", err)
		}
	}
	return nil
}

func (w *writer) writeEntry(x *schemas.Entry) error {
	s := w.addEntry
	s.BindInt64(1, int64(x.At))
	s.BindInt64(2, int64(x.Partition))
	s.BindInt64(3, int64(x.Seq))
	s.BindText(4, string(x.Kind))
	s.BindText(5, string(x.Hold))
	s.BindInt64(6, int64(x.Held))
	s.BindText(7, string(x.Unit))
	s.BindInt64(8, int64(x.Revision))
	s.BindBytes(9, x.Digest[:])
	return run(s)
}

// run executes a statement that returns no rows.
func run(s *sqlite.Stmt) error {
	_, err := s.Step()
	return errors.Join(err, s.Reset())
}
