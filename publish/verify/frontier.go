package verify

import "golang.org/x/mod/sumdb/tlog"

// frontier is the tree of the leaves so far, hashed again: the roots of the
// complete subtrees that it is made of, largest first (RFC 6962 section 2.1).
// It owes nothing to the published tiles.
type frontier struct {
	Size  int64
	Roots []tlog.Hash
}

// push appends a leaf's hash.
func (f *frontier) push(h tlog.Hash) {
	for n := f.Size; n&1 == 1; n >>= 1 {
		last := len(f.Roots) - 1
		h = tlog.NodeHash(f.Roots[last], h)
		f.Roots = f.Roots[:last]
	}
	f.Roots = append(f.Roots, h)
	f.Size++
}

// root is the root of the leaves so far, of which there is at least one.
func (f *frontier) root() tlog.Hash {
	if len(f.Roots) == 0 {
		return tlog.Hash{}
	}
	h := f.Roots[len(f.Roots)-1]
	for i := len(f.Roots) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.Roots[i], h)
	}
	return h
}
