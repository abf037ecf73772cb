package ingest_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/ingest"
	"tallystream/schemas"
)

func TestAKeyThatSendsTooMuchIsToldWhenToComeBack(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	b := newBench(t, func(c *ingest.Config) {
		c.Limits = ingest.Limits{KeyRate: 0.1, KeyBurst: 2}
		c.Now = func() time.Time { return now }
	})
	send := func(revision schemas.Revision) (code int, after string) {
		w := b.post(b.seal(t, revision, b.body(t, revision), "official-leon"))
		if w.Code != http.StatusOK {
			problem(t, w, schemas.ProblemRateLimited)
		}
		return w.Code, w.Header().Get("Retry-After")
	}
	for revision := range schemas.Revision(2) {
		if code, _ := send(revision + 1); code != http.StatusOK {
			t.Fatalf("submission %d within the burst: status %d", revision+1, code)
		}
	}
	if code, after := send(3); code != http.StatusTooManyRequests || after != "10" {
		t.Errorf("status %d, Retry-After %q; want 429 and 10", code, after)
	}
	// Another key has a budget of its own.
	body := replace(t, string(b.election.AppendBody(nil, b.unit(t, "sumter-1"), 1, make([]schemas.Count, 64), nil, nil)), `"contests":[]`, `"contests":[]`)
	envelope := b.sealFor(t, b.election.Definition.Origin, "sumter-1", 1, body, "official-sumter")
	b.receipt(t, b.post(envelope), envelope)
	now = now.Add(10 * time.Second)
	if code, _ := send(3); code != http.StatusOK {
		t.Errorf("status %d after the wait, want 200", code)
	}
}

func TestAStrangerCannotSpendAKeysBudget(t *testing.T) {
	b := newBench(t, func(c *ingest.Config) { c.Limits = ingest.Limits{KeyRate: 0.001, KeyBurst: 1} })
	good := b.seal(t, 1, b.body(t, 1), "official-leon")
	forged := []byte(replace(t, string(b.seal(t, 1, b.body(t, 2), "official-leon")), "leon-1101\n1\n", "leon-1101\n2\n"))
	for range 5 {
		problem(t, b.post(forged), schemas.ProblemSignature)
	}
	b.receipt(t, b.post(good), good)
}

func TestSubmissionsWaitForTheLedgerAndThenPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var behind atomic.Uint64
		behind.Store(11)
		pass := ingest.PassGate(ingest.Limits{MaxBehind: 10, MaxAge: time.Minute, Wait: 2 * time.Second}, func() ingest.Lag { return ingest.Lag{Records: behind.Load()} })
		var passed atomic.Int64
		var all sync.WaitGroup
		started := time.Now()
		for range 100 {
			all.Go(func() {
				if pass(t.Context()) {
					passed.Add(1)
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		if passed.Load() != 0 {
			t.Error("some passed a closed gate")
		}
		behind.Store(10)
		all.Wait()
		if waited := time.Since(started); passed.Load() != 100 || waited > 510*time.Millisecond {
			t.Errorf("%d passed after %v, want 100 at once", passed.Load(), waited)
		}
	})
}

func TestSubmissionsDoNotWaitForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass := ingest.PassGate(ingest.Limits{MaxBehind: 10, MaxAge: time.Minute, Wait: 2 * time.Second}, func() ingest.Lag { return ingest.Lag{Age: 61 * time.Second} })
		started := time.Now()
		if pass(t.Context()) {
			t.Error("passed a closed gate")
		}
		if waited := time.Since(started); waited != 2*time.Second {
			t.Errorf("waited %v, want 2s", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if pass(ctx) || ctx.Err() == nil {
			t.Error("did not wait for its context")
		}
	})
}

func TestBehindIsBusyNotAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *ingest.Config) {
			c.Behind = func() ingest.Lag { return ingest.Lag{Records: ingest.DefaultMaxBehind + 1} }
		})
		b.stream.forbid = true
		w := b.post(b.seal(t, 1, b.body(t, 1), "official-leon"))
		problem(t, w, schemas.ProblemBusy)
		if w.Header().Get("Retry-After") != "2" {
			t.Errorf("Retry-After is %q, want 2", w.Header().Get("Retry-After"))
		}
		if b.server.Ready() == nil {
			t.Error("ready although the ledger is too far behind")
		}
	})
}

func TestLimitsThatCannotWorkAreRefused(t *testing.T) {
	o := openOffice(t)
	for _, l := range []ingest.Limits{{Wait: -1}, {Wait: time.Minute}, {Drain: -1}} {
		_, err := ingest.New(ingest.Config{
			Election: o.election, Keyring: o.keyring, Signer: o.keys["ingest"], Stream: nullStream{}, States: ledgerStates{},
			Metrics: newMetrics(), Limits: l,
		})
		if err == nil {
			t.Errorf("%+v accepted", l)
		}
	}
	if _, err := ingest.New(ingest.Config{}); err == nil {
		t.Error("an empty configuration is accepted")
	}
}
