package fanout

import (
	"net/netip"
	"testing"
	"time"
)

func TestAnAddressMayComeInABurstAndThenAtItsRate(t *testing.T) {
	a := arrivals{rate: 10}
	now := time.Unix(1_800_000_000, 0)
	come := func(address string, n int) (in int) {
		for range n {
			if a.allow(networkOf(netip.MustParseAddr(address)), now) {
				in++
			}
		}
		return in
	}
	if n := come("192.0.2.7", 500); n != 41 {
		t.Errorf("%d of a burst, want 41", n)
	}
	if n := come("192.0.2.8", 1); n != 1 {
		t.Error("one address is refused for another")
	}
	if n := come("127.0.0.1", 500); n != 500 {
		t.Errorf("%d of 500 of this machine", n)
	}
	for i := range 20 { // whatever is forgotten meanwhile
		now = now.Add(time.Second)
		if n := come("192.0.2.7", 500); n != 10 {
			t.Errorf("%d in second %d, want 10", n, i)
		}
	}
	now = now.Add(time.Hour)
	if n := come("192.0.2.7", 500); n != 41 || len(a.recent)+len(a.past) > 3 {
		t.Errorf("%d after an hour, want 41; %d addresses are known", n, len(a.recent)+len(a.past))
	}
}
