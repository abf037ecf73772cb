package holds

import (
	"encoding/json"
	"fmt"

	"tallystream/schemas"
)

// holdsName is the list's name in manifests.
const holdsName = "holds.ndjson"

// held is one line of the list: an entry of a ledger that is or was held. A
// record that nobody could read names no unit, county or revision.
type held struct {
	Unit      schemas.UnitID          `json:"unit,omitempty"`
	County    schemas.CountyID        `json:"county,omitempty"`
	Revision  schemas.Revision        `json:"revision,omitempty"`
	Code      schemas.HoldCode        `json:"code"`
	Why       string                  `json:"why"`
	Digest    schemas.Digest          `json:"sha256"`
	Partition schemas.Partition       `json:"partition"`
	Seq       uint64                  `json:"seq"`
	State     schemas.HoldState       `json:"state"`
	Finding   *schemas.OutlierFinding `json:"finding,omitempty"` // of an outlier
	Twin      schemas.UnitID          `json:"twin,omitempty"`    // the unit with the same numbers
}

// parseHeld reads a line. A member that is not known is for somebody else.
func parseHeld(line []byte) (*held, error) {
	h := new(held)
	if err := json.Unmarshal(line, h); err != nil {
		return nil, fmt.Errorf("reading a hold: %w", err)
	}
	if h.Code == "" || h.Why == "" || h.State == "" || h.Seq == 0 || (h.Unit == "") != (h.Revision == 0) {
		return nil, fmt.Errorf("reading a hold: want a code with its explanation, a state, an entry, and a unit with its revision or neither")
	}
	return h, nil
}
