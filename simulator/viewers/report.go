package viewers

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
)

// Report is what a load leaves behind, as JSON.
type Report struct {
	Targets   []string `json:"targets"`
	Processes int      `json:"processes"`

	// Good: nothing was lost and nothing was wrong. Problems say what was.
	Good        bool     `json:"good"`
	Problems    []string `json:"problems"`
	Interrupted bool     `json:"interrupted,omitempty"`

	ConnectSeconds    float64 `json:"connect_seconds"` // from the first packet until all were there, or were not waited for any more
	ConnectsPerSecond float64 `json:"connects_per_second"`
	HoldSeconds       float64 `json:"hold_seconds"` // after that

	Counts
	Failures map[string]uint64 `json:"failures"`
	Lost     map[string]uint64 `json:"lost"`
	Byes     map[string]uint64 `json:"byes"`

	Connect   Quantiles `json:"connect"`
	Latency   Quantiles `json:"latency"` // while all were there
	RoundTrip Quantiles `json:"round_trip"`

	DeliveriesPerSecond float64 `json:"deliveries_per_second"` // while all were there

	Storms       []StormReport `json:"storms,omitempty"`
	Client       Cost          `json:"client"`
	Server       *Cost         `json:"server,omitempty"`        // of those whose --status or --pid was named
	ServerUnread string        `json:"server_unread,omitempty"` // why it is not known
}

// StormReport is how viewers came back after they were cut off.
type StormReport struct {
	AtSeconds      float64           `json:"at_seconds"` // after all were there
	Dropped        uint64            `json:"dropped"`
	Missing        uint64            `json:"missing"`      // not back when it was no longer waited for
	BackSeconds    float64           `json:"back_seconds"` // until the last was back
	SpreadSeconds  float64           `json:"spread_seconds"`
	Failures       map[string]uint64 `json:"failures"` // attempts in vain meanwhile
	ServerCPU      float64           `json:"server_cpu_seconds,omitempty"`
	GapsMeanwhile  uint64            `json:"gaps"`
	CaughtUp       uint64            `json:"caught_up"`
	SnapsMeanwhile uint64            `json:"snaps"`
}

// Cost is what one side used, apart from the other.
type Cost struct {
	CPUSeconds           float64 `json:"cpu_seconds"`         // of all
	HoldCPUSeconds       float64 `json:"hold_cpu_seconds"`    // while all were there
	SecondsPerMillion    float64 `json:"seconds_per_million"` // CPU for a million deliveries, while all were there
	Resident             uint64  `json:"resident_bytes"`      // at the end
	ResidentPerViewerKiB float64 `json:"resident_kib_per_viewer"`
}

// costOf is the account of one side. Resident memory a viewer is of all that is
// resident, the program itself included.
func costOf(begin, hold, end Usage, deliveries, viewers uint64) Cost {
	c := Cost{CPUSeconds: end.CPUSeconds - begin.CPUSeconds, HoldCPUSeconds: end.CPUSeconds - hold.CPUSeconds, Resident: end.Resident}
	if deliveries > 0 {
		c.SecondsPerMillion = c.HoldCPUSeconds * 1e6 / float64(deliveries)
	}
	if viewers > 0 {
		c.ResidentPerViewerKiB = float64(end.Resident) / 1024 / float64(viewers)
	}
	return c
}

