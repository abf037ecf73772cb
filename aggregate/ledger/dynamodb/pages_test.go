package dynamodb_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"tallystream/aggregate/ledger"
	"tallystream/aggregate/ledger/ledgertest"
	"tallystream/schemas"
	"tallystream/service/cloud/mototest"
)

// noise is a record that does not pack.
func noise(seq uint64) []byte {
	b := make([]byte, schemas.MaxEnvelope-100)
	random := rand.NewChaCha8([32]byte{byte(seq), byte(seq >> 8)})
	_, _ = random.Read(b)
	return b
}

// TestReadingGoesOnBehindAMegabyte: a query answers with a megabyte at most.
func TestReadingGoesOnBehindAMegabyte(t *testing.T) {
	clients := mototest.Start(t)
	e := ledgertest.Election(t, ledgertest.Shape{Counties: 2, UnitsPerCounty: 3, Contests: 3, Partitions: 1})
	l, err := open(t, clients, newTable(t, clients), e)
	if err != nil {
		t.Fatal(err)
	}
	var head ledger.Head
	for head.Size < 60 { // 3 MB
		b := extend(e, head, 20, 0)
		for i := range b.Entries {
			b.Records[i] = noise(b.Entries[i].Seq)
		}
		if err := l.Commit(t.Context(), []ledger.Batch{b}); err != nil {
			t.Fatal(err)
		}
		head = b.After
	}
	v, err := l.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := uint64(0)
	if err := v.Entries(t.Context(), nil, func(x schemas.Entry, record []byte) error {
		if seen++; x.Seq != seen || !bytes.Equal(record, noise(seen)) {
			return fmt.Errorf("entry %d came as number %d, with %d bytes", x.Seq, seen, len(record))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if seen != head.Size {
		t.Errorf("%d entries, want %d", seen, head.Size)
	}
}

// TestAPartitionsEntriesGoOnUnderTheNextKey: a thousand entries share a key.
func TestAPartitionsEntriesGoOnUnderTheNextKey(t *testing.T) {
	clients := mototest.Start(t)
	e := ledgertest.Election(t, ledgertest.Shape{Counties: 2, UnitsPerCounty: 3, Contests: 1, Partitions: 1})
	l, err := open(t, clients, newTable(t, clients), e)
	if err != nil {
		t.Fatal(err)
	}
	var head ledger.Head
	for head.Size < 1040 {
		b := extend(e, head, l.Room().Entries, 0)
		if err := l.Commit(t.Context(), []ledger.Batch{b}); err != nil {
			t.Fatal(err)
		}
		head = b.After
	}
	wantWhole(t, l, 0, map[uint64]bool{head.Size: true})
	v, err := l.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []uint64{998, 999, 1000, 1001, head.Size} {
		next := after
		if err := v.Entries(t.Context(), []uint64{after}, func(x schemas.Entry, _ []byte) error {
			if next++; x.Seq != next {
				return fmt.Errorf("entry %d, want %d", x.Seq, next)
			}
			return nil
		}); err != nil || next != head.Size {
			t.Errorf("after %d: came to %d of %d, %v", after, next, head.Size, err)
		}
	}
}
