package verify

import (
	"fmt"
	"slices"

	"tallystream/schemas"
)

// Sealed says which totals rest on sealed leaves.
type Sealed struct {
	Leaves uint64 `json:"leaves"` // that are sealed
	// Opened: an auditor had their openings, and all of them were counted again.
	Opened bool `json:"opened"`
	// Contests whose lines, of counties, states and the election, have sums of
	// hidden units in them.
	Contests []schemas.ContestID `json:"contests"`
	Counties []SealedCounty      `json:"counties"`
}

// SealedCounty is a county with hidden units.
type SealedCounty struct {
	County     schemas.CountyID  `json:"county"`
	Remainders []SealedRemainder `json:"remainders"`
}

// SealedRemainder is a sum of hidden units.
type SealedRemainder struct {
	ID      schemas.UnitID `json:"remainder"`
	Units   int            `json:"units"`
	Takings int            `json:"takings"` // how often it was added up
	// Waiting: units with a statement that counts and is in no sum yet.
	Waiting int `json:"waiting"`
	// Contests that its numbers are in; Hidden those in which its units' votes are
	// shown nowhere.
	Contests []schemas.ContestID `json:"contests"`
	Hidden   []schemas.ContestID `json:"hidden,omitempty"`
}

// rests is what the report says of hidden units.
func (h *hidden) rests() *Sealed {
	if h == nil {
		return nil
	}
	out := &Sealed{Leaves: h.sealed, Opened: h.opened, Contests: []schemas.ContestID{}}
	for i := range h.election.Remainders {
		r := &h.election.Remainders[i]
		place := &h.election.Counties[r.County]
		if n := len(out.Counties); n == 0 || out.Counties[n-1].County != place.ID {
			out.Counties = append(out.Counties, SealedCounty{County: place.ID})
		}
		c := &out.Counties[len(out.Counties)-1]
		s := SealedRemainder{ID: r.ID, Units: len(r.Units), Takings: len(h.taken[i]), Contests: []schemas.ContestID{}}
		for _, u := range r.Units {
			if h.fresh[u].Fresh {
				s.Waiting++
			}
		}
		for k, section := range r.Sections {
			id := h.election.ContestID(place.Sections[k].Contest)
			switch {
			case section.Shown && h.shown[i] != nil:
				s.Contests = append(s.Contests, id)
			case section.Voting > 0 && !section.Shown:
				s.Hidden = append(s.Hidden, id)
			}
		}
		out.Contests = append(out.Contests, s.Contests...)
		c.Remainders = append(c.Remainders, s)
	}
	slices.Sort(out.Contests)
	out.Contests = slices.Compact(out.Contests)
	return out
}

// append writes it for people.
func (s *Sealed) append(b []byte) []byte {
	if s == nil {
		return b
	}
	how := "their sums are the authority's word"
	if s.Opened {
		how = "all were opened and counted again"
	}
	b = fmt.Appendf(b, "  sealed     %d leaves of hidden units: %s\n", s.Leaves, how)
	b = fmt.Appendf(b, "             totals of %d contests rest on them: %s\n", len(s.Contests), few(s.Contests))
	for i := range s.Counties {
		for _, r := range s.Counties[i].Remainders {
			b = fmt.Appendf(b, "             county %s: %s of %d units, added up %d times, %d statements wait; %d contests", s.Counties[i].County, r.ID, r.Units, r.Takings, r.Waiting, len(r.Contests))
			if len(r.Hidden) > 0 {
				b = fmt.Appendf(b, "; not shown in any total: %s", few(r.Hidden))
			}
			b = append(b, '\n')
		}
	}
	return b
}

// few lists the first names, and how many there are more.
func few(ids []schemas.ContestID) string {
	const most = 8
	out := ""
	for i, id := range ids {
		if i == most {
			return fmt.Sprintf("%s and %d more", out, len(ids)-most)
		}
		if i > 0 {
			out += ", "
		}
		out += string(id)
	}
	return out
}
