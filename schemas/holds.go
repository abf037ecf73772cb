package schemas

import (
	"fmt"
	"slices"
)

// HeldEntry is an entry of a ledger that is or was held: a line of HoldsName.
// A record that nobody could read names no unit, county or revision.
type HeldEntry struct {
	Unit      UnitID    `json:"unit,omitempty"`
	County    CountyID  `json:"county,omitempty"`
	Revision  Revision  `json:"revision,omitempty"`
	Code      HoldCode  `json:"code"`
	Why       string    `json:"why"`                       // Code.Explanation
	Digest    Digest    `json:"sha256,omitempty,omitzero"` // left out where the entry's leaf is sealed
	Partition Partition `json:"partition"`
	Seq       uint64    `json:"seq"`
	State     HoldState `json:"state"`
	// Finding is what an outlier broke, Twin the unit with the same numbers: both
	// as of the entry, and only with their codes.
	Finding *OutlierFinding `json:"finding,omitempty"`
	Twin    UnitID          `json:"twin,omitempty"`
}

// HoldState says what became of a hold.
type HoldState string

// The states of holds.
const (
	HoldOpen       HoldState = "open"
	HoldReleased   HoldState = "released"
	HoldLapsed     HoldState = "lapsed"     // a release came after a later revision counted
	HoldSuperseded HoldState = "superseded" // a later revision of the unit counts
)

// HoldStates lists them all.
var HoldStates = []HoldState{HoldOpen, HoldReleased, HoldLapsed, HoldSuperseded}

// AppendLine appends the hold's line, with its newline, spelled as a Movement's.
func (h *HeldEntry) AppendLine(dst []byte) []byte { return appendJSONLine(dst, h) }

// ParseHeldEntry reads one line of HoldsName.
func ParseHeldEntry(line []byte) (*HeldEntry, error) {
	h := new(HeldEntry)
	err := readJSON(line, h)
	if err == nil {
		err = h.validate()
	}
	if err != nil {
		return nil, fmt.Errorf("reading a hold: %w", err)
	}
	return h, nil
}

func (h *HeldEntry) validate() error {
	named := h.Unit != ""
	if named != (h.County != "") || named != (h.Revision > 0) || h.Revision > MaxRevision || h.Seq < 1 {
		return fmt.Errorf("want a unit with its county and a revision, or none of them, and an entry")
	}
	if named && (!ValidIdentifier(string(h.Unit)) || !ValidIdentifier(string(h.County))) {
		return fmt.Errorf("want identifiers for unit and county")
	}
	if !ValidIdentifier(string(h.Code)) || h.Why == "" {
		return fmt.Errorf("want a code and its explanation")
	}
	if !slices.Contains(HoldStates, h.State) {
		return fmt.Errorf("state %.40q: want one of %s", h.State, HoldStates)
	}
	if !named && h.Code != HoldPoison {
		return fmt.Errorf("only poison names no unit")
	}
	if h.Finding != nil && h.Code != HoldOutlier || h.Twin != "" && (h.Code != HoldTwin || !ValidIdentifier(string(h.Twin))) {
		return fmt.Errorf("want a finding with an outlier only, and a twin with what is the same as another")
	}
	if f := h.Finding; f != nil && (f.Rule != "history" && f.Rule != "neighbours" || !ValidIdentifier(string(f.Contest)) || f.Value < 0 || f.Against < 0 || f.Percent < 0) {
		return fmt.Errorf("finding: want a rule, a contest and figures of 0 or more")
	}
	return nil
}
