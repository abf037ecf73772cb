package witness_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
	"tallystream/publish/log/witness"
)

const origin = "results.example.org/test"

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// key makes a key pair of a name: the same each time.
func key(t testing.TB, name string) (private, verifier string, signer note.Signer) {
	t.Helper()
	seed := sha256.Sum256([]byte("test key " + name))
	private, verifier, err := note.GenerateKey(bytes.NewReader(seed[:]), name)
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = note.NewSigner(private); err != nil {
		t.Fatal(err)
	}
	return private, verifier, signer
}

// testLog is a log of some leaves and its bucket.
type testLog struct {
	t      testing.TB
	signer note.Signer
	edge   *log.Edge
	bucket objects
}

type objects map[string][]byte

func (o objects) Get(ctx context.Context, key string) ([]byte, error) {
	if b, ok := o[key]; ok {
		return bytes.Clone(b), ctx.Err()
	}
	return nil, fmt.Errorf("%s: %w", key, log.ErrAbsent)
}

func newLog(t testing.TB) *testLog {
	_, _, signer := key(t, origin)
	return &testLog{t, signer, &log.Edge{}, objects{}}
}

// grow appends n leaves, publishes and returns the checkpoint.
func (l *testLog) grow(n int, tag string) []byte {
	l.t.Helper()
	var leaves [][]byte
	for i := range n {
		leaves = append(leaves, fmt.Appendf(nil, "%s %d", tag, i))
	}
	edge, more, err := l.edge.Append(leaves...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.edge = edge
	for _, o := range more {
		l.bucket[o.Key] = o.Body
	}
	b, err := (&log.Checkpoint{Origin: origin, Tree: edge.Tree()}).Sign(l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	l.bucket[log.CheckpointKey] = b
	return b
}

// fork is another log that shares the leaves so far.
func (l *testLog) fork() *testLog {
	other := &testLog{l.t, l.signer, l.edge, objects{}}
	for k, b := range l.bucket {
		other.bucket[k] = b
	}
	return other
}

func (l *testLog) consistency(old int64) tlog.TreeProof {
	l.t.Helper()
	p, err := log.NewReader(l.bucket, l.edge.Tree()).Consistency(l.t.Context(), old)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

// memory is a State whose writes fail when they are told to.
type memory struct {
	notes    map[string][]byte
	evidence [][]byte
	fail     string // "", "before", "after": Save fails without or with effect
}

var errDisk = errors.New("the disk failed")

func newMemory() *memory { return &memory{notes: map[string][]byte{}} }

func (m *memory) Load(origin string) ([]byte, error) { return m.notes[origin], nil }

func (m *memory) Save(origin string, b []byte) error {
	if m.fail == "before" {
		return errDisk
	}
	m.notes[origin] = bytes.Clone(b)
	if m.fail == "after" {
		return errDisk
	}
	return nil
}

func (m *memory) Keep(b []byte) (string, error) {
	m.evidence = append(m.evidence, b)
	return fmt.Sprint("evidence ", len(m.evidence)), nil
}

func newWitness(t testing.TB, state witness.State) (*witness.Witness, *log.Cosignatory) {
	t.Helper()
	return newLoudWitness(t, state, io.Discard)
}

func newLoudWitness(t testing.TB, state witness.State, out io.Writer) (*witness.Witness, *log.Cosignatory) {
	t.Helper()
	_, vkey, signer := key(t, "witness.example/w1")
	c, err := log.NewCosigner(signer, vkey, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	v, err := log.ParseCosignatory(c.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	_, logVKey, _ := key(t, origin)
	k, err := log.ParseLogKey(logVKey)
	if err != nil {
		t.Fatal(err)
	}
	return witness.New(witness.Config{
		Logs: []note.Verifier{k}, Signer: c, State: state, Logger: slog.New(slog.NewTextHandler(out, nil)),
	}), v
}

var discard = slog.New(slog.DiscardHandler)
