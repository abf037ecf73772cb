// Package registertest is the conformance suite of registers: every adapter
// passes it, so that leases and publication need to know none of them.
package registertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tallystream/service/register"
)

// Register is what the suite asks of an adapter.
type Register interface {
	register.Register
	Close() error
}

// Open opens a register; each time the same one, as another process would.
// The suite closes what it opened.
type Open func(t *testing.T) Register

// Run runs the suite. fresh is called once for each test, for an empty
// register.
func Run(t *testing.T, fresh func(t *testing.T) Open) {
	for _, test := range []struct {
		name string
		run  func(*fixture)
	}{
		{"ANameWithoutValueLoadsAsNone", testNone},
		{"BytesComeBackExactly", testBytes},
		{"OnlyTheExactValueIsSwapped", testExact},
		{"ARemovedNameMayHaveAValueAgain", testRemove},
		{"AListHasAllOfAPrefixAndNothingElse", testList},
		{"AListIsCompleteBeyondAMegabyte", testPages},
		{"OneOfFiftyWritersWins", testOneWins},
		{"OneOfManyWithTheSameBytesWins", testSameBytes},
		{"OneOfManyRemovesIt", testOneRemoves},
		{"FiftyWritersLoseNothing", testNothingLost},
		{"WhatWasSwappedIsThereAfterReopening", testReopen},
		{"WhatNoRegisterTakesIsRefused", testInvalid},
		{"AnEndedContextChangesNothing", testEnded},
		{"CallersMayReuseTheirBytes", testReuse},
		{"AClosedRegisterSaysSo", testClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fixture{T: t, open: fresh(t)}
			f.r = f.opened()
			test.run(f)
		})
	}
}

type fixture struct {
	*testing.T
	open Open
	r    Register
}

func (f *fixture) opened() Register {
	f.Helper()
	r := f.open(f.T)
	f.Cleanup(func() {
		if err := r.Close(); err != nil {
			f.Errorf("Close: %v", err)
		}
	})
	return r
}

// swap swaps strings; "" is no value.
func (f *fixture) swap(name, before, after string) {
	f.Helper()
	if err := f.r.Swap(f.Context(), name, value(before), value(after)); err != nil {
		f.Fatalf("swap %q from %.40q to %.40q: %v", name, before, after, err)
	}
}

func (f *fixture) conflict(name, before, after string) {
	f.Helper()
	if err := f.r.Swap(f.Context(), name, value(before), value(after)); !errors.Is(err, register.ErrConflict) {
		f.Errorf("swap %q from %.40q to %.40q: %v, want ErrConflict", name, before, after, err)
	}
}

func value(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// want checks a value; "" is none.
func (f *fixture) want(name, want string) {
	f.Helper()
	got, err := f.r.Load(f.Context(), name)
	if err != nil || string(got) != want || (got == nil) != (want == "") {
		f.Errorf("load %q: %.40q (nil: %v), %v, want %.40q", name, got, got == nil, err, want)
	}
}

func (f *fixture) wantList(prefix string, want map[string]string) {
	f.Helper()
	values, err := f.r.List(f.Context(), prefix)
	if err != nil {
		f.Fatal(err)
	}
	got := map[string]string{}
	for name, v := range values {
		got[name] = string(v)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("list %q (-want +got):\n%.2000s", prefix, diff)
	}
}

func testNone(f *fixture) {
	f.want("none", "")
	f.wantList("", map[string]string{})
	f.wantList("none", map[string]string{})
	f.conflict("none", "something", "x")
	f.conflict("none", "something", "")
	f.want("none", "")
	f.wantList("", map[string]string{})
}

func testBytes(f *fixture) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	before := ""
	for _, after := range []string{"a", "\x00", "\x00\x00", string(every), "é\xff", strings.Repeat("x", register.MaxValue), "end"} {
		f.swap("bytes", before, after)
		f.want("bytes", after)
		f.wantList("bytes", map[string]string{"bytes": after})
		before = after
	}
	name := strings.Repeat("n", register.MaxName)
	f.swap(name, "", "long")
	f.want(name, "long")
}

func testExact(f *fixture) {
	f.swap("x", "", "value")
	for _, before := range []string{"", "Value", "valu", "value ", "value\x00", "other"} {
		f.conflict("x", before, "new")
		if before != "" {
			f.conflict("x", before, "")
		}
	}
	f.want("x", "value")
	f.swap("x", "value", "value") // its own value is a change like any other
	f.want("x", "value")
	f.swap("x", "value", "new")
	f.want("x", "new")
}

