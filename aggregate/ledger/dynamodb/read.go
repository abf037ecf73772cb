package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
	"tallystream/service/cloud"
)

// get reads one item, as of now; nil if there is none.
func (l *Ledger) get(ctx context.Context, k item) (item, error) {
	out, err := l.cfg.Client.GetItem(ctx, &sdk.GetItemInput{TableName: &l.cfg.Table, Key: k, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, cloud.ExplainOf("table "+l.cfg.Table, err)
	}
	return out.Item, nil
}

// getAll reads items by their keys, as of now and in no order.
func (l *Ledger) getAll(ctx context.Context, keys []item, fn func(item) error) error {
	found := make([][]item, (len(keys)+maxItems-1)/maxItems)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readsAtOnce)
	for i := range found {
		part := keys[i*maxItems : min(len(keys), (i+1)*maxItems)]
		g.Go(func() (err error) {
			found[i], err = l.batchGet(ctx, part)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, part := range found {
		for _, it := range part {
			if err := fn(it); err != nil {
				return err
			}
		}
	}
	return nil
}

// batchGet asks again for what an answer leaves out, for want of room (16 MB)
// or of throughput.
func (l *Ledger) batchGet(ctx context.Context, keys []item) (found []item, err error) {
	pause := firstPause
	for len(keys) > 0 {
		out, err := l.cfg.Client.BatchGetItem(ctx, &sdk.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
			l.cfg.Table: {Keys: keys, ConsistentRead: aws.Bool(true)},
		}})
		if err != nil {
			return nil, cloud.ExplainOf("table "+l.cfg.Table, err)
		}
		found = append(found, out.Responses[l.cfg.Table]...)
		left := out.UnprocessedKeys[l.cfg.Table].Keys
		if len(left) > 0 && len(left) == len(keys) {
			l.cfg.Metrics.retries.WithLabelValues("unprocessed").Inc()
			if err := l.cfg.Sleep(ctx, jitter(pause)); err != nil {
				return nil, err
			}
			pause = min(2*pause, longPause)
		}
		keys = left
	}
	return found, nil
}

// query calls fn with the items of a partition key whose sort key fulfils the
// condition, in order, as of now.
func (l *Ledger) query(ctx context.Context, pk, condition string, values item, fn func(item) error) error {
	in := &sdk.QueryInput{
		TableName: &l.cfg.Table, ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String(cloud.PartitionKey + " = :pk" + condition),
		ExpressionAttributeValues: item{":pk": text(pk)},
	}
	for name, v := range values {
		in.ExpressionAttributeValues[name] = v
	}
	for {
		out, err := l.cfg.Client.Query(ctx, in)
		if err != nil {
			return cloud.ExplainOf("table "+l.cfg.Table, err)
		}
		for _, it := range out.Items {
			if err := fn(it); err != nil {
				return err
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// Heads returns the head of every partition, in order.
func (l *Ledger) Heads(ctx context.Context) ([]ledger.Head, error) {
	all := make([]schemas.Partition, l.election.Definition.Partitions)
	for p := range all {
		all[p] = schemas.Partition(p)
	}
	heads := make([]ledger.Head, len(all))
	return heads, l.readHeads(ctx, all, heads)
}

// readHeads reads the heads of some partitions into all[p]. Each is as of now;
// together they are no cut.
func (l *Ledger) readHeads(ctx context.Context, partitions []schemas.Partition, all []ledger.Head) error {
	if err := l.isOpen(); err != nil {
		return err
	}
	keys := make([]item, len(partitions))
	byKey := make(map[string]schemas.Partition, len(partitions))
	for i, p := range partitions {
		keys[i] = headKey(p)
		byKey[keys[i][cloud.PartitionKey].(*types.AttributeValueMemberS).Value] = p
		all[p] = ledger.Head{Partition: p} // until its first commit
	}
	err := l.getAll(ctx, keys, func(it item) (err error) {
		r := reader{it: it}
		p := byKey[r.text(cloud.PartitionKey)]
		all[p], err = readHead(p, it)
		return errors.Join(r.err, err)
	})
	if err != nil {
		return fmt.Errorf("reading ledger heads: %w", err)
	}
	return nil
}

// Units calls fn with every entry of the partitions that names a unit, those of
// a unit in order.
func (l *Ledger) Units(ctx context.Context, partitions []schemas.Partition, fn func(schemas.Entry) error) error {
	if err := l.isOpen(); err != nil {
		return err
	}
	return l.inOrder(ctx, partitions, func(ctx context.Context, p schemas.Partition, give func(item) error) error {
		return l.query(ctx, unitPK(p), "", nil, give)
	}, func(p schemas.Partition, it item) error {
		entries, err := readUnit(p, it)
		if err != nil {
			return fmt.Errorf("reading units of partition %d: %w", p, err)
		}
		for i := range entries {
			entries[i].Unit = l.unitOf(entries[i].Unit)
			if err := fn(entries[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// EntriesOf returns a unit's entries in the order of its partition.
func (l *Ledger) EntriesOf(ctx context.Context, unit schemas.UnitID) (entries []schemas.Entry, err error) {
	if err := l.isOpen(); err != nil {
		return nil, err
	}
	u, ok := l.election.Unit(unit)
	if !ok {
		return nil, nil
	}
	p := l.election.PartitionOf(u)
	prefix := item{":unit": text(unitPrefix(unit))}
	err = l.query(ctx, unitPK(p), " AND begins_with("+cloud.SortKey+", :unit)", prefix, func(it item) error {
		row, err := readUnit(p, it)
		entries = append(entries, row...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading ledger entries of unit %s: %w", unit, err)
	}
	return entries, nil
}

// Submissions tells a submitter what became of each of a unit's submissions.
func (l *Ledger) Submissions(ctx context.Context, unit schemas.UnitID) ([]schemas.SubmissionState, error) {
	entries, err := l.EntriesOf(ctx, unit)
	if err != nil {
		return nil, err
	}
	return ledger.States(entries), nil
}

// Record returns the exact bytes of an entry's record.
func (l *Ledger) Record(ctx context.Context, x schemas.Entry) ([]byte, error) {
	if err := l.isOpen(); err != nil {
		return nil, err
	}
	record, err := l.record(ctx, x)
	if err != nil {
		return nil, fmt.Errorf("reading the record of entry %d of partition %d: %w", x.Seq, x.Partition, err)
	}
	return record, nil
}

func (l *Ledger) record(ctx context.Context, x schemas.Entry) ([]byte, error) {
	it, err := l.get(ctx, entryKey(x.Partition, x.Seq))
	if err != nil {
		return nil, err
	}
	if it == nil {
		return nil, errMissing
	}
	_, packed, err := readEntry(x.Partition, x.Seq, it)
	if err != nil {
		return nil, err
	}
	return l.packer.unpack(nil, packed)
}

// errMissing: an item that the head vouches for is not there. Somebody else
// writes the table.
var errMissing = errors.New("the table has no such entry, though its head says so")

// unitOf returns the program's own string for a unit, so that a reader that
// keeps entries keeps no copies.
func (l *Ledger) unitOf(id schemas.UnitID) schemas.UnitID {
	if i, ok := l.election.Unit(id); ok {
		return l.election.Units[i].ID
	}
	return id
}

// pageItems is how many items a partition's reading runs ahead of whoever takes
// them; with readsAhead partitions at a time it bounds the memory.
const (
	pageItems  = 256
	readsAhead = 8
)

// inOrder reads several partitions at a time, and gives what they hold in the
// order of partitions.
func (l *Ledger) inOrder(ctx context.Context, partitions []schemas.Partition,
	read func(ctx context.Context, p schemas.Partition, give func(item) error) error,
	take func(p schemas.Partition, it item) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readsAhead + 1) // one gives
	pages := make([]chan item, len(partitions))
	for i := range pages {
		pages[i] = make(chan item, pageItems)
	}
	g.Go(func() error {
		for i, p := range partitions {
			for it := range pages[i] {
				if err := take(p, it); err != nil {
					return err
				}
			}
			if ctx.Err() != nil {
				return ctx.Err() // the page may have been cut off
			}
		}
		return nil
	})
	for i, p := range partitions {
		g.Go(func() error {
			defer close(pages[i])
			return read(ctx, p, func(it item) error {
				select {
				case pages[i] <- it:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
	}
	return g.Wait()
}

// jitter is a random part of a pause, at least a tenth of it.
func jitter(d time.Duration) time.Duration { return d/10 + randomBelow(d-d/10) }
