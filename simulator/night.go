package simulator

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"tallystream/aggregate"
	"tallystream/aggregate/ledger"
	"tallystream/fanout"
	"tallystream/fanout/bus"
	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/publish"
	"tallystream/publish/bucket"
	"tallystream/service"
	"tallystream/service/register"
)

// Night is the whole pipeline in one process on the embedded engines: the same
// parts that run as services of their own, joined by calls where those have
// hints over NATS between them.
type Night struct {
	Data   service.Data
	Bucket string // directory
	opened *service.Opened

	stream    *stream.SQLite
	ledger    *ledger.SQLite
	control   *register.SQLite
	aggregate *aggregate.Aggregator
	sequencer *publish.Sequencer
	directory *bucket.Directory
	busServer *bus.Server
	bus       *bus.Bus
	live      *fanout.Server
	ingest    *ingest.Server
	status    *service.Status

	ingestAt  net.Listener // submissions
	publicAt  net.Listener // pages, snapshots and the live tier: nothing shared with ingest
	receipts  note.Verifier
	snapshots note.Verifier

	stopIngest context.CancelFunc
	stopRest   context.CancelFunc
	group      *errgroup.Group
}

// NightOptions say where a night runs.
type NightOptions struct {
	Data   service.Data
	Bucket string
	Listen string // address of the pages; ingest takes a free port of the same host
	Logger *slog.Logger
}

// StartNight opens everything in Data, which holds an election and its keys,
// and starts it. Close ends it.
func StartNight(ctx context.Context, o NightOptions) (_ *Night, err error) {
	n := &Night{Data: o.Data, Bucket: o.Bucket, status: service.NewStatus()}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.closeStores())
		}
	}()
	if n.opened, err = o.Data.Open(); err != nil {
		return nil, err
	}
	if err := n.openStores(o.Logger); err != nil {
		return nil, err
	}
	if err := n.build(ctx, o.Logger); err != nil {
		return nil, err
	}
	if err := n.listen(o.Listen); err != nil {
		return nil, err
	}
	n.start(ctx)
	return n, nil
}

func (n *Night) openStores(log *slog.Logger) (err error) {
	if n.stream, err = stream.OpenSQLite(stream.Config{
		Path: n.Data.StreamPath(), Metrics: stream.NewMetrics(n.status.Registry), Logger: log,
	}); err != nil {
		return err
	}
	if n.ledger, err = ledger.OpenSQLite(n.Data.LedgerPath(), n.opened.Election, n.stream); err != nil {
		return err
	}
	if n.control, err = register.OpenSQLite(n.Data.ControlPath()); err != nil {
		return err
	}
	if n.directory, err = bucket.OpenDirectory(n.Bucket, bucket.WithMetrics(bucket.NewMetrics(n.status.Registry))); err != nil {
		return err
	}
	return nil
}

// behind is how many durable records the ledger does not have yet.
func (n *Night) behind() uint64 {
	last, folded := n.stream.Last(), n.aggregate.Checkpoint()
	if folded >= last {
		return 0
	}
	return uint64(last - folded)
}