func testRemove(f *fixture) {
	for i := range 3 {
		first := fmt.Sprint("first ", i)
		f.swap("x", "", first)
		f.conflict("x", "", "again")
		f.swap("x", first, "")
		f.want("x", "")
		f.wantList("", map[string]string{})
		f.conflict("x", first, "")
		f.conflict("x", first, "again")
	}
	f.swap("x", "", "last")
	f.want("x", "last")
}

func testList(f *fixture) {
	all := map[string]string{}
	for i, name := range []string{
		"lease/shard/a", "lease/shard/b", "lease/shard", "lease/shard/", "lease/shards/a", "lease/worker/a", "Lease/shard/a",
		"lease/shard/%", "lease/shard/_", "lease/shard/*", "lease/shard/[a]", "lease/shard/~", "lease.shard.a", "~", "~~", "!",
	} {
		all[name] = fmt.Sprint("value ", i)
		f.swap(name, "", all[name])
	}
	for _, prefix := range []string{"", "l", "lease/", "lease/shard", "lease/shard/", "lease/shard/a", "lease/shard/%", "lease/shard/_", "L", "~", "~~~", "!", "nothing"} {
		want := map[string]string{}
		for name, v := range all {
			if strings.HasPrefix(name, prefix) {
				want[name] = v
			}
		}
		f.wantList(prefix, want)
	}
}

func testPages(f *fixture) {
	const n = 24 // 1.5 MB, a page of DynamoDB has 1 MB
	want := map[string]string{}
	for i := range n {
		name := fmt.Sprintf("page/%02d", i)
		want[name] = strings.Repeat(string(rune('a'+i)), register.MaxValue)
		f.swap(name, "", want[name])
	}
	f.wantList("page/", want)
	f.wantList("page/1", filter(want, "page/1"))
}

func filter(all map[string]string, prefix string) map[string]string {
	out := maps.Clone(all)
	maps.DeleteFunc(out, func(name, _ string) bool { return !strings.HasPrefix(name, prefix) })
	return out
}

const writers = 50

// race lets all writers, each with a register of its own, do one swap from the
// same value at once, and returns who won.
func (f *fixture) race(registers []Register, name string, before []byte, after func(i int) []byte) (winners []int) {
	f.Helper()
	won := make([]bool, len(registers))
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range registers {
		done.Go(func() {
			start.Wait()
			err := registers[i].Swap(f.Context(), name, before, after(i))
			if err != nil && !errors.Is(err, register.ErrConflict) {
				f.Errorf("writer %d: %v", i, err)
			}
			won[i] = err == nil
		})
	}
	start.Done()
	done.Wait()
	for i := range won {
		if won[i] {
			winners = append(winners, i)
		}
	}
	return winners
}

func (f *fixture) many(n int) []Register {
	registers := make([]Register, n)
	for i := range registers {
		registers[i] = f.opened()
	}
	return registers
}

func testOneWins(f *fixture) {
	registers := f.many(writers)
	before := ""
	for round := range 4 {
		after := func(i int) []byte { return fmt.Appendf(nil, "writer %d of round %d", i, round) }
		winners := f.race(registers, "head", value(before), after)
		if len(winners) != 1 {
			f.Fatalf("round %d: writers %v won, want one", round, winners)
		}
		before = string(after(winners[0]))
		f.want("head", before)
	}
}

func testSameBytes(f *fixture) {
	registers := f.many(10)
	for round, swap := range []struct{ before, after string }{{"", "same"}, {"same", "other"}, {"other", "last"}} {
		winners := f.race(registers, "head", value(swap.before), func(int) []byte { return []byte(swap.after) })
		if len(winners) != 1 {
			f.Fatalf("round %d: writers %v won, want one", round, winners)
		}
		f.want("head", swap.after)
	}
}

func testOneRemoves(f *fixture) {
	registers := f.many(10)
	for round := range 3 {
		f.swap("head", "", "value")
		if winners := f.race(registers, "head", []byte("value"), func(int) []byte { return nil }); len(winners) != 1 {
			f.Fatalf("round %d: writers %v removed it, want one", round, winners)
		}
		f.want("head", "")
	}
}

