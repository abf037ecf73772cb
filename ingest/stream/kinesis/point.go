package kinesis

import (
	"fmt"
	"math/big"

	"tallystream/schemas"
)

// Point is a place in the stream's 128-bit space of hash keys.
type Point struct{ Hi, Lo uint64 }

// PointOf is the one hash key of a partition: the middle of its share, if the
// space is cut into equal shares, one for each partition. A point is never
// divided, so whatever splits and merges do, one open shard holds all that is
// appended to the partition at a time.
func PointOf(p schemas.Partition, partitions int) Point {
	// (2p+1) * 2^128 / (2*partitions), rounded down.
	n := new(big.Int).Lsh(big.NewInt(2*int64(p)+1), 127)
	return pointOfInt(n.Quo(n, big.NewInt(int64(partitions))))
}

// pointOfInt takes the low 128 bits.
func pointOfInt(n *big.Int) Point {
	return Point{
		Hi: new(big.Int).Rsh(n, 64).Uint64(),
		Lo: new(big.Int).And(n, lowHalf).Uint64(),
	}
}

var lowHalf = new(big.Int).SetUint64(1<<64 - 1)

// ParsePoint reads the decimal spelling that the Kinesis API uses.
func ParsePoint(s string) (Point, error) {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || n.Sign() < 0 || n.BitLen() > 128 || n.String() != s {
		return Point{}, fmt.Errorf("hash key %.60q: want a decimal number below 2^128", s)
	}
	return pointOfInt(n), nil
}

// String is the decimal spelling.
func (p Point) String() string {
	n := new(big.Int).SetUint64(p.Hi)
	return n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(p.Lo)).String()
}

// Compare is -1, 0 or 1.
func (p Point) Compare(q Point) int {
	switch {
	case p == q:
		return 0
	case p.Hi < q.Hi || p.Hi == q.Hi && p.Lo < q.Lo:
		return -1
	}
	return 1
}

// Range is a shard's part of the space, both ends within it.
type Range struct{ First, Last Point }

// Whole is the whole space.
var Whole = Range{Last: Point{1<<64 - 1, 1<<64 - 1}}

// Holds says whether p lies in r.
func (r Range) Holds(p Point) bool { return r.First.Compare(p) <= 0 && p.Compare(r.Last) <= 0 }
