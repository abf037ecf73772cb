package witness_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"tallystream/publish/log"
	"tallystream/publish/log/witness"
)

func TestAWitnessCosignsWhatContinuesWhatItSaw(t *testing.T) {
	w, v := newWitness(t, newMemory())
	l := newLog(t)
	old := int64(0)
	for range 4 {
		checkpoint := l.grow(200, "a")
		line, err := w.Add(t.Context(), &witness.Request{Old: old, Proof: l.consistency(old), Checkpoint: checkpoint})
		if err != nil {
			t.Fatal(err)
		}
		out, added, err := log.AddSignatures(checkpoint, line, v)
		if err != nil || added != 1 {
			t.Fatalf("%d signatures, %v", added, err)
		}
		n, err := log.ParseNote(out)
		if err != nil {
			t.Fatal(err)
		}
		if at, ok, err := v.CosignedAt(n); !ok || err != nil || !at.Equal(noon) {
			t.Fatalf("%v %v %v", at, ok, err)
		}
		old = l.edge.Tree().N
	}
}

func TestEachRefusalHasItsReason(t *testing.T) {
	state := newMemory()
	w, _ := newWitness(t, state)
	l := newLog(t)
	first := l.grow(10, "a")
	if _, err := w.Add(t.Context(), &witness.Request{Checkpoint: first}); err != nil {
		t.Fatal(err)
	}
	fork := l.fork()
	second, forked := l.grow(10, "a"), fork.grow(10, "b")
	var stale *witness.StaleError
	if _, err := w.Add(t.Context(), &witness.Request{Checkpoint: second}); !errors.As(err, &stale) || stale.Size != 10 {
		t.Errorf("from nothing: %v", err)
	}
	if _, err := w.Add(t.Context(), &witness.Request{Old: 21, Checkpoint: second}); !errors.Is(err, witness.ErrMalformed) {
		t.Errorf("from beyond: %v", err)
	}
	proof := l.consistency(10)
	bad := append(tlog.TreeProof{}, proof...)
	bad[0][3] ^= 1
	for _, p := range []tlog.TreeProof{nil, bad, proof[1:], append(append(tlog.TreeProof{}, proof...), tlog.Hash{})} {
		if _, err := w.Add(t.Context(), &witness.Request{Old: 10, Proof: p, Checkpoint: second}); !errors.Is(err, witness.ErrProof) {
			t.Errorf("with a wrong proof: %v", err)
		}
	}
	if _, err := w.Add(t.Context(), &witness.Request{Old: 10, Proof: proof, Checkpoint: second}); err != nil {
		t.Fatal(err)
	}
	var fe *witness.ForkError
	if _, err := w.Add(t.Context(), &witness.Request{Old: 20, Checkpoint: forked}); !errors.As(err, &fe) || fe.Seen.N != 20 || fe.Shown.N != 20 {
		t.Errorf("a fork of the same size: %v", err)
	}
	if len(state.evidence) != 1 || !bytes.Contains(state.evidence[0], second) || !bytes.Contains(state.evidence[0], forked) {
		t.Errorf("evidence: %q", state.evidence)
	}
	if _, err := w.Add(t.Context(), &witness.Request{Old: 10, Checkpoint: first}); !errors.As(err, &stale) || stale.Size != 20 {
		t.Errorf("a rollback: %v", err)
	}
	other := bytes.Replace(second, []byte(origin), []byte("results.example.org/else"), 1)
	if _, err := w.Add(t.Context(), &witness.Request{Old: 20, Checkpoint: other}); !errors.Is(err, witness.ErrUnknownLog) {
		t.Errorf("another log: %v", err)
	}
	_, _, stranger := key(t, "stranger")
	strange, err := (&log.Checkpoint{Origin: origin, Tree: l.edge.Tree()}).Sign(stranger)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add(t.Context(), &witness.Request{Old: 20, Checkpoint: strange}); !errors.Is(err, log.ErrUnsigned) {
		t.Errorf("another key: %v", err)
	}
	if _, err := w.Add(t.Context(), &witness.Request{Old: 20, Checkpoint: second}); err != nil {
		t.Errorf("the same again: %v", err)
	}
}

// Two histories with a common beginning, and somebody who offers checkpoints of
// both, with the right proofs, from any size, while the disk fails and the
// witness dies: what was cosigned lies on one history.
func TestAWitnessNeverCosignsTwoHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type shown struct {
			log        *testLog
			tree       tlog.Tree
			checkpoint []byte
		}
		a := newLog(t)
		a.grow(rapid.IntRange(1, 300).Draw(rt, "common"), "a")
		b := a.fork()
		var all []shown
		for range 3 {
			for _, l := range []*testLog{a, b} {
				tag := "a"
				if l == b {
					tag = "b"
				}
				c := l.grow(rapid.IntRange(1, 200).Draw(rt, "leaves"), tag)
				l := *l
				all = append(all, shown{&l, l.edge.Tree(), c})
			}
		}
		state := newMemory()
		w, _ := newWitness(t, state)
		var cosigned []shown
		for range 25 {
			s := rapid.SampledFrom(all).Draw(rt, "shown")
			seen, err := w.Seen(origin)
			if err != nil {
				rt.Fatal(err)
			}
			old := rapid.SampledFrom([]int64{seen.N, seen.N, 0}).Draw(rt, "old")
			req := &witness.Request{Old: old, Checkpoint: s.checkpoint}
			if old <= s.tree.N {
				req.Proof, err = log.NewReader(s.log.bucket, s.tree).Consistency(t.Context(), old)
				if err != nil {
					rt.Fatal(err)
				}
			}
			state.fail = rapid.SampledFrom([]string{"", "", "before", "after"}).Draw(rt, "disk")
			if _, err := w.Add(t.Context(), req); err == nil {
				cosigned = append(cosigned, s)
			}
			if rapid.IntRange(0, 3).Draw(rt, "dies") == 0 {
				w, _ = newWitness(t, state)
			}
		}
		for i, older := range cosigned {
			for _, newer := range cosigned[i:] {
				root, err := log.NewReader(newer.log.bucket, newer.tree).Root(t.Context(), older.tree.N)
				if err != nil || root != older.tree.Hash {
					rt.Fatalf("cosigned %d and %d, which are of two histories, or in the wrong order: %v", older.tree.N, newer.tree.N, err)
				}
			}
		}
	})
}

