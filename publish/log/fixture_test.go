package log_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
)

const origin = "results.example.org/test"

// naiveRoot is the definition of RFC 6962 section 2.1 and nothing else.
func naiveRoot(leaves [][]byte) tlog.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	left, right := naiveRoot(leaves[:k]), naiveRoot(leaves[k:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

// naivePath is PATH(m, D[n]) of section 2.1.1.
func naivePath(m int, leaves [][]byte) []tlog.Hash {
	if len(leaves) == 1 {
		return nil
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	if m < k {
		return append(naivePath(m, leaves[:k]), naiveRoot(leaves[k:]))
	}
	return append(naivePath(m-k, leaves[k:]), naiveRoot(leaves[:k]))
}

// naiveConsistency is SUBPROOF(m, D[n], b) of section 2.1.2.
func naiveConsistency(m int, leaves [][]byte, whole bool) []tlog.Hash {
	if m == len(leaves) {
		if whole {
			return nil
		}
		return []tlog.Hash{naiveRoot(leaves)}
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	if m <= k {
		return append(naiveConsistency(m, leaves[:k], whole), naiveRoot(leaves[k:]))
	}
	return append(naiveConsistency(m-k, leaves[k:], false), naiveRoot(leaves[:k]))
}

// store is a strict bucket: a key never gets other bytes.
type store struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func newStore() *store { return &store{objects: map[string][]byte{}} }

func (s *store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.objects[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, log.ErrAbsent)
	}
	return bytes.Clone(b), nil
}

func (s *store) put(t testing.TB, objects []log.Object) {
	t.Helper()
	for _, o := range objects {
		if old, ok := s.objects[o.Key]; ok && !bytes.Equal(old, o.Body) {
			t.Fatalf("%s was put with other bytes", o.Key)
		}
		if got, err := log.ParseTile(o.Key); err != nil || got.Key() != o.Key {
			t.Fatalf("key %q: %v, %v", o.Key, got, err)
		}
		s.objects[o.Key] = bytes.Clone(o.Body)
	}
}

func (s *store) clone() *store { return &store{objects: maps.Clone(s.objects)} }

// key makes a key pair of a name: the same each time.
func key(t testing.TB, name string) (signer note.Signer, verifier string) {
	t.Helper()
	seed := sha256.Sum256([]byte("test key " + name))
	skey, vkey, err := note.GenerateKey(bytes.NewReader(seed[:]), name)
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	return signer, vkey
}

func logKey(t testing.TB, name string) (note.Signer, *log.LogKey) {
	t.Helper()
	signer, vkey := key(t, name)
	v, err := log.ParseLogKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return signer, v
}

func cosigner(t testing.TB, name string, at time.Time) (*log.Cosigner, *log.Cosignatory) {
	t.Helper()
	signer, vkey := key(t, name)
	c, err := log.NewCosigner(signer, vkey, func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	v, err := log.ParseCosignatory(c.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	return c, v
}

// leavesOf makes n different leaves.
func leavesOf(n int, tag string) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = fmt.Appendf(nil, "%s leaf %d", tag, i)
	}
	return out
}

// grow appends leaves in one batch and stores the objects.
func grow(t testing.TB, e *log.Edge, s *store, leaves ...[]byte) *log.Edge {
	t.Helper()
	next, objects, err := e.Append(leaves...)
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, objects)
	return next
}

func signCheckpoint(t testing.TB, tree tlog.Tree, signers ...note.Signer) []byte {
	t.Helper()
	b, err := (&log.Checkpoint{Origin: origin, Tree: tree}).Sign(signers...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
