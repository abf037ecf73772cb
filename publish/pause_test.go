package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish"
	"tallystream/publish/bucket"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// pauses follows the statements of pauses through a log.
type pauses struct {
	last    *leaf.Pause
	numbers map[string]schemas.Digest // documents of the newest snapshot
	count   int
}

func (x *pauses) inForce() bool { return x.last != nil && !x.last.Resumed }

// take fails the test where a statement is not signed, says what is so already,
// or anything moves in spite of it.
func (x *pauses) take(t testing.TB, b *strictBucket, e *election, index int64, l leaf.Leaf) {
	t.Helper()
	switch l := l.(type) {
	case *leaf.Pause:
		if _, err := note.Open(l.Note, note.VerifierList(e.verifier)); err != nil || l.Origin != e.Definition.Origin {
			t.Errorf("leaf %d: a pause of %s: %v", index, l.Origin, err)
		}
		if l.Resumed != x.inForce() {
			t.Errorf("leaf %d: %s follows %+v", index, l.Kind(), x.last)
		}
		x.last = l
		x.count++
	case *leaf.Submission, *leaf.Hold:
		if x.inForce() {
			t.Errorf("leaf %d: a number moves in a pause", index)
		}
	case *leaf.Snapshot:
		if _, err := b.Get(t.Context(), schemas.ContentKey("manifests", l.Snapshot.Manifest, ".ndjson")); err != nil {
			t.Fatal(err)
		}
		numbers := map[string]schemas.Digest{}
		for _, m := range manifestOf(t, b, l.Snapshot) {
			if strings.HasPrefix(m.Key, "documents/") {
				numbers[m.Name] = m.Hash
			}
		}
		if x.inForce() && !maps.Equal(numbers, x.numbers) {
			t.Errorf("leaf %d: snapshot %d has other documents than the one before, in a pause", index, l.Snapshot.Number)
		}
		x.numbers = numbers
	}
}

// close holds the object beside latest against the log.
func (x *pauses) close(t testing.TB, b *strictBucket) {
	t.Helper()
	said, err := b.Get(t.Context(), schemas.PauseKey)
	if errors.Is(err, bucket.ErrNotFound) && x.count < 2 {
		return // it is on its way, if there is one at all
	}
	if err != nil || x.last == nil {
		t.Fatalf("the object says %q, the log %+v: %v", said, x.last, err)
	}
	if !bytes.Contains(said, []byte("/pause/v1\n")) && !bytes.Contains(said, []byte("/resume/v1\n")) {
		t.Errorf("the object says %q", said)
	}
}

// ask leaves a request for a pause, or its end, in the register.
func ask(t *testing.T, store *strictBucket, e *election, pause bool, text string) *publish.PauseRequest {
	t.Helper()
	q := &publish.PauseRequest{Register: store.process(nil), Origin: e.Definition.Origin, Pause: pause, Reason: "court-order", Text: text}
	if err := q.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	return q
}

func await(t *testing.T, q *publish.PauseRequest) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said, err := q.Await(ctx, func(ctx context.Context, d time.Duration) error { time.Sleep(d); return ctx.Err() })
	if err != nil {
		t.Fatal(err)
	}
	return string(said)
}

var oak2 = row(1, 10, 10, 1, 1, 1, 1, 1, 8, 8, 0, 0, 1, 5, 5, 5, 5)

