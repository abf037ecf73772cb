package elections

import "math"

// Draw is a stream of random numbers that costs a nanosecond each and is the
// same for the same seed in every Go version: SplitMix64 (Steele, Lea, Flood
// 2014). It is no source of secrets.
type Draw uint64

// DrawOf begins a stream of its own for each combination of parts.
func DrawOf(seed uint64, parts ...uint64) Draw {
	d := Draw(seed)
	h := d.Next()
	for _, p := range parts {
		d = Draw(h ^ (p+1)*0x9e3779b97f4a7c15)
		h = d.Next()
	}
	return Draw(h)
}

// Next is the next 64 bits.
func (d *Draw) Next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Unit is uniform in [0, 1).
func (d *Draw) Unit() float64 { return float64(d.Next()>>11) / (1 << 53) }

// Below is uniform in [0, n), for n > 0.
func (d *Draw) Below(n int) int { return int((d.Next() >> 32) * uint64(n) >> 32) }

// Chance is true with probability p.
func (d *Draw) Chance(p float64) bool { return d.Unit() < p }

// Between is uniform in [lo, hi).
func (d *Draw) Between(lo, hi float64) float64 { return lo + (hi-lo)*d.Unit() }

// Normal is a standard normal deviate (Box and Muller 1958).
func (d *Draw) Normal() float64 {
	u := 1 - d.Unit() // in (0, 1]
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*d.Unit())
}

// shuffle permutes items.
func shuffle[T any](d *Draw, items []T) {
	for i := len(items) - 1; i > 0; i-- {
		j := d.Below(i + 1)
		items[i], items[j] = items[j], items[i]
	}
}
