package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"tallystream/schemas"
)

// Read returns up to limit records after the given checkpoint, ordered by
// checkpoint over all partitions. It returns none when there are none yet.
func (s *SQLite) Read(ctx context.Context, after schemas.Checkpoint, limit int) ([]Record, error) {
	records, err := s.read(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("reading stream after %d: %w", after, err)
	}
	return records, nil
}

func (s *SQLite) read(ctx context.Context, after schemas.Checkpoint, limit int) ([]Record, error) {
	if limit <= 0 {
		return nil, nil
	}
	if s.queue != nil && !s.isClosed() {
		if records, ok := s.tail.read(after, limit); ok {
			s.metrics.readsMemory.Add(float64(len(records)))
			return records, nil
		}
	}
	var records []Record
	err := s.readers.use(ctx, s.closed, func(r *reader) (err error) {
		records, err = r.read(ctx, after, limit)
		return err
	})
	if errors.Is(err, errNotCreated) {
		return nil, nil
	}
	s.metrics.readsFile.Add(float64(len(records)))
	return records, err
}

// Get returns the exact bytes of the record at the given checkpoint, or
// ErrNotFound.
func (s *SQLite) Get(ctx context.Context, at schemas.Checkpoint) ([]byte, error) {
	record, err := s.get(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("reading stream at %d: %w", at, err)
	}
	return record, nil
}

func (s *SQLite) get(ctx context.Context, at schemas.Checkpoint) ([]byte, error) {
	if s.queue != nil && !s.isClosed() {
		if record, ok := s.tail.get(at); ok {
			s.metrics.readsMemory.Inc()
			return record, nil
		}
	}
	var record []byte
	err := s.readers.use(ctx, s.closed, func(r *reader) (err error) {
		record, err = r.get(at)
		return err
	})
	if errors.Is(err, errNotCreated) {
		return nil, ErrNotFound
	}
	if err == nil {
		s.metrics.readsFile.Inc()
	}
	return record, err
}

// refresh asks the file for the newest checkpoint.
func (s *SQLite) refresh(ctx context.Context) error {
	var last schemas.Checkpoint
	err := s.readers.use(ctx, s.closed, func(r *reader) (err error) {
		last, err = newest(r.last)
		return err
	})
	if err != nil && !errors.Is(err, errNotCreated) {
		return err
	}
	s.tail.moveTo(last)
	s.metrics.checkpoint.Set(float64(last))
	return nil
}

// errNotCreated: the writer has not made the file yet.
var errNotCreated = errors.New("stream file is not created yet")

// readConns is how many goroutines can read the file at once: aggregation,
// publication, and one more.
const readConns = 3

// readers are the connections for reading. Each is opened at its first use.
type readers struct {
	path string
	free chan *reader // nil: not open yet
}

// reader is one connection. Whoever took it from readers owns it.
type reader struct {
	conn             *sqlite.Conn
	after, one, last *sqlite.Stmt
}

func newReaders(path string) *readers {
	r := &readers{path: path, free: make(chan *reader, readConns)}
	for range readConns {
		r.free <- nil
	}
	return r
}

// use runs fn with a connection. A connection that failed is not used again.
func (rs *readers) use(ctx context.Context, closed <-chan struct{}, fn func(*reader) error) error {
	var r *reader
	select {
	case <-closed:
		return ErrClosed
	default:
	}
	select {
	case r = <-rs.free:
	case <-closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	var err error
	if r == nil {
		if r, err = openReader(rs.path); err != nil {
			rs.free <- nil
			return err
		}
	}
	err = fn(r)
	if err != nil && !errors.Is(err, ErrNotFound) && ctx.Err() == nil {
		err = errors.Join(err, r.conn.Close())
		r = nil
	}
	rs.free <- r
	return err
}

// close waits for those that read, and closes the connections.
func (rs *readers) close() error {
	var err error
	for range readConns {
		if r := <-rs.free; r != nil {
			err = errors.Join(err, r.conn.Close())
		}
	}
	return err
}

func openReader(path string) (_ *reader, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, errNotCreated
	}
	conn, err := connect(path, sqlite.OpenReadOnly)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, conn.Close())
		}
	}()
	version, err := sqlitex.ResultInt64(conn.Prep("PRAGMA user_version"))
	switch {
	case err != nil:
		return nil, err
	case version == 0:
		return nil, errNotCreated
	case version != formatVersion:
		return nil, fmt.Errorf("%w: version %d, want %d", ErrFormat, version, formatVersion)
	}
	r := &reader{conn: conn}
	for _, q := range []struct {
		stmt **sqlite.Stmt
		sql  string
	}{
		{&r.after, "SELECT at, partition, envelope FROM record WHERE at > ?1 ORDER BY at LIMIT ?2"},
		{&r.one, "SELECT envelope FROM record WHERE at = ?1"},
		{&r.last, newestQuery},
	} {
		if *q.stmt, err = conn.Prepare(q.sql); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *reader) read(ctx context.Context, after schemas.Checkpoint, limit int) (_ []Record, err error) {
	defer func() { err = errors.Join(err, r.after.Reset()) }()
	r.after.BindInt64(1, int64(after))
	r.after.BindInt64(2, int64(limit))
	records := make([]Record, 0, min(limit, 1024))
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		row, err := r.after.Step()
		if err != nil {
			return nil, err
		}
		if !row {
			return records, nil
		}
		b := make([]byte, r.after.ColumnLen(2))
		r.after.ColumnBytes(2, b)
		records = append(records, Record{
			At:        schemas.Checkpoint(r.after.ColumnInt64(0)),
			Partition: schemas.Partition(r.after.ColumnInt64(1)),
			Bytes:     b,
		})
	}
}

func (r *reader) get(at schemas.Checkpoint) (_ []byte, err error) {
	defer func() { err = errors.Join(err, r.one.Reset()) }()
	r.one.BindInt64(1, int64(at))
	row, err := r.one.Step()
	if err != nil {
		return nil, err
	}
	if !row {
		return nil, ErrNotFound
	}
	b := make([]byte, r.one.ColumnLen(0))
	r.one.ColumnBytes(0, b)
	return b, nil
}

const newestQuery = "SELECT coalesce(max(at), 0) FROM record"

// newest runs a prepared newestQuery.
func newest(stmt *sqlite.Stmt) (_ schemas.Checkpoint, err error) {
	defer func() { err = errors.Join(err, stmt.Reset()) }()
	if _, err := stmt.Step(); err != nil {
		return 0, err
	}
	return schemas.Checkpoint(stmt.ColumnInt64(0)), nil
}
