package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tallystream/service/register"
)

// Register is where leases are kept.
type Register interface {
	List(ctx context.Context, prefix string) (map[string][]byte, error)
	Swap(ctx context.Context, name string, before, after []byte) error
}

// Config of a keeper.
type Config struct {
	Register Register
	// Prefix of the group's names in the register, such as "aggregate/". All
	// keepers below one prefix share the names that they want.
	Prefix string
	// Name of this keeper. No other keeper may have it, nor an earlier one of
	// the same prefix: let it hold something random.
	Name string
	// TTL is how long a lease stands still before others take it. Tick at least
	// four times in it.
	TTL time.Duration
	// Now is a clock that never goes back and need not agree with any other.
	// Monotonic is one.
	Now func() time.Duration
	// Log gets a line for each name that changes hands. nil: none.
	Log *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// Monotonic returns a clock for Config that begins at zero.
func Monotonic() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}

// trust is the part of the TTL for which a keeper believes in a lease that it
// has written: 7/8. The rest is for clocks that run at other rates.
func trust(ttl time.Duration) time.Duration { return ttl - ttl/8 }

// reluctance is for how many TTLs a keeper gives up nothing after it took what
// lay idle.
const reluctance = 4

// Keeper holds leases under one name. One goroutine calls Tick and Release;
// Held and Report may be called by any.
type Keeper struct {
	cfg     Config
	seen    sightings
	counter uint64 // of the last value that this keeper has tried to write
	// yielding are names that it has stopped to believe in, and that become
	// free with the next Tick.
	yielding  map[string]bool
	reluctant time.Duration // until when

	mu     sync.Mutex               // guards what follows
	until  map[string]time.Duration // until when it believes that it holds a name
	behind map[string]time.Duration // as reported
}

