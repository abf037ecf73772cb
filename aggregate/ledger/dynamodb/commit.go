package dynamodb

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
	"tallystream/service/cloud"
)

func randomBelow(d time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(max(d, 1)))) }

// Commit writes each batch in a transaction of its own, several at a time. It
// returns ledger.ErrConflict if a head is not the batch's Before; others may
// have been written then. After any other error the outcome may be unknown;
// load again.
func (l *Ledger) Commit(ctx context.Context, batches []ledger.Batch) error {
	if err := l.isOpen(); err != nil {
		return err
	}
	for i := range batches {
		if err := batches[i].Validate(l.election); err != nil {
			return err
		}
	}
	// Not WithContext: one partition's conflict is no reason to leave the
	// outcome of the others' transactions unknown.
	var g errgroup.Group
	g.SetLimit(writesAhead)
	for i := range batches {
		g.Go(func() error { return l.commit(ctx, &batches[i]) })
	}
	return g.Wait()
}

func (l *Ledger) commit(ctx context.Context, b *ledger.Batch) error {
	in, err := l.transaction(b)
	if err == nil {
		err = l.insist(ctx, in)
	}
	if err != nil {
		return fmt.Errorf("committing %d entries of partition %d: %w", len(b.Entries), b.Before.Partition, err)
	}
	return nil // durable now
}

// transaction makes the items of a batch: all or none of them are written.
func (l *Ledger) transaction(b *ledger.Batch) (*sdk.TransactWriteItemsInput, error) {
	writes := []types.TransactWriteItem{{Put: l.putHead(b)}}
	size := 0
	for i := range b.Entries {
		packed := l.packer.pack(b.Records[i][:min(len(b.Records[i]), schemas.MaxEnvelope)])
		size += len(packed)
		writes = append(writes, l.put(entryItem(&b.Entries[i], packed)))
	}
	writes = append(writes, l.unitUpdates(b)...)
	for i := range b.Tallies {
		t := &b.Tallies[i]
		row := schemas.AppendRow(nil, t.Row)
		size += len(row)
		writes = append(writes, l.put(tallyItem(b.After.Partition, l.election.Counties[t.County].ID, row, b.After.Size)))
	}
	if len(writes) > maxItems || size > maxBytes {
		return nil, fmt.Errorf("%d items with %d bytes of records and tallies do not fit a transaction (a batch may have %d entries)", len(writes), size, room.Entries)
	}
	return &sdk.TransactWriteItemsInput{
		TransactItems: writes, ClientRequestToken: aws.String(token()), ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}, nil
}

// token names a transaction: the same for each try of it, and another for any
// other. It must not follow from what is written: DynamoDB remembers tokens for
// ten minutes beyond the table, and a ledger that is folded anew into one that
// was made again would be told that all of it is written.
func token() string { return crand.Text() }

func (l *Ledger) put(it item) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{TableName: &l.cfg.Table, Item: it}}
}

// putHead moves the head, on condition that it is the one that was read.
func (l *Ledger) putHead(b *ledger.Batch) *types.Put {
	put := &types.Put{TableName: &l.cfg.Table, Item: headItem(b.After)}
	if b.Before == (ledger.Head{Partition: b.Before.Partition}) {
		put.ConditionExpression = aws.String("attribute_not_exists(" + cloud.PartitionKey + ")")
		return put
	}
	put.ConditionExpression = aws.String("#c = :c AND #u = :u AND #n = :n AND #e = :e")
	put.ExpressionAttributeNames = map[string]string{"#c": attrCheckpoint, "#u": attrCursor, "#n": attrSize, "#e": attrEpoch}
	put.ExpressionAttributeValues = item{
		":c": number(uint64(b.Before.Checkpoint)), ":u": text(b.Before.Cursor), ":n": number(b.Before.Size), ":e": number(uint64(b.Before.Epoch)),
	}
	return put
}

