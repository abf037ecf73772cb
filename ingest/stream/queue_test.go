package stream

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tallystream/schemas"
)

func testQueue(cfg Config) *queue {
	cfg = cfg.withDefaults()
	return newQueue(&cfg)
}

func pushN(t *testing.T, q *queue, n, size int) {
	t.Helper()
	for range n {
		if err := q.push(&pending{record: make([]byte, size), queued: time.Now(), done: make(chan struct{}, 1)}); err != nil {
			t.Fatalf("push: %v", err)
		}
	}
}

// taken takes a group in the background and tells its size and when it came.
func taken(q *queue) chan string {
	began, group := time.Now(), make(chan string, 1)
	go func() { group <- fmt.Sprint(len(q.take(nil)), " after ", time.Since(began)) }()
	return group
}

func TestFirstRecordWaitsForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(Config{})
		group := taken(q)
		time.Sleep(time.Second) // nobody comes: the committer sleeps
		pushN(t, q, 1, 10)
		time.Sleep(2 * time.Millisecond)
		pushN(t, q, 2, 10)
		if got := <-group; got != "3 after 1.005s" {
			t.Errorf("took %s, want 3 records, 5 ms after the first came", got)
		}
	})
}

func TestRecordThatHasWaitedDoesNotWaitAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(Config{})
		pushN(t, q, 1, 10)
		time.Sleep(4 * time.Millisecond) // as during the commit before
		if got := <-taken(q); got != "1 after 1ms" {
			t.Errorf("took %s", got)
		}
		pushN(t, q, 1, 10)
		time.Sleep(time.Second)
		if got := <-taken(q); got != "1 after 0s" {
			t.Errorf("took %s", got)
		}
	})
}

func TestLongQueueIsTakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(Config{MaxGroup: 4})
		group := taken(q)
		synctest.Wait()
		time.Sleep(time.Millisecond)
		pushN(t, q, 11, 10)
		if got := <-group; got != "4 after 1ms" {
			t.Errorf("took %s", got)
		}
		if got := <-taken(q); got != "4 after 0s" {
			t.Errorf("then took %s", got)
		}
		if got := <-taken(q); got != "3 after 5ms" {
			t.Errorf("and took %s, want the rest to wait for company", got)
		}
	})
}

func TestLargeRecordsMakeSmallGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(Config{})
		pushN(t, q, 20, 1<<20)
		for _, want := range []string{"8 after 0s", "8 after 0s", "4 after 5ms"} {
			if got := <-taken(q); got != want {
				t.Errorf("took %s, want %s", got, want)
			}
		}
	})
}

func TestClosedQueueIsDrainedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(Config{MaxGroup: 2})
		pushN(t, q, 3, 10)
		q.close()
		if err := q.push(&pending{}); !errors.Is(err, ErrClosed) {
			t.Errorf("push: %v, want ErrClosed", err)
		}
		for _, want := range []string{"2 after 0s", "1 after 0s", "0 after 0s"} {
			if got := <-taken(q); got != want {
				t.Errorf("took %s, want %s", got, want)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(Config{})
		group := taken(q)
		synctest.Wait()
		q.close()
		if got := <-group; got != "0 after 0s" {
			t.Errorf("a committer that waits took %s", got)
		}
	})
}

// The tail, whatever is added and asked, agrees with a list of everything,
// or says that it does not know; and it does know what fits its limit.
func TestTailAgreesWithTheWholeStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tl := tail{limit: rapid.IntRange(0, 2000).Draw(t, "limit")}
		var all []Record
		for range rapid.IntRange(0, 40).Draw(t, "groups") {
			var group []*pending
			for range rapid.IntRange(1, 8).Draw(t, "records") {
				r := Record{At: schemas.Checkpoint(len(all) + 1), Bytes: make([]byte, rapid.IntRange(0, 300).Draw(t, "size"))}
				all = append(all, r)
				group = append(group, &pending{at: r.At, record: r.Bytes})
			}
			tl.add(group)
			if rapid.IntRange(0, 15).Draw(t, "gap") == 0 { // stored, but by somebody else
				all = append(all, Record{At: schemas.Checkpoint(len(all) + 1)})
				tl.moveTo(schemas.Checkpoint(len(all)))
				tl.moveTo(schemas.Checkpoint(len(all) - 1)) // old news
			}
			checkTail(t, &tl, all)
		}
	})
}

func checkTail(t *rapid.T, tl *tail, all []Record) {
	if tl.bytes > tl.limit || tl.newest() != schemas.Checkpoint(len(all)) {
		t.Fatalf("%d bytes of %d, newest %d of %d", tl.bytes, tl.limit, tl.newest(), len(all))
	}
	after := rapid.IntRange(0, len(all)+2).Draw(t, "after")
	limit := rapid.IntRange(1, 20).Draw(t, "n")
	records, known := tl.read(schemas.Checkpoint(after), limit)
	want := all[min(after, len(all)):]
	want = want[:min(limit, len(want))]
	if known && len(records) != len(want) {
		t.Fatalf("read %d records after %d, want %d", len(records), after, len(want))
	}
	for i := range records {
		if records[i].At != want[i].At || len(records[i].Bytes) != len(want[i].Bytes) {
			t.Fatalf("record %d after %d: at %d, want %d", i, after, records[i].At, want[i].At)
		}
	}
	_, got := tl.get(schemas.Checkpoint(after))
	if held := after > len(all)-tl.count && after <= len(all); got != held {
		t.Fatalf("get at %d: %v, want %v", after, got, held)
	}
	if newest := len(all); tl.count == 0 && newest > 0 && tl.limit > 400 && len(all[newest-1].Bytes) > 0 {
		t.Fatalf("nothing is held of %d records", newest)
	}
}
