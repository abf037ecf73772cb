package lease

import (
	"context"
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
