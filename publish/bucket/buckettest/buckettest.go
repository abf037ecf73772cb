// Package buckettest holds what every bucket must do, whatever it is made of.
// An adapter passes all of it or is not a bucket.
package buckettest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"tallystream/publish/bucket"
)

// Bucket is what publication uses.
type Bucket interface {
	PutNew(ctx context.Context, objects ...bucket.Object) error
	Replace(ctx context.Context, objects ...bucket.Object) error
	Get(ctx context.Context, key string) ([]byte, error)
}

// Opener opens one certain bucket, as another process would, as often as it
// is called.
type Opener func(t *testing.T) Bucket

// Run runs the suite. Each call of fresh makes a new, empty bucket.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, open Opener)
	}{
		{"MissingObjectIsNotFound", missing},
		{"ObjectsComeBackExactly", exactBytes},
		{"SameBytesAgainAreFine", sameAgain},
		{"OtherBytesAreRefusedAndChangeNothing", otherBytes},
		{"OneOfManyRacersWins", race},
		{"RacersWithTheSameBytesAllSucceed", raceSame},
		{"ReplaceIsAtomicUnderReaders", replaceAtomic},
		{"LastReplaceStays", replaceLast},
		{"KeysCannotLeaveTheBucket", badKeys},
		{"ManyObjectsInOneBatch", many},
		{"EndedContextWritesNothing", endedContext},
		{"EmptyBatchIsFine", emptyBatch},
		{"CallerMayReuseTheBody", reuseBody},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, fresh(t)) })
	}
}

func object(key, body string) bucket.Object {
	return bucket.Object{Key: key, Body: []byte(body), ContentType: bucket.ContentTypeOf(key), CacheControl: bucket.CacheControlOf(key)}
}

func mustPut(t *testing.T, b Bucket, objects ...bucket.Object) {
	t.Helper()
	if err := b.PutNew(t.Context(), objects...); err != nil {
		t.Fatalf("PutNew: %v", err)
	}
}

func mustHave(t *testing.T, b Bucket, key, want string) {
	t.Helper()
	got, err := b.Get(t.Context(), key)
	if err != nil || string(got) != want {
		t.Errorf("Get %q: %.80q, %v, want %.80q", key, got, err, want)
	}
}

func mustLack(t *testing.T, b Bucket, key string) {
	t.Helper()
	if got, err := b.Get(t.Context(), key); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("Get %q: %.80q, %v, want ErrNotFound", key, got, err)
	}
}

func missing(t *testing.T, open Opener) {
	b := open(t)
	mustLack(t, b, "latest")
	mustLack(t, b, "documents/ab/abcd.ndjson")
	mustPut(t, b, object("documents/ab/abcd.ndjson", "x"), object("latest", "y"))
	mustLack(t, b, "documents")
	mustLack(t, b, "documents/ab")
	mustLack(t, b, "documents/ab/abc")
	mustLack(t, b, "latest/x")
}

func exactBytes(t *testing.T, open Opener) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	bodies := []string{"", "a", "\x00", "line\r\nline\n", string(every), strings.Repeat("0123456789", 300_000)}
	b := open(t)
	for i, body := range bodies {
		mustPut(t, b, object(fmt.Sprintf("snapshots/%09d", i), body))
		if err := b.Replace(t.Context(), object(fmt.Sprintf("page/%d.html", i), body)); err != nil {
			t.Fatalf("Replace: %v", err)
		}
	}
	for _, b := range []Bucket{b, open(t)} {
		for i, body := range bodies {
			mustHave(t, b, fmt.Sprintf("snapshots/%09d", i), body)
			mustHave(t, b, fmt.Sprintf("page/%d.html", i), body)
		}
	}
}

func sameAgain(t *testing.T, open Opener) {
	b := open(t)
	mustPut(t, b, object("csv/a.csv", "same"))
	mustPut(t, b, object("csv/a.csv", "same"), object("csv/b.csv", "new"), object("csv/b.csv", "new"))
	mustPut(t, open(t), object("csv/a.csv", "same"))
	mustHave(t, b, "csv/a.csv", "same")
	mustHave(t, b, "csv/b.csv", "new")
}