// New returns a keeper that holds nothing.
func New(cfg Config) (*Keeper, error) {
	switch {
	case cfg.Register == nil || cfg.Now == nil:
		return nil, errors.New("keeper of leases: Register and Now are needed")
	case cfg.Name == "" || strings.Contains(cfg.Name, "/"):
		return nil, fmt.Errorf("keeper of leases: name %q: want one without a slash", cfg.Name)
	case cfg.TTL < 8*time.Millisecond:
		return nil, fmt.Errorf("keeper of leases: TTL %v: want some seconds", cfg.TTL)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	return &Keeper{
		cfg: cfg, seen: sightings{}, yielding: map[string]bool{},
		until: map[string]time.Duration{}, behind: map[string]time.Duration{},
	}, nil
}

// Held reports whether this keeper believes that it holds the name. It may be
// wrong only for as long as the process is stopped after asking, or as clocks
// run at rates that differ by more than an eighth.
func (k *Keeper) Held(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	until, ok := k.until[name]
	return ok && k.cfg.Now() < until
}

// Report says how far the work on a name is behind. The next Tick tells it to
// all who look.
func (k *Keeper) Report(name string, behind time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.behind[name] = min(max(behind, 0), maxBehind)
}

// Tick renews what this keeper holds, takes its share of the wanted names, and
// gives up what is above it. It returns the names to work on until the next
// Tick, in order; work on others must have stopped by then, since a name that
// left the list may be another's after it.
//
// With an error some of that was not done, and the names are those that it
// still may believe in.
func (k *Keeper) Tick(ctx context.Context, wanted []string) (held []string, err error) {
	defer func() { held = k.believed() }()
	wanted = slices.Compact(slices.Sorted(slices.Values(wanted)))
	now, err := k.look(ctx, wanted)
	if err != nil {
		return nil, err
	}
	v := view{self: k.cfg.Name, now: now, ttl: k.cfg.TTL, seen: k.seen, wanted: wanted, reluctant: now < k.reluctant}
	return nil, k.follow(ctx, v.decide(), len(wanted) > 0)
}

// look reads all leases and returns a time after that: what was read is at
// least as old.
func (k *Keeper) look(ctx context.Context, wanted []string) (now time.Duration, err error) {
	values, err := k.cfg.Register.List(ctx, k.cfg.Prefix)
	if err != nil {
		return 0, fmt.Errorf("looking at the leases: %w", err)
	}
	now = k.cfg.Now()
	k.seen.look(now, trimmed(values, k.cfg.Prefix), wanted)
	return now, nil
}

func trimmed(values map[string][]byte, prefix string) map[string][]byte {
	out := make(map[string][]byte, len(values))
	for name, value := range values {
		out[strings.TrimPrefix(name, prefix)] = value
	}
	return out
}

// follow does what was decided, and goes on after errors: each swap may
// succeed where another has failed.
func (k *Keeper) follow(ctx context.Context, steps []step, present bool) error {
	var failed []error
	sign := k.next(-1)
	if !present { // one that wants nothing has no share
		sign = nil
	}
	failed = append(failed, k.swap(ctx, workerPart+k.cfg.Name, sign))
	yielding := map[string]bool{}
	for _, s := range steps {
		if len(failed) > 0 && errors.Join(failed...) != nil && s.act.takes() {
			break // no more work for one that cannot keep what it has
		}
		failed = append(failed, k.do(ctx, s, yielding))
	}
	k.yielding = yielding
	return errors.Join(failed...)
}

// takes reports whether an act brings a name that was not ours.
func (a act) takes() bool { return a == takeFree || a == takeDead || a == takeIdle }

// do takes one step. Names that are to become free with the next Tick are put
// into yielding.
func (k *Keeper) do(ctx context.Context, s step, yielding map[string]bool) error {
	name := strings.TrimPrefix(s.name, leasePart)
	switch s.act {
	case renew:
		return k.claim(ctx, s.name, name)
	case takeFree, takeDead, takeIdle:
		return k.take(ctx, s, name)
	case giveUp:
		k.disbelieve(name)
		if k.yielding[name] {
			return k.free(ctx, name)
		}
		// The work on it stops until the next Tick. Until then it stays ours.
		yielding[name] = true
		return k.swap(ctx, s.name, k.next(k.lag(name)))
	case drop:
		k.disbelieve(name)
	}
	return k.swap(ctx, s.name, nil)
}

func (k *Keeper) take(ctx context.Context, s step, name string) error {
	before := k.seen[s.name].lease.Owner
	if err := k.claim(ctx, s.name, name); err != nil || !k.Held(name) {
		return err
	}
	if s.act == takeIdle {
		k.reluctant = k.cfg.Now() + reluctance*k.cfg.TTL
	}
	k.cfg.Metrics.taken(s.act)
	k.cfg.Log.InfoContext(ctx, "lease taken", "name", name, "from", before)
	return nil
}

// claim writes the lease as this keeper's own, and believes in it if that has
// succeeded, from the time before it was tried.
func (k *Keeper) claim(ctx context.Context, key, name string) error {
	began := k.cfg.Now()
	counter := k.counter
	err := k.swap(ctx, key, k.next(k.lag(name)))
	if err != nil {
		return err // unknown: what it believed goes on to its end, no longer
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.seen[key]; s != nil && s.lease.Owner == k.cfg.Name && s.lease.Counter > counter {
		k.until[name] = began + trust(k.cfg.TTL)
	} else {
		delete(k.until, name) // another was faster
	}
	return nil
}

// free lets go of a lease.
func (k *Keeper) free(ctx context.Context, name string) error {
	l := k.next(k.lag(name))
	l.Owner = ""
	err := k.swap(ctx, leasePart+name, l)
	if err == nil {
		k.cfg.Metrics.given()
		k.cfg.Log.InfoContext(ctx, "lease given up", "name", name)
	}
	return err
}

// next is the value that this keeper writes next.
func (k *Keeper) next(behind time.Duration) *Lease {
	k.counter++
	return &Lease{Owner: k.cfg.Name, Counter: k.counter, Behind: behind}
}

// swap changes a value from what was seen to l, nil for none. A conflict is no
// error: the next Tick sees what is there, and so it does after an unknown
// outcome.
func (k *Keeper) swap(ctx context.Context, key string, l *Lease) error {
	var before, after []byte
	if s := k.seen[key]; s != nil {
		before = s.raw
	}
	if l != nil {
		after = l.encode()
	}
	if before == nil && after == nil {
		return nil
	}
	err := k.cfg.Register.Swap(ctx, k.cfg.Prefix+key, before, after)
	switch {
	case errors.Is(err, register.ErrConflict):
		k.cfg.Metrics.conflict()
		return nil
	case err != nil:
		return fmt.Errorf("writing lease %q: %w", key, err)
	case after == nil:
		delete(k.seen, key)
	default:
		k.seen.set(k.cfg.Now(), key, after)
	}
	return nil
}

// Release lets go of names at once, so that others need not wait for the TTL.
// Their work must have stopped. With no names it lets go of everything and
// signs off; Tick must not be called again.
func (k *Keeper) Release(ctx context.Context, names ...string) error {
	defer k.count()
	for _, name := range names {
		k.disbelieve(name)
	}
	leaving := len(names) == 0
	if leaving {
		k.disbelieveAll()
	}
	// The last Tick may have left swaps of unknown outcome.
	if _, err := k.look(ctx, nil); err != nil {
		return err
	}
	if leaving {
		names = k.owned()
	}
	var failed []error
	for _, name := range names {
		if s := k.seen[leasePart+name]; s != nil && s.lease.Owner == k.cfg.Name {
			failed = append(failed, k.free(ctx, name))
		}
	}
	if leaving {
		failed = append(failed, k.swap(ctx, workerPart+k.cfg.Name, nil))
	}
	return errors.Join(failed...)
}

// owned are the names that are this keeper's as far as it has seen.
func (k *Keeper) owned() (names []string) {
	for _, key := range k.seen.names() {
		if name, ok := cutPrefix(key, leasePart); ok && k.seen[key].lease.Owner == k.cfg.Name {
			names = append(names, name)
		}
	}
	return names
}

func (k *Keeper) disbelieveAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.until)
}

func (k *Keeper) disbelieve(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.until, name)
}

// lag is what was reported of a name, or what its last owner said.
func (k *Keeper) lag(name string) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if behind, ok := k.behind[name]; ok {
		return behind
	}
	if s := k.seen[leasePart+name]; s != nil && s.raw != nil && !s.foreign {
		return s.lease.Behind
	}
	return -1
}

// believed returns the names that this keeper may work on, and forgets what
// has ended.
func (k *Keeper) believed() []string {
	defer k.count()
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.cfg.Now()
	maps.DeleteFunc(k.until, func(name string, until time.Duration) bool {
		if now < until {
			return false
		}
		owner := ""
		if s := k.seen[leasePart+name]; s != nil {
			owner = s.lease.Owner
		}
		k.cfg.Log.Warn("lease expired before it was renewed, the work on it stops here", "name", name, "owner", owner)
		return true
	})
	maps.DeleteFunc(k.behind, func(name string, _ time.Duration) bool {
		_, ok := k.until[name]
		return !ok
	})
	return slices.Sorted(maps.Keys(k.until))
}

func (k *Keeper) count() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cfg.Metrics.held.Set(float64(len(k.until)))
}
