package verify

import (
	"maps"
	"slices"

	"tallystream/publish/verify"
	"tallystream/schemas"
)

// News is something that an editor waits for. It is told of what is verified,
// never of what is only published.
type News struct {
	Kind     NewsKind               `json:"kind"`
	Snapshot schemas.SnapshotNumber `json:"snapshot"`
	Reported int                    `json:"reported,omitempty"` // units
	Units    int                    `json:"units,omitempty"`
	Code     schemas.HoldCode       `json:"code,omitempty"`
	Count    uint64                 `json:"count,omitempty"` // since the news before
}

// NewsKind is what happened.
type NewsKind string

// The kinds.
const (
	NewsFirst   NewsKind = "first-results" // the first unit reports
	NewsShare   NewsKind = "share"         // another quarter of the units has reported
	NewsAll     NewsKind = "all-reported"  // every unit has
	NewsHeld    NewsKind = "held"          // submissions wait for supervisors
	newsQuarter          = 4
)

// newsOf compares what was verified before with what is now. Both are functions
// of the log, so the same step gives the same news, whoever takes it.
func newsOf(before, now *verify.State, snapshot schemas.SnapshotNumber) []News {
	was, is, units := 0, reported(now), len(now.Units)
	var heldBefore map[schemas.HoldCode]uint64
	if before != nil {
		was, heldBefore = reported(before), before.Held
	}
	var out []News
	units4 := func(n int) int { return n * newsQuarter / max(units, 1) }
	switch {
	case is == was:
	case is == units:
		out = append(out, News{Kind: NewsAll, Snapshot: snapshot, Reported: is, Units: units})
	case was == 0:
		out = append(out, News{Kind: NewsFirst, Snapshot: snapshot, Reported: is, Units: units})
	case units4(is) > units4(was):
		out = append(out, News{Kind: NewsShare, Snapshot: snapshot, Reported: is, Units: units})
	}
	for _, code := range slices.Sorted(maps.Keys(now.Held)) {
		if more := now.Held[code] - heldBefore[code]; more > 0 {
			out = append(out, News{Kind: NewsHeld, Snapshot: snapshot, Code: code, Count: more})
		}
	}
	return out
}

// reported counts the units that have a counted submission.
func reported(st *verify.State) (n int) {
	for i := range st.Units {
		if st.Units[i].Revision != 0 {
			n++
		}
	}
	return n
}
