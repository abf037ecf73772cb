package lease_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tallystream/aggregate/lease"
	"tallystream/service/register"
)

// settleTicks bounds how long a group without faults takes to come to rest
// after the last change: what the dead hold is taken after a TTL (8 Ticks, and
// some for stalls that end within it), a keeper that took what lay idle gives
// up nothing for 4 TTLs, and then 4 names a Tick and keeper move, in two steps.
const settleTicks = 8*2 + 8*4 + 40

// TestNoTwoBelieveAndAllComesToRest: workers come, crash, sign off and stand
// still, names come and go, requests and answers are lost, or arrive when
// nobody waits for them; clocks differ by weeks and run at rates up to a
// twentieth apart either way.
func TestNoTwoBelieveAndAllComesToRest(t *testing.T) {
	t.Parallel()
	happened := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		n := newNight(rand.New(rand.NewPCG(seed, 1)), rapid.IntRange(1, 20).Draw(t, "names"), 0.05)
		for range rapid.IntRange(1, 4).Draw(t, "workers") {
			n.join()
		}
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			n.run(n.now + n.upTo(3*ttl))
			n.change()
		}
		n.run(n.now + n.upTo(ttl))
		n.faulty = false
		if len(n.alive()) == 0 {
			n.join()
		}
		// What is still on its way arrives within 3 TTL.
		n.run(n.now + 3*ttl)
		n.run(n.now + settleTicks*tickEvery)
		if wrong := n.balanced(); wrong != "" {
			t.Fatalf("after %d Ticks without faults: %s", settleTicks, wrong)
		}
		// And there it stays.
		before := n.holdings()
		n.run(n.now + 3*ttl)
		if diff := cmp.Diff(before, n.holdings()); diff != "" {
			t.Fatalf("names moved without need (-before +after):\n%s", diff)
		}
		if n.broken != "" {
			t.Fatal(n.broken)
		}
		for what, count := range n.reports {
			happened[what] += count
		}
	})
	if testing.Short() {
		return // a fifth of the nights: too few for everything to happen in
	}
	for _, what := range []string{"lost request", "late request", "lost answer", "stall", "join", "crash", "sign-off", "shard closed", "shard opened"} {
		if happened[what] == 0 {
			t.Errorf("no %s happened", what)
		}
	}
	t.Logf("what happened: %v", happened)
}

// TestClocksOfVeryOtherRatesLetTwoBelieve says where the promise ends: it is
// why the ledger must not rely on leases.
func TestClocksOfVeryOtherRatesLetTwoBelieve(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		n := newNight(rand.New(rand.NewPCG(seed, 2)), 4, 0.6)
		for range 4 {
			n.join()
		}
		for range 20 {
			n.run(n.now + n.upTo(ttl))
		}
		if n.reports["two believed"] > 0 {
			t.Logf("seed %d", seed)
			return
		}
	}
	t.Error("no two ever believed: the check in the other test may see nothing")
}

// group is a night without faults and with true clocks.
func group(t *testing.T, names, workers int) *night {
	t.Helper()
	n := newNight(rand.New(rand.NewPCG(7, 7)), names, 0)
	n.faulty = false
	for range workers {
		n.join()
	}
	n.run(n.now + 30*tickEvery)
	if wrong := n.balanced(); wrong != "" {
		t.Fatalf("at the start: %s", wrong)
	}
	return n
}

func wantBalanced(t *testing.T, n *night, when string) {
	t.Helper()
	if wrong := n.balanced(); wrong != "" {
		t.Errorf("%s: %s", when, wrong)
	}
	if n.broken != "" {
		t.Error(n.broken)
	}
}

func TestOneAloneTakesAllAtOnce(t *testing.T) {
	t.Parallel()
	n := newNight(rand.New(rand.NewPCG(1, 1)), 30, 0)
	n.faulty = false
	n.join()
	n.run(n.now + tickEvery/2 + 40*40*time.Millisecond) // one Tick, with its round trips
	wantBalanced(t, n, "after one Tick")
}

func TestAShareIsNeverMoreThanOneAboveAnother(t *testing.T) {
	t.Parallel()
	for names := range 14 {
		for workers := 1; workers <= 6; workers++ {
			n := group(t, names+1, workers)
			wantBalanced(t, n, fmt.Sprintf("%d names, %d workers", names+1, workers))
		}
	}
}

