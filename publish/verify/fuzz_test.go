package verify_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/publish/verify"
)

// mutate puts a piece in the place of some bytes.
func mutate(b []byte, at, cut uint32, piece []byte) []byte {
	from := int(at % uint32(len(b)+1))
	to := min(from+int(cut), len(b))
	return slices.Concat(b[:from], piece, b[to:])
}

// shortened is the night's beginning, as its publisher would have signed it: up
// to the fourth snapshot.
func shortened(t testing.TB) *forger {
	f := newForger(t, play(t))
	at := -1
	for range 4 {
		at = f.find(at+1, func(l leaf.Leaf) bool { return l.Kind() == leaf.KindSnapshot })
	}
	f.leaves = f.leaves[:at+1]
	return f
}

// FuzzABucketOfGarbage changes one object that is read. Whatever it is, the
// verifier says so; it never panics, and never calls it verified.
func FuzzABucketOfGarbage(f *testing.F) {
	for i := range uint16(40) {
		f.Add(i, uint32(i)*97, uint32(i%3), []byte("0\n"[:i%3]))
	}
	f.Add(uint16(0), uint32(0), uint32(1<<20), []byte("tallystream\n"))
	var whole site
	var keys []string
	f.Fuzz(func(t *testing.T, which uint16, at, cut uint32, piece []byte) {
		if whole == nil {
			whole = shortened(t).relog().site
			read := map[string]bool{}
			if r, _ := check(t, verify.Options{Source: spy{whole, read}, All: true}); r.Verdict != verify.Verified {
				t.Fatal(print(r))
			}
			keys = slices.Sorted(maps.Keys(read))
		}
		key := keys[int(which)%len(keys)]
		s := maps.Clone(whole)
		if s[key] = mutate(whole[key], at, cut, piece); bytes.Equal(s[key], whole[key]) {
			return
		}
		r, _, err := verify.Run(t.Context(), verify.Options{Source: s, Key: keyOf(origin), All: true})
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if r.Verdict == verify.Verified && key != log.CheckpointKey { // which may have lines by others
			t.Fatalf("%s was changed, and is verified", key)
		}
	})
}

// FuzzASignedLeafOfGarbage changes one leaf, and signs the log anew: everything
// behind the hashes meets what it never should.
func FuzzASignedLeafOfGarbage(f *testing.F) {
	for i := range uint16(60) {
		f.Add(i, uint32(i)*13, uint32(i%4), []byte("17\n"[:i%4]))
	}
	f.Fuzz(func(t *testing.T, which uint16, at, cut uint32, piece []byte) {
		g := shortened(t)
		i := int(which) % len(g.leaves)
		changed := mutate(g.leaves[i], at, cut, piece)
		if bytes.Equal(changed, g.leaves[i]) || len(changed) == 0 || len(changed) > log.MaxLeaf {
			return
		}
		if l, err := leaf.Decode(changed); err == nil && l.Kind() == leaf.KindSnapshot {
			return // would be signed again as it was
		}
		g.leaves[i] = changed
		r, _, err := verify.Run(t.Context(), verify.Options{Source: g.relog().site, Key: keyOf(origin), All: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict == verify.Verified {
			t.Fatalf("leaf %d was changed, and is verified", i)
		}
	})
}
