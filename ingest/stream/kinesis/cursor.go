package kinesis

import (
	"fmt"
	"strings"
)

// A cursor says how far a partition has been read, in one of these spellings,
// whose first part is the version of the format:
//
//	""                                  nothing yet: from the oldest shard that holds the partition's point
//	"k1/shardId-000000000003/4957...2"  in this shard, behind the record of this sequence number
//	"k1/shardId-000000000003/end"       the shard is closed and read to its end; go on in its child
//
// A shard's name and a sequence number have up to 128 characters each, so a
// cursor has at most 260 bytes; usually 80.
type cursor struct {
	shard    string // "" for the empty cursor
	sequence string // "" when ended
	ended    bool
}

const (
	cursorVersion = "k1"
	cursorEnd     = "end"
	maxSequence   = 128 // digits, from the API's pattern
)

func parseCursor(s string) (cursor, error) {
	if s == "" {
		return cursor{}, nil
	}
	part := strings.Split(s, "/")
	if len(part) != 3 || part[0] != cursorVersion || part[1] == "" {
		return cursor{}, fmt.Errorf(`%w: cursor %.200q: want "%s/shard/sequence number" or "%s/shard/%s"`, ErrCursor, s, cursorVersion, cursorVersion, cursorEnd)
	}
	c := cursor{shard: part[1], sequence: part[2]}
	if c.sequence == cursorEnd {
		c.sequence, c.ended = "", true
	} else if !isSequence(c.sequence) {
		return cursor{}, fmt.Errorf("%w: cursor %.200q: sequence number is not a decimal number", ErrCursor, s)
	}
	return c, nil
}

func (c cursor) String() string {
	switch {
	case c.shard == "":
		return ""
	case c.ended:
		return cursorVersion + "/" + c.shard + "/" + cursorEnd
	}
	return cursorVersion + "/" + c.shard + "/" + c.sequence
}

// isSequence follows the API: 0, or digits without a leading zero.
func isSequence(s string) bool {
	if s == "" || len(s) > maxSequence || s[0] == '0' && len(s) > 1 {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// isBehind says whether sequence number a comes after b. They are too long
// for an integer; without leading zeros, the longer is the larger. The empty
// one is before all.
func isBehind(a, b string) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a > b
}
