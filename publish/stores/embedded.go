package stores

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/aggregate/ledger"
	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/publish/bucket"
	"tallystream/schemas"
	"tallystream/service/register"
)

// embedded keeps everything in SQLite files and a directory. One process
// writes the stream; a process that both writes and reads has it open once.
type embedded struct {
	stores  *Stores
	records *stream.SQLite // for writing or reading; nil: not open
	writes  bool
	sqlite  *ledger.SQLite
}

func (e *embedded) config() stream.Config {
	return stream.Config{Path: e.stores.data.StreamPath(), Metrics: stream.NewMetrics(e.stores.cfg.Registry), Logger: e.stores.cfg.Logger}
}

func (e *embedded) writer(_ context.Context, onCommit func()) (ingest.Appender, error) {
	cfg := e.config()
	cfg.OnCommit = func(schemas.Checkpoint) { onCommit() }
	if !e.stores.cfg.ReadsToo {
		cfg.CacheBytes = -1 // nobody reads in this process
	}
	s, err := stream.OpenSQLite(cfg)
	if err != nil {
		return nil, err
	}
	e.records, e.writes = s, true
	e.stores.later(s.Close)
	return s, nil
}

// reader opens the stream for reading, unless it is open.
func (e *embedded) reader() (*stream.SQLite, error) {
	if e.records != nil {
		return e.records, nil
	}
	s, err := stream.OpenSQLiteReader(e.config())
	if err != nil {
		return nil, err
	}
	e.records = s
	e.stores.later(s.Close)
	return s, nil
}

func (e *embedded) source(context.Context) (stream.Source, func(), error) {
	s, err := e.reader()
	if err != nil {
		return nil, nil, err
	}
	return stream.OneShard(s, e.stores.cfg.Opened.Election.Definition.Partitions, time.Now), s.Wake, nil
}

func (e *embedded) ledger(context.Context) (Ledger, error) {
	records, err := e.reader()
	if err != nil {
		return nil, err
	}
	e.sqlite, err = ledger.OpenSQLite(e.stores.data.LedgerPath(), e.stores.cfg.Opened.Election, records)
	if err != nil {
		return nil, err
	}
	return e.sqlite, nil
}

func (e *embedded) register(context.Context) (Register, error) {
	return register.OpenSQLite(e.stores.data.ControlPath())
}

func (e *embedded) bucket(context.Context) (Bucket, error) {
	return bucket.OpenDirectory(e.stores.cfg.Bucket, bucket.WithMetrics(bucket.NewMetrics(e.stores.cfg.Registry)))
}

func (e *embedded) signer(context.Context) (note.Signer, string, error) {
	return e.stores.data.Signer("publish")
}

func (e *embedded) verifier(context.Context) (string, error) {
	_, verifier, err := e.stores.data.Signer("publish")
	return verifier, err
}

// leases are none: one process works, and another that is started beside it is
// kept from harm by the ledger's heads and the publication's mark.
func (e *embedded) leases(context.Context, string) (Leases, error) { return nil, nil }

// lag compares the newest checkpoints of stream and ledger.
func (e *embedded) lag(ctx context.Context) (func(context.Context) (ingest.Lag, error), error) {
	if _, err := e.stores.Ledger(ctx); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (ingest.Lag, error) {
		folded, err := e.sqlite.Folded(ctx)
		if err != nil {
			return ingest.Lag{}, err
		}
		last := e.records.Last()
		if folded >= last {
			return ingest.Lag{}, nil
		}
		return ingest.Lag{Records: uint64(last - folded)}, nil
	}, nil
}
