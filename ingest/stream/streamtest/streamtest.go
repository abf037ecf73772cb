// Package streamtest holds what every stream must do, whatever it is made of.
// An adapter passes all of it or is not a stream.
package streamtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// Stream is what both sides of a stream use.
type Stream interface {
	Append(ctx context.Context, partition schemas.Partition, record []byte) (schemas.Checkpoint, error)
	Read(ctx context.Context, after schemas.Checkpoint, limit int) ([]stream.Record, error)
	Wait(ctx context.Context, after schemas.Checkpoint) error
	Wake()
	Get(ctx context.Context, at schemas.Checkpoint) ([]byte, error)
	Last() schemas.Checkpoint
	Close() error
}

// Opener opens one certain stream, for writing and reading, as often as it is
// called. What it opened before is closed by then.
type Opener func(t *testing.T) Stream

// Run runs the suite. Each call of fresh makes a new, empty stream.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, open Opener)
	}{
		{"EmptyStreamHasNothing", emptyStream},
		{"RecordsComeBackExactly", exactBytes},
		{"LargeRecordsComeBackExactly", largeRecords},
		{"TooLargeRecordIsRefused", tooLarge},
		{"PartitionsKeepTheirOrder", partitionOrder},
		{"ReadingResumesAtAnyCheckpoint", resume},
		{"ReopenedStreamHasEveryAcknowledgedRecord", reopen},
		{"ConcurrentAppendsAreAllThereOnce", concurrentAppends},
		{"ReaderBesideAppendersMissesNothing", readBeside},
		{"WaitReturnsWhenARecordArrives", waitArrives},
		{"WaitReturnsAtOnceWhenBehind", waitBehind},
		{"WaitObeysItsContext", waitContext},
		{"AppendObeysItsContext", appendContext},
		{"ClosedStreamRefuses", closed},
		{"CloseKeepsWhatWasAcknowledged", closeDrains},
		{"CloseEndsWait", closeEndsWait},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, fresh(t)) })
	}
}

// patience is how long the suite waits for what must happen. Only a failing
// test waits that long.
const patience = time.Minute

func opened(t *testing.T, open Opener) Stream {
	t.Helper()
	s := open(t)
	t.Cleanup(func() { _ = s.Close() }) // again, after a test's own
	return s
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// numbered is a record that says whose it is, followed by bytes that a seed
// gives.
func numbered(owner, n, size int) []byte {
	b := make([]byte, max(size, 16))
	binary.BigEndian.PutUint64(b, uint64(owner))
	binary.BigEndian.PutUint64(b[8:], uint64(n))
	random := rand.NewChaCha8([32]byte{1: byte(owner), 2: byte(n), 3: byte(n >> 8)})
	_, _ = random.Read(b[16:])
	return b
}

func number(b []byte) (owner, n int) {
	return int(binary.BigEndian.Uint64(b)), int(binary.BigEndian.Uint64(b[8:]))
}

func mustAppend(t *testing.T, s Stream, p schemas.Partition, record []byte) schemas.Checkpoint {
	t.Helper()
	at, err := s.Append(within(t), p, record)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	if at == 0 {
		t.Fatal("Append gave checkpoint 0, which is before the first record")
	}
	return at
}

// readAll reads the stream to its end as aggregation does: batch by batch,
// each from the last checkpoint. It checks that checkpoints ascend.
func readAll(t *testing.T, s Stream, after schemas.Checkpoint, limit int) []stream.Record {
	t.Helper()
	var all []stream.Record
	for {
		records, err := s.Read(within(t), after, limit)
		if err != nil {
			t.Fatalf("Read after %d: %v", after, err)
		}
		if len(records) == 0 {
			return all
		}
		if len(records) > limit {
			t.Fatalf("Read gave %d records, want at most %d", len(records), limit)
		}
		for _, r := range records {
			if r.At <= after {
				t.Fatalf("Read gave checkpoint %d after %d", r.At, after)
			}
			after = r.At
		}
		all = append(all, records...)
	}
}

func emptyStream(t *testing.T, open Opener) {
	s := opened(t, open)
	if got := readAll(t, s, 0, 10); len(got) != 0 {
		t.Errorf("Read of an empty stream gave %d records", len(got))
	}
	if got := s.Last(); got != 0 {
		t.Errorf("Last of an empty stream is %d, want 0", got)
	}
	if _, err := s.Get(within(t), 1); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("Get of nothing: %v, want ErrNotFound", err)
	}
	if _, err := s.Get(within(t), 0); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("Get at 0: %v, want ErrNotFound", err)
	}
}

