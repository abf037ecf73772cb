package fanout

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// keyring is which keys of media are valid now.
type keyring struct {
	metrics     *keyMetrics
	connections int // of a key that does not say

	mu       sync.Mutex // guards accounts
	accounts []*account
}

// account is a key with what it has in use.
type account struct {
	name        string
	hash        [sha256.Size]byte
	connections prometheus.Gauge
	frames      prometheus.Counter
	bytes       prometheus.Counter
	held        prometheus.Counter

	mu      sync.Mutex // guards the rest; taken last, nothing is called under it
	limits  KeyLimits
	open    int                 // connections that were let in
	lines   map[*Session]func() // those that are open, and what cuts each off
	left    int64               // bytes that may be sent now; below 0 after a frame that was larger
	waiting []*Session          // have frames to take when there are bytes left
	revoked bool
}

// keyMetrics are those of each key. Its name is the label: names come from the
// operator's file, and there are at most maxMediaKeys.
type keyMetrics struct {
	connections *prometheus.GaugeVec
	frames      *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	held        *prometheus.CounterVec
	revoked     prometheus.Counter
	unreadable  prometheus.Counter
}

func newKeyMetrics(r prometheus.Registerer) *keyMetrics {
	counters := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tallystream", Subsystem: "fanout", Name: name, Help: help}, []string{"key"})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tallystream", Subsystem: "fanout", Name: name, Help: help})
	}
	m := &keyMetrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "tallystream", Subsystem: "fanout", Name: "media_connections", Help: "Open connections of each media key.",
		}, []string{"key"}),
		frames:     counters("media_frames_total", "Frames of documents handed to connections of each media key."),
		bytes:      counters("media_frame_bytes_total", "Bytes of those frames, uncompressed."),
		held:       counters("media_held_total", "Times that a connection had to wait because its media key had used up its bytes a second."),
		revoked:    counter("media_revoked_total", "Media keys that were taken back while the server ran."),
		unreadable: counter("media_keys_unreadable_total", "Times that the media keys could not be read again; those read before stay valid."),
	}
	r.MustRegister(m.connections, m.frames, m.bytes, m.held, m.revoked, m.unreadable)
	return m
}

// set makes keys those that are valid, and returns the accounts of those that
// are not any more.
func (k *keyring) set(keys []MediaKey) (revoked []*account) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var now []*account
	for _, key := range keys {
		if key.Limits.Connections == 0 {
			key.Limits.Connections = k.connections
		}
		i := slices.IndexFunc(k.accounts, func(a *account) bool { return a.name == key.Name && a.hash == key.Hash })
		if i < 0 {
			now = append(now, k.open(key))
			continue
		}
		now = append(now, k.accounts[i])
		k.accounts[i].limit(key.Limits)
	}
	for _, a := range k.accounts {
		if !slices.Contains(now, a) {
			revoked = append(revoked, a)
			k.metrics.revoked.Inc()
		}
	}
	k.accounts = now
	return revoked
}

// open makes an account. Its metrics go on where those of an earlier key of
// that name stood.
func (k *keyring) open(key MediaKey) *account {
	return &account{
		name: key.Name, hash: key.Hash, limits: key.Limits, left: key.Limits.Bytes, lines: map[*Session]func(){},
		connections: k.metrics.connections.WithLabelValues(key.Name), frames: k.metrics.frames.WithLabelValues(key.Name),
		bytes: k.metrics.bytes.WithLabelValues(key.Name), held: k.metrics.held.WithLabelValues(key.Name),
	}
}

// find is the account of a secret, or nil. Every key is compared, in the same
// time whatever it is.
func (k *keyring) find(secret string) *account {
	sum := sha256.Sum256([]byte(secret))
	k.mu.Lock()
	defer k.mu.Unlock()
	found := -1
	for i, a := range k.accounts {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], a.hash[:]), i, found)
	}
	if found < 0 {
		return nil
	}
	return k.accounts[found]
}

// all are the accounts of now.
func (k *keyring) all() []*account {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.accounts)
}

// refill gives every key its bytes for the time that has passed.
func (k *keyring) refill(passed time.Duration) {
	for _, a := range k.all() {
		for _, s := range a.refill(passed) {
			s.waker.Wake()
		}
	}
}

func (a *account) limit(l KeyLimits) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits = l
}

// enter lets a connection in if there is room.
func (a *account) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open >= a.limits.Connections {
		return false
	}
	a.open++
	a.connections.Inc()
	return true
}

func (a *account) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	a.connections.Dec()
}

// join notes an open connection, unless the key was revoked since it entered.
func (a *account) join(s *Session, cut func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revoked {
		return false
	}
	a.lines[s] = cut
	return true
}

func (a *account) part(s *Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.lines, s)
	if i := slices.Index(a.waiting, s); i >= 0 {
		a.waiting = slices.Delete(a.waiting, i, i+1)
	}
}

// documents is how many one connection may follow; 0: any number, as without
// an account.
func (a *account) documents() int {
	if a == nil {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.limits.Documents
}

// allows reports whether the session may take a frame now. If not, it is
// woken when it may: until then what comes is united, as for anybody slow.
func (a *account) allows(s *Session) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limits.Bytes == 0 || a.left > 0 {
		return true
	}
	if !slices.Contains(a.waiting, s) {
		a.waiting = append(a.waiting, s)
		a.held.Inc()
	}
	return false
}

// spend counts a frame that was taken.
func (a *account) spend(bytes int) {
	a.frames.Inc()
	a.bytes.Add(float64(bytes))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left -= int64(bytes)
}

// refill returns whom to wake. Two seconds' worth may be saved up.
func (a *account) refill(passed time.Duration) []*Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limits.Bytes == 0 {
		a.left = 0
	} else {
		a.left = min(2*a.limits.Bytes, a.left+int64(float64(a.limits.Bytes)*passed.Seconds()))
		if a.left <= 0 {
			return nil
		}
	}
	waiting := a.waiting
	a.waiting = nil
	return waiting
}

// revoke makes the account take nobody any more, and returns who is there.
func (a *account) revoke() map[*Session]func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked = true
	lines := a.lines
	a.lines = nil
	return lines
}
