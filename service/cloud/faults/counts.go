package faults

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault of a kind in an operation.
type Fault struct {
	Operation Operation
	Kind      Kind
}

// Counts of what has happened so far.
type Counts struct {
	Requests map[Operation]uint64 // that came from the SDK, its own repetitions included
	Faults   map[Fault]uint64
}

// Counts returns a copy of what was counted.
func (n *Network) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := Counts{map[Operation]uint64{}, map[Fault]uint64{}}
	for o, count := range n.nth {
		c.Requests[o] = count
	}
	for f, count := range n.faults {
		c.Faults[f] = count
	}
	return c
}

// Total is the number of faults of a kind in all operations.
func (c Counts) Total(k Kind) uint64 {
	var total uint64
	for f, n := range c.Faults {
		if f.Kind == k {
			total += n
		}
	}
	return total
}

// String is a table: operations down, the kinds that happened across.
func (c Counts) String() string {
	operations := make([]Operation, 0, len(c.Requests))
	for o := range c.Requests {
		operations = append(operations, o)
	}
	slices.SortFunc(operations, func(a, b Operation) int { return cmp.Compare(a.String(), b.String()) })
	var kinds []Kind
	for _, k := range Kinds {
		if c.Total(k) > 0 {
			kinds = append(kinds, k)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-28s %9s", "operation", "requests")
	for _, k := range kinds {
		fmt.Fprintf(&b, " %*s", max(6, len(k)), k)
	}
	for _, o := range operations {
		fmt.Fprintf(&b, "\n%-28s %9d", o, c.Requests[o])
		for _, k := range kinds {
			fmt.Fprintf(&b, " %*d", max(6, len(k)), c.Faults[Fault{o, k}])
		}
	}
	b.WriteByte('\n')
	return b.String()
}