// unitUpdates adds the batch's entries to their units' rows, an update a row:
// one transaction may touch an item once.
func (l *Ledger) unitUpdates(b *ledger.Batch) []types.TransactWriteItem {
	var out []types.TransactWriteItem
	rows := map[string]*types.Update{}
	for i := range b.Entries {
		x := &b.Entries[i]
		if x.Unit == "" {
			continue
		}
		row := string(x.Unit) + "/" + strconv.FormatUint(x.Seq/unitSpan, 10)
		u, name := rows[row], seqPrefix+strconv.FormatUint(x.Seq, 10)
		value := ":" + name
		if u == nil {
			u = &types.Update{
				TableName: &l.cfg.Table, Key: unitKey(x.Partition, x.Unit, x.Seq),
				UpdateExpression: aws.String("SET " + name + " = " + value), ExpressionAttributeValues: item{},
			}
			rows[row] = u
			out = append(out, types.TransactWriteItem{Update: u})
		} else {
			u.UpdateExpression = aws.String(*u.UpdateExpression + ", " + name + " = " + value)
		}
		u.ExpressionAttributeValues[value] = bytes_(appendMeta(nil, x))
	}
	return out
}

// insist tries a transaction until its outcome is known. Every try carries the
// same token, so a try whose answer was lost counts once.
func (l *Ledger) insist(ctx context.Context, in *sdk.TransactWriteItemsInput) error {
	deadline := l.cfg.Now().Add(commitFor)
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		out, err := l.cfg.Client.TransactWriteItems(ctx, in, cloud.OneAttempt)
		if err == nil {
			l.cfg.Metrics.committed(out.ConsumedCapacity)
			return nil
		}
		verdict, why := judge(err)
		l.cfg.Metrics.retries.WithLabelValues(why).Inc()
		switch {
		case verdict == conflict:
			return fmt.Errorf("%w (%s)", ledger.ErrConflict, why)
		case verdict == final, ctx.Err() != nil:
			return cloud.ExplainOf("table "+l.cfg.Table, err)
		case l.cfg.Now().After(deadline):
			return fmt.Errorf("after trying for %s: %w", commitFor, cloud.ExplainOf("table "+l.cfg.Table, err))
		}
		l.cfg.Logger.DebugContext(ctx, "ledger transaction failed, trying again", "reason", why, "err", err)
		if err := l.cfg.Sleep(ctx, jitter(pause)); err != nil {
			return err
		}
	}
}

// verdict is what to do about an error of a transaction.
type verdict int

const (
	again    verdict = iota // it was not done, or may have been: the token makes that the same
	conflict                // the head is another one
	final                   // trying again changes nothing
)

// judge reads an error of TransactWriteItems (API reference, "Errors"): for a
// cancelled transaction the reasons, one an item, the head's first.
func judge(err error) (verdict, string) {
	var cancelled *types.TransactionCanceledException
	if errors.As(err, &cancelled) {
		return judgeReasons(cancelled.CancellationReasons)
	}
	var (
		mismatch *types.IdempotentParameterMismatchException
		running  *types.TransactionInProgressException
	)
	switch {
	case errors.As(err, &mismatch):
		return final, "token-mismatch"
	case errors.As(err, &running):
		return again, "in-progress" // an earlier try of ours
	}
	return judgeFailure(err)
}

func judgeReasons(reasons []types.CancellationReason) (verdict, string) {
	worst, why := final, "cancelled"
	for i := range reasons {
		switch code := aws.ToString(reasons[i].Code); code {
		case "None", "":
		case "ConditionalCheckFailed":
			return conflict, "condition"
		case "TransactionConflict":
			worst, why = again, "transaction-conflict"
		case "ThrottlingError", "ProvisionedThroughputExceeded":
			worst, why = again, "throttled"
		default: // ValidationError, ItemCollectionSizeLimitExceeded
			return final, "refused"
		}
	}
	return worst, why
}

// judgeFailure tells requests that AWS refuses for good from those that failed
// on the way or for want of throughput.
func judgeFailure(err error) (verdict, string) {
	switch kind := cloud.KindOf(err); kind {
	case cloud.Throttled:
		return again, "throttled"
	case cloud.Unreachable, cloud.Slow, cloud.Busy, cloud.Fault, cloud.NotAWS: // the last: an answer that was cut off
		return again, "unavailable"
	case "":
		var refusal smithy.APIError
		if errors.As(err, &refusal) && refusal.ErrorFault() == smithy.FaultClient {
			return final, "refused"
		}
		return again, "unavailable"
	default: // rights, keys, regions, tables
		return final, "refused"
	}
}
