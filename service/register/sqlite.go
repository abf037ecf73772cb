package register

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

const (
	// fileVersion is the version of the table, in PRAGMA user_version.
	fileVersion = 1
	// patience is how long a call waits for other processes at most.
	patience = 10 * time.Second
)

// table of the file, to be read with the sqlite3 shell.
const table = `
CREATE TABLE register(name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
`

// Each change is one statement, which SQLite makes a transaction of its own.
// It takes the write lock before it compares.
const (
	selectValue  = "SELECT value FROM register WHERE name = ?1"
	selectPrefix = "SELECT name, value FROM register WHERE name >= ?1 AND name < ?2"
	insertValue  = "INSERT INTO register(name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING"
	updateValue  = "UPDATE register SET value = ?2 WHERE name = ?1 AND value = ?3"
	deleteValue  = "DELETE FROM register WHERE name = ?1 AND value = ?2"
)

// SQLite is a register in one SQLite file. Any number of processes may have
// it open. It is safe for concurrent use.
type SQLite struct {
	path string

	// turn is held by the one goroutine that uses what follows.
	turn   chan struct{}
	conn   *sqlite.Conn // nil: open one for the next call
	closed bool
}

var _ Register = (*SQLite)(nil)

// OpenSQLite opens the register at path and creates it if there is none.
func OpenSQLite(path string) (*SQLite, error) {
	r := &SQLite{path: path, turn: make(chan struct{}, 1)}
	if err := r.create(); err != nil {
		return nil, fmt.Errorf("opening register %s: %w", path, err)
	}
	return r, nil
}

// create makes the table if there is none. Several processes may do so at
// once.
func (r *SQLite) create() error {
	deadline := time.Now().Add(patience)
	for {
		conn, err := openConn(r.path, sqlite.OpenReadWrite, sqlite.OpenCreate)
		if err == nil {
			conn.SetBusyTimeout(patience)
			if err = createTable(conn); err == nil {
				conn.SetBlockOnBusy()
				r.conn = conn
				return nil
			}
			err = errors.Join(err, conn.Close())
		}
		// Turning a new file into WAL mode does not wait for other processes
		// that do the same, whatever the busy timeout.
		if sqlite.ErrCode(err).ToPrimary() != sqlite.ResultBusy || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// openConn opens a connection whose commits are on disk when they return.
func openConn(path string, flags ...sqlite.OpenFlags) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(path, flags...)
	if err != nil {
		return nil, err
	}
	for _, pragma := range []string{"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"} {
		if err := sqlitex.ExecuteTransient(conn, pragma, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", pragma, err), conn.Close())
		}
	}
	return conn, nil
}

func createTable(conn *sqlite.Conn) (err error) {
	end, err := sqlitex.ImmediateTransaction(conn)
	if err != nil {
		return err
	}
	defer end(&err)
	var version int64
	err = sqlitex.ExecuteTransient(conn, "PRAGMA user_version", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		version = s.ColumnInt64(0)
		return nil
	}})
	switch {
	case err != nil:
		return err
	case version == 0:
		return sqlitex.ExecuteScript(conn, table, nil)
	case version != fileVersion:
		return fmt.Errorf("file version is %d, this program knows %d", version, fileVersion)
	}
	return nil
}

// use runs fn on the connection. After an error of SQLite the connection is
// closed: what state it is in is not worth finding out.
func (r *SQLite) use(ctx context.Context, fn func(*sqlite.Conn) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.closed {
		return ErrClosed
	}
	if r.conn == nil {
		if r.conn, err = openConn(r.path, sqlite.OpenReadWrite); err != nil {
			return fmt.Errorf("opening the file again: %w", err)
		}
	}
	r.conn.SetInterrupt(ctx.Done()) // ends waiting for the lock, too
	if err := fn(r.conn); err != nil {
		if errors.Is(err, ErrConflict) {
			r.conn.SetInterrupt(nil)
			return err
		}
		err = errors.Join(err, context.Cause(ctx), r.conn.Close())
		r.conn = nil
		return err
	}
	r.conn.SetInterrupt(nil)
	return nil
}

// Load implements Register.
func (r *SQLite) Load(ctx context.Context, name string) (value []byte, err error) {
	if err = checkName(name); err == nil {
		err = r.use(ctx, func(conn *sqlite.Conn) error {
			return sqlitex.Execute(conn, selectValue, &sqlitex.ExecOptions{Args: []any{name}, ResultFunc: func(s *sqlite.Stmt) error {
				value = column(s, 0)
				return nil
			}})
		})
	}
	if err != nil {
		return nil, fmt.Errorf("loading %q from the register: %w", name, err)
	}
	return value, nil
}

// List implements Register; all values are of one moment.
func (r *SQLite) List(ctx context.Context, prefix string) (map[string][]byte, error) {
	values := map[string][]byte{}
	err := checkPrefix(prefix)
	if err == nil {
		err = r.use(ctx, func(conn *sqlite.Conn) error {
			// No byte of a name is as large as the last one of the bound.
			bounds := []any{prefix, prefix + "\x7f"}
			return sqlitex.Execute(conn, selectPrefix, &sqlitex.ExecOptions{Args: bounds, ResultFunc: func(s *sqlite.Stmt) error {
				values[s.ColumnText(0)] = column(s, 1)
				return nil
			}})
		})
	}
	if err != nil {
		return nil, fmt.Errorf("listing %q in the register: %w", prefix, err)
	}
	return values, nil
}

func column(s *sqlite.Stmt, i int) []byte {
	value := make([]byte, s.ColumnLen(i))
	s.ColumnBytes(i, value)
	return value
}

// Swap implements Register. When it returns without error the change is on
// disk.
func (r *SQLite) Swap(ctx context.Context, name string, before, after []byte) error {
	err := checkSwap(name, before, after)
	if err == nil {
		err = r.use(ctx, func(conn *sqlite.Conn) error { return swap(conn, name, before, after) })
	}
	if err != nil {
		return fmt.Errorf("swapping %q in the register: %w", name, err)
	}
	return nil
}

func swap(conn *sqlite.Conn, name string, before, after []byte) error {
	statement, args := updateValue, []any{name, after, before}
	switch {
	case len(before) == 0:
		statement, args = insertValue, []any{name, after}
	case len(after) == 0:
		statement, args = deleteValue, []any{name, before}
	}
	if err := sqlitex.Execute(conn, statement, &sqlitex.ExecOptions{Args: args}); err != nil {
		return err
	}
	if conn.Changes() != 1 {
		return ErrConflict
	}
	return nil
}

// Close waits for a call under way.
func (r *SQLite) Close() error {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	r.closed = true
	if r.conn == nil {
		return nil
	}
	err := r.conn.Close()
	r.conn = nil
	if err != nil {
		return fmt.Errorf("closing register %s: %w", r.path, err)
	}
	return nil
}
