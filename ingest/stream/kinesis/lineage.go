package kinesis

import (
	"fmt"
	"slices"
	"strings"

	"tallystream/schemas"
)

// ShardInfo is a shard as ListShards tells of it.
type ShardInfo struct {
	ID       string
	Parent   string // "" for a shard of the stream's beginning
	Adjacent string // the second parent, after a merge
	Range    Range
	Closed   bool
}

// Place is where a partition is to be read next: in a shard behind a sequence
// number, "" meaning from its beginning.
type Place struct {
	Shard    string
	Behind   string
	Expired  string // the shard that was to be read before and is no longer listed, if any
	Awaiting bool   // Shard was read to its end and its child is not listed yet
}

// Lineage is a list of shards, and which partitions' points each holds.
type Lineage struct {
	shards map[string]ShardInfo
	points []Point // by partition
	// chain has, for each partition, the shards that hold its point. At any
	// time one of them is open, so parents order them from the oldest on.
	chain [][]string
}

// NewLineage orders the shards of one listing. It fails when they are not what
// splits and merges make of a stream.
func NewLineage(shards []ShardInfo, partitions int) (*Lineage, error) {
	l := &Lineage{shards: make(map[string]ShardInfo, len(shards)), points: make([]Point, partitions), chain: make([][]string, partitions)}
	for _, s := range shards {
		l.shards[s.ID] = s
	}
	for p := range l.points {
		l.points[p] = PointOf(schemas.Partition(p), partitions)
	}
	for p := range l.points {
		var err error
		if l.chain[p], err = l.chainOf(l.points[p]); err != nil {
			return nil, fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return l, nil
}

// chainOf follows a point from the oldest listed shard that holds it.
func (l *Lineage) chainOf(x Point) ([]string, error) {
	next := map[string]string{} // by predecessor; the oldest has one that is not listed
	var oldest []string
	for id, s := range l.shards {
		if !s.Range.Holds(x) {
			continue
		}
		before := l.before(s, x)
		switch {
		case before == "":
			oldest = append(oldest, id)
		case next[before] != "":
			return nil, fmt.Errorf("%w: %s and %s both follow %s", ErrLineage, min(next[before], id), max(next[before], id), before)
		default:
			next[before] = id
		}
	}
	if len(oldest) != 1 {
		slices.Sort(oldest)
		return nil, fmt.Errorf("%w: hash key %s begins in %d shards (%s), want one", ErrLineage, x, len(oldest), strings.Join(oldest, ", "))
	}
	chain := oldest
	for id := next[oldest[0]]; id != ""; id = next[id] {
		chain = append(chain, id)
		if len(chain) > len(l.shards) {
			return nil, fmt.Errorf("%w: the parents of %s form a circle", ErrLineage, id)
		}
	}
	return chain, nil
}

// before is the listed parent of s that held x, or "".
func (l *Lineage) before(s ShardInfo, x Point) string {
	for _, id := range []string{s.Parent, s.Adjacent} {
		if parent, listed := l.shards[id]; listed && parent.Range.Holds(x) {
			return id
		}
	}
	return ""
}

// follows says whether s came from a split or merge of the shard of that name,
// which need not be listed any more.
func (s ShardInfo) follows(id string) bool { return id != "" && (s.Parent == id || s.Adjacent == id) }

// Place says where partition p is, given its cursor.
func (l *Lineage) Place(p schemas.Partition, at string) (Place, error) {
	c, err := parseCursor(at)
	if err != nil {
		return Place{}, fmt.Errorf("partition %d: %w", p, err)
	}
	chain := l.chain[p]
	i := slices.Index(chain, c.shard)
	switch {
	case c.shard == "":
		return Place{Shard: chain[0]}, nil
	case i < 0 && c.ended && l.shards[chain[0]].follows(c.shard):
		return Place{Shard: chain[0]}, nil // the parent expired after it was read
	case i < 0 && l.shards[c.shard].ID != "":
		return Place{}, fmt.Errorf("%w: partition %d: %s does not hold its hash key %s: was the number of partitions changed?", ErrCursor, p, c.shard, l.points[p])
	case i < 0:
		return Place{Shard: chain[0], Expired: c.shard}, nil
	case !c.ended:
		return Place{Shard: c.shard, Behind: c.sequence}, nil
	case i+1 < len(chain):
		return Place{Shard: chain[i+1]}, nil
	}
	return Place{Shard: c.shard, Awaiting: true}, nil
}

// OpenShard is a shard that can be read now, and the partitions that are to be
// read from it.
type OpenShard struct {
	ID         string
	Partitions []schemas.Partition
	Places     []Place // of Partitions, same order
}

// Open says which shards can be read, in the order of their names, when the
// partitions' cursors stand so. A shard whose parents are not read to their
// ends by all partitions that they hold is not among them.
func (l *Lineage) Open(at []string) ([]OpenShard, error) {
	places := make([]Place, len(l.points))
	for p := range places {
		var err error
		if places[p], err = l.Place(schemas.Partition(p), at[p]); err != nil {
			return nil, err
		}
	}
	unread := map[string]bool{} // shards that some partition has not finished
	for p, place := range places {
		if place.Awaiting {
			continue
		}
		from := slices.Index(l.chain[p], place.Shard)
		for _, id := range l.chain[p][from:] {
			unread[id] = true
		}
	}
	open := map[string]*OpenShard{}
	for p, place := range places {
		s := l.shards[place.Shard]
		if place.Awaiting || unread[s.Parent] || unread[s.Adjacent] {
			continue
		}
		o := open[s.ID]
		if o == nil {
			o = &OpenShard{ID: s.ID}
			open[s.ID] = o
		}
		o.Partitions = append(o.Partitions, schemas.Partition(p))
		o.Places = append(o.Places, place)
	}
	list := make([]OpenShard, 0, len(open))
	for _, o := range open {
		list = append(list, *o)
	}
	slices.SortFunc(list, func(a, b OpenShard) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}
