package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"tallystream/aggregate/ledger"
	"tallystream/aggregate/ledger/dynamodb"
	"tallystream/aggregate/ledger/ledgertest"
	"tallystream/schemas"
	"tallystream/service/cloud"
	"tallystream/service/cloud/faults"
	"tallystream/service/cloud/mototest"
)

// hostile is a plan in which every kind of fault meets every call.
const hostile = "TransactWriteItems:throttle=0.06,conflict=0.06,in-progress=0.04,before=0.05,after=0.08,cut=0.03,duplicate=0.06,late=0.05,internal=0.04,internal-after=0.06,unavailable=0.03;" +
	"BatchGetItem:throttle=0.04,before=0.04,after=0.04,internal=0.03; Query:throttle=0.04,before=0.03,cut=0.03,internal=0.03"

// immediately passes the time between tries without waiting.
func immediately(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// TestFaultsLoseAndDoubleNothing lets writers fight over the same heads
// through a network that fails in every way, and checks what they were told
// against what is there.
func TestFaultsLoseAndDoubleNothing(t *testing.T) {
	const seed, writers, rounds = 7, 3, 16
	t.Logf("seed %d", seed)
	plan, err := faults.Parse(seed, hostile)
	if err != nil {
		t.Fatal(err)
	}
	network, err := faults.New(plan, faults.WithDelay(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	e := ledgertest.Election(t, ledgertest.Shape{Counties: 4, UnitsPerCounty: 3, Contests: 3, Partitions: 2})
	clients := mototest.Start(t)
	table := newTable(t, clients)
	truth, err := open(t, clients, table, e)
	if err != nil {
		t.Fatal(err)
	}
	failing := mototest.Start(t, cloud.WithHTTP(network.Over))
	told := make([]map[uint64]bool, 2) // by partition: sizes that a Commit said are durable
	for p := range told {
		told[p] = map[uint64]bool{}
	}
	var mu sync.Mutex // guards told
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			l, err := dynamodb.Open(t.Context(), e, definitionOf(t, e), dynamodb.Config{Client: failing.DynamoDB, Table: table, Sleep: immediately})
			if err != nil {
				t.Error(err)
				return
			}
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			for range rounds {
				batches, err := fight(t.Context(), e, l, random, w)
				if err != nil {
					continue
				}
				mu.Lock()
				for i := range batches {
					told[batches[i].After.Partition][batches[i].After.Size] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	network.Pause()
	network.Flush(t.Context())
	t.Logf("faults:\n%s", network.Counts())
	for p := range told {
		wantWhole(t, truth, schemas.Partition(p), told[p])
	}
	for _, kind := range []faults.Kind{faults.Throttle, faults.Conflict, faults.After, faults.Late, faults.Duplicate, faults.InternalAfter} {
		if network.Counts().Total(kind) == 0 {
			t.Errorf("no %s happened", kind)
		}
	}
}

// fight extends each partition by what this writer would, from the heads that
// it reads.
func fight(ctx context.Context, e *schemas.Election, l *dynamodb.Ledger, random *rand.Rand, writer int) ([]ledger.Batch, error) {
	heads, err := l.Heads(ctx)
	if err != nil {
		return nil, err
	}
	var batches []ledger.Batch
	for _, h := range heads {
		batches = append(batches, extend(e, h, 1+random.IntN(3), writer))
	}
	return batches, l.Commit(ctx, batches)
}

// extend adds n entries of the writer to a partition, and makes the tally of
// its county say how many entries there are.
func extend(e *schemas.Election, h ledger.Head, n, writer int) ledger.Batch {
	b := ledger.Batch{Before: h, After: h}
	b.After.Epoch++
	county := schemas.CountyIndex(h.Partition)
	for range n {
		b.After.Size++
		b.After.Checkpoint++
		x := schemas.Entry{
			Partition: h.Partition, Seq: b.After.Size, Kind: schemas.EntryCounted, Revision: schemas.Revision(b.After.Size),
			Unit: e.Units[e.Counties[county].Units[writer%3]].ID, At: b.After.Checkpoint,
		}
		record := fmt.Appendf(nil, "entry %d of partition %d by writer %d", x.Seq, x.Partition, writer)
		x.Digest = schemas.DigestOf(record)
		b.Entries, b.Records = append(b.Entries, x), append(b.Records, record)
	}
	b.After.Cursor = fmt.Sprintf("shard/%d", b.After.Checkpoint)
	row := make([]int64, e.Counties[county].Cells)
	for i := range row {
		row[i] = int64(b.After.Size)
	}
	b.Tallies = []ledger.CountyTally{{County: county, Row: row}}
	return b
}

// wantWhole checks that entries, records, units' rows, tally and head of a
// partition fit together, and hold everything that somebody was told is in.
func wantWhole(t *testing.T, l *dynamodb.Ledger, p schemas.Partition, told map[uint64]bool) {
	t.Helper()
	v, err := l.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	head := v.Heads()[p]
	entries := map[uint64]schemas.Entry{}
	if err := v.Entries(t.Context(), nil, func(x schemas.Entry, record []byte) error {
		if x.Partition != p {
			return nil
		}
		if schemas.DigestOf(record) != x.Digest {
			return fmt.Errorf("entry %d has another record: %q", x.Seq, record)
		}
		entries[x.Seq] = x
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if uint64(len(entries)) != head.Size || uint64(head.Checkpoint) != head.Size {
		t.Errorf("partition %d: %d entries, head %+v", p, len(entries), head)
	}
	for size := range told {
		if size > head.Size {
			t.Errorf("partition %d: size %d was promised, the head is at %d", p, size, head.Size)
		}
	}
	if err := l.Units(t.Context(), []schemas.Partition{p}, func(x schemas.Entry) error {
		if entries[x.Seq] != x {
			return fmt.Errorf("a unit has entry %+v, the partition %+v", x, entries[x.Seq])
		}
		delete(entries, x.Seq)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 0 {
		t.Errorf("partition %d: %d entries are in no unit's row", p, len(entries))
	}
	tallies, err := v.Tallies(t.Context(), []schemas.CountyIndex{schemas.CountyIndex(p)})
	if err != nil {
		t.Fatal(err)
	}
	if tallies[0].Size != head.Size || uint64(tallies[0].Row[0]) != head.Size {
		t.Errorf("partition %d: tally %d as of %d, head of %d", p, tallies[0].Row[0], tallies[0].Size, head.Size)
	}
}

// TestALostAnswerIsNoConflict: a transaction that went through, and whose
// answer was lost, is told as done, because its token makes the repetition
// harmless; also if the repetition meets a throttle first.
func TestALostAnswerIsNoConflict(t *testing.T) {
	e := ledgertest.Election(t, ledgertest.Shape{Counties: 2, UnitsPerCounty: 3, Contests: 3, Partitions: 2})
	for name, plan := range map[string]string{
		"after":          "TransactWriteItems#1=after",
		"cut":            "TransactWriteItems#1=cut",
		"internal-after": "TransactWriteItems#1=internal-after;TransactWriteItems#2=throttle;TransactWriteItems#3=conflict",
		"late":           "TransactWriteItems#1=late",
		"duplicate":      "TransactWriteItems#1=duplicate",
		"in-progress":    "TransactWriteItems#1=after;TransactWriteItems#2=in-progress",
	} {
		t.Run(name, func(t *testing.T) {
			p, err := faults.Parse(1, plan)
			if err != nil {
				t.Fatal(err)
			}
			network, err := faults.New(p)
			if err != nil {
				t.Fatal(err)
			}
			failing := mototest.Start(t, cloud.WithHTTP(network.Over))
			l, err := dynamodb.Open(t.Context(), e, definitionOf(t, e), dynamodb.Config{Client: failing.DynamoDB, Table: newTable(t, failing), Sleep: immediately})
			if err != nil {
				t.Fatal(err)
			}
			b := extend(e, ledger.Head{}, 2, 0)
			if err := l.Commit(t.Context(), []ledger.Batch{b}); err != nil {
				t.Fatalf("commit: %v", err)
			}
			network.Flush(t.Context())
			wantWhole(t, l, 0, map[uint64]bool{2: true})
			if err := l.Commit(t.Context(), []ledger.Batch{extend(e, ledger.Head{}, 1, 1)}); !errors.Is(err, ledger.ErrConflict) {
				t.Errorf("a stale commit: %v, want ErrConflict", err)
			}
		})
	}
}

// TestErrorsThatStayAreTold: what repeating does not mend ends at once, with
// what to do about it.
func TestErrorsThatStayAreTold(t *testing.T) {
	e := ledgertest.Election(t, ledgertest.Shape{Counties: 2, UnitsPerCounty: 3, Contests: 3, Partitions: 2})
	clients := mototest.Start(t)
	_, err := dynamodb.Open(t.Context(), e, definitionOf(t, e), dynamodb.Config{Client: clients.DynamoDB, Table: "nobody-made-this"})
	if cloud.KindOf(err) != cloud.Missing {
		t.Errorf("opening without a table: %v", err)
	}
	l, err := open(t, clients, newTable(t, clients), e)
	if err != nil {
		t.Fatal(err)
	}
	full := extend(e, ledger.Head{}, l.Room().Entries+70, 0)
	if err := l.Commit(t.Context(), []ledger.Batch{full}); err == nil || errors.Is(err, ledger.ErrConflict) {
		t.Errorf("a batch that does not fit a transaction: %v", err)
	}
}
