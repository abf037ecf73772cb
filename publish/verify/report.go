package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"tallystream/schemas"
)

// Check is what is verified, as findings name it.
type Check string

// The checks, in the order in which they build on each other.
const (
	CheckState      Check = "state"      // what was verified before is still so
	CheckCheckpoint Check = "checkpoint" // the log's signed head, its key, its witnesses
	CheckTree       Check = "tree"       // every leaf leads to the root
	CheckAuthority  Check = "authority"  // who may sign what, and the files that say so
	CheckLeaf       Check = "leaf"       // a leaf says what its format allows
	CheckSignature  Check = "signature"  // who signed a submission, and in which role
	CheckDecision   Check = "decision"   // what counts, by the rules
	CheckPause      Check = "pause"      // no number moves while publication rests
	CheckSeal       Check = "seal"       // what a sealed leaf commits to
	CheckChain      Check = "chain"      // the snapshots, one after the other
	CheckManifest   Check = "manifest"   // what a snapshot names
	CheckRemainder  Check = "remainder"  // sums of hidden units
	CheckDocument   Check = "document"   // lines of totals
	CheckFile       Check = "file"       // tables and reports by unit
)

// Finding is one thing that is wrong.
type Finding struct {
	Check Check  `json:"check"`
	Where string `json:"where"` // an object, a leaf, a snapshot
	What  string `json:"what"`
}

func (f *Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Check, f.Where, f.What) }

// Verdict is the end of a verification.
type Verdict string

// The verdicts.
const (
	Verified   Verdict = "verified"
	Failed     Verdict = "failed"     // at least one finding
	Incomplete Verdict = "incomplete" // nothing wrong was found, and not everything could be checked
)

// maxListed bounds the findings and remarks that are kept; all are counted.
const maxListed = 200

// Report is what a verification found.
type Report struct {
	Verdict  Verdict            `json:"verdict"`
	Election schemas.ElectionID `json:"election,omitempty"`
	Origin   string             `json:"origin,omitempty"`
	Key      string             `json:"key,omitempty"`      // that the checkpoint was held against
	FirstUse bool               `json:"firstUse,omitempty"` // nobody vouches for the key
	Witness  []string           `json:"witnesses,omitempty"`

	Leaves     int64                       `json:"leaves"` // of the tree, all checked where the verdict is verified
	Root       string                      `json:"root,omitempty"`
	Resumed    int64                       `json:"resumed,omitempty"` // leaves that an earlier run checked
	Counted    uint64                      `json:"counted"`
	Superseded uint64                      `json:"superseded"`
	Released   uint64                      `json:"released"` // by two supervisors, and counted from then on
	Lapsed     uint64                      `json:"lapsed"`   // releases that came after a later revision
	Held       map[schemas.HoldCode]uint64 `json:"held,omitempty"`
	Open       uint64                      `json:"open"`               // holds that change no number and still could
	Movements  uint64                      `json:"movements"`          // entries that lowered a number
	Snapshots  uint64                      `json:"snapshots"`          // in the log
	Snapshot   schemas.SnapshotNumber      `json:"snapshot,omitempty"` // the newest that is published
	Documents  int                         `json:"documents"`          // compared byte for byte
	Lines      int                         `json:"lines"`
	Files      int                         `json:"files"` // tables and reports, likewise
	Bytes      int64                       `json:"bytes"` // of both
	// Sealed says what rests on leaves that are sealed; nil where none is.
	Sealed *Sealed `json:"sealed,omitempty"`

	Findings []Finding `json:"findings"`
	Found    int       `json:"found"`
	// Unchecked is what could not be checked, Remarks what a reader should know.
	Unchecked []string `json:"unchecked,omitempty"`
	Remarks   []string `json:"remarks,omitempty"`

	Seconds float64 `json:"seconds"`
}

func (r *Report) find(check Check, where, format string, args ...any) {
	r.Found++
	if len(r.Findings) < maxListed {
		r.Findings = append(r.Findings, Finding{check, where, fmt.Sprintf(format, args...)})
	}
}

func (r *Report) leave(format string, args ...any) {
	if len(r.Unchecked) < maxListed {
		r.Unchecked = append(r.Unchecked, fmt.Sprintf(format, args...))
	}
}

func (r *Report) remark(format string, args ...any) {
	if len(r.Remarks) < maxListed {
		r.Remarks = append(r.Remarks, fmt.Sprintf(format, args...))
	}
}

func (r *Report) finish(took time.Duration) {
	r.Seconds = took.Seconds()
	switch {
	case r.Found > 0:
		r.Verdict = Failed
	case len(r.Unchecked) > 0:
		r.Verdict = Incomplete
	default:
		r.Verdict = Verified
	}
}

// JSON writes the report for programs.
func (r *Report) JSON(w io.Writer) error {
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	b := fmt.Appendf(nil, "%s\n", r.Origin)
	b = fmt.Appendf(b, "  log        %d leaves, root %s\n", r.Leaves, r.Root)
	if r.Resumed > 0 {
		b = fmt.Appendf(b, "             of which %d were verified before\n", r.Resumed)
	}
	held := uint64(0)
	for _, n := range r.Held {
		held += n
	}
	b = fmt.Appendf(b, "  counted    %d, superseded %d, held %d, released %d, lapsed %d\n", r.Counted, r.Superseded, held, r.Released, r.Lapsed)
	b = fmt.Appendf(b, "  corrected  numbers were lowered by %d entries; %d holds are open\n", r.Movements, r.Open)
	b = fmt.Appendf(b, "  snapshots  %d in the log, the newest published is %d\n", r.Snapshots, r.Snapshot)
	b = fmt.Appendf(b, "  compared   %d documents of %d lines, %d files; %d bytes in all\n", r.Documents, r.Lines, r.Files, r.Bytes)
	b = r.Sealed.append(b)
	b = fmt.Appendf(b, "  key        %s\n", r.Key)
	for _, name := range r.Witness {
		b = fmt.Appendf(b, "  witness    %s\n", name)
	}
	for _, s := range r.Remarks {
		b = fmt.Appendf(b, "  note       %s\n", s)
	}
	for _, s := range r.Unchecked {
		b = fmt.Appendf(b, "  UNCHECKED  %s\n", s)
	}
	for i := range r.Findings {
		b = fmt.Appendf(b, "  WRONG      %s\n", r.Findings[i].String())
	}
	if more := r.Found - len(r.Findings); more > 0 {
		b = fmt.Appendf(b, "  WRONG      and %d more\n", more)
	}
	switch r.Verdict {
	case Verified:
		b = fmt.Appendf(b, "VERIFIED in %.1f s: what is published is what was signed and logged, to the byte.\n", r.Seconds)
	case Failed:
		b = fmt.Appendf(b, "NOT VERIFIED: %d checks failed (%.1f s).\n", r.Found, r.Seconds)
	default:
		b = fmt.Appendf(b, "INCOMPLETE: nothing wrong was found, but not everything could be checked (%.1f s).\n", r.Seconds)
	}
	_, err := w.Write(b)
	return err
}
