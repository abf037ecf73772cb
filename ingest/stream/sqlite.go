package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/schemas"
)

// Defaults of Config.
const (
	DefaultLinger     = 5 * time.Millisecond
	DefaultMaxGroup   = 512
	DefaultQueueLimit = 4096
	DefaultQueueBytes = 64 << 20
	DefaultCacheBytes = 64 << 20
)

// maxGroupBytes bounds a transaction, so that large records do not make one
// commit long. It must fit the writer's page cache.
const maxGroupBytes = 8 << 20

// pollEvery is how often a reader in another process looks at the file when
// no hint reaches it.
const pollEvery = 250 * time.Millisecond

// Config of an embedded stream. Zero values mean the defaults.
type Config struct {
	// Path of the SQLite file. Beside it lie its write-ahead log (-wal,
	// -shm) and the writer's lock (-lock).
	Path string
	// Linger is how long the first record of a group waits for others. It
	// bounds what an append costs in latency when the stream is quiet; under
	// load, groups would stay tiny without it. Negative means none.
	Linger time.Duration
	// MaxGroup is the most records that share a transaction.
	MaxGroup int
	// QueueLimit and QueueBytes bound what waits for a transaction; beyond
	// them Append fails with ErrBusy.
	QueueLimit int
	QueueBytes int
	// CacheBytes of recent records are kept in memory for readers in the
	// writer's process. Negative means none.
	CacheBytes int
	// OnCommit, if set, is called after every group that became durable, by
	// the one goroutine that commits: it must not block.
	OnCommit func(last schemas.Checkpoint)
	Metrics  *Metrics     // nil: not exported
	Logger   *slog.Logger // nil: discarded
}

func (c Config) withDefaults() Config {
	if c.Linger == 0 {
		c.Linger = DefaultLinger
	}
	c.Linger = max(c.Linger, 0)
	if c.MaxGroup <= 0 {
		c.MaxGroup = DefaultMaxGroup
	}
	if c.QueueLimit <= 0 {
		c.QueueLimit = DefaultQueueLimit
	}
	if c.QueueBytes <= 0 {
		c.QueueBytes = DefaultQueueBytes
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// SQLite is the embedded stream. It is safe for concurrent use.
type SQLite struct {
	cfg     Config
	metrics *Metrics
	logger  *slog.Logger

	tail    tail
	readers *readers
	closed  chan struct{} // closed by Close

	// The writer's side; nil in a reader.
	queue    *queue
	writer   *writer
	pendings sync.Pool // of *pending that nobody waits for

	closeOnce sync.Once
	closeErr  error
}

// OpenSQLite opens the stream for writing and reading, and creates it if it
// is not there. It fails with ErrLocked while another process writes it.
func OpenSQLite(cfg Config) (*SQLite, error) {
	s := newSQLite(cfg)
	w, err := openWriter(s)
	if err != nil {
		return nil, fmt.Errorf("opening stream: %w", err)
	}
	s.queue, s.writer = newQueue(&s.cfg), w
	w.start()
	return s, nil
}

// OpenSQLiteReader opens the stream for reading only, beside a writer in
// another process. The file need not exist yet: until it does, the stream is
// empty.
func OpenSQLiteReader(cfg Config) (*SQLite, error) {
	return newSQLite(cfg), nil
}

func newSQLite(cfg Config) *SQLite {
	cfg = cfg.withDefaults()
	return &SQLite{
		cfg:     cfg,
		metrics: cfg.Metrics,
		logger:  cfg.Logger,
		tail:    tail{limit: max(cfg.CacheBytes, 0)},
		readers: newReaders(cfg.Path),
		closed:  make(chan struct{}),
	}
}

// Append stores a record and returns where it lies. When it returns without
// error, the record is on disk. It keeps the slice, which must not be written
// to again. When ctx ends first, Append returns its error; if the record was
// already on its way to disk, the error is an ErrUnknownOutcome as well.
func (s *SQLite) Append(ctx context.Context, partition schemas.Partition, record []byte) (schemas.Checkpoint, error) {
	at, err := s.append(ctx, partition, record)
	if err != nil {
		return 0, fmt.Errorf("appending to stream: %w", err)
	}
	return at, nil
}

var errReadOnly = errors.New("stream is open for reading only")

func (s *SQLite) append(ctx context.Context, partition schemas.Partition, record []byte) (schemas.Checkpoint, error) {
	switch {
	case s.queue == nil:
		return 0, errReadOnly
	case len(record) > MaxRecord:
		return 0, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(record))
	case ctx.Err() != nil:
		return 0, ctx.Err()
	}
	p, _ := s.pendings.Get().(*pending)
	if p == nil {
		p = &pending{done: make(chan struct{}, 1)}
	}
	p.partition, p.record, p.queued = partition, record, time.Now()
	if err := s.queue.push(p); err != nil {
		s.release(p)
		if errors.Is(err, ErrBusy) {
			s.metrics.busy.Inc()
		}
		return 0, err
	}
	s.metrics.queueRecords.Inc()
	select {
	case <-p.done:
		at, err := p.at, p.err
		s.release(p)
		return at, err
	case <-ctx.Done():
		return s.abandon(ctx, p)
	}
}

// abandon gives up on p after ctx has ended.
func (s *SQLite) abandon(ctx context.Context, p *pending) (schemas.Checkpoint, error) {
	if s.queue.withdraw(p) {
		s.metrics.queueRecords.Dec()
		s.metrics.withdrawn.Inc()
		s.release(p)
		return 0, ctx.Err()
	}
	select {
	case <-p.done: // just in time
		at, err := p.at, p.err
		s.release(p)
		return at, err
	default:
		return 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err())
	}
}