func TestInAPauseNoNumberMovesAndEverybodyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		v := newViewer(t, store)
		n := begin(t, b, store.process(nil), v, withFiles)
		b.count("oak.1", 1, oak1)
		n.hint()
		time.Sleep(3 * time.Second)

		const why = `A court <ordered> it.`
		said := await(t, ask(t, store, e, true, why))
		time.Sleep(3 * time.Second)
		shown := document(t, store, e, "election")
		if string(store.must(schemas.PauseKey)) != said || !strings.Contains(said, "\nreason court-order\ntext "+why+"\n") {
			t.Errorf("the object says\n%s\nthe statement is\n%s", store.must(schemas.PauseKey), said)
		}
		if !strings.Contains(shown, `"unit":"test-2026","reporting":1`) {
			t.Errorf("the last snapshot before the pause shows\n%s", shown)
		}
		b.count("oak.2", 1, oak2)
		n.hint()
		before, deltas := n.Latest().Number, v.deltas
		time.Sleep(5 * time.Minute)
		for _, page := range []string{"index.html", "county/oak.html", "contests.html"} {
			if !strings.Contains(string(store.must(page)), "since <time datetime") || !strings.Contains(string(store.must(page)), "A court &lt;ordered&gt; it.") {
				t.Errorf("%s does not say that publication is paused", page)
			}
		}
		if beats := n.Latest().Number - before; beats != 5 {
			t.Errorf("%d snapshots in five minutes of a pause, want a heartbeat each", beats)
		}
		n.mustFinish() // a close does not wait for the end of a pause
		if now := document(t, store, e, "election"); now != shown || v.deltas != deltas {
			t.Errorf("%d deltas came, and the numbers are\n%s\nthey were\n%s", v.deltas-deltas, now, shown)
		}
		n.mustEnd()

		again := begin(t, b, store.process(nil), v, withFiles)
		time.Sleep(3 * time.Minute)
		if now := document(t, store, e, "election"); now != shown {
			t.Errorf("after a start the numbers are\n%s\nthey were\n%s", now, shown)
		}
		if v.paused != 1 {
			t.Errorf("the newest announcement says %d of a pause", v.paused)
		}
		await(t, ask(t, store, e, false, "The court lifted it."))
		time.Sleep(10 * time.Second)
		if now := document(t, store, e, "election"); !strings.Contains(now, `"unit":"test-2026","reporting":2`) || v.paused != 0 {
			t.Errorf("after the pause the numbers are\n%s", now)
		}
		if page := string(store.must("county/oak.html")); strings.Contains(page, "since <time datetime") {
			t.Error("a page still says that publication is paused")
		}
		again.mustFinish()
		again.mustEnd()
		checkChain(t, store, e)
	})
}

func TestAPauseIsAskedForOnceAndInItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		send := func(pause bool, reason, text string) error {
			return (&publish.PauseRequest{Register: store.process(nil), Origin: e.Definition.Origin, Pause: pause, Reason: reason, Text: text}).Send(t.Context())
		}
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		time.Sleep(2 * time.Second)
		if err := send(false, "no", "No."); !errors.Is(err, publish.ErrPauseState) {
			t.Errorf("the end of no pause: %v", err)
		}
		for _, bad := range [][2]string{{"Two Words", "Text."}, {"", "Text."}, {"word", ""}, {"word", "two\nlines"}, {"word", strings.Repeat("x", leaf.MaxPauseText+1)}} {
			if err := send(true, bad[0], bad[1]); err == nil {
				t.Errorf("%.20q was taken", bad)
			}
		}
		await(t, ask(t, store, e, true, "First."))
		if err := send(true, "again", "Second."); !errors.Is(err, publish.ErrPauseState) {
			t.Errorf("a pause in a pause: %v", err)
		}
		await(t, ask(t, store, e, false, "Over."))
		time.Sleep(time.Minute)
		if !strings.Contains(string(store.must(schemas.PauseKey)), "/resume/v1\n") {
			t.Error("a request that was done is done again")
		}
		n.mustEnd()
		checkChain(t, store, e)
	})
}

