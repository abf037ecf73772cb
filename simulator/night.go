package simulator

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"tallystream/aggregate"
	"tallystream/fanout"
	"tallystream/fanout/bus"
	"tallystream/ingest"
	"tallystream/publish"
	"tallystream/publish/receipts"
	"tallystream/publish/stores"
	"tallystream/service"
)

// Night is the whole pipeline in one process: the same
// parts that run as services of their own, joined by calls where those have
// hints over NATS between them.
type Night struct {
	Data   service.Data
	Bucket string // directory
	opened *service.Opened

	stores       *stores.Stores
	forIngest    *ingest.Stores
	forAggregate *aggregate.Stores
	forPublish   *publish.Stores
	bucket       stores.Bucket

	aggregate *aggregate.Aggregator
	sequencer *publish.Sequencer
	busServer *bus.Server
	bus       *bus.Bus
	live      *fanout.Server
	mediaKey  string // of this night's own viewers
	ingest    *ingest.Server
	status    *service.Status

	ingestAt   net.Listener // submissions
	publicAt   net.Listener // pages, snapshots and the live tier: nothing shared with ingest
	receipts   note.Verifier
	receiptKey string // its verifier key
	snapshots  note.Verifier
	proofs     *receipts.Server // in exchange for receipts

	stopIngest context.CancelFunc
	stopRest   context.CancelFunc
	group      *errgroup.Group
}

// NightOptions say where a night runs.
type NightOptions struct {
	Data   service.Data
	Bucket string
	Stores service.Options // where stream, ledger and bucket are; its Data is not used
	Listen string          // address of the pages; ingest takes a free port of the same host
	// Eager publishes every change as soon as it can, whatever it costs: for those
	// who wait for snapshots.
	Eager  bool
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
	if err := n.openStores(ctx, o); err != nil {
		return nil, err
	}
	if err := n.build(ctx, o.Eager, o.Logger); err != nil {
		return nil, err
	}
	if err := n.listen(o.Listen); err != nil {
		return nil, err
	}
	n.start(ctx)
	return n, nil
}

// openStores opens everything, in this one process.
func (n *Night) openStores(ctx context.Context, o NightOptions) (err error) {
	options := o.Stores
	options.Data = o.Data.Dir
	n.stores, err = stores.Open(ctx, stores.Config{
		Options: options, Bucket: o.Bucket, Opened: n.opened, ReadsToo: true, Registry: n.status.Registry, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	if n.forIngest, err = n.stores.Ingest(ctx, func() {}); err != nil {
		return err
	}
	if n.forAggregate, err = n.stores.Aggregate(ctx); err != nil {
		return err
	}
	if n.forPublish, err = n.stores.Publish(ctx); err != nil {
		return err
	}
	n.bucket, err = n.stores.Bucket(ctx)
	return err
}

// behind is how far the ledger is behind the stream.
func (n *Night) behind() ingest.Lag {
	records, age := n.aggregate.Behind()
	return ingest.Lag{Records: records, Age: age}
}
