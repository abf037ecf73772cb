package publish_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/publish"
	"tallystream/publish/log"
	"tallystream/schemas"
)

// script is a short night: snapshots, files and pages, with changes between, of
// which one reaches the log before its snapshot.
func script(t *testing.T, b *books, n *night) {
	time.Sleep(2 * time.Second)
	b.count("oak.1", 1, oak1)
	n.hint()
	time.Sleep(300 * time.Millisecond)
	b.count("oak.2", 1, row(1, 10, 10, 1, 1, 1, 1, 1, 8, 8, 0, 0, 1, 5, 5, 5, 5)) // before the next snapshot
	n.hint()
	time.Sleep(1700 * time.Millisecond)
	if err := n.Finish(t.Context()); err != nil {
		t.Logf("first finish: %v", err)
	}
}

func rest(t *testing.T, b *books, n *night) {
	b.count("fir.1", 1, row(1, 9, 9, 1, 2, 2, 2, 2))
	b.submit("fir.1", 2, row(1, 1, 1, 1, 0, 0, 0, 1), schemas.EntryHeld, schemas.HoldLowered)
	b.count("oak.1", 2, row(1, 31, 41, 1, 10, 11, 12, 14, 1, 7, 8, 9, 11, 15, 22, 0, 0, 1, 3, 4, 5, 7))
	n.hint()
	time.Sleep(2 * time.Second)
	n.mustFinish()
}

func withFiles(c *publish.Config) {
	c.UnitLines, c.UnitReports, c.ExportEvery, c.LogBytes = true, true, time.Second, 1
}

// results are all final documents and files by their names.
func results(t *testing.T, store *strictBucket, e *election) map[string]string {
	chain := checkChain(t, store, e)
	mustVerify(t, store, e)
	out := map[string]string{}
	for _, m := range manifestOf(t, store, chain[len(chain)-1]) {
		out[m.Name] = string(store.must(m.Key))
		if strings.HasSuffix(m.Name, ".cdf.json.gz") || strings.HasPrefix(m.Name, "cdf/") {
			out[m.Name] = reportNumbers(t, store.must(m.Key))
		}
	}
	return out
}

// ofSnapshot is what a report says of its snapshot: faults may move it to a
// later one.
var ofSnapshot = regexp.MustCompile(`"GeneratedDate":"[^"]*"|"tallystream.(snapshot|log)","Value":"[^"]*"`)

// reportNumbers is a report without that.
func reportNumbers(t *testing.T, b []byte) string {
	t.Helper()
	return ofSnapshot.ReplaceAllString(string(unpacked(t, b)), "")
}

func unpacked(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// unharmed runs the night without faults, and says at which of its writes faults
// befall the others.
func unharmed(t *testing.T) (files map[string]string, at []int) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		var keys []string
		n := begin(t, b, store.process(func(_ int, key string) fault { keys = append(keys, key); return works }), newViewer(t, store), withFiles)
		script(t, b, n)
		at = faultsAt(keys)
		alone := 0 // checkpoints that no snapshot ends
		for i, key := range store.history {
			if key == log.CheckpointKey && !strings.HasPrefix(store.history[i+1], "snapshots/") {
				alone++
			}
		}
		if alone == 0 {
			t.Error("nothing reaches the log before its snapshot")
		}
		rest(t, b, n)
		n.mustEnd()
		files = results(t, store, e)
	})
	return files, at
}

// faultsAt are the writes that a fault befalls: every one, but of the schemas,
// which a start writes in one go, the first and the last; and under stride a
// sample of these.
func faultsAt(keys []string) (at []int) {
	of := func(i int) bool { return i >= 0 && i < len(keys) && strings.HasPrefix(keys[i], "schemas/") }
	for i := range keys {
		if !of(i-1) || !of(i) || !of(i+1) {
			at = append(at, i+1)
		}
	}
	for i := range (len(at) + stride() - 1) / stride() {
		at[i] = at[i*stride()]
	}
	return at[:(len(at)+stride()-1)/stride()]
}

// stride is from one write to the next that a fault befalls: every write, but
// under -short, as the race detector runs, a sample of them.
func stride() int {
	if testing.Short() {
		return 13
	}
	return 1
}

func TestACrashAtAnyWriteLosesNothingAndChangesNothing(t *testing.T) {
	t.Parallel()
	want, writes := unharmed(t)
	if len(writes)*stride() < 25 {
		t.Fatalf("the script makes only the writes %v", writes)
	}
	for _, f := range []fault{crash, crashed} {
		for _, at := range writes {
			t.Run(fmt.Sprintf("fault %d at write %d", f, at), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := openElection(t, smallElection())
					b, store := newBooks(t, e), newBucket(t)
					p := store.process(func(n int, _ string) fault {
						if n == at {
							return f
						}
						return works
					})
					n := begin(t, b, p, newViewer(t, store), withFiles)
					script(t, b, n)
					_ = n.end() // how a dead process ended does not matter
					before := len(checkReadable(t, store, e))

					again := begin(t, b, store.process(nil), newViewer(t, store), withFiles)
					rest(t, b, again)
					again.mustEnd()
					compare(t, want, results(t, store, e))
					if after := len(checkChain(t, store, e)); after <= before {
						t.Errorf("%d snapshots before the crash, %d in the end", before, after)
					}
				})
			})
		}
	}
}

func TestAFailingBucketIsWrittenAgainWithTheSameBytes(t *testing.T) {
	t.Parallel()
	want, writes := unharmed(t)
	for _, f := range []fault{notStored, stored} {
		for _, at := range writes {
			t.Run(fmt.Sprintf("fault %d at write %d", f, at), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := openElection(t, smallElection())
					b, store := newBooks(t, e), newBucket(t)
					hit := ""
					p := store.process(func(n int, key string) fault {
						if n == at || (hit == key && n < at+4) { // and some times more
							hit = key
							return f
						}
						return works
					})
					n := begin(t, b, p, newViewer(t, store), withFiles)
					script(t, b, n)
					select {
					case err := <-n.done: // opening is not repeated: whoever starts it does that
						if err == nil {
							t.Fatal("Run ended without an error")
						}
						n = begin(t, b, store.process(nil), newViewer(t, store), withFiles)
					default:
					}
					rest(t, b, n)
					n.mustEnd()
					compare(t, want, results(t, store, e))
				})
			})
		}
	}
}

// checkReadable is checkChain for a bucket that a process left behind in the
// middle of its work: latest may be one behind.
func checkReadable(t *testing.T, store *strictBucket, e *election) []schemas.SnapshotNumber {
	var numbers []schemas.SnapshotNumber
	for {
		note, err := store.Get(t.Context(), schemas.SnapshotKey(schemas.SnapshotNumber(len(numbers)+1)))
		if err != nil {
			break
		}
		s, err := schemas.OpenSnapshot(note, e.verifier)
		if err != nil {
			t.Fatal(err)
		}
		checkManifest(t, store, s)
		numbers = append(numbers, s.Number)
	}
	if logged := checkLog(t, store, e); logged != len(numbers) && logged != len(numbers)+1 {
		t.Errorf("the log has %d snapshots, the bucket %d", logged, len(numbers))
	}
	checkVerified(t, store, e)
	return numbers
}

func compare(t *testing.T, want, got map[string]string) {
	t.Helper()
	for name, body := range want {
		if got[name] != body {
			t.Errorf("%s is\n%s\nwant\n%s", name, got[name], body)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
}
