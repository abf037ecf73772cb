package witness_test

import (
	"bytes"
	"testing"

	"tallystream/publish/log/witness"
)

func FuzzRequest(f *testing.F) {
	l := newLog(f)
	f.Add((&witness.Request{Checkpoint: l.grow(3, "a")}).Append(nil))
	f.Add((&witness.Request{Old: 3, Checkpoint: l.grow(5, "a"), Proof: l.consistency(3)}).Append(nil))
	state := newMemory()
	w, _ := newWitness(f, state)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := witness.ParseRequest(b)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Append(nil), b) {
			t.Fatalf("read, but written otherwise: %q", r.Append(nil))
		}
		if _, err := w.Add(t.Context(), r); err == nil && !bytes.Contains(b, []byte("\n8\n")) && !bytes.Contains(b, []byte("\n3\n")) {
			t.Fatalf("cosigned what the log never signed:\n%s", b)
		}
	})
}
