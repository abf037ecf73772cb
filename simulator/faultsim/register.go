package faultsim

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"strings"

	"tallystream/service/register"
)

// simRegister changes single values by compare-and-swap. Lists are read in
// pieces.
type simRegister struct {
	world    *world
	values   map[string][]byte
	unfenced func(name string) bool // planted: swaps of this name do not compare
}

func newRegister(w *world) *simRegister {
	return &simRegister{world: w, values: map[string][]byte{}, unfenced: func(string) bool { return false }}
}

func (r *simRegister) Load(_ context.Context, name string) (value []byte, err error) {
	return value, r.world.current.read("register "+name, func() error {
		value = bytes.Clone(r.values[name])
		return nil
	})
}

func (r *simRegister) List(_ context.Context, prefix string) (map[string][]byte, error) {
	out := map[string][]byte{}
	return out, r.world.current.read("register "+prefix, func() error {
		for _, name := range sortedKeys(r.values) {
			if r.world.chance(20) {
				r.world.current.travel()
			}
			if value := r.values[name]; value != nil && strings.HasPrefix(name, prefix) {
				out[name] = bytes.Clone(value)
			}
		}
		return nil
	})
}

// publicationMark is the register's name for what publication goes by.
const publicationMark = "publication"

// Swap implements register.Register.
func (r *simRegister) Swap(ctx context.Context, name string, before, after []byte) error {
	return r.swap(ctx, name, before, after, func(_, _ []byte) {})
}

// swap tells onSwap before a value changes.
func (r *simRegister) swap(_ context.Context, name string, before, after []byte, onSwap func(now, next []byte)) error {
	kind := writeLease
	if name == publicationMark {
		kind = writeEpoch
		if noteOf(after) != "" && noteOf(after) != noteOf(before) {
			kind = writeMark
		}
	}
	before, after = bytes.Clone(before), bytes.Clone(after)
	return r.world.current.write(kind, name+" "+firstLines(after), func() error {
		if now := r.values[name]; !bytes.Equal(now, before) && !r.unfenced(name) {
			return register.ErrConflict
		}
		onSwap(r.values[name], after)
		if after == nil {
			delete(r.values, name)
		} else {
			r.values[name] = after
		}
		return nil
	})
}

// noteOf is the snapshot's note within a mark; "" if there is none.
func noteOf(mark []byte) string {
	head, rest, _ := strings.Cut(string(mark), "\n\n")
	for line := range strings.SplitSeq(head, "\n") {
		var size int
		if _, err := fmt.Sscanf(line, "note %d", &size); err == nil && size >= 0 && size <= len(rest) {
			return rest[:size]
		}
	}
	return ""
}

// firstLines shortens a value for the trace.
func firstLines(b []byte) string {
	s := strings.ReplaceAll(string(b), "\n", " ")
	return s[:min(len(s), 120)]
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range maps.Keys(m) {
		out = append(out, k)
	}
	return sortedStrings(out)
}
