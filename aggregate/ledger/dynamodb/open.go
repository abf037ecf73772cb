package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/prometheus/client_golang/prometheus"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
	"tallystream/service/cloud"
)

// Ledger is the ledger of one election in a table of its own. Any number of
// processes may have it open. It is safe for concurrent use.
type Ledger struct {
	cfg      Config
	election *schemas.Election
	packer   *packer
	closed   atomic.Bool
}

// Open opens the ledger of an election, given with its definition's exact
// bytes. The table must exist. ledger.ErrElection if it belongs to another
// definition.
func Open(ctx context.Context, e *schemas.Election, definition []byte, cfg Config) (*Ledger, error) {
	if cfg.Client == nil || cfg.Table == "" || schemas.DigestOf(definition) != e.Hash {
		return nil, errors.New("opening ledger: client, table and the definition of the election must be given")
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Sleep == nil {
		cfg.Sleep = sleep
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p, err := newPacker(definition)
	if err != nil {
		return nil, err
	}
	l := &Ledger{cfg: cfg, election: e, packer: p}
	if err := l.claim(ctx); err != nil {
		p.close()
		return nil, fmt.Errorf("opening ledger %s: %w", cfg.Table, err)
	}
	return l, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// claim checks that the table is this definition's, and makes it so if nobody
// did. Who may only read leaves that to an aggregator.
func (l *Ledger) claim(ctx context.Context) error {
	found, err := l.get(ctx, electionKey())
	if err != nil {
		return err
	}
	if found == nil {
		switch err = l.mark(ctx); {
		case cloud.KindOf(err) == cloud.Denied:
			l.cfg.Logger.InfoContext(ctx, "the ledger has no election yet, an aggregator names it", "table", l.cfg.Table)
			return nil
		case err != nil:
			return err
		}
		if found, err = l.get(ctx, electionKey()); err != nil {
			return err
		}
	}
	r := reader{it: found}
	id, hash := r.text(attrElection), r.bytes(attrDefinition)
	if r.err != nil {
		return fmt.Errorf("the table's election: %w", r.err)
	}
	if id != string(l.election.Definition.Election) || string(hash) != string(l.election.Hash[:]) {
		return fmt.Errorf("%w: %s with hash %x", ledger.ErrElection, id, hash)
	}
	return nil
}

// mark names the table's election, unless somebody was faster.
func (l *Ledger) mark(ctx context.Context) error {
	it := electionKey()
	it[attrElection], it[attrDefinition] = text(string(l.election.Definition.Election)), bytes_(l.election.Hash[:])
	_, err := l.cfg.Client.PutItem(ctx, &sdk.PutItemInput{
		TableName: &l.cfg.Table, Item: it, ConditionExpression: aws.String("attribute_not_exists(" + cloud.PartitionKey + ")"),
	})
	if taken := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &taken) {
		return nil
	}
	return cloud.ExplainOf("table "+l.cfg.Table, err)
}

// Room is how much a partition's part of a micro-batch may hold.
func (l *Ledger) Room() ledger.Room { return room }

// Close ends the use of the ledger; calls under way go on.
func (l *Ledger) Close() error {
	l.closed.Store(true)
	return nil
}

func (l *Ledger) isOpen() error {
	if l.closed.Load() {
		return ledger.ErrClosed
	}
	return nil
}
