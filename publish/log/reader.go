package log

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"
)

// Tiles is where a log's objects are read from: a bucket, a directory, a web
// server. What it returns is not trusted. An absent object is an error.
type Tiles interface {
	Get(ctx context.Context, key string) ([]byte, error)
}

// ErrTampered: an object does not lead to the root that it is held against.
// It was changed, or it belongs to another tree.
var ErrTampered = errors.New("does not lead to the root hash")

// TamperError says which object or entry is not the tree's.
type TamperError struct {
	Key    string // of the object, as far as it is known
	Index  int64  // of the entry; -1 if it is not one entry
	Reason string
}

func (e *TamperError) Error() string {
	at := e.Key
	if e.Index >= 0 {
		at = fmt.Sprintf("leaf %d in %s", e.Index, e.Key)
	}
	return at + ": " + e.Reason
}

// Is makes every TamperError an ErrTampered.
func (e *TamperError) Is(target error) bool { return target == ErrTampered }

// fetchAtOnce bounds the objects that one call asks for at the same time.
const fetchAtOnce = 8

// Reader reads one tree, of a size and a root that the caller trusts. It hands
// on nothing that does not lead to that root. It keeps the tiles above level
// 0 that it has checked (8 KiB for 65,536 leaves), and is safe for concurrent use.
type Reader struct {
	tiles Tiles
	tree  tlog.Tree

	mu    sync.Mutex // guards known
	known map[tlog.Tile][]byte
}

// NewReader reads the tree out of tiles.
func NewReader(tiles Tiles, tree tlog.Tree) *Reader {
	return &Reader{tiles: tiles, tree: tree, known: map[tlog.Tile][]byte{}}
}

// Tree is what the reader holds everything against.
func (r *Reader) Tree() tlog.Tree { return r.tree }

// Inclusion proves that leaf index is in the tree (RFC 6962 section 2.1.1).
func (r *Reader) Inclusion(ctx context.Context, index int64) (tlog.RecordProof, error) {
	if index < 0 || index >= r.tree.N {
		return nil, fmt.Errorf("proving inclusion: leaf %d is not in a tree of %d", index, r.tree.N)
	}
	p, err := tlog.ProveRecord(r.tree.N, index, r.hashes(ctx))
	if err != nil {
		return nil, fmt.Errorf("proving inclusion of leaf %d: %w", index, err)
	}
	return p, nil
}

// Consistency proves that the tree of the first old leaves is a prefix of this
// one (RFC 6962 section 2.1.2). The proof is empty for old 0 and for the whole.
func (r *Reader) Consistency(ctx context.Context, old int64) (tlog.TreeProof, error) {
	if old < 0 || old > r.tree.N {
		return nil, fmt.Errorf("proving consistency: a tree of %d leaves is no prefix of one of %d", old, r.tree.N)
	}
	if old == 0 {
		return nil, nil
	}
	p, err := tlog.ProveTree(r.tree.N, old, r.hashes(ctx))
	if err != nil {
		return nil, fmt.Errorf("proving consistency with %d leaves: %w", old, err)
	}
	return p, nil
}

// Root is the root that the tree had when it had old leaves.
func (r *Reader) Root(ctx context.Context, old int64) (tlog.Hash, error) {
	if old < 0 || old > r.tree.N {
		return tlog.Hash{}, fmt.Errorf("reading a root: the tree has %d leaves, not %d", r.tree.N, old)
	}
	if old == 0 {
		return EmptyRoot(), nil
	}
	h, err := tlog.TreeHash(old, r.hashes(ctx))
	if err != nil {
		return tlog.Hash{}, fmt.Errorf("reading the root of %d leaves: %w", old, err)
	}
	return h, nil
}

