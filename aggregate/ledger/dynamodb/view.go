package dynamodb

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
	"tallystream/service/cloud"
)

// view is a cut: for each partition its head as of when it was read. Entries
// below a head never change, so nothing needs to be held.
type view struct {
	ledger *Ledger
	heads  []ledger.Head
}

// View begins a consistent reading.
func (l *Ledger) View(ctx context.Context) (ledger.View, error) {
	heads, err := l.Heads(ctx)
	if err != nil {
		return nil, err
	}
	return &view{l, heads}, nil
}

func (v *view) Heads() []ledger.Head { return v.heads }

func (v *view) Entries(ctx context.Context, after []uint64, fn func(schemas.Entry, []byte) error) error {
	if err := v.ledger.isOpen(); err != nil {
		return err
	}
	from := func(p schemas.Partition) uint64 {
		if int(p) < len(after) {
			return after[p]
		}
		return 0
	}
	var behind []schemas.Partition
	next := make([]uint64, len(v.heads))
	for p := range v.heads {
		if next[p] = from(schemas.Partition(p)) + 1; v.heads[p].Size >= next[p] {
			behind = append(behind, schemas.Partition(p))
		}
	}
	var record []byte
	err := v.ledger.inOrder(ctx, behind, func(ctx context.Context, p schemas.Partition, give func(item) error) error {
		return v.ledger.queryEntries(ctx, p, from(p)+1, v.heads[p].Size, give)
	}, func(p schemas.Partition, it item) error {
		x, packed, err := readEntry(p, next[p], it)
		if err != nil {
			return err
		}
		if err := wantKey(it, p, next[p]); err != nil {
			return err
		}
		if record, err = v.ledger.packer.unpack(record[:0], packed); err != nil {
			return fmt.Errorf("entry %d of partition %d: %w", x.Seq, p, err)
		}
		next[p]++
		x.Unit = v.ledger.unitOf(x.Unit)
		return fn(x, record)
	})
	if err != nil {
		return fmt.Errorf("reading ledger entries: %w", err)
	}
	for _, p := range behind {
		if next[p] != v.heads[p].Size+1 {
			return fmt.Errorf("reading ledger entries: entry %d of partition %d: %w", next[p], p, errMissing)
		}
	}
	return nil
}

// wantKey checks that an item is the entry that comes next: entries are dense.
func wantKey(it item, p schemas.Partition, seq uint64) error {
	r := reader{it: it}
	got, err := seqOfEntry(r.text(cloud.PartitionKey), r.text(cloud.SortKey))
	if r.err != nil || err != nil {
		return fmt.Errorf("reading ledger entries: entry of partition %d has keys that are none", p)
	}
	if got != seq {
		return fmt.Errorf("reading ledger entries: entry %d of partition %d: %w", seq, p, errMissing)
	}
	return nil
}

// queryEntries gives the entries first to last of a partition.
func (l *Ledger) queryEntries(ctx context.Context, p schemas.Partition, first, last uint64, give func(item) error) error {
	for first <= last {
		end := min(last, first/entriesPerKey*entriesPerKey+entriesPerKey-1)
		span := item{":from": text(entrySK(first)), ":to": text(entrySK(end))}
		if err := l.query(ctx, entryPK(p, first), " AND "+cloud.SortKey+" BETWEEN :from AND :to", span, give); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
		first = end + 1
	}
	return nil
}

func (v *view) Tallies(ctx context.Context, counties []schemas.CountyIndex) ([]ledger.Tally, error) {
	if err := v.ledger.isOpen(); err != nil {
		return nil, err
	}
	e := v.ledger.election
	out := make([]ledger.Tally, len(counties))
	place := make(map[string]int, len(counties))
	keys := make([]item, 0, len(counties))
	for i, c := range counties {
		county := &e.Counties[c]
		out[i].Row = make([]int64, county.Cells)
		if _, twice := place[string(county.ID)]; twice {
			return nil, fmt.Errorf("reading tallies: county %s is asked for twice", county.ID)
		}
		place[string(county.ID)] = i
		keys = append(keys, tallyKey(county.Partition, county.ID))
	}
	err := v.ledger.getAll(ctx, keys, func(it item) error {
		id := it[cloud.SortKey].(*types.AttributeValueMemberS).Value
		r, t := reader{it: it}, &out[place[id]]
		row := r.bytes(attrRow)
		t.Size = r.number(attrSize)
		if r.err != nil {
			return fmt.Errorf("tally of county %s: %w", id, r.err)
		}
		return schemas.ReadRow(row, t.Row)
	})
	if err != nil {
		return nil, fmt.Errorf("reading tallies: %w", err)
	}
	return out, nil
}

func (v *view) Follow(ctx context.Context, partitions []schemas.Partition) error {
	return v.ledger.readHeads(ctx, partitions, v.heads)
}

func (v *view) Close() error { return nil }
