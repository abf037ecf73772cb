package viewers

import (
	"maps"

	"tallystream/schemas"
)

// Tally is what viewers have seen so far. Those of several processes can be
// added.
type Tally struct {
	Counts
	// Failures are connections that did not come about, Lost are those that
	// ended without a bye and without our doing, both by reason. Each was tried
	// again.
	Failures map[string]uint64 `json:"failures,omitempty"`
	Lost     map[string]uint64 `json:"lost,omitempty"`
	// Byes are connections that the server ended in good order, by its reason.
	Byes map[string]uint64 `json:"byes,omitempty"`

	Connect   Histogram `json:"connect"`    // from the first packet to the first frame
	Latency   Histogram `json:"latency"`    // from a delta's own time until it was read; see Counts.CaughtUp
	RoundTrip Histogram `json:"round_trip"` // of a WebSocket ping of ours, sampled viewers

	Heads map[schemas.DocumentID]Head `json:"heads,omitempty"`
}

// Counts of viewers, connections and frames.
type Counts struct {
	Viewers uint64 `json:"viewers"` // that there should be
	Open    uint64 `json:"open"`    // that are connected now, and have had a hello
	Sampled uint64 `json:"sampled"` // that check every byte
	Missing uint64 `json:"missing"` // that a storm cut off and that are not back

	Connects uint64 `json:"connects"` // that came about
	Dropped  uint64 `json:"dropped"`  // by a storm of ours
	Deflated uint64 `json:"deflated"` // connects that agreed on compression

	Bytes      uint64 `json:"bytes"` // read from the network
	Frames     uint64 `json:"frames"`
	Different  uint64 `json:"different"`  // of them, pings aside, those that no other viewer of the process had had lately
	Deliveries uint64 `json:"deliveries"` // deltas that led a viewer on
	// Advanced is by how much of the log they did, over all viewers: the same
	// whether deltas were united on the way or not.
	Advanced uint64 `json:"advanced"`
	Snaps    uint64 `json:"snaps"`
	Pings    uint64 `json:"pings"`
	// CaughtUp are deliveries of deltas older than the viewer's connection. They
	// say nothing about latency, and are not in it.
	CaughtUp uint64 `json:"caught_up"`
	Early    uint64 `json:"early"` // deltas whose time lies in the future: clocks disagree

	Gaps      uint64 `json:"gaps"`  // deltas that begin after what a viewer has
	Asked     uint64 `json:"asked"` // times that a viewer asked anew
	Healed    uint64 `json:"healed"`
	Repeats   uint64 `json:"repeats"`
	Rewinds   uint64 `json:"rewinds"`
	Stale     uint64 `json:"stale"`
	Strangers uint64 `json:"strangers"` // frames of documents that were not asked for
	Disagreed uint64 `json:"disagreed"` // versions of which two hashes were told

	Verified      uint64 `json:"verified"` // versions whose bytes had the right hash
	Mismatches    uint64 `json:"mismatches"`
	Fetches       uint64 `json:"fetches"` // of snapshots, over the network
	FetchFailures uint64 `json:"fetch_failures"`
	Unverified    uint64 `json:"unverified"` // sampled documents without bytes, at the end
	Behind        uint64 `json:"behind"`     // positions before the newest version, at the end
}

// each visits the numbers of two Counts together.
func (c *Counts) each(o *Counts, visit func(mine *uint64, others uint64)) {
	visit(&c.Viewers, o.Viewers)
	visit(&c.Open, o.Open)
	visit(&c.Sampled, o.Sampled)
	visit(&c.Missing, o.Missing)
	visit(&c.Connects, o.Connects)
	visit(&c.Dropped, o.Dropped)
	visit(&c.Deflated, o.Deflated)
	visit(&c.Bytes, o.Bytes)
	visit(&c.Frames, o.Frames)
	visit(&c.Different, o.Different)
	visit(&c.Deliveries, o.Deliveries)
	visit(&c.Advanced, o.Advanced)
	visit(&c.Snaps, o.Snaps)
	visit(&c.Pings, o.Pings)
	visit(&c.CaughtUp, o.CaughtUp)
	visit(&c.Early, o.Early)
	visit(&c.Gaps, o.Gaps)
	visit(&c.Asked, o.Asked)
	visit(&c.Healed, o.Healed)
	visit(&c.Repeats, o.Repeats)
	visit(&c.Rewinds, o.Rewinds)
	visit(&c.Stale, o.Stale)
	visit(&c.Strangers, o.Strangers)
	visit(&c.Disagreed, o.Disagreed)
	visit(&c.Verified, o.Verified)
	visit(&c.Mismatches, o.Mismatches)
	visit(&c.Fetches, o.Fetches)
	visit(&c.FetchFailures, o.FetchFailures)
	visit(&c.Unverified, o.Unverified)
	visit(&c.Behind, o.Behind)
}

func newTally() *Tally {
	return &Tally{Failures: map[string]uint64{}, Lost: map[string]uint64{}, Byes: map[string]uint64{}, Heads: map[schemas.DocumentID]Head{}}
}

// Merge adds what others saw.
func (t *Tally) Merge(o *Tally) {
	t.each(&o.Counts, func(mine *uint64, others uint64) { *mine += others })
	for _, m := range []struct{ to, from map[string]uint64 }{{t.Failures, o.Failures}, {t.Lost, o.Lost}, {t.Byes, o.Byes}} {
		for reason, n := range m.from {
			m.to[reason] += n
		}
	}
	t.Connect.Merge(&o.Connect)
	t.Latency.Merge(&o.Latency)
	t.RoundTrip.Merge(&o.RoundTrip)
	for g, h := range o.Heads {
		if h.after(t.Heads[g]) {
			t.Heads[g] = h
		}
	}
}

// Since is what happened after before, an earlier state of t. What is a state
// itself (Viewers, Open, Sampled, Missing, Heads) is that of t.
func (t *Tally) Since(before *Tally) *Tally {
	out := newTally()
	out.Counts = t.Counts
	out.each(&before.Counts, func(mine *uint64, others uint64) { *mine -= others })
	out.Viewers, out.Open, out.Sampled, out.Missing = t.Viewers, t.Open, t.Sampled, t.Missing
	for _, m := range []struct{ to, now, before map[string]uint64 }{
		{out.Failures, t.Failures, before.Failures}, {out.Lost, t.Lost, before.Lost}, {out.Byes, t.Byes, before.Byes},
	} {
		for reason, n := range m.now {
			if n > m.before[reason] {
				m.to[reason] = n - m.before[reason]
			}
		}
	}
	out.Connect, out.Latency, out.RoundTrip = t.Connect.Since(&before.Connect), t.Latency.Since(&before.Latency), t.RoundTrip.Since(&before.RoundTrip)
	maps.Copy(out.Heads, t.Heads)
	return out
}

// maxReasons bounds a map of reasons, which a server may choose.
const (
	maxReasons = 64
	maxReason  = 48
)

// count counts a reason.
func count(m map[string]uint64, reason string) {
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	if _, known := m[reason]; !known && len(m) >= maxReasons {
		reason = "other"
	}
	m[reason]++
}

func sum(m map[string]uint64) uint64 {
	n := uint64(0)
	for _, v := range m {
		n += v
	}
	return n
}