// CheckConsistency verifies a proof that newer begins with older. Unlike
// tlog.CheckTree it takes empty trees.
func CheckConsistency(p tlog.TreeProof, older, newer tlog.Tree) error {
	switch {
	case older.N < 0 || older.N > newer.N:
		return fmt.Errorf("consistency: a tree of %d leaves is no prefix of one of %d", older.N, newer.N)
	case older.N == 0:
		if len(p) != 0 || older.Hash != EmptyRoot() {
			return errors.New("consistency: an empty tree has an empty proof and the root of nothing")
		}
		return nil
	case older.N == newer.N:
		if len(p) != 0 || older.Hash != newer.Hash {
			return errors.New("consistency: two trees of one size have other roots")
		}
		return nil
	}
	if err := tlog.CheckTree(p, newer.N, newer.Hash, older.N, older.Hash); err != nil {
		return fmt.Errorf("consistency of %d leaves with %d: %w", newer.N, older.N, err)
	}
	return nil
}

// Leaf reads one leaf.
func (r *Reader) Leaf(ctx context.Context, index int64) ([]byte, error) {
	if index < 0 || index >= r.tree.N {
		return nil, fmt.Errorf("reading a leaf: %d is not in a tree of %d", index, r.tree.N)
	}
	b, err := r.bundle(ctx, index/TileWidth)
	if err != nil {
		return nil, err
	}
	return b.Leaves[index-b.First], nil
}

// OpenEdge reads the right edge, to append to the tree.
func (r *Reader) OpenEdge(ctx context.Context) (*Edge, error) {
	e := &Edge{size: r.tree.N}
	for level := 0; r.tree.N>>(TileHeight*level) > 0; level++ {
		var hashes []tlog.Hash
		if w := int(r.tree.N >> (TileHeight * level) % TileWidth); w > 0 {
			first := r.tree.N >> (TileHeight * level) / TileWidth * TileWidth
			var err error
			if hashes, err = r.level(ctx, level, first, w); err != nil {
				return nil, fmt.Errorf("opening the edge: %w", err)
			}
		}
		e.levels = append(e.levels, hashes)
	}
	if e.root() != r.tree.Hash {
		return nil, &TamperError{Key: "the right edge", Index: -1, Reason: ErrTampered.Error()}
	}
	if key := e.Bundle(); key != "" {
		b, err := r.object(ctx, Tile{Level: entriesLevel, N: e.size / TileWidth, Width: int(e.size % TileWidth)})
		if err != nil {
			return nil, fmt.Errorf("opening the edge: %w", err)
		}
		if err := e.Resume(b); err != nil {
			return nil, fmt.Errorf("opening the edge: %s: %w", key, err)
		}
	}
	return e, nil
}

// level reads count checked hashes of a tile level.
func (r *Reader) level(ctx context.Context, level int, first int64, count int) ([]tlog.Hash, error) {
	indexes := make([]int64, count)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(TileHeight*level, first+int64(i))
	}
	return r.hashes(ctx).ReadHashes(indexes)
}

// hashes reads stored hashes and checks them against the root. What was fetched
// but does not lead there is a *TamperError.
func (r *Reader) hashes(ctx context.Context) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		t := &tileReader{r: r, ctx: ctx}
		hashes, err := tlog.TileHashReader(r.tree, t).ReadHashes(indexes)
		if err != nil && t.fetched {
			last := len(t.asked) - 1 // tlog does not say which tile; the last is the one that was wanted
			return nil, &TamperError{Key: t.asked[last].Key(), Index: -1, Reason: "it, or a tile above it, " + ErrTampered.Error()}
		}
		return hashes, err
	})
}

// tileReader is a tlog.TileReader for the time of one call.
type tileReader struct {
	r       *Reader
	ctx     context.Context
	asked   []Tile
	fetched bool // all that was asked for is there
}

// Height is that of all tiles.
func (t *tileReader) Height() int { return TileHeight }

// ReadTiles fetches the tiles that are not known, unchecked: a single one in
// the caller's goroutine, several at the same time.
func (t *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	var missing []int
	for i, tile := range tiles {
		t.asked = append(t.asked, Tile{Level: tile.L, N: tile.N, Width: tile.W})
		t.r.mu.Lock()
		out[i] = t.r.known[tile]
		t.r.mu.Unlock()
		if out[i] == nil {
			missing = append(missing, i)
		}
	}
	fetch := func(ctx context.Context, i int) (err error) {
		out[i], err = t.r.hashTile(ctx, tiles[i])
		return err
	}
	var err error
	if len(missing) == 1 {
		err = fetch(t.ctx, missing[0])
	} else {
		g, ctx := errgroup.WithContext(t.ctx)
		g.SetLimit(fetchAtOnce)
		for _, i := range missing {
			g.Go(func() error { return fetch(ctx, i) })
		}
		err = g.Wait()
	}
	t.fetched = err == nil
	return out, err
}

