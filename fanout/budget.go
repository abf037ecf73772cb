package fanout

import "time"

// budget is how many frames a client may still send: a bucket of tokens in 16
// bytes, because each connection has one. The zero budget is full.
type budget struct {
	at     int64 // nanoseconds since 1970; 0: never used
	tokens float64
}

// allow takes a token if there is one.
func (b *budget) allow(now time.Time, rate float64) bool {
	at := now.UnixNano()
	burst := float64(int(4*rate) + 1)
	if b.at == 0 {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+rate*float64(max(0, at-b.at))/1e9)
	}
	b.at = at
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
