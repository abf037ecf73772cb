package ingest

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"tallystream/schemas"
)

// Defaults of Limits.
const (
	DefaultConnections      = 4096
	DefaultAddressConns     = 512
	DefaultKeyRate          = 200
	DefaultKeyBurst         = 5000
	DefaultFailureRate      = 1
	DefaultFailureBurst     = 100
	DefaultMaxBehind        = 20_000
	DefaultMaxAge           = time.Minute
	DefaultWait             = 2 * time.Second
	DefaultReadTimeout      = 10 * time.Second
	DefaultWriteTimeout     = 30 * time.Second
	DefaultIdleTimeout      = 60 * time.Second
	DefaultDrain            = 10 * time.Second
	DefaultRememberedPeers  = 16_384
	maxHeaderBytes          = 8 << 10
	failureRetryAfterAtMost = time.Minute
)

// Limits bound what clients can take. A zero field takes its default; a
// negative rate or number switches that limit off.
type Limits struct {
	// Connections open at a time, in all and from one address (IPv6: one /64).
	// Each may hold one body, so memory is bounded by Connections x 50 KiB.
	// Behind a proxy every client has the proxy's address: raise AddressConns.
	Connections, AddressConns int
	// KeyRate and KeyBurst are the well-signed submissions a second that one
	// key may send, and how many at once. Only verified signatures are
	// charged: a stranger who names a key cannot spend its budget.
	KeyRate  float64
	KeyBurst int
	// FailureRate and FailureBurst are the failed requests a second that one
	// address may make before everything from it is refused with 429.
	FailureRate  float64
	FailureBurst int
	// MaxBehind is how many records the stream may be ahead of the ledger.
	// Above it submissions wait up to Wait, then get 503.
	MaxBehind uint64
	// MaxAge is for how long a record may wait for the ledger.
	MaxAge time.Duration
	Wait   time.Duration
	// ReadTimeout is for a whole request, from its first byte to its last: a
	// slow-loris client costs a connection that long and no longer.
	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	IdleTimeout  time.Duration
	// Drain is how long requests in flight may take after Serve's context ends.
	Drain time.Duration
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Connections, DefaultConnections)
	setDefault(&l.AddressConns, DefaultAddressConns)
	setDefault(&l.KeyRate, DefaultKeyRate)
	setDefault(&l.KeyBurst, DefaultKeyBurst)
	setDefault(&l.FailureRate, DefaultFailureRate)
	setDefault(&l.FailureBurst, DefaultFailureBurst)
	setDefault(&l.MaxBehind, DefaultMaxBehind)
	setDefault(&l.MaxAge, DefaultMaxAge)
	setDefault(&l.Wait, DefaultWait)
	setDefault(&l.ReadTimeout, DefaultReadTimeout)
	setDefault(&l.WriteTimeout, DefaultWriteTimeout)
	setDefault(&l.IdleTimeout, DefaultIdleTimeout)
	setDefault(&l.Drain, DefaultDrain)
	return l
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (l *Limits) validate() error {
	for _, d := range []time.Duration{l.Wait, l.ReadTimeout, l.WriteTimeout, l.IdleTimeout, l.Drain} {
		if d < 0 {
			return fmt.Errorf("limits: a duration of %v, want one above 0", d)
		}
	}
	if l.WriteTimeout <= l.Wait {
		return fmt.Errorf("limits: write timeout %v is not above wait %v, so a submission that waited could not be answered", l.WriteTimeout, l.Wait)
	}
	return nil
}

// budgets limit submissions by key. There are as many as keys in the roster
// that have ever signed something: it is looked up only after the roster.
type budgets struct {
	rate  rate.Limit
	burst int
	now   func() time.Time
	byKey sync.Map // *schemas.Key -> *rate.Limiter
}

func newBudgets(l Limits, now func() time.Time) *budgets {
	b := &budgets{rate: rate.Limit(l.KeyRate), burst: l.KeyBurst, now: now}
	if l.KeyRate < 0 {
		b.rate = rate.Inf
	}
	return b
}

// spent reports whether key has nothing left to spend, without spending.
func (b *budgets) spent(key *schemas.Key) bool {
	if b.rate == rate.Inf {
		return false
	}
	l, ok := b.byKey.Load(key)
	return ok && l.(*rate.Limiter).TokensAt(b.now()) < 1
}

// spend takes one submission from key's budget, or reports that it cannot.
func (b *budgets) spend(key *schemas.Key) bool {
	if b.rate == rate.Inf {
		return true
	}
	l, ok := b.byKey.Load(key)
	if !ok {
		l, _ = b.byKey.LoadOrStore(key, rate.NewLimiter(b.rate, b.burst))
	}
	return l.(*rate.Limiter).AllowN(b.now(), 1)
}

// retryAfter is when a spent budget has room again.
func (b *budgets) retryAfter() time.Duration {
	return max(time.Second, time.Duration(float64(time.Second)/float64(b.rate)))
}