func TestTheDeadLoseTheirsAfterTheTTLAndNotBefore(t *testing.T) {
	t.Parallel()
	n := group(t, 6, 2)
	victim := n.workers[0]
	held := n.holdings()[victim.name]
	victim.dead = true
	n.run(n.now + ttl - 2*tickEvery)
	if got := n.holdings()[n.workers[1].name]; len(got) != 3 {
		t.Errorf("before the TTL the other holds %v", got)
	}
	n.run(n.now + 4*tickEvery)
	wantBalanced(t, n, "after the TTL")
	got := n.holdings()[n.workers[1].name]
	for _, name := range held {
		if !slices.Contains(got, name) {
			t.Errorf("%s of the dead is nobody's", name)
		}
	}
}

func TestWhatIsReleasedIsTakenAtOnce(t *testing.T) {
	t.Parallel()
	n := group(t, 6, 2)
	if err := n.workers[0].keeper.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.workers[0].dead = true
	n.run(n.now + 2*tickEvery)
	wantBalanced(t, n, "two Ticks after the other signed off")
}

func TestANewcomerGetsItsShareWithoutOverlap(t *testing.T) {
	t.Parallel()
	n := group(t, 12, 2)
	n.join()
	n.run(n.now + 6*tickEvery)
	wantBalanced(t, n, "after a newcomer")
	if n.reports["two believed"] > 0 {
		t.Error("two believed at a time")
	}
}

