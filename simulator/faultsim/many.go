package faultsim

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Campaign is the outcome of many nights.
type Campaign struct {
	Seeds   uint64
	Steps   uint64
	Failed  []*Result // the first few, by seed
	Bad     uint64    // how many nights broke a promise
	Count   Count
	Elapsed time.Duration
}

// mostFailed is how many failed nights are kept with their traces.
const mostFailed = 5

// collector of memory: nights make a lot of garbage and keep nothing, so that
// it pays to collect it seldom.
const collectAt = 400

// RunMany simulates the nights of seeds from first on, several at a time, each
// in one goroutine. It ends early when ctx does; progress, if set, is called
// now and then with what is done.
func RunMany(ctx context.Context, first, seeds uint64, progress func(done uint64)) (*Campaign, error) {
	return runMany(ctx, first, seeds, plant{}, progress)
}

func runMany(ctx context.Context, first, seeds uint64, p plant, progress func(done uint64)) (*Campaign, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(collectAt))
	began := time.Now()
	c := &Campaign{}
	var mu sync.Mutex // guards c
	var next atomic.Uint64
	var running sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), int(seeds)) {
		s, err := New()
		if err != nil {
			return nil, err
		}
		s.plant = p
		running.Go(func() {
			for ctx.Err() == nil {
				n := next.Add(1) - 1
				if n >= seeds {
					return
				}
				r := s.Run(first + n)
				mu.Lock()
				c.add(r)
				done := c.Seeds
				mu.Unlock()
				if progress != nil {
					progress(done)
				}
			}
		})
	}
	running.Wait()
	c.Elapsed = time.Since(began)
	return c, nil
}

func (c *Campaign) add(r *Result) {
	c.Seeds++
	c.Steps += uint64(r.Steps)
	c.Count.add(&r.Count)
	if r.Violation == nil {
		return
	}
	c.Bad++
	at := len(c.Failed)
	for at > 0 && c.Failed[at-1].Seed > r.Seed {
		at--
	}
	c.Failed = append(c.Failed[:at:at], append([]*Result{r}, c.Failed[at:]...)...)
	c.Failed = c.Failed[:min(len(c.Failed), mostFailed)]
}
