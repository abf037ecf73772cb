package lease

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Observer sees how far the work on each name is behind, without holding any.
// It is for one goroutine.
type Observer struct {
	register Register
	prefix   string
	now      func() time.Duration
	seen     sightings
	began    time.Duration // first look of those that Lag joins
	last     time.Duration // look
}

// NewObserver returns an observer of the group below prefix. now is a clock as
// in Config.
func NewObserver(r Register, prefix string, now func() time.Duration) *Observer {
	return &Observer{register: r, prefix: prefix, now: now, seen: sightings{}}
}

// Behind returns how far the work on each name is behind: what its last owner
// said, and for how long it has said nothing since. Names of which no owner
// has said anything are left out.
func (o *Observer) Behind(ctx context.Context) (map[string]time.Duration, error) {
	values, err := o.register.List(ctx, o.prefix+leasePart)
	if err != nil {
		return nil, fmt.Errorf("looking how far the work is behind: %w", err)
	}
	now := o.now()
	o.seen.look(now, trimmed(values, o.prefix), nil)
	behind := map[string]time.Duration{}
	for key, s := range o.seen {
		if name, ok := cutPrefix(key, leasePart); ok && !s.foreign && s.lease.Behind >= 0 {
			behind[name] = s.lease.Behind + now - s.since
		}
	}
	return behind, nil
}

// ErrUnknown: nobody can say how far the work is behind.
var ErrUnknown = errors.New("how far the work is behind is not known")

// lookGap is how far two looks may lie apart to be believed together: what
// changed in between was written in between.
const lookGap = 5 * time.Second

// Lag is how far the slowest work of the group is behind, and an ErrUnknown if
// any of it cannot be told: no name, a name whose owner says nothing, or one whose
// value has not changed since the first look, so that nobody knows how old it is.
// It has to be asked every few seconds; an observer is for this or for Behind.
func (o *Observer) Lag(ctx context.Context) (worst time.Duration, err error) {
	if now := o.now(); len(o.seen) == 0 || now-o.last > lookGap {
		o.seen, o.began = sightings{}, 0
	}
	if _, err := o.Behind(ctx); err != nil {
		return 0, err
	}
	o.last = o.now()
	if o.began == 0 {
		o.began = o.last
	}
	names := 0
	for key, s := range o.seen {
		name, ok := cutPrefix(key, leasePart)
		if !ok {
			continue
		}
		names++
		if s.foreign || s.lease.Behind < 0 || s.since <= o.began {
			return 0, fmt.Errorf("%w: %s", ErrUnknown, name)
		}
		worst = max(worst, s.lease.Behind+o.last-s.since)
	}
	if names == 0 {
		return 0, fmt.Errorf("%w: nobody works", ErrUnknown)
	}
	return worst, nil
}