// release hands back what neither the committer nor a waiter holds.
func (s *SQLite) release(p *pending) {
	p.record, p.at, p.err = nil, 0, nil
	s.pendings.Put(p)
}

// Last is the newest durable checkpoint. A reader in another process asks the
// file, and says what it last knew if that fails.
func (s *SQLite) Last() schemas.Checkpoint {
	if s.queue == nil {
		if err := s.refresh(context.Background()); err != nil && !errors.Is(err, ErrClosed) {
			s.logger.Warn("reading newest checkpoint failed", "err", err)
		}
	}
	return s.tail.newest()
}

// Newest is the same for those who must know: an error where the file cannot be
// asked.
func (s *SQLite) Newest(ctx context.Context) (schemas.Checkpoint, error) {
	if s.queue == nil {
		if err := s.refresh(ctx); err != nil {
			return 0, fmt.Errorf("reading the stream's newest checkpoint: %w", err)
		}
	}
	return s.tail.newest(), nil
}

// Wake makes every Wait look again. Its caller has heard from another process
// that there may be new records.
func (s *SQLite) Wake() { s.tail.wake() }

// Wait returns when there is a record after the given checkpoint, or with an
// error when ctx ends or the stream is closed. In the writer's process it is
// woken by the commit itself; elsewhere by Wake, and by a slow poll should
// the hint get lost.
func (s *SQLite) Wait(ctx context.Context, after schemas.Checkpoint) error {
	if err := s.wait(ctx, after); err != nil {
		return fmt.Errorf("waiting for stream: %w", err)
	}
	return nil
}

func (s *SQLite) wait(ctx context.Context, after schemas.Checkpoint) error {
	var poll <-chan time.Time // never fires in the writer's process
	if s.queue == nil {
		ticker := time.NewTicker(pollEvery)
		defer ticker.Stop()
		poll = ticker.C
	}
	for {
		// Watch before looking, or a change in between would be missed.
		last, changed := s.tail.watch()
		if s.queue == nil && last <= after {
			if err := s.refresh(ctx); err != nil {
				return err
			}
			last = s.tail.newest()
		}
		switch {
		case s.isClosed():
			return ErrClosed
		case last > after:
			return nil
		}
		select {
		case <-changed:
		case <-poll:
		case <-s.closed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *SQLite) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// Close refuses new records, commits those that are queued, wakes every Wait
// with ErrClosed, and closes the file. Calling it again returns the same.
func (s *SQLite) Close() error {
	s.closeOnce.Do(func() {
		if s.queue != nil {
			s.queue.close()
			s.closeErr = s.writer.stop()
		}
		close(s.closed)
		s.closeErr = errors.Join(s.closeErr, s.readers.close())
	})
	return s.closeErr
}