// TestWhatIsGivenUpIsStoppedFirst: a name leaves the list of its holder one
// Tick before anybody else may take it, and never more than four at a time.
func TestWhatIsGivenUpIsStoppedFirst(t *testing.T) {
	t.Parallel()
	store, clock := memory{}, func() time.Duration { return 0 }
	a, b := newKeeper(t, store, "a", clock), newKeeper(t, store, "b", clock)
	var wanted []string
	for i := range 20 {
		wanted = append(wanted, fmt.Sprintf("shard-%02d", i))
	}
	tick := func(k *lease.Keeper) []string {
		t.Helper()
		held, err := k.Tick(t.Context(), wanted)
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	before := tick(a)
	if len(before) != 20 || len(tick(b)) != 0 {
		t.Fatalf("a holds %d of 20 names", len(before))
	}
	for range 10 {
		after := tick(a)
		if lost := len(before) - len(after); lost > 4 {
			t.Errorf("a gave up %d names at once", lost)
		}
		for _, name := range tick(b) {
			if slices.Contains(before, name) {
				t.Errorf("b has %s, which a worked on until its last Tick", name)
			}
		}
		before = after
	}
	if held := tick(b); len(before) != 10 || len(held) != 10 {
		t.Errorf("a holds %d, b %d, want 10 each", len(before), len(held))
	}
}

func TestAKeeperThatCannotReachTheRegisterStopsToBelieve(t *testing.T) {
	t.Parallel()
	n := group(t, 2, 1)
	w := n.workers[0]
	if !w.keeper.Held("shard-00") {
		t.Fatal("holds nothing")
	}
	w.busy = true // no Tick any more
	n.run(n.now + ttl)
	if w.keeper.Held("shard-00") {
		t.Error("still believes after a TTL without a word")
	}
}

// TestAnExpiredLeaseIsToldOnce: to whoever held it, when it looks again.
func TestAnExpiredLeaseIsToldOnce(t *testing.T) {
	t.Parallel()
	for name, owner := range map[string]string{"another took it": "b", "the register is away": "a"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &breaking{memory: memory{}}
			var now time.Duration
			var said bytes.Buffer
			k, err := lease.New(lease.Config{
				Register: store, Prefix: "aggregate/", Name: "a", TTL: ttl, Now: func() time.Duration { return now }, Log: slog.New(slog.NewTextHandler(&said, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			tick := func() { _, _ = k.Tick(t.Context(), []string{"x"}) } // without a register it says so
			tick()
			if store.down = owner == "a"; !store.down {
				store.memory["aggregate/lease/x"] = []byte(`{"lease":1,"owner":"b","counter":1,"behind_ms":0}`)
			}
			now += ttl
			tick()
			tick()
			if n := strings.Count(said.String(), "lease expired"); n != 1 || !strings.Contains(said.String(), "name=x") || !strings.Contains(said.String(), "owner="+owner) {
				t.Errorf("it was told %d times:\n%s", n, said.String())
			}
		})
	}
}

func TestAFailedListKeepsWhatIsBelieved(t *testing.T) {
	t.Parallel()
	store := memory{}
	broken := &breaking{memory: store}
	k := newKeeper(t, broken, "a", func() time.Duration { return 0 })
	held, err := k.Tick(t.Context(), []string{"x"})
	if err != nil || !slices.Equal(held, []string{"x"}) {
		t.Fatalf("Tick: %v, %v", held, err)
	}
	broken.down = true
	held, err = k.Tick(t.Context(), []string{"x"})
	if !errors.Is(err, errLost) || !slices.Equal(held, []string{"x"}) {
		t.Errorf("Tick without a register: %v, %v, want x and the error", held, err)
	}
}

type breaking struct {
	memory
	down bool
}

func (b *breaking) List(ctx context.Context, prefix string) (map[string][]byte, error) {
	if b.down {
		return nil, errLost
	}
	return b.memory.List(ctx, prefix)
}

func newKeeper(t *testing.T, r lease.Register, name string, now func() time.Duration) *lease.Keeper {
	t.Helper()
	k, err := lease.New(lease.Config{Register: r, Prefix: "aggregate/", Name: name, TTL: ttl, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAWantedNameThatNobodyTakesIsTakenAboveTheShare(t *testing.T) {
	t.Parallel()
	now := time.Duration(0)
	store := memory{}
	a := newKeeper(t, store, "a", func() time.Duration { return now })
	b := newKeeper(t, store, "b", func() time.Duration { return now })
	wanted := []string{"x", "y"}
	var held []string
	for range 60 { // b lives, and knows only a name that it cannot get more of
		if _, err := b.Tick(t.Context(), []string{"z"}); err != nil {
			t.Fatal(err)
		}
		var err error
		if held, err = a.Tick(t.Context(), wanted); err != nil {
			t.Fatal(err)
		}
		now += tickEvery
		if now > 3*ttl && now < 5*ttl && !slices.Equal(held, wanted) {
			t.Errorf("at %v a holds %v, want %v", now, held, wanted)
		}
	}
}

func TestANameThatNobodyWantsLeavesTheRegister(t *testing.T) {
	t.Parallel()
	n := group(t, 4, 2)
	n.wanted = n.wanted[1:]
	n.run(n.now + 3*tickEvery)
	if v := n.store["aggregate/lease/shard-00"]; v != nil {
		t.Errorf("it is still there: %s", v)
	}
	n.workers[0].dead = true
	n.wanted = nil
	n.run(n.now + 3*ttl)
	if len(n.store) != 0 {
		t.Errorf("left: %v", n.store)
	}
}

func TestAValueOfALaterVersionIsRespectedUntilItStandsStill(t *testing.T) {
	t.Parallel()
	now := time.Duration(0)
	store := memory{"aggregate/lease/x": []byte(`{"lease":2,"who":"b"}`)}
	a := newKeeper(t, store, "a", func() time.Duration { return now })
	for now = 0; now < ttl; now += tickEvery {
		if held, err := a.Tick(t.Context(), []string{"x"}); err != nil || len(held) != 0 {
			t.Fatalf("at %v: %v, %v", now, held, err)
		}
	}
	if held, err := a.Tick(t.Context(), []string{"x"}); err != nil || len(held) != 1 {
		t.Errorf("after the TTL: %v, %v", held, err)
	}
}

func TestWhoLooksSeesHowFarTheWorkIsBehind(t *testing.T) {
	t.Parallel()
	now := time.Duration(0)
	clock := func() time.Duration { return now }
	store := memory{}
	a, o := newKeeper(t, store, "a", clock), lease.NewObserver(store, "aggregate/", clock)
	tick := func() {
		t.Helper()
		if _, err := a.Tick(t.Context(), []string{"x", "y"}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want map[string]time.Duration) {
		t.Helper()
		got, err := o.Behind(t.Context())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v, behind (-want +got):\n%s", err, diff)
		}
	}
	tick()
	want(map[string]time.Duration{})
	a.Report("x", 1500*time.Millisecond)
	tick()
	want(map[string]time.Duration{"x": 1500 * time.Millisecond})
	a.Report("x", 0)
	a.Report("y", -time.Second)
	tick()
	want(map[string]time.Duration{"x": 0, "y": 0})
	now += time.Minute // the worker is gone: nobody reads its shards
	want(map[string]time.Duration{"x": time.Minute, "y": time.Minute})
}

// TestALagIsKnownOfFreshWordsAlone: a value that does not change may be of any
// age, and an owner that is gone says nothing.
func TestALagIsKnownOfFreshWordsAlone(t *testing.T) {
	t.Parallel()
	now := time.Minute
	clock := func() time.Duration { return now }
	store := memory{}
	a, o := newKeeper(t, store, "a", clock), lease.NewObserver(store, "aggregate/", clock)
	step := func() {
		t.Helper()
		now += time.Second
		if _, err := a.Tick(t.Context(), []string{"x", "y"}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want time.Duration, known bool) {
		t.Helper()
		got, err := o.Lag(t.Context())
		if got != want || errors.Is(err, lease.ErrUnknown) == known {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	want(0, false) // nobody works
	step()
	a.Report("x", 3*time.Second)
	step()
	want(0, false)
	step()
	want(0, false) // y says nothing
	a.Report("y", time.Second)
	step()
	want(3*time.Second, true)
	now += 2 * time.Second
	want(5*time.Second, true) // they have said nothing since
	now += time.Hour
	step()
	want(0, false) // nobody looked: what changed may have changed long ago
	step()
	want(3*time.Second, true)
}

func TestValuesAreReadStrictly(t *testing.T) {
	t.Parallel()
	l, err := lease.Parse([]byte(`{"lease":1,"owner":"a-1","counter":7,"behind_ms":12}`))
	if want := (lease.Lease{Owner: "a-1", Counter: 7, Behind: 12 * time.Millisecond}); err != nil || l != want {
		t.Errorf("Parse: %+v, %v, want %+v", l, err, want)
	}
	for _, bad := range []string{
		``, `{}`, `null`, `{"lease":2,"owner":"a","counter":1}`, `{"lease":1,"owner":"a","counter":-1}`, `{"lease":1,"owner":"a","counter":1} x`,
		`{"lease":1,"owner":"a","counter":1,"other":1}`, `{"lease":1,"owner":"a","counter":1,"behind_ms":-1}`, `{"lease":1,"owner":"a","counter":1,"behind_ms":9e18}`,
		`{"lease":1,"owner":"a","counter":1,"behind_ms":9000000000000000000}`,
	} {
		if l, err := lease.Parse([]byte(bad)); err == nil {
			t.Errorf("Parse %s: %+v, want an error", bad, l)
		}
	}
}

func TestAConfigWithoutWhatItNeedsIsRefused(t *testing.T) {
	t.Parallel()
	good := lease.Config{Register: memory{}, Name: "a", TTL: ttl, Now: lease.Monotonic()}
	for what, spoil := range map[string]func(*lease.Config){
		"no register":        func(c *lease.Config) { c.Register = nil },
		"no clock":           func(c *lease.Config) { c.Now = nil },
		"no name":            func(c *lease.Config) { c.Name = "" },
		"a name with a path": func(c *lease.Config) { c.Name = "a/b" },
		"no TTL":             func(c *lease.Config) { c.TTL = 0 },
	} {
		c := good
		spoil(&c)
		if _, err := lease.New(c); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

func TestKeepersShareARealRegister(t *testing.T) {
	t.Parallel()
	r, err := register.OpenSQLite(filepath.Join(t.TempDir(), "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	now := time.Duration(0)
	clock := func() time.Duration { return now }
	a, b := newKeeper(t, r, "a", clock), newKeeper(t, r, "b", clock)
	wanted := []string{"x", "y", "z"}
	var heldA, heldB []string
	for range 6 {
		if heldA, err = a.Tick(t.Context(), wanted); err != nil {
			t.Fatal(err)
		}
		if heldB, err = b.Tick(t.Context(), wanted); err != nil {
			t.Fatal(err)
		}
		now += tickEvery
	}
	all := slices.Sorted(slices.Values(append(slices.Clone(heldA), heldB...)))
	if !slices.Equal(all, wanted) || len(heldA) == 0 || len(heldB) == 0 {
		t.Errorf("a holds %v, b %v", heldA, heldB)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if heldB, err = b.Tick(t.Context(), wanted); err != nil || !slices.Equal(heldB, wanted) {
		t.Errorf("after a signed off b holds %v, %v", heldB, err)
	}
}
