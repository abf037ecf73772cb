package lease_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"tallystream/aggregate/lease"
	"tallystream/service/register"
)

// memory is a register without faults.
type memory map[string][]byte

func (m memory) List(_ context.Context, prefix string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for name, value := range m {
		if strings.HasPrefix(name, prefix) {
			out[name] = bytes.Clone(value)
		}
	}
	return out, nil
}

func (m memory) Swap(_ context.Context, name string, before, after []byte) error {
	if !bytes.Equal(m[name], before) {
		return register.ErrConflict
	}
	if after == nil {
		delete(m, name)
	} else {
		m[name] = bytes.Clone(after)
	}
	return nil
}

const ttl = 8 * time.Second

// night is a world of workers in one goroutine. While a worker waits for the
// register, time goes by and others act: calls nest in each other, so that
// any two Ticks overlap in any way.
type night struct {
	random  *rand.Rand
	now     time.Duration // real time, which nobody knows
	store   memory
	late    []delivery
	workers []*worker
	wanted  []string
	prefix  string
	faulty  bool
	reports map[string]int // of what happened, to see that the test tests
	broken  string         // the first thing that must not be
	drift   float64        // clocks run at 1±drift
}

// delivery is a swap that arrives after its sender has given up on it.
type delivery struct {
	at   time.Duration
	swap func()
}

// worker is a process with a keeper and a clock of its own.
type worker struct {
	night  *night
	name   string
	keeper *lease.Keeper
	rate   float64
	offset time.Duration
	next   time.Duration // of its Tick
	busy   bool          // within a Tick
	dead   bool          // crashed, or signed off
}

func newNight(random *rand.Rand, names int, drift float64) *night {
	n := &night{random: random, store: memory{}, prefix: "aggregate/", faulty: true, reports: map[string]int{}, drift: drift}
	for i := range names {
		n.wanted = append(n.wanted, fmt.Sprintf("shard-%02d", i))
	}
	return n
}

func (n *night) join() *worker {
	w := &worker{night: n, name: fmt.Sprintf("w%d", len(n.workers)), next: n.now}
	w.rate = 1 + n.drift*(2*n.random.Float64()-1)
	w.offset = time.Duration(n.random.Int64N(int64(1000 * time.Hour)))
	var err error
	if w.keeper, err = lease.New(lease.Config{Register: w, Prefix: n.prefix, Name: w.name, TTL: ttl, Now: w.clock}); err != nil {
		panic(err)
	}
	n.workers = append(n.workers, w)
	return w
}

func (w *worker) clock() time.Duration {
	return w.offset + time.Duration(float64(w.night.now)*w.rate)
}

// errLost is the network's.
var errLost = errors.New("connection reset")

// List and Swap make a worker the register of its own keeper: the store,
// behind a network.
func (w *worker) List(ctx context.Context, prefix string) (map[string][]byte, error) {
	w.travel()
	if w.fails(0.05) {
		return nil, errLost
	}
	values, err := w.night.store.List(ctx, prefix)
	w.travel()
	return values, err
}

// Swap implements lease.Register.
func (w *worker) Swap(ctx context.Context, name string, before, after []byte) error {
	n := w.night
	w.travel()
	switch {
	case w.fails(0.04):
		n.reports["lost request"]++
		return errLost
	case w.fails(0.03):
		n.reports["late request"]++
		at := n.now + n.upTo(3*ttl)
		before, after := bytes.Clone(before), bytes.Clone(after)
		n.late = append(n.late, delivery{at, func() { _ = n.store.Swap(context.Background(), name, before, after) }})
		return errLost
	}
	err := n.store.Swap(ctx, name, before, after)
	if w.fails(0.04) {
		n.reports["lost answer"]++
		w.travel()
		return errLost
	}
	w.travel()
	return err
}

func (w *worker) fails(share float64) bool {
	return w.dead || w.night.faulty && w.night.random.Float64() < share
}

// travel lets time go by, and others act meanwhile.
func (w *worker) travel() {
	n := w.night
	most := 20 * time.Millisecond
	if n.faulty && n.random.Float64() < 0.02 {
		most = 2 * ttl // a process or a network that stands still
		n.reports["stall"]++
	}
	n.run(n.now + n.upTo(most))
}

func (n *night) upTo(most time.Duration) time.Duration {
	return time.Duration(n.random.Int64N(int64(most) + 1))
}

