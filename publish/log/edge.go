package log

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrNoBundle: the leaves of the last, partial bundle are not at hand. Get the
// object at Edge.Bundle and give it to Resume.
var ErrNoBundle = errors.New("the partial entry bundle is not attached")

// Object is a file of the log. The same key always has the same bytes.
type Object struct {
	Key  string
	Body []byte
}

// Edge is the right edge of a tree: all that is needed to append to it. It is
// a value: Append returns another and leaves the old one as it is, so that a
// batch may be made again after a crash, to the same bytes.
//
// The hashes (below 8 KiB a level; three levels reach 16 million leaves) are
// what a publication head stores. The leaves of the partial bundle, up to 255,
// are not: they lie in the bucket and are checked when they are attached.
//
// The zero Edge is the empty tree.
type Edge struct {
	size   int64
	levels [][]tlog.Hash // of the partial tile at each level
	bundle []byte        // of the partial bundle; nil if not attached
}

// Tree is the size and the root.
func (e *Edge) Tree() tlog.Tree { return tlog.Tree{N: e.size, Hash: e.root()} }

// root folds the edge from the right: each level's hashes are full subtrees,
// smaller ones to the right (RFC 6962 section 2.1).
func (e *Edge) root() tlog.Hash {
	if e.size == 0 {
		return EmptyRoot()
	}
	var root tlog.Hash
	begun := false
	for _, level := range e.levels {
		for w := len(level); w > 0; {
			peak := 1 << bits.TrailingZeros(uint(w))
			h := fold(slices.Clone(level[w-peak : w]))
			if begun {
				h = tlog.NodeHash(h, root)
			}
			root, begun = h, true
			w -= peak
		}
	}
	return root
}

// Bundle is where the last bundle lies, if it is partial; else it is empty,
// and nothing needs to be attached.
func (e *Edge) Bundle() string {
	if w := int(e.size % TileWidth); w > 0 {
		return Tile{Level: entriesLevel, N: e.size / TileWidth, Width: w}.Key()
	}
	return ""
}

// Resume attaches the bytes of the partial bundle, after checking them against
// the edge's hashes.
func (e *Edge) Resume(bundle []byte) error {
	if e.Bundle() == "" {
		return errors.New("attaching a bundle: the last one is full")
	}
	leaves, err := ParseBundle(bundle)
	if err != nil {
		return fmt.Errorf("attaching a bundle: %w", err)
	}
	if len(leaves) != len(e.levels[0]) {
		return fmt.Errorf("attaching a bundle: %d entries, want %d", len(leaves), len(e.levels[0]))
	}
	for i, leaf := range leaves {
		if tlog.RecordHash(leaf) != e.levels[0][i] {
			return fmt.Errorf("attaching a bundle: entry %d is not the tree's", i)
		}
	}
	e.bundle = bytes.Clone(bundle)
	return nil
}

// Append adds leaves and returns the edge of the larger tree and every object
// that is new with it: full tiles and bundles, and one partial of each that
// changed. A checkpoint of the new tree may be published when all of them are
// durable, not before. Bodies must not be changed: edges share them.
//
// Errors leave nothing behind: ErrNoBundle, or a leaf that is empty or longer
// than MaxLeaf.
func (e *Edge) Append(leaves ...[]byte) (*Edge, []Object, error) {
	hashed := make([]Hashed, len(leaves))
	for i, leaf := range leaves {
		hashed[i] = Hashed{leaf, tlog.RecordHash(leaf)}
	}
	return e.AppendHashed(hashed...)
}

// Hashed is a leaf with its hash.
type Hashed struct {
	Leaf []byte
	Hash tlog.Hash // tlog.RecordHash(Leaf)
}

// AppendHashed is Append for who hashed the leaves before.
func (e *Edge) AppendHashed(leaves ...Hashed) (*Edge, []Object, error) {
	if e.Bundle() != "" && e.bundle == nil {
		return nil, nil, fmt.Errorf("appending to the log: %w", ErrNoBundle)
	}
	next := &Edge{size: e.size, levels: make([][]tlog.Hash, len(e.levels)), bundle: slices.Clip(e.bundle)}
	for i, level := range e.levels {
		next.levels[i] = slices.Clip(level)
	}
	var out []Object
	for i, leaf := range leaves {
		if i == 0 || next.bundle == nil {
			next.bundle = slices.Grow(next.bundle, room(next.size, leaves[i:]))
		}
		var err error
		if next.bundle, err = AppendEntry(next.bundle, leaf.Leaf); err != nil {
			return nil, nil, fmt.Errorf("appending to the log: leaf %d of the batch: %w", i, err)
		}
		next.push(0, leaf.Hash, &out)
		next.size++
		if next.size%TileWidth == 0 {
			out = append(out, Object{Tile{Level: entriesLevel, N: next.size/TileWidth - 1, Width: TileWidth}.Key(), next.bundle})
			next.bundle = nil
		}
	}
	if len(leaves) > 0 {
		out = next.partials(e.size, out)
	}
	return next, out, nil
}

