package lease

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"time"
)

// Limits of one Tick, so that a group comes to rest without thrash. Taking
// what nobody has disturbs nobody; giving up stops somebody's work.
const (
	mostTaken   = 32
	mostGivenUp = 4
)

// act is what a keeper wants to do to a name.
type act int

const (
	renew    act = iota // write it again, as its owner
	takeFree            // nobody has it
	takeDead            // its owner has stopped
	takeIdle            // above the share: nobody else has taken it for long
	giveUp              // others have too few
	drop                // nobody wants it any more: it goes from the register
	bury                // a worker that has stopped goes from the register
)

// step is one swap that a keeper wants.
type step struct {
	act  act
	name string // behind the prefix, with its part
}

// view is what a decision follows from, and nothing else.
type view struct {
	self   string
	now    time.Duration // on the observer's clock
	ttl    time.Duration
	seen   sightings // leases and workers
	wanted []string  // names that somebody should hold, each once
	// reluctant: what this keeper gave up lately, nobody took.
	reluctant bool
}

// decide returns what to do, in the order in which to do it.
//
// The fair share is wanted/workers, rounded down (floor) or up (ceil). A keeper
// takes what is free or dead up to the floor, and one more if enough is left
// for the others. It gives up only what lets another reach the floor, or what
// it has above the ceil. All who see the same come to the same numbers, so
// nobody gives up what it would take again.
//
// Others may see something else, or not take what they should. So what has
// lain idle for a TTL is taken by anybody, whatever its share.
func (v *view) decide() []step {
	s := v.count()
	var steps []step
	for _, name := range s.mine {
		if !s.wanted[name] {
			steps = append(steps, step{drop, leasePart + name})
		}
	}
	given := v.gives(s)
	for i, name := range s.mineWanted {
		if i >= len(s.mineWanted)-given { // always the same ones: it takes two Ticks
			steps = append(steps, step{giveUp, leasePart + name})
		} else {
			steps = append(steps, step{renew, leasePart + name})
		}
	}
	if given == 0 {
		steps = append(steps, v.takes(s)...)
	}
	return append(steps, s.buried...)
}

// standing is a view, counted.
type standing struct {
	wanted      map[string]bool
	mine        []string // names that are this keeper's in the register
	mineWanted  []string
	free, dead  []string       // wanted names that may be taken
	held        map[string]int // wanted names of each living worker; those with none are in it
	floor, ceil int            // the fair share
	buried      []step
}

func (v *view) count() *standing {
	s := &standing{wanted: map[string]bool{}, held: map[string]int{v.self: 0}}
	for _, name := range v.wanted {
		s.wanted[name] = true
	}
	for _, key := range v.seen.names() {
		if name, ok := cutPrefix(key, workerPart); ok {
			v.countWorker(s, key, name)
		} else if name, ok := cutPrefix(key, leasePart); ok {
			v.countLease(s, key, name)
		}
	}
	s.floor = len(s.wanted) / len(s.held)
	s.ceil = (len(s.wanted) + len(s.held) - 1) / len(s.held)
	return s
}

func (v *view) countWorker(s *standing, key, name string) {
	switch {
	case name == v.self:
	case v.seen[key].still(v.now, v.ttl):
		s.buried = append(s.buried, step{bury, key})
	default:
		s.held[name] += 0
	}
}

func (v *view) countLease(s *standing, key, name string) {
	seen := v.seen[key]
	switch {
	case seen.lease.Owner == v.self && !seen.foreign:
		s.mine = append(s.mine, name)
		if s.wanted[name] {
			s.mineWanted = append(s.mineWanted, name)
			s.held[v.self]++
		}
	case seen.free() && s.wanted[name]:
		s.free = append(s.free, name)
	case seen.still(v.now, v.ttl) && s.wanted[name]:
		s.dead = append(s.dead, name)
	case seen.still(v.now, v.ttl):
		s.buried = append(s.buried, step{bury, key})
	case !seen.foreign && seen.lease.Owner != "" && s.wanted[name]:
		s.held[seen.lease.Owner]++
	}
}

// gives is how many names this keeper should give up: what it has above the
// share, and its part of what others lack.
func (v *view) gives(s *standing) int {
	if v.reluctant {
		return 0
	}
	lack := -len(s.free) - len(s.dead) // those will be taken without anybody's loss
	for _, n := range s.held {
		lack += max(0, s.floor-n)
	}
	// Whoever has most gives first; all workers count it out in the same way.
	held := maps.Clone(s.held)
	workers := slices.Sorted(maps.Keys(held))
	for ; lack > 0; lack-- {
		most := slices.MaxFunc(workers, func(a, b string) int { return cmp.Compare(held[a], held[b]) })
		if held[most] <= s.floor {
			break
		}
		held[most]--
	}
	return min(mostGivenUp, max(s.held[v.self]-held[v.self], s.held[v.self]-s.ceil, 0))
}

// takes are the names to take. Each keeper has an order of its own, so that a
// crowd does not run for the same one.
func (v *view) takes(s *standing) []step {
	mine, available := s.held[v.self], len(s.free)+len(s.dead)
	room := max(0, s.floor-mine)
	if mine <= s.floor && s.ceil > s.floor && available > v.othersLack(s)+room {
		room++
	}
	var steps []step
	for _, kind := range []struct {
		act   act
		names []string
		idle  time.Duration // unchanged for so long, it lies idle
	}{{takeFree, s.free, v.ttl}, {takeDead, s.dead, 2 * v.ttl}} {
		slices.SortFunc(kind.names, func(a, b string) int {
			return cmp.Or(cmp.Compare(v.rank(a), v.rank(b)), cmp.Compare(a, b))
		})
		for _, name := range kind.names {
			if len(steps) == mostTaken {
				break
			}
			if room > 0 {
				room--
				steps = append(steps, step{kind.act, leasePart + name})
			} else if v.seen[leasePart+name].still(v.now, kind.idle) {
				steps = append(steps, step{takeIdle, leasePart + name})
			}
		}
	}
	return steps
}

// othersLack is how many names other workers are short of the lower share.
func (v *view) othersLack(s *standing) int {
	lack := 0
	for worker, n := range s.held {
		if worker != v.self {
			lack += max(0, s.floor-n)
		}
	}
	return lack
}

// rank is a keeper's own order of names.
func (v *view) rank(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(v.self + "\x00" + name))
	return h.Sum64()
}

func cutPrefix(s, prefix string) (string, bool) {
	if len(s) <= len(prefix) || s[:len(prefix)] != prefix {
		return "", false
	}
	return s[len(prefix):], true
}