// run lets everything happen that is due until then, in order.
func (n *night) run(until time.Duration) {
	for {
		var first *worker
		for _, w := range n.workers {
			if !w.dead && !w.busy && w.next <= until && (first == nil || w.next < first.next) {
				first = w
			}
		}
		late := slices.IndexFunc(n.late, func(d delivery) bool { return d.at <= until })
		switch {
		case late >= 0 && (first == nil || n.late[late].at <= first.next):
			d := n.late[late]
			n.late = slices.Delete(n.late, late, late+1)
			n.now = max(n.now, d.at)
			d.swap()
		case first != nil:
			n.now = max(n.now, first.next)
			first.tick()
		default:
			n.now = max(n.now, until)
			return
		}
		n.check()
	}
}

const tickEvery = ttl / 8

func (w *worker) tick() {
	w.busy = true
	for _, name := range w.night.wanted {
		w.keeper.Report(name, time.Second)
	}
	_, err := w.keeper.Tick(context.Background(), w.night.wanted)
	if err != nil && !errors.Is(err, errLost) {
		w.night.fault("worker %s: %v", w.name, err)
	}
	w.busy = false
	w.next = w.night.now + time.Duration(float64(tickEvery)*(0.8+0.4*w.night.random.Float64()))
}

func (n *night) fault(format string, args ...any) {
	if n.broken == "" {
		n.broken = fmt.Sprintf("at %v: ", n.now) + fmt.Sprintf(format, args...)
	}
}

// check: no two workers believe that they hold a name. It is asked after every
// Tick of anybody and every late delivery, within other Ticks, too.
func (n *night) check() {
	for _, name := range n.wanted {
		var holders []string
		for _, w := range n.workers {
			if !w.dead && w.keeper.Held(name) {
				holders = append(holders, w.name)
			}
		}
		if len(holders) > 1 {
			n.reports["two believed"]++
			if n.drift <= 0.06 {
				n.fault("%v all believe that they hold %s", holders, name)
			}
		}
	}
}

func (n *night) alive() (alive []*worker) {
	for _, w := range n.workers {
		if !w.dead {
			alive = append(alive, w)
		}
	}
	return alive
}

// change lets something happen to the group.
func (n *night) change() {
	alive := n.alive()
	switch what := n.random.IntN(8); {
	case what < 3 || len(alive) < 2:
		if len(alive) < 6 {
			n.join()
			n.reports["join"]++
		}
	case what < 5:
		w := alive[n.random.IntN(len(alive))]
		w.dead = true // wherever it is
		n.reports["crash"]++
	case what < 6:
		w := alive[n.random.IntN(len(alive))]
		if !w.busy {
			w.busy = true
			_ = w.keeper.Release(context.Background()) // the network may lose it
			w.dead = true
			n.reports["sign-off"]++
		}
	case what < 7 && len(n.wanted) > 1:
		n.wanted = slices.Delete(slices.Clone(n.wanted), 0, 1)
		n.reports["shard closed"]++
	default:
		n.wanted = append(slices.Clone(n.wanted), fmt.Sprintf("shard-%02d", 50+n.random.IntN(40)))
		slices.Sort(n.wanted)
		n.wanted = slices.Compact(n.wanted)
		n.reports["shard opened"]++
	}
}

// holdings says what each living worker holds.
func (n *night) holdings() map[string][]string {
	out := map[string][]string{}
	for _, w := range n.alive() {
		out[w.name] = []string{}
		for _, name := range n.wanted {
			if w.keeper.Held(name) {
				out[w.name] = append(out[w.name], name)
			}
		}
	}
	return out
}

// balanced says what is not as it should be: every name held, and each worker
// with its fair share. "" if nothing.
func (n *night) balanced() string {
	held, total := n.holdings(), 0
	floor := len(n.wanted) / len(held)
	ceil := (len(n.wanted) + len(held) - 1) / len(held)
	for _, name := range slices.Sorted(maps.Keys(held)) {
		count := len(held[name])
		total += count
		if count < floor || count > ceil {
			return fmt.Sprintf("worker %s holds %d, want %d to %d: %v", name, count, floor, ceil, held)
		}
	}
	if total != len(n.wanted) {
		return fmt.Sprintf("%d of %d names are held: %v", total, len(n.wanted), held)
	}
	return ""
}
