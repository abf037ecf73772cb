package log

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync"
)

// atOnce is how many bundles are fetched and worked on at the same time: enough
// for all processors, and for a web server that answers after 50 ms. As many
// again may be done and wait for the consumer. A bundle of usual leaves has
// 1.3 MB.
func atOnce() int { return max(runtime.GOMAXPROCS(0), fetchAtOnce) }

// Entries yields the leaves from index first up to the end, in order, each
// checked against the root before it is yielded. Memory is bounded by a few
// bundles; fetching and hashing run beside the consumer. After an error,
// which comes with index -1, nothing follows.
func (r *Reader) Entries(ctx context.Context, first int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		same := func(b Bundle) (Bundle, error) { return b, nil }
		for b, err := range Map(ctx, r, first, same) {
			if err != nil {
				yield(Entry{Index: -1}, err)
				return
			}
			for i, leaf := range b.Leaves {
				if !yield(Entry{b.First + int64(i), leaf}, nil) {
					return
				}
			}
		}
	}
}

// Entry is one leaf of the tree.
type Entry struct {
	Index int64
	Leaf  []byte
}

// outcome is what became of one bundle.
type outcome[T any] struct {
	value T
	err   error
}

// Map reads the bundles from leaf first up to the end (the first bundle cut to
// begin there), runs work on each in parallel, and yields what it returned in
// the order of the log. It is how a verifier uses all processors for
// signatures and still folds in order. Memory is bounded. After an error
// nothing follows.
func Map[T any](ctx context.Context, r *Reader, first int64, work func(Bundle) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if first < 0 || first > r.tree.N {
			var none T
			yield(none, fmt.Errorf("reading entries: %d is not in a tree of %d", first, r.tree.N))
			return
		}
		if first == r.tree.N {
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		places := make(chan struct{}, atOnce()) // bundles that are worked on
		queue := make(chan chan outcome[T], atOnce())
		end := (r.tree.N + TileWidth - 1) / TileWidth
		running.Go(func() {
			defer close(queue)
			for n := first / TileWidth; n < end; n++ {
				done := make(chan outcome[T], 1)
				select {
				case queue <- done:
				case <-ctx.Done():
					return
				}
				select {
				case places <- struct{}{}:
				case <-ctx.Done():
					done <- outcome[T]{err: ctx.Err()}
					return
				}
				running.Go(func() {
					defer func() { <-places }()
					done <- mapOne(ctx, r, n, first, work)
				})
			}
		})
		drain(ctx, queue, yield)
	}
}

func mapOne[T any](ctx context.Context, r *Reader, n, first int64, work func(Bundle) (T, error)) (o outcome[T]) {
	var b Bundle
	if b, o.err = r.bundle(ctx, n); o.err != nil {
		return o
	}
	if skip := first - b.First; skip > 0 {
		b.First, b.Leaves = first, b.Leaves[skip:]
	}
	o.value, o.err = work(b)
	return o
}

// drain yields outcomes in the order in which they were queued.
func drain[T any](ctx context.Context, queue chan chan outcome[T], yield func(T, error) bool) {
	for done := range queue {
		o := <-done
		if o.err != nil {
			yield(o.value, o.err)
			return
		}
		if !yield(o.value, nil) {
			return
		}
	}
	if err := ctx.Err(); err != nil { // the queue was cut short
		var none T
		yield(none, err)
	}
}
