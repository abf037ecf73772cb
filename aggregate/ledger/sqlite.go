package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"tallystream/schemas"
)

const (
	// pageSize: see README.md for what others cost.
	pageSize = 4096
	// readers is how many Views and look-ups run at a time; more wait.
	readers = 4
	// busyTimeout is how long a transaction waits for one of another process.
	busyTimeout = 10 * time.Second
	// walBytes is the size from which a commit copies the write-ahead log into
	// the file. County rows are rewritten by most transactions, so a long log
	// saves most of that copying.
	walBytes = 64 << 20
)

// SQLite is a ledger in one SQLite file. Several processes may have it open;
// safety between them comes from the condition on the heads alone. It is safe
// for concurrent use.
type SQLite struct {
	election *schemas.Election
	records  Records // nil: opened without
	path     string
	pool     *sqlitex.Pool
	closed   atomic.Bool

	// turn is held by the one goroutine that uses writer and row.
	turn   chan struct{}
	writer *writer // nil: open one for the next commit
	row    []byte
}

// errNoRecords is a defect of the caller.
var errNoRecords = errors.New("ledger was opened without the stream, where the records lie")

// room of a micro-batch: one that is larger saves nothing more.
var room = Room{Entries: 1000, Bytes: 64 << 20}

// OpenSQLite opens the ledger of e at path and creates it if there is none.
// ErrElection if the file belongs to another definition. The exact bytes stay in
// the stream, where records finds them; nil if nobody will ask for them.
func OpenSQLite(path string, e *schemas.Election, records Records) (*SQLite, error) {
	l, err := openSQLite(path, e, pageSize)
	if err == nil {
		l.records = records
	}
	if err != nil {
		return nil, fmt.Errorf("opening ledger %s: %w", path, err)
	}
	return l, nil
}

func openSQLite(path string, e *schemas.Election, page int) (*SQLite, error) {
	if err := prepareFile(path, e, page); err != nil {
		return nil, err
	}
	pool, err := sqlitex.NewPool(path, sqlitex.PoolOptions{
		Flags:       sqlite.OpenReadWrite, // not read-only: a reader may be the first to open the shared index of the log
		PoolSize:    readers,
		PrepareConn: prepareReader,
	})
	if err != nil {
		return nil, err
	}
	return &SQLite{election: e, path: path, pool: pool, turn: make(chan struct{}, 1)}, nil
}

func prepareReader(c *sqlite.Conn) error {
	c.SetBusyTimeout(busyTimeout)
	return pragmas(c, "query_only=1", "cache_size=-8192")
}

func pragmas(c *sqlite.Conn, all ...string) error {
	for _, p := range all {
		if err := sqlitex.ExecuteTransient(c, "PRAGMA "+p, nil); err != nil {
			return fmt.Errorf("pragma %s: %w", p, err)
		}
	}
	return nil
}

// Room is how much a partition's part of a micro-batch may hold.
func (l *SQLite) Room() Room { return room }

// Close waits for a commit under way and for all Views to be closed.
func (l *SQLite) Close() error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.closed.Swap(true) {
		return nil
	}
	var err error
	if l.writer != nil {
		err = l.writer.close()
		l.writer = nil
	}
	return errors.Join(err, l.pool.Close())
}

// read runs fn on a connection of the pool.
func (l *SQLite) read(ctx context.Context, fn func(*sqlite.Conn) error) error {
	if l.closed.Load() {
		return ErrClosed
	}
	c, err := l.pool.Take(ctx)
	if err != nil {
		return err
	}
	defer l.pool.Put(c)
	return fn(c)
}