func otherBytes(t *testing.T, open Opener) {
	b := open(t)
	mustPut(t, b, object("snapshots/000000001", "first"))
	for _, other := range []string{"other", "firs", "first!", ""} {
		for _, b := range []Bucket{b, open(t)} {
			if err := b.PutNew(t.Context(), object("snapshots/000000001", other)); !errors.Is(err, bucket.ErrDiffers) {
				t.Errorf("PutNew of %q: %v, want ErrDiffers", other, err)
			}
			mustHave(t, b, "snapshots/000000001", "first")
		}
	}
	if err := b.PutNew(t.Context(), object("csv/a", "1"), object("csv/a", "2")); !errors.Is(err, bucket.ErrDiffers) {
		t.Errorf("PutNew of two bodies at one key: %v, want ErrDiffers", err)
	}
	if got, err := b.Get(t.Context(), "csv/a"); err == nil && string(got) != "1" {
		t.Errorf("Get: %q, want the first of two bodies", got)
	}
}

const racers = 30

// race lets racers put at the same keys at once, each through a bucket of its
// own, as processes would that all believe to be the leader.
func race(t *testing.T, open Opener) {
	const rounds = 10
	buckets := make([]Bucket, racers)
	for i := range buckets {
		buckets[i] = open(t)
	}
	for round := range rounds {
		key := fmt.Sprintf("snapshots/%09d", round)
		body := func(i int) string { return strings.Repeat(fmt.Sprintf("racer %d of round %d\n", i, round), 400) }
		won := make([]bool, racers)
		var start, done sync.WaitGroup
		start.Add(1)
		for i := range racers {
			done.Go(func() {
				start.Wait()
				err := buckets[i].PutNew(t.Context(), object(key, body(i)))
				if err != nil && !errors.Is(err, bucket.ErrDiffers) {
					t.Errorf("round %d, racer %d: %v", round, i, err)
				}
				won[i] = err == nil
				// Whoever won: from here on the object stands.
				got, err := buckets[i].Get(t.Context(), key)
				if err != nil || (won[i] && string(got) != body(i)) {
					t.Errorf("round %d, racer %d, won %v: read %.40q, %v", round, i, won[i], got, err)
				}
			})
		}
		start.Done()
		done.Wait()
		winner := -1
		for i := range won {
			if won[i] && winner >= 0 {
				t.Fatalf("round %d: racers %d and %d both won", round, winner, i)
			}
			if won[i] {
				winner = i
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		mustHave(t, buckets[0], key, body(winner))
	}
}

func raceSame(t *testing.T, open Opener) {
	b := open(t)
	body := strings.Repeat("the same\n", 1000)
	var done sync.WaitGroup
	for range racers {
		done.Go(func() {
			if err := b.PutNew(t.Context(), object("documents/aa/same.ndjson", body)); err != nil {
				t.Errorf("PutNew: %v", err)
			}
		})
	}
	done.Wait()
	mustHave(t, b, "documents/aa/same.ndjson", body)
}

// sealed is a body whose first bytes are the hash of the rest.
func sealed(n int) string {
	rest := strings.Repeat(fmt.Sprintf("version %d\n", n), 500+n%37)
	sum := sha256.Sum256([]byte(rest))
	return hex.EncodeToString(sum[:]) + rest
}

func isSealed(b []byte) bool {
	if len(b) < 64 {
		return false
	}
	sum := sha256.Sum256(b[64:])
	return string(b[:64]) == hex.EncodeToString(sum[:])
}

func replaceAtomic(t *testing.T, open Opener) {
	b := open(t)
	if err := b.Replace(t.Context(), object("latest", sealed(0))); err != nil {
		t.Fatalf("Replace: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				got, err := b.Get(t.Context(), "latest")
				if err != nil || !isSealed(got) {
					t.Errorf("Get while it is replaced: %d bytes, whole: %v, %v", len(got), isSealed(got), err)
					return
				}
			}
		})
	}
	for n := range 60 {
		if err := b.Replace(t.Context(), object("latest", sealed(n))); err != nil {
			t.Errorf("Replace: %v", err)
		}
	}
	stop()
	readers.Wait()
	mustHave(t, b, "latest", sealed(59))
}