func TestNothingIsSignedBeforeItIsRemembered(t *testing.T) {
	for _, fail := range []string{"before", "after"} {
		state := newMemory()
		w, _ := newWitness(t, state)
		l := newLog(t)
		checkpoint := l.grow(10, "a")
		state.fail = fail
		line, err := w.Add(t.Context(), &witness.Request{Checkpoint: checkpoint})
		if !errors.Is(err, errDisk) || line != nil || w.Cosigned(origin) != nil {
			t.Errorf("disk fails %s: %q, %v", fail, line, err)
		}
	}
}

func TestAFollowerIsLoudAboutForksAndRollbacks(t *testing.T) {
	var out bytes.Buffer
	state := newMemory()
	w, v := newLoudWitness(t, state, &out)
	l := newLog(t)
	l.grow(300, "a")
	early := l.fork()
	early.grow(0, "")
	b, err := w.Look(t.Context(), l.bucket)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := log.ParseNote(b); err != nil {
		t.Fatal(err)
	} else if _, ok, err := v.CosignedAt(n); !ok || err != nil {
		t.Fatalf("cosigned %v, %v", ok, err)
	}
	if again, err := w.Look(t.Context(), l.bucket); err != nil || !bytes.Equal(again, b) {
		t.Errorf("the same tree: %q, %v", again, err)
	}
	l.grow(300, "a")
	fork, same := early.fork(), early.fork()
	if larger, err := w.Look(t.Context(), l.bucket); err != nil || bytes.Equal(larger, b) {
		t.Fatal(err)
	}
	var rollback *witness.RollbackError
	if _, err = w.Look(t.Context(), early.bucket); !errors.As(err, &rollback) || !strings.Contains(out.String(), "ROLLED BACK") {
		t.Errorf("rolled back: %v", err)
	}
	var fe *witness.ForkError
	same.grow(300, "b")
	if _, err = w.Look(t.Context(), same.bucket); !errors.As(err, &fe) || !strings.Contains(out.String(), "FORKED") {
		t.Errorf("forked at the same size: %v", err)
	}
	fork.grow(900, "b")
	if _, err = w.Look(t.Context(), fork.bucket); !errors.As(err, &fe) || len(state.evidence) != 2 {
		t.Errorf("forked and grown: %v", err)
	}
	// A tile that does not belong to the checkpoint is no fork, and no reason to sign.
	l.grow(300, "a")
	for k, b := range l.bucket {
		if strings.HasPrefix(k, "tile/1/") {
			l.bucket[k] = append([]byte{b[0] ^ 1}, b[1:]...)
		}
	}
	if _, err = w.Look(t.Context(), l.bucket); !errors.Is(err, log.ErrTampered) {
		t.Errorf("a changed tile: %v", err)
	}
}

// gate is a source that can fail and be exchanged.
type gate struct {
	mu     sync.Mutex // guards all, and what is in the bucket
	bucket objects
	err    error
}

// change is how a test changes the source between two looks.
func (g *gate) change(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
}

func (g *gate) Get(ctx context.Context, key string) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return nil, g.err
	}
	return g.bucket.Get(ctx, key)
}

func TestAFollowerGoesOnThroughErrorsAndPrintsEachCheckpointOnce(t *testing.T) {
	l := newLog(t)
	l.grow(10, "a")
	synctest.Test(t, func(t *testing.T) {
		var said, printed bytes.Buffer
		w, _ := newLoudWitness(t, newMemory(), &said)
		g := &gate{bucket: l.bucket}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		c := &witness.Command{Every: 10 * time.Second}
		go func() {
			done <- c.Follow(ctx, w, g, slog.New(slog.NewTextHandler(&said, nil)), &printed)
		}()
		time.Sleep(5 * time.Second) // from here on always halfway between two looks
		looked := func(want string, checkpoints int) {
			t.Helper()
			synctest.Wait()
			if got := strings.Count(printed.String(), origin+"\n"); got != checkpoints {
				t.Errorf("%d checkpoints printed, want %d", got, checkpoints)
			}
			if !strings.Contains(said.String(), want) {
				t.Errorf("log lacks %q:\n%s", want, said.String())
			}
			said.Reset()
		}
		looked("cosigned", 1)
		time.Sleep(c.Every)
		looked("", 1)
		g.change(func() { g.err = errors.New("no route to host") })
		time.Sleep(c.Every)
		looked("no route to host", 1)
		fork := l.fork()
		g.change(func() { g.err = nil; l.grow(10, "a") })
		time.Sleep(c.Every)
		looked("cosigned", 2)
		g.change(func() { fork.grow(20, "b"); g.bucket = fork.bucket })
		time.Sleep(c.Every)
		looked("FORKED", 2)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
