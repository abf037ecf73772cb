package kinesistest

import (
	"fmt"
	"math/big"

	"tallystream/ingest/stream/kinesis"
)

// Split divides an open shard in two; the second begins at the given hash key.
func (s *Service) Split(id string, at kinesis.Point) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shard(id)
	switch {
	case sh == nil:
		return fmt.Errorf("splitting: no shard %s", id)
	case sh.info.Closed:
		return fmt.Errorf("splitting: %s is closed", id)
	case at.Compare(sh.info.Range.First) <= 0 || at.Compare(sh.info.Range.Last) > 0:
		return fmt.Errorf("splitting %s: hash key %s is not within it", id, at)
	}
	s.close(sh)
	s.add(kinesis.ShardInfo{Parent: id, Range: kinesis.Range{First: sh.info.Range.First, Last: before(at)}})
	s.add(kinesis.ShardInfo{Parent: id, Range: kinesis.Range{First: at, Last: sh.info.Range.Last}})
	s.broadcast()
	return nil
}

// Merge makes one shard of two neighbours.
func (s *Service) Merge(id, adjacent string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, b := s.shard(id), s.shard(adjacent)
	switch {
	case a == nil || b == nil:
		return fmt.Errorf("merging: no shards %s and %s", id, adjacent)
	case a.info.Closed || b.info.Closed:
		return fmt.Errorf("merging: %s or %s is closed", id, adjacent)
	case !touch(a.info.Range, b.info.Range) && !touch(b.info.Range, a.info.Range):
		return fmt.Errorf("merging: %s and %s are not neighbours", id, adjacent)
	}
	whole := kinesis.Range{First: a.info.Range.First, Last: b.info.Range.Last}
	if b.info.Range.First.Compare(a.info.Range.First) < 0 {
		whole = kinesis.Range{First: b.info.Range.First, Last: a.info.Range.Last}
	}
	s.close(a)
	s.close(b)
	s.add(kinesis.ShardInfo{Parent: id, Adjacent: adjacent, Range: whole})
	s.broadcast()
	return nil
}

// touch says that y begins where x ends. The space is no ring.
func touch(x, y kinesis.Range) bool {
	return x.Last.Compare(y.First) < 0 && after(x.Last) == y.First
}

func (s *Service) close(sh *shard) {
	sh.info.Closed = true
	sh.closed = s.now()
}

// children of a shard, once it is closed.
func (s *Service) children(sh *shard) []*shard {
	var list []*shard
	for _, x := range s.shards {
		if x.info.Parent == sh.info.ID || x.info.Adjacent == sh.info.ID {
			list = append(list, x)
		}
	}
	return list
}

// Middle of a shard's hash keys, where a split halves it.
func Middle(r kinesis.Range) kinesis.Point {
	sum := new(big.Int).Add(number(r.First), number(r.Last))
	return point(sum.Rsh(sum, 1).Add(sum, big.NewInt(1)))
}

func startOfShare(i, n int) kinesis.Point {
	x := new(big.Int).Lsh(big.NewInt(int64(i)), 128)
	return point(x.Quo(x, big.NewInt(int64(n))))
}

func before(p kinesis.Point) kinesis.Point { return point(new(big.Int).Sub(number(p), big.NewInt(1))) }

// after wraps around at the end of the space.
func after(p kinesis.Point) kinesis.Point {
	n := new(big.Int).Add(number(p), big.NewInt(1))
	return point(n.SetBit(n, 128, 0))
}

func number(p kinesis.Point) *big.Int {
	n, _ := new(big.Int).SetString(p.String(), 10)
	return n
}

func point(n *big.Int) kinesis.Point {
	p, err := kinesis.ParsePoint(n.String())
	if err != nil {
		panic(err)
	}
	return p
}