// testNothingLost: each writer adds its line to one value, and tries until it
// has won once.
func testNothingLost(f *fixture) {
	registers := f.many(writers)
	turns := make(chan struct{}, 16) // tries at a time: more would only conflict more
	var done sync.WaitGroup
	for i := range registers {
		done.Go(func() {
			if err := addLine(f.Context(), turns, registers[i], "lines", fmt.Sprintf("writer %d\n", i)); err != nil {
				f.Errorf("writer %d: %v", i, err)
			}
		})
	}
	done.Wait()
	got, err := f.r.Load(f.Context(), "lines")
	if err != nil {
		f.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(got), "\n")+"\n", "\n")
	lines = lines[:len(lines)-1]
	slices.Sort(lines)
	if len(lines) != writers || len(slices.Compact(lines)) != writers {
		f.Errorf("%d lines, want one of each of %d writers:\n%s", len(lines), writers, got)
	}
}

func addLine(ctx context.Context, turns chan struct{}, r Register, name, line string) error {
	for {
		turns <- struct{}{}
		before, err := r.Load(ctx, name)
		if err == nil {
			err = r.Swap(ctx, name, before, append(slices.Clone(before), line...))
		}
		<-turns
		if !errors.Is(err, register.ErrConflict) {
			return err
		}
	}
}

func testReopen(f *fixture) {
	f.swap("a", "", "1")
	f.swap("b", "", "2")
	f.swap("a", "1", "3")
	f.swap("b", "2", "")
	f.r = f.opened()
	f.want("a", "3")
	f.wantList("", map[string]string{"a": "3"})
	f.swap("a", "3", "4")
}

func testInvalid(f *fixture) {
	ctx := f.Context()
	refused := func(what string, err error) {
		f.Helper()
		if !errors.Is(err, register.ErrInvalid) {
			f.Errorf("%s: %v, want ErrInvalid", what, err)
		}
	}
	for _, name := range []string{"", "a b", "a\n", "a\x00", "ä", "\x7f", strings.Repeat("n", register.MaxName+1)} {
		_, err := f.r.Load(ctx, name)
		refused(fmt.Sprintf("load %.20q", name), err)
		refused(fmt.Sprintf("swap %.20q", name), f.r.Swap(ctx, name, nil, []byte("x")))
		if name != "" {
			_, err = f.r.List(ctx, name)
			refused(fmt.Sprintf("list %.20q", name), err)
		}
	}
	large := make([]byte, register.MaxValue+1)
	refused("a large value", f.r.Swap(ctx, "a", nil, large))
	refused("a large value before", f.r.Swap(ctx, "a", large, []byte("x")))
	refused("no change", f.r.Swap(ctx, "a", nil, nil))
	refused("no change, empty", f.r.Swap(ctx, "a", []byte{}, []byte{}))
	f.wantList("", map[string]string{})
}

func testEnded(f *fixture) {
	ctx, cancel := context.WithCancel(f.Context())
	cancel()
	if _, err := f.r.Load(ctx, "a"); !errors.Is(err, context.Canceled) {
		f.Errorf("Load: %v", err)
	}
	if _, err := f.r.List(ctx, "a"); !errors.Is(err, context.Canceled) {
		f.Errorf("List: %v", err)
	}
	if err := f.r.Swap(ctx, "a", nil, []byte("x")); !errors.Is(err, context.Canceled) {
		f.Errorf("Swap: %v", err)
	}
	f.want("a", "")
	f.swap("a", "", "x")
}

func testReuse(f *fixture) {
	b := []byte("before")
	if err := f.r.Swap(f.Context(), "a", nil, b); err != nil {
		f.Fatal(err)
	}
	copy(b, "after!")
	f.want("a", "before")
	got, err := f.r.Load(f.Context(), "a")
	if err != nil {
		f.Fatal(err)
	}
	copy(got, "after!")
	f.want("a", "before")
}

func testClosed(f *fixture) {
	r := f.open(f.T)
	if err := r.Close(); err != nil {
		f.Fatal(err)
	}
	if err := r.Close(); err != nil {
		f.Errorf("closing twice: %v", err)
	}
	if _, err := r.Load(f.Context(), "a"); !errors.Is(err, register.ErrClosed) {
		f.Errorf("Load: %v, want ErrClosed", err)
	}
	if _, err := r.List(f.Context(), "a"); !errors.Is(err, register.ErrClosed) {
		f.Errorf("List: %v, want ErrClosed", err)
	}
	if err := r.Swap(f.Context(), "a", nil, []byte("x")); !errors.Is(err, register.ErrClosed) {
		f.Errorf("Swap: %v, want ErrClosed", err)
	}
	f.want("a", "")
}
