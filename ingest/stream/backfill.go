package stream

import (
	"errors"
	"log/slog"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// backfillEvery is how many bytes of records are appended between two
// copyings of the write-ahead log into the main file.
const backfillEvery = 16 << 20

// backfill copies the write-ahead log into the main file in a goroutine and a
// connection of its own, so that appends do not wait for it. (SQLite calls
// this a checkpoint; here that word means a position in the stream.) It never
// blocks a writer or a reader, and so it seldom reaches the log's end while
// records flow: the little that is left is copied by the committing
// connection when the log exceeds walLimit, and the log begins anew.
type backfill struct {
	conn    *sqlite.Conn
	metrics *Metrics
	logger  *slog.Logger
	due     chan struct{} // capacity 1
	quit    chan struct{}
	done    chan struct{} // nil before start
	pending int           // bytes since the last; owned by the committer
}

func openBackfill(path string, m *Metrics, logger *slog.Logger) (*backfill, error) {
	conn, err := connect(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	b := &backfill{conn: conn, metrics: m, logger: logger, due: make(chan struct{}, 1), quit: make(chan struct{})}
	// FULL also for this connection: the main file is synced before the log
	// may begin anew.
	if err := setPragmas(conn, "synchronous = FULL", "wal_autocheckpoint = 0"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return b, nil
}

func (b *backfill) start() {
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		for {
			select {
			case <-b.due:
				b.copy()
			case <-b.quit:
				return
			}
		}
	}()
}

func (b *backfill) stop() error {
	close(b.quit)
	if b.done != nil {
		<-b.done
	}
	return b.conn.Close()
}

// wrote counts what the committer has appended, and is called only by it.
func (b *backfill) wrote(size int) {
	b.pending += size
	if b.pending >= backfillEvery {
		b.pending = 0
		signal(b.due)
	}
}

// copy does what can be done without waiting for anyone. A failure is no loss
// (the records are durable in the log) and is tried again with the next.
func (b *backfill) copy() {
	began := time.Now()
	pages := int64(0)
	err := sqlitex.Execute(b.conn, "PRAGMA wal_checkpoint(PASSIVE)", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			pages = stmt.ColumnInt64(1)
			return nil
		},
	})
	if err != nil {
		b.metrics.backfillFailed.Inc()
		b.logger.Warn("copying the write-ahead log failed", "err", err)
		return
	}
	b.metrics.backfill.Observe(time.Since(began).Seconds())
	b.metrics.walBytes.Set(float64(max(pages, 0) * pageSize))
}
