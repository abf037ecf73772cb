package cdf

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tallystream/schemas"
)

// Facts are what a report says of itself beside its numbers.
type Facts struct {
	// Issuer is who reports; empty: the host part of the election's origin.
	Issuer             string
	IssuerAbbreviation string // empty: Issuer
	// Application names the program; empty: "tallystream".
	Application  string
	ElectionType ElectionType // empty: OtherElection
	Status       Status
	// Test says what kind of test this is, such as "rehearsal"; empty: none.
	Test string
	// Time of the snapshot. The standard has whole seconds.
	Time time.Time
	// Snapshot and Log are those of the snapshot that the numbers stand in; 0
	// before the election.
	Snapshot schemas.SnapshotNumber
	Log      schemas.LogSize
	// Holds counts submissions that are held now and change no number.
	Holds map[schemas.HoldCode]uint64
	// Remainder is the row of a remainder (by index in Election.Remainders) in the
	// layout of its county, nil before the first; nil where nobody is hidden.
	Remainder func(i int) []int64
	// Movements counts the entries that lowered a number so far: see
	// schemas.Movement.
	Movements uint64
}

// check refuses what the standard has no word for.
func (f *Facts) check() error {
	if !slices.Contains(statuses, f.Status) {
		return fmt.Errorf("status %q: want one of %s", f.Status, join(statuses))
	}
	if f.ElectionType != "" && !slices.Contains(electionTypes, f.ElectionType) {
		return fmt.Errorf("election type %q: want one of %s", f.ElectionType, join(electionTypes))
	}
	if f.Time.IsZero() || f.Time.Year() < 1 || f.Time.Year() > 9999 {
		return fmt.Errorf("time %v: want that of the snapshot", f.Time)
	}
	return nil
}

// checkCounted refuses the status of a report without counts.
func (f *Facts) checkCounted() error {
	if f.Status == PreElection {
		return fmt.Errorf("writing CDF: status %q is for definitions, before the first report want %q", PreElection, UnofficialPartial)
	}
	return nil
}

func join[T ~string](values []T) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(v))
	}
	return b.String()
}

// notes are sentences about holds and about numbers that fell: they are public.
func (f *Facts) notes() string {
	return strings.TrimSpace(f.holdNote() + " " + f.movementNote())
}

func (f *Facts) movementNote() string {
	if f.Movements == 0 {
		return ""
	}
	return fmt.Sprintf("Entries that lowered a number: %d; %s says which, by how much, why and signed by whom.", f.Movements, schemas.CorrectionsName)
}

func (f *Facts) holdNote() string {
	total := uint64(0)
	var reasons []string
	for _, code := range slices.Sorted(maps.Keys(f.Holds)) {
		if n := f.Holds[code]; n > 0 {
			total += n
			reasons = append(reasons, string(code)+" "+strconv.FormatUint(n, 10))
		}
	}
	if total == 0 {
		return ""
	}
	return fmt.Sprintf("Held submissions, which change no number here: %d (%s).", total, strings.Join(reasons, ", "))
}

// part says which part of a report in several files this one is.
type part struct {
	number, of int
	format     string
}

const (
	summaryFormat  = "summary-contest"
	precinctFormat = "precinct-level"
)
