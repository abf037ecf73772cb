package log

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Shape of the tiles (https://c2sp.org/tlog-tiles#merkle-tree).
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight // hashes of a full tile, entries of a full bundle

	// MaxLeaf is the largest leaf, in bytes: an entry's length is a uint16.
	MaxLeaf = 1<<16 - 1
	// MaxBundle is the largest entry bundle.
	MaxBundle = TileWidth * (2 + MaxLeaf)

	maxLevel = 63
	// entriesLevel marks a bundle of entries where a level is asked for, as in
	// tlog.Tile.
	entriesLevel = -1
)

// Media types of the log's objects (https://c2sp.org/tlog-tiles#apis).
const (
	TileMediaType       = "application/octet-stream"
	CheckpointMediaType = "text/plain; charset=utf-8"
)

// EmptyRoot is the root of the tree without leaves (RFC 6962 section 2.1).
func EmptyRoot() tlog.Hash { return sha256.Sum256(nil) }

// Tile names a tile of hashes, or with Level -1 a bundle of entries.
type Tile struct {
	Level int
	N     int64 // index within the level
	Width int   // 1 to TileWidth; below that the tile is partial
}

// Key is where the tile lies: tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>].
func (t Tile) Key() string {
	level := "entries"
	if t.Level != entriesLevel {
		level = strconv.Itoa(t.Level)
	}
	n := t.N
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	key := "tile/" + level + "/" + path
	if t.Width < TileWidth {
		key += ".p/" + strconv.Itoa(t.Width)
	}
	return key
}

// ParseTile reads a key in its only spelling.
func ParseTile(key string) (Tile, error) {
	bad := func() (Tile, error) {
		return Tile{}, fmt.Errorf("tile key %s: want tile/<level or entries>/<index>[.p/<width>]", strconv.QuoteToASCII(clip(key)))
	}
	t := Tile{Width: TileWidth}
	part := strings.Split(key, "/")
	if len(part) < 3 || len(part) > 10 || part[0] != "tile" {
		return bad()
	}
	if part[1] == "entries" {
		t.Level = entriesLevel
	} else if level, err := strconv.Atoi(part[1]); err == nil && level >= 0 && level <= maxLevel {
		t.Level = level
	} else {
		return bad()
	}
	part = part[2:]
	if last := len(part) - 1; last > 0 && strings.HasSuffix(part[last-1], ".p") {
		width, err := strconv.Atoi(part[last])
		if err != nil || width < 1 || width >= TileWidth {
			return bad()
		}
		t.Width, part = width, part[:last]
		part[last-1] = strings.TrimSuffix(part[last-1], ".p")
	}
	for _, s := range part {
		digits, err := strconv.Atoi(strings.TrimPrefix(s, "x"))
		if err != nil || digits < 0 || digits > 999 || t.N > (1<<62)/1000 {
			return bad()
		}
		t.N = t.N*1000 + int64(digits)
	}
	if t.Key() != key {
		return bad()
	}
	return t, nil
}

// clip keeps what a stranger sent from filling a line.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// widthAt is how many hashes (entries, for level 0 and below) of the tile are
// in a tree of the given size.
func widthAt(size int64, level int, n int64) int {
	shift := TileHeight * max(level, 0)
	if shift > 62 {
		return 0
	}
	return int(max(0, min(TileWidth, size>>shift-n*TileWidth)))
}

// parseHashes cuts a tile into its hashes.
func parseHashes(b []byte) ([]tlog.Hash, error) {
	if len(b) == 0 || len(b)%tlog.HashSize != 0 || len(b) > TileWidth*tlog.HashSize {
		return nil, fmt.Errorf("tile: %d bytes, want 1 to %d hashes of %d", len(b), TileWidth, tlog.HashSize)
	}
	out := make([]tlog.Hash, len(b)/tlog.HashSize)
	for i := range out {
		copy(out[i][:], b[i*tlog.HashSize:])
	}
	return out, nil
}

func appendHashes(dst []byte, hashes []tlog.Hash) []byte {
	for i := range hashes {
		dst = append(dst, hashes[i][:]...)
	}
	return dst
}

// AppendEntry appends a leaf as a bundle holds it: two bytes of length, big
// endian, then the leaf.
func AppendEntry(dst, leaf []byte) ([]byte, error) {
	if len(leaf) == 0 || len(leaf) > MaxLeaf {
		return dst, fmt.Errorf("leaf: %d bytes, want 1 to %d", len(leaf), MaxLeaf)
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(leaf)))
	return append(dst, leaf...), nil
}

// ParseBundle cuts a bundle into its leaves, which alias it.
func ParseBundle(b []byte) ([][]byte, error) {
	out := make([][]byte, 0, TileWidth)
	for i := 0; len(b) > 0; i++ {
		if i == TileWidth {
			return nil, fmt.Errorf("entry bundle: more than %d entries", TileWidth)
		}
		if len(b) < 2 {
			return nil, fmt.Errorf("entry bundle: entry %d: its length is cut off", i)
		}
		size := int(binary.BigEndian.Uint16(b))
		if size == 0 || len(b)-2 < size {
			return nil, fmt.Errorf("entry bundle: entry %d: says %d bytes, %d are left", i, size, len(b)-2)
		}
		out = append(out, b[2:2+size:2+size])
		b = b[2+size:]
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("entry bundle: no entries")
	}
	return out, nil
}

// fold is the root of a full subtree above hashes, whose number is a power of
// two. It uses the slice as its room.
func fold(hashes []tlog.Hash) tlog.Hash {
	for len(hashes) > 1 {
		for i := range len(hashes) / 2 {
			hashes[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
		hashes = hashes[:len(hashes)/2]
	}
	return hashes[0]
}