// TestBooksThatDifferAreAPauseUntilSomebodyResumes: what stops the publisher is
// said in public, the next start goes on with heartbeats, and only an operator
// lets numbers move again.
func TestBooksThatDifferAreAPauseUntilSomebodyResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		b.count("oak.1", 1, oak1)
		n.hint()
		time.Sleep(3 * time.Second)
		b.mu.Lock()
		oak, _ := e.County("oak")
		b.tallies[oak][3]++
		b.mu.Unlock()
		b.count("oak.2", 1, oak2)
		n.hint()
		if _, ok := errors.AsType[*publish.ImbalanceError](<-n.done); !ok {
			t.Fatal("the books do not differ")
		}
		n.stop()
		if page := string(store.must("index.html")); !strings.Contains(page, "Two independent counts") {
			t.Error("the front page does not say why")
		}
		shown := document(t, store, e, "election")
		again := begin(t, b, store.process(nil), newViewer(t, store), nil)
		time.Sleep(5 * time.Minute)
		if err := again.Ready(); err != nil || again.Latest().Number < 6 {
			t.Errorf("no heartbeats in the pause: %v, snapshot %d", err, again.Latest().Number)
		}
		b.mu.Lock()
		b.tallies[oak][3]-- // the mistake was found
		b.mu.Unlock()
		if now := document(t, store, e, "election"); now != shown {
			t.Errorf("the numbers are\n%s\nthey were\n%s", now, shown)
		}
		await(t, ask(t, store, e, false, "The difference was found, and no number was wrong."))
		again.mustFinish()
		again.mustEnd()
		if now := document(t, store, e, "election"); !strings.Contains(now, `"unit":"test-2026","reporting":2`) {
			t.Errorf("after the pause the numbers are\n%s", now)
		}
		checkChain(t, store, e)
	})
}

// pausedScript is a short night with a pause in it.
func pausedScript(t *testing.T, b *books, store *strictBucket, e *election, n *night) {
	b.count("oak.1", 1, oak1)
	n.hint()
	time.Sleep(2 * time.Second)
	paused := &publish.PauseRequest{Register: store.process(nil), Origin: e.Definition.Origin, Pause: true, Reason: "court-order", Text: "A court ordered it."}
	if err := paused.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	b.count("oak.2", 1, oak2)
	n.hint()
	time.Sleep(2 * time.Second)
	resumed := &publish.PauseRequest{Register: store.process(nil), Origin: e.Definition.Origin, Reason: "court-order", Text: "It was lifted."}
	if err := resumed.Send(t.Context()); err != nil && !errors.Is(err, publish.ErrPauseState) {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
}

// afterPause ends the night, with whichever part of the pause is still to come.
func afterPause(t *testing.T, b *books, store *strictBucket, e *election, n *night) {
	time.Sleep(3 * time.Second)
	resumed := &publish.PauseRequest{Register: store.process(nil), Origin: e.Definition.Origin, Reason: "court-order", Text: "It was lifted."}
	switch err := resumed.Send(t.Context()); {
	case err == nil:
		await(t, resumed)
	case !errors.Is(err, publish.ErrPauseState):
		t.Fatal(err)
	}
	n.mustFinish()
}

func TestACrashAtAnyWriteOfAPauseIsFinishedByteForByte(t *testing.T) {
	t.Parallel()
	night := func(t *testing.T, decide func(n int, key string) fault) (map[string]string, []string) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		var keys []string
		p := store.process(func(n int, key string) fault {
			keys = append(keys, key)
			if decide != nil {
				return decide(n, key)
			}
			return works
		})
		n := begin(t, b, p, newViewer(t, store), nil)
		pausedScript(t, b, store, e, n)
		_ = n.end() // how a dead process ended does not matter
		checkReadable(t, store, e)
		again := begin(t, b, store.process(nil), newViewer(t, store), nil)
		afterPause(t, b, store, e, again)
		again.mustEnd()
		return results(t, store, e), keys
	}
	var want map[string]string
	var keys []string
	synctest.Test(t, func(t *testing.T) { want, keys = night(t, nil) })
	said := 0
	for _, key := range keys {
		if key == schemas.PauseKey {
			said++
		}
	}
	if said != 2 {
		t.Fatalf("the script writes %d statements", said)
	}
	for _, f := range []fault{crash, crashed} {
		for _, at := range faultsAt(keys) {
			if !strings.Contains(keys[at-1], "tile") && !strings.Contains(" checkpoint pause latest register publication index.html", keys[at-1]) && at%7 > 0 {
				continue // documents and pages are crashed at by the other nights
			}
			t.Run(fmt.Sprintf("fault %d at write %d of %s", f, at, strings.ReplaceAll(keys[at-1], "/", "-")), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					got, _ := night(t, func(n int, _ string) fault {
						if n == at {
							return f
						}
						return works
					})
					compare(t, want, got)
				})
			})
		}
	}
}