func replaceLast(t *testing.T, open Opener) {
	b := open(t)
	objects := []bucket.Object{object("index.html", "1"), object("contest/a.html", "2"), object("index.html", "3")}
	if err := b.Replace(t.Context(), objects...); err != nil {
		t.Fatalf("Replace: %v", err)
	}
	mustHave(t, b, "index.html", "3")
	if err := open(t).Replace(t.Context(), object("index.html", "4")); err != nil {
		t.Fatalf("Replace: %v", err)
	}
	mustHave(t, b, "index.html", "4")
	mustHave(t, b, "contest/a.html", "2")
}

func badKeys(t *testing.T, open Opener) {
	b := open(t)
	for _, key := range []string{
		"", ".", "..", "/", "/etc/passwd", "../escape", "a/../../escape", "a/..", "a/.", "a//b", "a/", "./a", ".hidden", "a/.hidden",
		".staging/x", `a\b`, `..\escape`, "a\x00b", "a b", "a\nb", "C:x", "a%2fb", "ä", "a?b", "a#b", "a*b",
		strings.Repeat("a", 256), strings.Repeat("a/", 300) + "a",
	} {
		if err := b.PutNew(t.Context(), object("fine", "1"), object(key, "x")); !errors.Is(err, bucket.ErrKey) {
			t.Errorf("PutNew at %q: %v, want ErrKey", key, err)
		}
		if err := b.Replace(t.Context(), object("fine", "1"), object(key, "x")); !errors.Is(err, bucket.ErrKey) {
			t.Errorf("Replace at %q: %v, want ErrKey", key, err)
		}
		if got, err := b.Get(t.Context(), key); !errors.Is(err, bucket.ErrKey) {
			t.Errorf("Get of %q: %.40q, %v, want ErrKey", key, got, err)
		}
	}
	mustLack(t, b, "fine") // a batch with a bad key writes nothing
}

func many(t *testing.T, open Opener) {
	const n = 700
	random := rand.NewChaCha8([32]byte{1})
	objects := make([]bucket.Object, n)
	for i := range objects {
		body := make([]byte, 200+i)
		_, _ = random.Read(body)
		sum := sha256.Sum256(body)
		name := hex.EncodeToString(sum[:])
		objects[i] = bucket.Object{Key: "documents/" + name[:2] + "/" + name + ".ndjson", Body: body}
	}
	b := open(t)
	mustPut(t, b, objects[:n/2]...)
	mustPut(t, b, objects...) // half of them are there
	other := open(t)
	for _, o := range objects {
		got, err := other.Get(t.Context(), o.Key)
		if err != nil || !bytes.Equal(got, o.Body) {
			t.Fatalf("Get %s: %d bytes, %v", o.Key, len(got), err)
		}
	}
	if err := b.Replace(t.Context(), objects...); err != nil {
		t.Errorf("Replace: %v", err)
	}
}

func endedContext(t *testing.T, open Opener) {
	b := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.PutNew(ctx, object("a", "1")); !errors.Is(err, context.Canceled) {
		t.Errorf("PutNew: %v", err)
	}
	if err := b.Replace(ctx, object("b", "1")); !errors.Is(err, context.Canceled) {
		t.Errorf("Replace: %v", err)
	}
	if _, err := b.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	mustLack(t, b, "a")
	mustLack(t, b, "b")
}

func emptyBatch(t *testing.T, open Opener) {
	b := open(t)
	mustPut(t, b)
	if err := b.Replace(t.Context()); err != nil {
		t.Errorf("Replace: %v", err)
	}
}

func reuseBody(t *testing.T, open Opener) {
	b := open(t)
	body := []byte("before")
	mustPut(t, b, bucket.Object{Key: "a", Body: body})
	copy(body, "after!")
	mustHave(t, b, "a", "before")
}
