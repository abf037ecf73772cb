package stream

import (
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"tallystream/schemas"
)

const (
	// applicationID marks the file as a stream ("tlys"), formatVersion says
	// how to read it. Version 0 is a file that is still being made.
	applicationID = 0x746c7973
	formatVersion = 1

	pageSize = 16 << 10
	// walLimit: beyond it the committing connection copies what is left of
	// the write-ahead log itself, so that the log can begin anew.
	walLimit = 64 << 20
	// writerCache holds every page of a group, or they would be written twice.
	writerCache = 16 << 20
)

// file is the writing connection. The committer owns it.
type file struct {
	conn                  *sqlite.Conn
	begin, insert, commit *sqlite.Stmt
	next                  schemas.Checkpoint
}

// connect opens a connection. A writer that died in the middle of a commit may
// have left frames in the write-ahead log that a recovery finds although they
// are not on disk. They are put there before anyone believes them: or
// aggregation could pass a checkpoint that a power cut then takes back.
func connect(path string, flags ...sqlite.OpenFlags) (*sqlite.Conn, error) {
	if err := syncFile(path + "-wal"); err != nil {
		return nil, fmt.Errorf("syncing the write-ahead log: %w", err)
	}
	conn, err := sqlite.OpenConn(path, flags...)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(busyTimeout)
	return conn, nil
}

// busyTimeout is how long a connection waits for another's lock: long enough
// for a recovery of the write-ahead log after a crash.
const busyTimeout = 10 * time.Second

// openFile opens the file for writing and creates what is missing.
func openFile(path string) (_ *file, err error) {
	conn, err := connect(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, conn.Close())
		}
	}()
	if err := prepareFile(conn); err != nil {
		return nil, err
	}
	f := &file{conn: conn}
	for _, q := range []struct {
		stmt **sqlite.Stmt
		sql  string
	}{
		{&f.begin, "BEGIN IMMEDIATE"},
		{&f.insert, "INSERT INTO record (at, partition, envelope) VALUES (?1, ?2, ?3)"},
		{&f.commit, "COMMIT"},
	} {
		if *q.stmt, err = conn.Prepare(q.sql); err != nil {
			return nil, err
		}
	}
	last, err := newest(conn.Prep(newestQuery))
	if err != nil {
		return nil, err
	}
	f.next = last + 1
	return f, nil
}

// prepareFile sets the connection up and makes the table, in this order: the
// page size counts only before the first page, and the version, which lets
// readers in, comes last and together with the table.
func prepareFile(conn *sqlite.Conn) error {
	if err := setPragmas(conn,
		fmt.Sprintf("page_size = %d", pageSize),
		"journal_mode = WAL",
		"synchronous = FULL",
		fmt.Sprintf("wal_autocheckpoint = %d", walLimit/pageSize),
		fmt.Sprintf("cache_size = -%d", writerCache>>10),
	); err != nil {
		return err
	}
	mode, err := sqlitex.ResultText(conn.Prep("PRAGMA journal_mode"))
	if err != nil || mode != "wal" {
		return errors.Join(err, fmt.Errorf("journal mode is %q, want wal: does the file system lack shared memory?", mode))
	}
	version, err := sqlitex.ResultInt64(conn.Prep("PRAGMA user_version"))
	if err != nil {
		return err
	}
	id, err := sqlitex.ResultInt64(conn.Prep("PRAGMA application_id"))
	switch {
	case err != nil:
		return err
	case version == formatVersion && id == applicationID:
		return nil
	case version != 0 || id != 0:
		return fmt.Errorf("%w: application %#x, version %d", ErrFormat, id, version)
	}
	create := fmt.Sprintf(`
		CREATE TABLE record (
			at        INTEGER PRIMARY KEY,
			partition INTEGER NOT NULL,
			envelope  BLOB NOT NULL
		) STRICT;
		PRAGMA application_id = %d;
		PRAGMA user_version = %d;`, applicationID, formatVersion)
	if err := sqlitex.ExecuteScript(conn, create, nil); err != nil {
		return fmt.Errorf("creating table: %w", err)
	}
	return nil
}

// setPragmas sets them one by one: a script runs in a transaction, where most
// have no effect.
func setPragmas(conn *sqlite.Conn, pragmas ...string) error {
	for _, p := range pragmas {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+p, nil); err != nil {
			return fmt.Errorf("setting %s: %w", p, err)
		}
	}
	return nil
}

// store writes the group in one transaction and gives each record its
// checkpoint. Without error the group is on disk. With an error nothing of it
// is there, or, if the error is an ErrUnknownOutcome, all of it or nothing.
// After an error the connection must be closed, which rolls back what is open.
func (f *file) store(group []*pending) error {
	if _, err := f.begin.Step(); err != nil {
		return fmt.Errorf("beginning: %w", err)
	}
	for i, p := range group {
		if err := f.insertRecord(f.next+schemas.Checkpoint(i), p); err != nil {
			return fmt.Errorf("inserting: %w", err)
		}
	}
	if _, err := f.commit.Step(); err != nil {
		// The frames may have reached the log, and be found by a recovery,
		// even though this process does not see them.
		return fmt.Errorf("%w: committing: %w", ErrUnknownOutcome, err)
	}
	// The group is durable. If the process dies now, its senders hear
	// nothing, send again, and aggregation sees the repeats.
	f.next += schemas.Checkpoint(len(group))
	return nil
}

// insertRecord fails on a checkpoint that is taken: should two processes
// write in spite of the lock, one of them loses its group whole.
func (f *file) insertRecord(at schemas.Checkpoint, p *pending) error {
	f.insert.BindInt64(1, int64(at))
	f.insert.BindInt64(2, int64(p.partition))
	f.insert.BindBytes(3, p.record)
	if _, err := f.insert.Step(); err != nil {
		return err
	}
	p.at = at
	return f.insert.Reset()
}

func (f *file) close() error { return f.conn.Close() }
