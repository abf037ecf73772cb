package lease

import (
	"bytes"
	"maps"
	"slices"
	"time"
)

// sighting is a value as an observer has seen it.
type sighting struct {
	lease Lease
	// foreign says that the value is of no version that this program knows.
	// Its owner counts as unknown and alive, until it stops changing.
	foreign bool
	raw     []byte // nil: the name is wanted and not in the register
	// since is when this observer first saw this very value, on its own clock.
	// It is later than the value was written.
	since time.Duration
}

// free reports whether nobody holds the name.
func (s *sighting) free() bool { return !s.foreign && s.lease.Owner == "" }

// still reports whether the value has not changed for ttl. Its owner, if it
// has one, must have stopped.
func (s *sighting) still(now, ttl time.Duration) bool { return now-s.since >= ttl }

// sightings are what an observer has seen, by name.
type sightings map[string]*sighting

// look updates what was seen by what was in the register before now. Only the
// observer's own clock counts: a value that it sees for the first time may be
// about to be renewed, however old it is. A wanted name that is not there is
// seen as free.
func (all sightings) look(now time.Duration, values map[string][]byte, wanted []string) {
	values = maps.Clone(values)
	for _, name := range wanted {
		if _, ok := values[leasePart+name]; !ok {
			values[leasePart+name] = nil
		}
	}
	maps.DeleteFunc(all, func(name string, _ *sighting) bool {
		_, ok := values[name]
		return !ok
	})
	for name, raw := range values {
		if s := all[name]; s == nil || !bytes.Equal(s.raw, raw) {
			all.set(now, name, raw)
		}
	}
}

func (all sightings) set(now time.Duration, name string, raw []byte) {
	if raw == nil {
		all[name] = &sighting{since: now}
		return
	}
	l, err := Parse(raw)
	all[name] = &sighting{lease: l, foreign: err != nil, raw: raw, since: now}
}

// names in their order, so that nothing depends on that of a map.
func (all sightings) names() []string { return slices.Sorted(maps.Keys(all)) }
