package ledger

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"tallystream/schemas"
)

// fileVersion is the version of the tables, in PRAGMA user_version. 3 added
// what releases say.
const fileVersion = 3

// tables of the file. Identifiers are spelled out, so that a person with the
// sqlite3 shell can read it.
const tables = `
CREATE TABLE election(id TEXT PRIMARY KEY, definition BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE head(
	partition  INTEGER PRIMARY KEY,
	checkpoint INTEGER NOT NULL,
	size       INTEGER NOT NULL,
	epoch      INTEGER NOT NULL,
	cursor     TEXT NOT NULL    -- where the checkpoint is, for streams whose checkpoints are no places
) STRICT;
CREATE TABLE entry(
	at        INTEGER PRIMARY KEY, -- one entry a record of the stream, in its order
	partition INTEGER NOT NULL,
	seq       INTEGER NOT NULL,
	kind      TEXT NOT NULL,
	hold      TEXT NOT NULL,
	held      INTEGER NOT NULL,    -- of a release: seq of what was held; else 0
	unit      TEXT NOT NULL,
	revision  INTEGER NOT NULL,
	digest    BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX entry_seq ON entry(partition, seq);
CREATE INDEX entry_unit ON entry(unit);
CREATE TABLE county(
	number INTEGER PRIMARY KEY, -- its place in the definition
	id     TEXT NOT NULL,
	tally  BLOB NOT NULL        -- the row of counts as unsigned varints, cell by cell
) STRICT;
`

// prepareFile creates the tables if there are none, and checks that they are
// those of e. Several processes may do so at once.
func prepareFile(path string, e *schemas.Election, page int) error {
	deadline := time.Now().Add(busyTimeout)
	for {
		err := tryPrepareFile(path, e, page)
		// Turning a new file into WAL mode does not wait for other processes
		// that do the same, whatever the busy timeout.
		if code := sqlite.ErrCode(err).ToPrimary(); err == nil || code != sqlite.ResultBusy || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func tryPrepareFile(path string, e *schemas.Election, page int) (err error) {
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	c.SetBusyTimeout(busyTimeout)
	if err := pragmas(c, "page_size="+strconv.Itoa(page), "journal_mode=WAL", "synchronous=FULL"); err != nil {
		return err
	}
	return inTransaction(c, func() error {
		version, err := oneInteger(c, "PRAGMA user_version")
		if err != nil {
			return err
		}
		switch version {
		case 0:
			return createTables(c, e)
		case fileVersion:
			return checkElection(c, e)
		}
		return fmt.Errorf("file version is %d, this program knows %d alone: it belongs to the release of Tallystream that made it", version, fileVersion)
	})
}

func inTransaction(c *sqlite.Conn, fn func() error) (err error) {
	end, err := sqlitex.ImmediateTransaction(c)
	if err != nil {
		return err
	}
	defer end(&err)
	return fn()
}

func oneInteger(c *sqlite.Conn, query string) (n int64, err error) {
	err = sqlitex.ExecuteTransient(c, query, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		n = s.ColumnInt64(0)
		return nil
	}})
	return n, err
}

func createTables(c *sqlite.Conn, e *schemas.Election) error {
	if err := sqlitex.ExecuteScript(c, tables, nil); err != nil {
		return fmt.Errorf("creating tables: %w", err)
	}
	err := sqlitex.Execute(c, "INSERT INTO election(id, definition) VALUES (?, ?)",
		&sqlitex.ExecOptions{Args: []any{string(e.Definition.Election), e.Hash[:]}})
	if err != nil {
		return fmt.Errorf("naming the election: %w", err)
	}
	for p := range e.Definition.Partitions {
		if err := sqlitex.Execute(c, "INSERT INTO head VALUES (?, 0, 0, 0, '')", &sqlitex.ExecOptions{Args: []any{p}}); err != nil {
			return fmt.Errorf("creating head of partition %d: %w", p, err)
		}
	}
	for i := range e.Counties {
		// A row of zeros from the start: later only ever replaced in place.
		row := schemas.AppendRow(nil, make([]int64, e.Counties[i].Cells))
		err := sqlitex.Execute(c, "INSERT INTO county VALUES (?, ?, ?)", &sqlitex.ExecOptions{Args: []any{i, string(e.Counties[i].ID), row}})
		if err != nil {
			return fmt.Errorf("creating row of county %s: %w", e.Counties[i].ID, err)
		}
	}
	return pragmas(c, "user_version="+strconv.Itoa(fileVersion))
}

func checkElection(c *sqlite.Conn, e *schemas.Election) error {
	found := ErrElection
	err := sqlitex.Execute(c, "SELECT id, definition FROM election", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		var d schemas.Digest
		s.ColumnBytes(1, d[:])
		if s.ColumnText(0) == string(e.Definition.Election) && d == e.Hash {
			found = nil
		} else {
			found = fmt.Errorf("%w: %s with hash %s", ErrElection, s.ColumnText(0), d)
		}
		return nil
	}})
	return errors.Join(err, found)
}