// hashTile gets a tile of hashes, unchecked.
func (r *Reader) hashTile(ctx context.Context, tile tlog.Tile) ([]byte, error) {
	key := Tile{Level: tile.L, N: tile.N, Width: tile.W}
	b, err := r.object(ctx, key)
	if err == nil && len(b) != tile.W*tlog.HashSize {
		err = &TamperError{Key: key.Key(), Index: -1, Reason: fmt.Sprintf("%d bytes, want %d hashes", len(b), tile.W)}
	}
	return b, err
}

// SaveTiles is told which tiles led to the root. Full ones of level 0 are left
// out: there is one for each bundle, read once.
func (t *tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	for i, tile := range tiles {
		if tile.L > 0 || tile.W < TileWidth {
			t.r.known[tile] = data[i]
		}
	}
}

// object gets a tile. A partial one may be gone once the full one is there, of
// which it is then the beginning. So it is of the one that is wider by one: the
// tree that a snapshot commits to ends just before the snapshot's own leaf, and
// is published with that leaf only.
func (r *Reader) object(ctx context.Context, t Tile) ([]byte, error) {
	b, err := r.tiles.Get(ctx, t.Key())
	if err == nil || t.Width == TileWidth || ctx.Err() != nil {
		return b, err
	}
	for _, width := range []int{t.Width + 1, TileWidth} {
		wider := t
		wider.Width = width
		if b, widerErr := r.tiles.Get(ctx, wider.Key()); widerErr == nil {
			return beginning(b, t, wider.Key())
		}
	}
	return nil, err
}

// beginning cuts the bytes of a wider tile down to t.
func beginning(b []byte, t Tile, key string) ([]byte, error) {
	if t.Level >= 0 {
		return b[:min(len(b), t.Width*tlog.HashSize)], nil
	}
	leaves, err := ParseBundle(b)
	if err != nil || len(leaves) < t.Width {
		return nil, &TamperError{Key: key, Index: -1, Reason: "is no bundle of so many entries"}
	}
	size := 0
	for _, leaf := range leaves[:t.Width] {
		size += 2 + len(leaf)
	}
	return b[:size], nil
}

// Bundle is a run of checked leaves.
type Bundle struct {
	First  int64 // index of the first
	Leaves [][]byte
}

// bundle reads bundle n and checks every leaf in it.
func (r *Reader) bundle(ctx context.Context, n int64) (Bundle, error) {
	t := Tile{Level: entriesLevel, N: n, Width: widthAt(r.tree.N, entriesLevel, n)}
	b, err := r.object(ctx, t)
	if err != nil {
		return Bundle{}, fmt.Errorf("reading %s: %w", t.Key(), err)
	}
	leaves, err := ParseBundle(b)
	if err != nil {
		return Bundle{}, &TamperError{Key: t.Key(), Index: -1, Reason: err.Error()}
	}
	if len(leaves) != t.Width {
		return Bundle{}, &TamperError{Key: t.Key(), Index: -1, Reason: fmt.Sprintf("%d entries, want %d", len(leaves), t.Width)}
	}
	hashes, err := r.level(ctx, 0, n*TileWidth, t.Width)
	if err != nil {
		return Bundle{}, fmt.Errorf("checking %s: %w", t.Key(), err)
	}
	for i, leaf := range leaves {
		if tlog.RecordHash(leaf) != hashes[i] {
			return Bundle{}, &TamperError{Key: t.Key(), Index: n*TileWidth + int64(i), Reason: ErrTampered.Error()}
		}
	}
	return Bundle{First: n * TileWidth, Leaves: leaves}, nil
}
