package openelections

import (
	"fmt"
	"strconv"
)

// WarningKind groups warnings.
type WarningKind string

// The kinds of warnings.
const (
	Merged      WarningKind = "merged"       // spellings taken for one candidate
	Alike       WarningKind = "alike"        // names that are alike and were kept apart
	Joined      WarningKind = "joined"       // counties taken to vote on one contest, because their candidates are the same
	Split       WarningKind = "split"        // count types of a row do not add up to its votes
	Unsplit     WarningKind = "unsplit"      // rows without count types
	Blank       WarningKind = "blank"        // votes left empty, read as 0
	Spelling    WarningKind = "spelling"     // a number in a spelling that is not usual
	Repeated    WarningKind = "repeated"     // rows with one key, added up
	LeftOut     WarningKind = "left-out"     // rows that are no results of a unit
	Column      WarningKind = "column"       // a column that is not understood
	Unit        WarningKind = "unit"         // units whose names have one identifier
	Registered  WarningKind = "registered"   // registered voters that cannot be used
	BallotsCast WarningKind = "ballots-cast" // ballots cast that cannot be used
	Residuals   WarningKind = "residuals"    // over- and undervotes that do not satisfy the identity
	Assumed     WarningKind = "assumed"      // facts that the input does not have
)

// Warning is something in the input that was handled and that people should
// know of.
type Warning struct {
	Kind WarningKind
	// File and Line say where, or where first; Line is 0 if it is about no
	// line, and File empty if it is about no one file.
	File string
	Line int
	// Text says what was found and how it was handled.
	Text string
}

// String is the warning on one line.
func (w Warning) String() string {
	s := string(w.Kind) + ": " + w.Text
	switch {
	case w.File == "":
		return s
	case w.Line == 0:
		return w.File + ": " + s
	}
	return w.File + ":" + strconv.Itoa(w.Line) + ": " + s
}

// warnings collects them in the order of finding.
type warnings struct{ list []Warning }

func (w *warnings) add(kind WarningKind, file string, line int, format string, args ...any) {
	w.list = append(w.list, Warning{Kind: kind, File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// SyntaxError is input that cannot be read as results.
type SyntaxError struct {
	File   string
	Line   int
	Column int // in bytes, from 1; 0 if it is about the whole line
	Want   string
}

func (e *SyntaxError) Error() string {
	if e.Column == 0 {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Want)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Want)
}
