package suppress

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// Openings are what auditors are given of sealed leaves: NDJSON, a line for each
// leaf, in any order:
//
//	{"partition":1,"seq":44,"salt":"<base64>","leaf":"<base64>"}
//
// It holds every hidden number of the night, and is as secret as those.
type Openings struct {
	of map[openingKey]opening
}

type openingKey struct {
	partition schemas.Partition
	seq       uint64
}

type opening struct {
	Partition schemas.Partition `json:"partition"`
	Seq       uint64            `json:"seq"`
	Salt      []byte            `json:"salt"`
	Leaf      []byte            `json:"leaf"`
}

// AppendOpening appends the opening of an entry's sealed leaf; own is the leaf
// that is sealed.
func (s *Secret) AppendOpening(dst []byte, origin string, entry *schemas.Entry, own leaf.Leaf) ([]byte, error) {
	b, err := leaf.Append(nil, own)
	if err != nil {
		return dst, fmt.Errorf("opening entry %d of partition %d: %w", entry.Seq, entry.Partition, err)
	}
	salt := s.Salt(origin, entry.Partition, entry.Seq)
	line, err := json.Marshal(opening{entry.Partition, entry.Seq, salt[:], b})
	if err != nil {
		return dst, fmt.Errorf("opening entry %d of partition %d: %w", entry.Seq, entry.Partition, err)
	}
	return append(append(dst, line...), '\n'), nil
}

// maxOpening is the longest line of openings: a leaf in base64, and what is
// around it.
const maxOpening = log.MaxLeaf*4/3 + 400

// ReadOpenings reads a file of openings. Whether they open anything is found when
// they are used.
func ReadOpenings(r io.Reader) (*Openings, error) {
	o := &Openings{map[openingKey]opening{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxOpening)
	for n := 1; lines.Scan(); n++ {
		var x opening
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			return nil, fmt.Errorf("reading openings: line %d is no opening", n) // without repeating it
		}
		key := openingKey{x.Partition, x.Seq}
		if _, twice := o.of[key]; twice || len(x.Salt) != leaf.SaltSize || x.Seq == 0 {
			return nil, fmt.Errorf("reading openings: line %d: want an entry that has no line before, and a salt of %d bytes", n, leaf.SaltSize)
		}
		o.of[key] = x
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading openings: %w", err)
	}
	return o, nil
}

// ErrNoOpening: a sealed leaf has no opening.
var ErrNoOpening = errors.New("there is no opening of it")

// Open opens a sealed leaf.
func (o *Openings) Open(l *leaf.Sealed) (leaf.Leaf, error) {
	x, ok := o.of[openingKey{l.Partition, l.Seq}]
	if !ok {
		return nil, ErrNoOpening
	}
	return l.Open(x.Leaf, [leaf.SaltSize]byte(x.Salt))
}
