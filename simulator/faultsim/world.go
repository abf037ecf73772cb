package faultsim

import (
	"container/heap"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// world is the time and the order of one night: who does what when. It has
// one goroutine; the coroutines of its tasks run in it by turns.
type world struct {
	random  *rand.Rand
	now     time.Duration // since the night began; nobody in it knows
	queue   agenda
	entries uint64 // of the agenda, ever
	current *task  // whose turn it is; nil: the world's own
	trace   *trace
	faulty  bool // faults may befall
	faults  *faults
	broken  error // the first promise that does not hold
	steps   int
}

func newWorld(seed uint64, f *faults) *world {
	return &world{random: rand.New(rand.NewPCG(seed, 0x7a11)), trace: newTrace(), faulty: true, faults: f}
}

// entry is something that will happen: a task goes on, or do is called.
type entry struct {
	at   time.Duration
	tie  uint32 // drawn, so that the order of what happens at once is by seed
	n    uint64
	task *task
	turn uint64 // of task, when it was entered: if it had another since, this one is void
	do   func()
}

type agenda []entry

func (a agenda) Len() int      { return len(a) }
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(entry)) }
func (a *agenda) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	(*a)[last] = entry{}
	*a = (*a)[:last]
	return x
}

func (a agenda) Less(i, j int) bool {
	x, y := &a[i], &a[j]
	if x.at != y.at {
		return x.at < y.at
	}
	if x.tie != y.tie {
		return x.tie < y.tie
	}
	return x.n < y.n
}

func (w *world) enter(e entry) {
	w.entries++
	e.n, e.tie = w.entries, w.random.Uint32()
	heap.Push(&w.queue, e)
}

// after calls do later. It must not give way.
func (w *world) after(d time.Duration, do func()) { w.enter(entry{at: w.now + d, do: do}) }

// task is a coroutine of a process.
type task struct {
	world   *world
	process *process
	name    string
	next    func() (time.Duration, bool)
	stop    func()
	yield   func(time.Duration) bool
	turn    uint64
	waiting bool // until woken or timed out
	dead    bool
}

// killed unwinds a coroutine whose process has died.
type killed struct{}

// start begins a task, which ends when body returns or its process dies.
func (p *process) start(name string, body func(*task)) *task {
	t := &task{world: p.world, process: p, name: p.name + "." + name}
	t.next, t.stop = iter.Pull(func(yield func(time.Duration) bool) {
		defer func() {
			if r := recover(); r != nil && r != any(killed{}) {
				panic(r)
			}
		}()
		t.yield = yield
		body(t)
	})
	p.tasks = append(p.tasks, t)
	p.world.enter(entry{at: p.world.now, task: t})
	return t
}

// pause gives way until so much time has gone by.
func (t *task) pause(d time.Duration) {
	if t.dead || !t.yield(max(d, 0)) {
		t.dead = true
		panic(killed{})
	}
}

// await gives way until wake is called, at most for d. It reports whether it
// was woken.
func (t *task) await(d time.Duration) bool {
	t.waiting = true
	t.pause(d)
	woken := !t.waiting
	t.waiting = false
	return woken
}

// wake ends an await.
func (t *task) wake() {
	if !t.waiting || t.dead {
		return
	}
	t.waiting = false
	t.turn++
	t.world.enter(entry{at: t.world.now, task: t, turn: t.turn})
}

// process is what crashes, pauses and has a clock.
type process struct {
	world  *world
	name   string
	tasks  []*task
	down   bool
	crash  bool          // dies as soon as the scheduler has the turn
	until  time.Duration // stands still until then
	offset time.Duration // of its clock
	rate   float64       // likewise
	began  time.Duration
	life   int
	boot   func(*process) // starts its tasks anew
}

// clockEpoch is what a clock without offset shows when the night begins.
var clockEpoch = time.Date(2026, 11, 3, 19, 0, 0, 0, time.UTC)

// process adds one, which boots at once.
func (w *world) process(name string, boot func(*process)) *process {
	p := &process{world: w, name: name, boot: boot}
	w.boot(p)
	return p
}

func (w *world) boot(p *process) {
	p.down, p.crash, p.until, p.tasks = false, false, 0, nil
	p.life++
	p.began, p.rate, p.offset = w.now, 1, 0
	if w.faulty {
		w.faults.skew(w, p)
	}
	p.boot(p)
}

// since is what the process's clock has counted since it booted.
func (p *process) since() time.Duration {
	return time.Duration(float64(p.world.now-p.began) * p.rate)
}

// Now is the process's clock on the wall. It goes on from boot to boot.
func (p *process) Now() time.Time { return clockEpoch.Add(p.offset + p.began + p.since()) }

// sleep waits by the process's clock.
func (p *process) sleep(ctx context.Context, d time.Duration) error {
	p.world.current.pause(time.Duration(float64(d) / p.rate))
	return ctx.Err()
}

// clock is a process's, as adapters want it.
type clock struct{ p *process }

func (c clock) Now() time.Time                                   { return c.p.Now() }
func (c clock) Sleep(ctx context.Context, d time.Duration) error { return c.p.sleep(ctx, d) }

// kill ends a process and everything in its memory. Only the scheduler may.
func (w *world) kill(p *process) {
	p.down, p.crash = true, false
	for _, t := range p.tasks {
		t.dead = true
		t.turn++
		w.current = t // who unwinds calls nothing that has an effect
		t.stop()
		w.current = nil
	}
	p.tasks = nil
}

// die ends the process of the task at hand, which goes no further.
func (t *task) die() {
	t.process.crash, t.dead = true, true
	panic(killed{})
}

// run lets the night go on until done, called between steps, says so, or time is over, or a
// promise is broken. It reports whether it was done.
func (w *world) run(until time.Duration, done func() bool) bool {
	for w.broken == nil && len(w.queue) > 0 {
		if w.queue[0].at > until {
			w.now = until
			return done()
		}
		e := heap.Pop(&w.queue).(entry)
		w.now = max(w.now, e.at)
		w.step(&e)
		if done() {
			return true
		}
	}
	return false
}

func (w *world) step(e *entry) {
	if e.do != nil {
		w.steps++
		e.do()
		return
	}
	t := e.task
	if t.dead || e.turn != t.turn {
		return
	}
	if p := t.process; p.until > w.now {
		w.enter(entry{at: p.until, task: t, turn: t.turn})
		return
	}
	w.steps++
	w.current = t
	d, goes := t.next()
	w.current = nil
	t.turn++
	switch {
	case goes:
		w.enter(entry{at: w.now + d, task: t, turn: t.turn})
	default:
		t.dead = true
	}
	if t.process.crash {
		w.crashed(t.process)
	}
}

// crashed ends a process that a fault has hit, and boots it again later.
func (w *world) crashed(p *process) {
	w.kill(p)
	w.after(w.between(100*time.Millisecond, 4*time.Second), func() {
		if p.down {
			w.note(p.name, "boots", "")
			w.boot(p)
		}
	})
}

// end frees the coroutines.
func (w *world) end(processes []*process) {
	for _, p := range processes {
		w.kill(p)
	}
}

func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.random.Int64N(int64(most-least)+1))
}

// chance is true once in n.
func (w *world) chance(n int) bool { return w.random.IntN(n) == 0 }

// violate notes that a promise does not hold. The first one counts.
func (w *world) violate(format string, args ...any) {
	if w.broken == nil {
		w.broken = fmt.Errorf(format, args...)
		w.note("", "VIOLATION", w.broken.Error())
	}
}

// note adds a line to the trace.
func (w *world) note(who, what, detail string) { w.trace.add(w.now, who, what, detail) }