// room is how many bytes those of the leaves take that come into the last bundle
// of a tree of that size.
func room(size int64, leaves []Hashed) (n int) {
	for _, leaf := range leaves[:min(len(leaves), int(TileWidth-size%TileWidth))] {
		n += 2 + len(leaf.Leaf)
	}
	return n
}

// Extend is the edge after leaves with these hashes (tlog.RecordHash): its Tree
// is the one that Append leads to, known before anything of it is made. It has
// no bundle.
func (e *Edge) Extend(hashes ...tlog.Hash) *Edge {
	next := &Edge{size: e.size, levels: make([][]tlog.Hash, len(e.levels))}
	for i, level := range e.levels {
		next.levels[i] = slices.Clip(level)
	}
	for _, h := range hashes {
		next.push(0, h, nil)
		next.size++
	}
	return next
}

// push puts a hash into a level, and with it every level above that it fills.
// Index of the tile: the leaf that is being added is number e.size. out takes
// the tiles that are full now; nil if nobody wants them.
func (e *Edge) push(level int, h tlog.Hash, out *[]Object) {
	if level == len(e.levels) {
		e.levels = append(e.levels, nil)
	}
	e.levels[level] = append(e.levels[level], h)
	full := e.levels[level]
	if len(full) < TileWidth {
		return
	}
	if out != nil {
		n := e.size >> (TileHeight * (level + 1))
		*out = append(*out, Object{Tile{Level: level, N: n, Width: TileWidth}.Key(), appendHashes(make([]byte, 0, TileWidth*tlog.HashSize), full)})
	}
	e.levels[level] = nil
	e.push(level+1, fold(slices.Clone(full)), out)
}

// partials adds the partial tiles and the partial bundle that a tree of size
// old does not have.
func (e *Edge) partials(old int64, out []Object) []Object {
	if key := e.Bundle(); key != "" {
		out = append(out, Object{key, slices.Clip(e.bundle)})
	}
	for level, hashes := range e.levels {
		shift := TileHeight * level
		if len(hashes) > 0 && e.size>>shift != old>>shift {
			n := e.size >> shift / TileWidth
			out = append(out, Object{Tile{Level: level, N: n, Width: len(hashes)}.Key(), appendHashes(nil, hashes)})
		}
	}
	return out
}

// edgeKind is the first line of a stored edge.
const edgeKind = "tallystream/edge/v1"

// MarshalText writes the edge without its bundle:
//
//	tallystream/edge/v1
//	<size>
//	<hashes of the partial tile at level 0, base64, or empty>
//	... one line a level, as many as the size has digits to the base 256
func (e *Edge) MarshalText() ([]byte, error) {
	b := append([]byte(edgeKind), '\n')
	b = strconv.AppendInt(b, e.size, 10)
	b = append(b, '\n')
	for _, level := range e.levels {
		b = base64.StdEncoding.AppendEncode(b, appendHashes(nil, level))
		b = append(b, '\n')
	}
	return b, nil
}

// UnmarshalText reads what MarshalText wrote. It cannot know whether the
// hashes are right: compare Tree with what is signed.
func (e *Edge) UnmarshalText(b []byte) error {
	lines := bytes.Split(b, []byte{'\n'})
	if len(lines) < 3 || len(lines[len(lines)-1]) != 0 || string(lines[0]) != edgeKind {
		return fmt.Errorf("reading edge: want %s, the size and a line a level", edgeKind)
	}
	size, err := parseSize(string(lines[1]))
	if err != nil {
		return fmt.Errorf("reading edge: size: %w", err)
	}
	next := Edge{size: size}
	for i, line := range lines[2 : len(lines)-1] {
		if size>>(TileHeight*i) == 0 {
			return fmt.Errorf("reading edge: a line for level %d, which a tree of %d leaves has not", i, size)
		}
		raw, err := base64.StdEncoding.Strict().AppendDecode(nil, line)
		want := int(size >> (TileHeight * i) % TileWidth)
		if err != nil || len(raw) != want*tlog.HashSize || bytes.ContainsAny(line, "\r\n") {
			return fmt.Errorf("reading edge: level %d: want %d hashes in base64", i, want)
		}
		var hashes []tlog.Hash
		if want > 0 {
			if hashes, err = parseHashes(raw); err != nil {
				return fmt.Errorf("reading edge: level %d: %w", i, err)
			}
		}
		next.levels = append(next.levels, hashes)
	}
	if size>>(TileHeight*len(next.levels)) != 0 {
		return fmt.Errorf("reading edge: %d levels are too few for %d leaves", len(next.levels), size)
	}
	*e = next
	return nil
}