func exactBytes(t *testing.T, open Opener) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	records := [][]byte{[]byte("a"), {0}, {0, 0, 0}, []byte("\xff\xfe invalid UTF-8"), []byte("line\r\nline\x00\n"), every}
	s := opened(t, open)
	at := make([]schemas.Checkpoint, len(records))
	for i, record := range records {
		at[i] = mustAppend(t, s, schemas.Partition(i*1000), bytes.Clone(record))
	}
	check := func(s Stream) {
		t.Helper()
		got := readAll(t, s, 0, 100)
		if len(got) != len(records) {
			t.Fatalf("read %d records, want %d", len(got), len(records))
		}
		for _, r := range got {
			i := int(r.Partition) / 1000
			if !bytes.Equal(r.Bytes, records[i]) || r.At != at[i] {
				t.Errorf("record %d: read %q at %d, want %q at %d", i, r.Bytes, r.At, records[i], at[i])
			}
		}
		for i, record := range records {
			if got, err := s.Get(within(t), at[i]); err != nil || !bytes.Equal(got, record) {
				t.Errorf("record %d: Get gave %q, %v, want %q", i, got, err, record)
			}
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	check(opened(t, open))
}

func largeRecords(t *testing.T, open Opener) {
	s := opened(t, open)
	for i, size := range []int{51 << 10, 5 << 10, 51 << 10, 16, stream.MaxRecord} {
		want := numbered(0, i, size)
		at := mustAppend(t, s, 7, bytes.Clone(want))
		if got, err := s.Get(within(t), at); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d bytes, %v", size, len(got), err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for i, r := range readAll(t, opened(t, open), 0, 2) {
		if want := numbered(0, i, len(r.Bytes)); !bytes.Equal(r.Bytes, want) {
			t.Errorf("record %d differs after reopening", i)
		}
	}
}

func tooLarge(t *testing.T, open Opener) {
	s := opened(t, open)
	if _, err := s.Append(within(t), 0, make([]byte, stream.MaxRecord+1)); !errors.Is(err, stream.ErrTooLarge) {
		t.Errorf("Append: %v, want ErrTooLarge", err)
	}
	mustAppend(t, s, 0, []byte("still works"))
	if got := readAll(t, s, 0, 10); len(got) != 1 {
		t.Errorf("read %d records, want 1", len(got))
	}
}

func partitionOrder(t *testing.T, open Opener) {
	const partitions, each = 5, 20
	s := opened(t, open)
	var appenders sync.WaitGroup
	for p := range partitions {
		appenders.Go(func() {
			for n := range each {
				if _, err := s.Append(t.Context(), schemas.Partition(p), numbered(p, n, 100)); err != nil {
					t.Errorf("Append: %v", err)
				}
			}
		})
	}
	appenders.Wait()
	next := make([]int, partitions)
	for _, r := range readAll(t, s, 0, 7) {
		owner, n := number(r.Bytes)
		if owner != int(r.Partition) || n != next[owner] {
			t.Fatalf("partition %d: read record %d of %d, want %d", r.Partition, n, owner, next[owner])
		}
		next[owner]++
	}
	for p, n := range next {
		if n != each {
			t.Errorf("partition %d: read %d records, want %d", p, n, each)
		}
	}
}

func resume(t *testing.T, open Opener) {
	s := opened(t, open)
	for n := range 30 {
		mustAppend(t, s, schemas.Partition(n%3), numbered(0, n, 50))
	}
	check := func(s Stream) {
		t.Helper()
		all := readAll(t, s, 0, 1000)
		if len(all) != 30 {
			t.Fatalf("read %d records, want 30", len(all))
		}
		if got := s.Last(); got != all[29].At {
			t.Errorf("Last is %d, want %d", got, all[29].At)
		}
		for i, r := range all {
			rest := readAll(t, s, r.At, 4)
			if len(rest) != len(all)-i-1 {
				t.Fatalf("resuming at record %d gave %d records, want %d", i, len(rest), len(all)-i-1)
			}
			for j := range rest {
				if want := all[i+1+j]; rest[j].At != want.At || !bytes.Equal(rest[j].Bytes, want.Bytes) {
					t.Fatalf("resuming at record %d: record %d differs", i, j)
				}
			}
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	check(opened(t, open))
}

func reopen(t *testing.T, open Opener) {
	want := 0
	for round := range 4 {
		s := open(t)
		for range 10 {
			mustAppend(t, s, 1, numbered(0, want, 300))
			want++
		}
		last := s.Last()
		if err := s.Close(); err != nil {
			t.Fatalf("round %d: Close: %v", round, err)
		}
		s = open(t)
		if got := s.Last(); got != last {
			t.Errorf("round %d: Last is %d after reopening, want %d", round, got, last)
		}
		got := readAll(t, s, 0, 13)
		if len(got) != want {
			t.Fatalf("round %d: read %d records, want %d", round, len(got), want)
		}
		for i, r := range got {
			if !bytes.Equal(r.Bytes, numbered(0, i, 300)) {
				t.Fatalf("round %d: record %d differs", round, i)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatalf("round %d: Close: %v", round, err)
		}
	}
}

// appendMany lets owners append concurrently, and reports every outcome.
func appendMany(ctx context.Context, s Stream, owners, each, size int, stored func(owner, n int, at schemas.Checkpoint, err error)) {
	var appenders sync.WaitGroup
	for owner := range owners {
		appenders.Go(func() {
			for n := range each {
				at, err := s.Append(ctx, schemas.Partition(owner%8), numbered(owner, n, size))
				stored(owner, n, at, err)
			}
		})
	}
	appenders.Wait()
}

func concurrentAppends(t *testing.T, open Opener) {
	const owners, each = 50, 10
	s := opened(t, open)
	var mu sync.Mutex
	want := map[schemas.Checkpoint][2]int{}
	appendMany(t.Context(), s, owners, each, 2000, func(owner, n int, at schemas.Checkpoint, err error) {
		mu.Lock()
		defer mu.Unlock()
		if _, twice := want[at]; twice || err != nil {
			t.Errorf("Append of %d/%d: checkpoint %d (given before: %v), %v", owner, n, at, twice, err)
		}
		want[at] = [2]int{owner, n}
	})
	for _, r := range readAll(t, s, 0, 64) {
		id, ok := want[r.At]
		if !ok {
			t.Fatalf("record at %d was never acknowledged, or was read twice", r.At)
		}
		if !bytes.Equal(r.Bytes, numbered(id[0], id[1], 2000)) {
			t.Errorf("record at %d: another record was acknowledged", r.At)
		}
		delete(want, r.At)
	}
	if len(want) != 0 {
		t.Errorf("%d acknowledged records were not read", len(want))
	}
}

func readBeside(t *testing.T, open Opener) {
	const owners, each = 8, 40
	s := opened(t, open)
	ctx := within(t)
	var reader sync.WaitGroup
	reader.Go(func() {
		next := make([]int, owners)
		after := schemas.Checkpoint(0)
		for seen := 0; seen < owners*each; {
			if err := s.Wait(ctx, after); err != nil {
				t.Errorf("Wait after %d (%d records read): %v", after, seen, err)
				return
			}
			records, err := s.Read(ctx, after, 16)
			if err != nil {
				t.Errorf("Read after %d: %v", after, err)
				return
			}
			for _, r := range records {
				owner, n := number(r.Bytes)
				if next[owner] != n {
					t.Errorf("read record %d of %d, want %d", n, owner, next[owner])
					return
				}
				next[owner]++
				seen++
				after = r.At
			}
		}
	})
	appendMany(ctx, s, owners, each, 500, func(owner, n int, _ schemas.Checkpoint, err error) {
		if err != nil {
			t.Errorf("Append of %d/%d: %v", owner, n, err)
		}
	})
	reader.Wait()
}

func waitArrives(t *testing.T, open Opener) {
	s := opened(t, open)
	first := mustAppend(t, s, 0, []byte("first"))
	woken := make(chan error, 3)
	for range cap(woken) {
		go func() { woken <- s.Wait(within(t), first) }()
	}
	s.Wake() // a false hint: it must not end any Wait
	select {
	case err := <-woken:
		t.Fatalf("Wait returned %v before there was a record", err)
	case <-time.After(20 * time.Millisecond):
	}
	mustAppend(t, s, 5, []byte("second"))
	for range cap(woken) {
		if err := <-woken; err != nil {
			t.Errorf("Wait: %v", err)
		}
	}
	if got := readAll(t, s, first, 10); len(got) != 1 || string(got[0].Bytes) != "second" {
		t.Errorf("read %v after waking", got)
	}
}

func waitBehind(t *testing.T, open Opener) {
	s := opened(t, open)
	at := mustAppend(t, s, 0, []byte("a"))
	if err := s.Wait(within(t), at-1); err != nil {
		t.Errorf("Wait before the newest record: %v", err)
	}
}

func waitContext(t *testing.T, open Opener) {
	s := opened(t, open)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with an ended context: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Wait(ctx, 0) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Wait whose context ends: %v", err)
	}
}

func appendContext(t *testing.T, open Opener) {
	s := opened(t, open)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Append(ctx, 0, []byte("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("Append with an ended context: %v", err)
	}
	if got := readAll(t, s, 0, 10); len(got) != 0 {
		t.Errorf("Append with an ended context stored %d records", len(got))
	}
}

func closed(t *testing.T, open Opener) {
	s := opened(t, open)
	at := mustAppend(t, s, 0, []byte("a"))
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	_, appendErr := s.Append(within(t), 0, []byte("b"))
	_, readErr := s.Read(within(t), 0, 1)
	_, getErr := s.Get(within(t), at)
	for call, err := range map[string]error{"Append": appendErr, "Read": readErr, "Get": getErr, "Wait": s.Wait(within(t), 0)} {
		if !errors.Is(err, stream.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", call, err)
		}
	}
	s.Wake() // harmless
	if got := readAll(t, opened(t, open), 0, 10); len(got) != 1 {
		t.Errorf("stream has %d records, want 1", len(got))
	}
}

// closeDrains closes the stream under appenders: whatever was acknowledged is
// there, and whatever was refused for sure is not.
func closeDrains(t *testing.T, open Opener) {
	s := opened(t, open)
	var mu sync.Mutex
	outcome := map[string]error{}
	first := make(chan struct{})
	var once sync.Once
	var appenders sync.WaitGroup
	appenders.Go(func() {
		appendMany(t.Context(), s, 16, 30, 1000, func(owner, n int, _ schemas.Checkpoint, err error) {
			mu.Lock()
			defer mu.Unlock()
			outcome[fmt.Sprint(owner, "/", n)] = err
			once.Do(func() { close(first) })
		})
	})
	<-first
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	appenders.Wait()
	there := map[string]bool{}
	for _, r := range readAll(t, opened(t, open), 0, 50) {
		owner, n := number(r.Bytes)
		there[fmt.Sprint(owner, "/", n)] = true
	}
	for id, err := range outcome {
		switch {
		case err == nil && !there[id]:
			t.Errorf("record %s was acknowledged and is lost", id)
		case err != nil && !errors.Is(err, stream.ErrUnknownOutcome) && there[id]:
			t.Errorf("record %s was refused (%v) and is there", id, err)
		case err != nil && !errors.Is(err, stream.ErrUnknownOutcome) && !errors.Is(err, stream.ErrClosed):
			t.Errorf("record %s: %v, want ErrClosed", id, err)
		}
	}
}

func closeEndsWait(t *testing.T, open Opener) {
	s := opened(t, open)
	done := make(chan error, 1)
	go func() { done <- s.Wait(within(t), 0) }()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if err := <-done; !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Wait on a stream that closes: %v, want ErrClosed", err)
	}
}
