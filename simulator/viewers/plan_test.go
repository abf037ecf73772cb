package viewers

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"tallystream/schemas"
)

func TestAPlanIsSharedOutWithoutLosingAnybody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Plan{
			Viewers: rapid.IntRange(1, 200_000).Draw(t, "viewers"), Ramp: 1000, Documents: []schemas.DocumentID{"election", "contest/a", "contest/b"}, Follow: 1,
			Sample: rapid.Float64Range(0, 1).Draw(t, "sample"),
		}
		n := rapid.IntRange(1, 8).Draw(t, "processes")
		p.Targets = []Target{testTarget(1)}
		p.Sources = Sources(p.Targets, len(p.Split(n)))
		parts := p.Split(n)
		next, ramp, sampled, whole := 0, 0.0, 0, 0
		for _, q := range parts {
			if q.First != next || q.Viewers < 1 || q.Viewers > MaxViewersPerProcess || len(q.Sources) != sourcesPerProcess {
				t.Fatalf("%d viewers from %d, %d sources; %d were expected", q.Viewers, q.First, len(q.Sources), next)
			}
			next += q.Viewers
			ramp += q.Ramp
			for i := range min(q.Viewers, 1000) {
				if q.sampled(q.First + i) {
					sampled++
				}
				whole++
			}
		}
		if next != p.Viewers || len(parts) < min(n, p.Viewers) || ramp < 999.9 || ramp > 1000.1 {
			t.Fatalf("%d of %d viewers in %d parts, ramp %f", next, p.Viewers, len(parts), ramp)
		}
		if p.Viewers <= 1000 && (sampled < int(p.Sample*float64(whole))-1 || sampled > int(p.Sample*float64(whole))+1) {
			t.Fatalf("%d of %d sampled, want a share of %f", sampled, whole, p.Sample)
		}
	})
}

func TestSourcesAreDifferentAddressesOfThisMachine(t *testing.T) {
	const n = 100
	seen := map[string]bool{}
	for _, a := range Sources([]Target{testTarget(1)}, n) {
		if !a.IsLoopback() {
			t.Fatalf("%s", a)
		}
		seen[a.String()] = true
	}
	if len(seen) != n*sourcesPerProcess {
		t.Errorf("%d addresses", len(seen))
	}
	elsewhere := testTarget(1)
	elsewhere.Address = netip.MustParseAddrPort("10.0.0.1:80")
	if got := Sources([]Target{testTarget(1), elsewhere}, n); got != nil {
		t.Errorf("%d addresses of this machine for a target elsewhere", len(got))
	}
}