// problems lists what was lost or wrong, in words. early says that not all had
// come when the run was interrupted: nobody is missed then.
func problems(t *Tally, early bool) []string {
	out := []string{}
	say := func(n uint64, format string) {
		if n > 0 {
			out = append(out, fmt.Sprintf(format, grouped(n)))
		}
	}
	if t.Open < t.Viewers && !early {
		say(t.Viewers-t.Open, "%s viewers are not connected")
	}
	for _, reason := range slices.Sorted(maps.Keys(t.Lost)) {
		say(t.Lost[reason], "%s connections were lost: "+strings.ReplaceAll(reason, "%", "%%"))
	}
	say(t.Gaps, "%s gaps: a delta began after what the viewer had")
	say(t.Repeats, "%s frames repeated what the viewer had")
	say(t.Rewinds, "%s snaps led back")
	say(t.Stale, "%s frames were of an epoch that had ended")
	say(t.Strangers, "%s frames were of documents that nobody asked for")
	say(t.Disagreed, "%s versions had two hashes")
	say(t.Mismatches, "%s documents had another hash than stated")
	say(t.FetchFailures, "%s snapshots could not be fetched")
	say(t.Unverified, "%s sampled documents were without their bytes at the end")
	say(t.Behind, "%s times a viewer was behind the newest version at the end")
	return out
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s "+format+"\n", append([]any{name}, args...)...)
	}
	row("viewers", "%s of %s connected, by %d processes; %s check every byte", grouped(r.Open), grouped(r.Viewers), r.Processes, grouped(r.Sampled))
	row("connecting", "%.1f s, %.0f a second; p50 %.0f ms, p99 %.0f ms, most %.0f ms", r.ConnectSeconds, r.ConnectsPerSecond, r.Connect.P50, r.Connect.P99, r.Connect.Max)
	row("failures", "%s", reasons(r.Failures))
	row("lost", "%s", reasons(r.Lost))
	row("byes", "%s", reasons(r.Byes))
	for _, s := range r.Storms {
		row("storm", "at %.0f s: %s cut off, %s back after %.1f s (spread %.0f s); failures: %s", s.AtSeconds, grouped(s.Dropped), whoIsBack(s.Missing),
			s.BackSeconds, s.SpreadSeconds, reasons(s.Failures))
	}
	row("deliveries", "%s in %s frames, %.1f MB; %.0f a second for %.0f s", grouped(r.Deliveries), grouped(r.Frames), float64(r.Bytes)/1e6, r.DeliveriesPerSecond,
		r.HoldSeconds)
	row("latency", "p50 %.1f ms, p90 %.1f, p99 %.1f, p99.9 %.1f, most %.1f (%s deltas; %s older than their connection are left out)", r.Latency.P50,
		r.Latency.P90, r.Latency.P99, r.Latency.P999, r.Latency.Max, grouped(r.Latency.Count), grouped(r.CaughtUp))
	if r.Early > 0 {
		row("", "%s deltas came before their own time: the clocks disagree, and these latencies are worth little", grouped(r.Early))
	}
	if r.RoundTrip.Count > 0 {
		row("round trip", "p50 %.1f ms, p99 %.1f (%s pings)", r.RoundTrip.P50, r.RoundTrip.P99, grouped(r.RoundTrip.Count))
	}
	row("sequence", "%s gaps, asked anew %s times, %s healed; %s repeats, %s stale, %s behind at the end", grouped(r.Gaps), grouped(r.Asked),
		grouped(r.Healed), grouped(r.Repeats), grouped(r.Stale), grouped(r.Behind))
	row("bytes", "%s versions had the right hash, %s had not; %s snapshots fetched", grouped(r.Verified), grouped(r.Mismatches), grouped(r.Fetches))
	cost := func(name string, c *Cost) {
		row(name, "%.1f s CPU (%.2f s for a million deliveries), %.1f MB resident (%.2f KiB a viewer)", c.CPUSeconds, c.SecondsPerMillion,
			float64(c.Resident)/1e6, c.ResidentPerViewerKiB)
	}
	cost("client", &r.Client)
	if r.Server != nil {
		cost("server", r.Server)
	}
	if r.ServerUnread != "" {
		row("server", "is not known: %s", r.ServerUnread)
	}
	for _, p := range r.Problems {
		row("PROBLEM", "%s", p)
	}
	if r.Good {
		b.WriteString("GOOD: nothing was lost, nothing was wrong.\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// reasons are counts by reason on a line, the largest first.
func reasons(m map[string]uint64) string {
	if len(m) == 0 {
		return "none"
	}
	names := slices.Sorted(maps.Keys(m))
	sort.SliceStable(names, func(i, j int) bool { return m[names[i]] > m[names[j]] })
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %s", grouped(m[n]), n)
	}
	return strings.Join(names, ", ")
}

// grouped writes n with commas at the thousands.
func grouped(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func perSecond(n uint64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

func whoIsBack(missing uint64) string {
	if missing == 0 {
		return "all"
	}
	return "all but " + grouped(missing)
}
