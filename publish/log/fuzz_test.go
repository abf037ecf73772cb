package log_test

import (
	"bytes"
	"encoding/base64"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
)

// everyKey knows every key and believes it, so that note.Open only reads.
type everyKey struct{}

func (everyKey) Verifier(name string, hash uint32) (note.Verifier, error) {
	return believer{name, hash}, nil
}

type believer struct {
	name string
	hash uint32
}

func (b believer) Name() string                { return b.name }
func (b believer) KeyHash() uint32             { return b.hash }
func (b believer) Verify(msg, sig []byte) bool { return true }

func FuzzNote(f *testing.F) {
	signer, _ := logKey(f, origin)
	witness, _ := cosigner(f, "witness.example/w1", noon)
	f.Add(signCheckpoint(f, treeOf(3), signer, witness))
	f.Add([]byte("text\n\nmore text\n\n— a AAAAAAA=\n"))
	f.Add([]byte("\n\n— a AAAAAAB=\n— a AAAAAA==\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := log.ParseNote(b)
		if err != nil {
			return
		}
		if !bytes.Equal(n.Append(nil), b) {
			t.Fatalf("read, but written otherwise: %q", n.Append(nil))
		}
		theirs, err := note.Open(b, everyKey{})
		if err != nil || theirs.Text != string(n.Text) {
			t.Fatalf("x/mod/sumdb/note reads it otherwise: %v", err)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add((&log.Checkpoint{Origin: origin, Tree: treeOf(3)}).AppendText(nil))
	f.Add((&log.Checkpoint{Origin: "a", Tree: treeOf(0)}).AppendText(nil))
	f.Add([]byte("a\n9223372036854775808\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := log.ParseCheckpoint(b)
		if err != nil {
			return
		}
		if !bytes.Equal(c.AppendText(nil), b) || c.Tree.N < 0 {
			t.Fatalf("read, but written otherwise: %q", c.AppendText(nil))
		}
	})
}

func FuzzTile(f *testing.F) {
	for _, key := range []string{"tile/0/000", "tile/3/x001/x234/067.p/8", "tile/entries/x001/000", "tile/0/x999/x999/x999/x999/x999/x999/x999"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		tile, err := log.ParseTile(key)
		if err != nil {
			return
		}
		if tile.Key() != key || tile.N < 0 || tile.Width < 1 || tile.Width > log.TileWidth {
			t.Fatalf("%q was read as %+v", key, tile)
		}
		if tile.Level < 0 || tile.N > 1<<40 {
			return
		}
		// tlog's paths have the height in them and are otherwise the same.
		theirs := tlog.Tile{H: log.TileHeight, L: tile.Level, N: tile.N, W: tile.Width}.Path()
		if "tile/"+theirs[len("tile/8/"):] != key {
			t.Fatalf("%q is %q in x/mod/sumdb/tlog", key, theirs)
		}
	})
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte{0, 1, 'a'})
	f.Add([]byte{0, 1, 'a', 0, 2, 'b', 'c'})
	f.Add([]byte{0, 0})
	f.Add([]byte{255, 255, 1})
	f.Add(bytes.Repeat([]byte{0, 1, 'a'}, 257))
	f.Fuzz(func(t *testing.T, b []byte) {
		leaves, err := log.ParseBundle(b)
		if err != nil {
			return
		}
		var again []byte
		for _, leaf := range leaves {
			if again, err = log.AppendEntry(again, leaf); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, b) || len(leaves) > log.TileWidth {
			t.Fatalf("%d leaves, written otherwise", len(leaves))
		}
	})
}

func FuzzEdge(f *testing.F) {
	for _, n := range []int{0, 1, 255, 256, 300, 65537} {
		edge, _, err := (&log.Edge{}).Append(leavesOf(n, "a")...)
		if err != nil {
			f.Fatal(err)
		}
		b, err := edge.MarshalText()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e log.Edge
		if e.UnmarshalText(b) != nil {
			return
		}
		again, err := e.MarshalText()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("read, but written otherwise: %q, %v", again, err)
		}
		e.Tree()
	})
}

func FuzzProof(f *testing.F) {
	signer, _ := logKey(f, origin)
	s := newStore()
	edge := grow(f, &log.Edge{}, s, leavesOf(5, "a")...)
	p, err := log.MakeProof(f.Context(), log.NewReader(s, edge.Tree()), 3, signCheckpoint(f, edge.Tree(), signer))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Append(nil), []byte("a leaf 3"))
	p.Extra = []byte("more")
	f.Add(p.Append(nil), []byte("a leaf 4"))
	policy := policyOf(f, "quorum none\n")
	leaves := leavesOf(5, "a")
	f.Fuzz(func(t *testing.T, b, leaf []byte) {
		p, err := log.ParseProof(b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Append(nil), b) {
			t.Fatalf("read, but written otherwise: %q", p.Append(nil))
		}
		if v, err := p.Verify(leaf, policy); err == nil && (v.Checkpoint.Tree != edge.Tree() || !bytes.Equal(leaf, leaves[p.Index])) {
			t.Fatalf("%q was proven to be leaf %d", leaf, p.Index)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	_, k := key(f, origin)
	c, _ := cosigner(f, "witness.example/w1", noon)
	f.Add([]byte("# all\nlog " + k + " https://x\n\twitness w1 " + c.VerifierKey() + "\ngroup g any w1\ngroup h 1 g\nquorum h\n"))
	f.Add([]byte("quorum none\n"))
	signer, _ := logKey(f, origin)
	witness, _ := cosigner(f, "witness.example/w1", noon)
	signed, cosigned := signCheckpoint(f, treeOf(3), signer), signCheckpoint(f, treeOf(3), signer, witness)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := log.ParsePolicy(b)
		if err != nil {
			return
		}
		// More cosignatures never turn a policy against a checkpoint.
		if _, err := p.Evaluate(signed); err == nil {
			if _, err := p.Evaluate(cosigned); err != nil {
				t.Fatalf("good without a witness, bad with one: %v", err)
			}
		}
	})
}

func FuzzVerifierKeys(f *testing.F) {
	_, k := key(f, origin)
	c, _ := cosigner(f, "witness.example/w1", noon)
	f.Add(k)
	f.Add(c.VerifierKey())
	f.Add("a+00000000+" + base64.StdEncoding.EncodeToString(make([]byte, 33)))
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := log.ParseLogKey(s); err == nil {
			if theirs, err := note.NewEd25519VerifierKey(v.Name(), v.Public); err != nil || theirs != s {
				t.Fatalf("%q is written %q", s, theirs)
			}
		}
		if v, err := log.ParseCosignatory(s); err == nil && v.Name() == "" {
			t.Fatal("a witness without a name")
		}
	})
}
