package schemas

import (
	"strconv"
	"unicode/utf8"
)

// SubmissionSchema is the version that every submission body carries.
const SubmissionSchema = "tallystream.submission/1"

// Limits of one body, beside MaxBody.
const (
	MaxContests   = 512 // in one submission
	MaxSelections = 512 // in one contest
	MaxText       = 500 // characters of a correction's public text
)

// Submission is the body of a submission as it was sent: read strictly, not
// yet held against the election. A value is reusable; what it holds aliases
// the decoded bytes.
//
//	{"schema":"tallystream.submission/1","election":"...","definition":"<SHA-256>",
//	 "unit":"...","revision":1,"countTypes":["early","election-day"],
//	 "ballots":[40,60],
//	 "contests":[{"contest":"...","votes":[{"selection":"...","counts":[30,40]}, ...],
//	              "undervotes":[1,0],"overvotes":[0,0]}, ...],
//	 "correction":{"reason":"transcription","text":"..."}}
//
// It is the unit's whole statement so far: absolute counts of the count types
// that it lists. Members may come in any order, arrays may not: they follow the
// definition.
type Submission struct {
	Election   []byte
	Definition []byte
	Unit       []byte
	Revision   Revision
	CountTypes [][]byte
	Ballots    []Count // empty if not stated
	Contests   []StatedContest
	Correction *Correction

	selections []StatedSelection
	counts     []Count
}

// StatedContest is what a submission says of one contest.
type StatedContest struct {
	Contest    []byte
	Selections []StatedSelection
	Undervotes []Count // empty if not stated
	Overvotes  []Count // empty if not stated
}

// StatedSelection is what a submission says of one selection.
type StatedSelection struct {
	Selection []byte
	Counts    []Count
}

// Correction lets a submission lower counts; two supervisors sign it.
type Correction struct {
	Reason CorrectionReason `json:"reason"`
	Text   string           `json:"text"` // for the public
}

// CorrectionReason is the typed reason of a correction.
type CorrectionReason string

// The reasons for corrections.
const (
	CorrectTranscription CorrectionReason = "transcription" // copied wrongly
	CorrectEquipment     CorrectionReason = "equipment"     // a machine counted or sent wrongly
	CorrectDuplicate     CorrectionReason = "duplicate"     // counted twice
	CorrectRecount       CorrectionReason = "recount"
	CorrectCourtOrder    CorrectionReason = "court-order"
)

func (c CorrectionReason) valid() bool {
	switch c {
	case CorrectTranscription, CorrectEquipment, CorrectDuplicate, CorrectRecount, CorrectCourtOrder:
		return true
	}
	return false
}

// Members of a body, as bits, to find the missing and the repeated.
const (
	hasSchema = 1 << iota
	hasElection
	hasDefinition
	hasUnit
	hasRevision
	hasCountTypes
	hasBallots
	hasContests
	hasCorrection

	needed = hasSchema | hasElection | hasDefinition | hasUnit | hasRevision | hasCountTypes | hasContests
)

var memberNames = []string{"schema", "election", "definition", "unit", "revision", "countTypes", "ballots", "contests", "correction"}

// Decode reads a body. Errors are *FieldError with code ProblemMalformed.
func (s *Submission) Decode(body []byte) error {
	s.CountTypes, s.Ballots, s.Contests = s.CountTypes[:0], nil, s.Contests[:0]
	s.Correction, s.selections, s.counts = nil, s.selections[:0], s.counts[:0]
	if !utf8.Valid(body) {
		return fieldError("", "want UTF-8 (RFC 8259 section 8.1)")
	}
	p := scanner{b: body}
	has := 0
	if p.open('{', '}', "") {
		for {
			bit := s.member(&p)
			if has&bit != 0 {
				p.fail("/"+memberName(bit), "stands twice")
			}
			has |= bit
			if !p.more('}', "") {
				break
			}
		}
	}
	p.end()
	if missing := needed &^ has; missing != 0 {
		p.fail("/"+memberName(missing&-missing), "is missing")
	}
	if p.err != nil {
		return p.err
	}
	return nil
}

func memberName(bit int) string {
	for i, n := range memberNames {
		if bit == 1<<i {
			return n
		}
	}
	return ""
}

// member reads one member of the body and returns its bit.
func (s *Submission) member(p *scanner) int {
	switch name := p.name(""); string(name) {
	case "schema":
		if v := p.token("/schema"); string(v) != SubmissionSchema {
			p.fail("/schema", "want %q", SubmissionSchema)
		}
		return hasSchema
	case "election":
		s.Election = p.token("/election")
		return hasElection
	case "definition":
		s.Definition = p.token("/definition")
		return hasDefinition
	case "unit":
		s.Unit = p.token("/unit")
		return hasUnit
	case "revision":
		s.Revision = Revision(p.number("/revision", uint64(MaxRevision)))
		if s.Revision == 0 {
			p.fail("/revision", "want 1 to %d", MaxRevision)
		}
		return hasRevision
	case "countTypes":
		s.readCountTypes(p)
		return hasCountTypes
	case "ballots":
		s.Ballots = s.list(p, func() string { return "/ballots" })
		return hasBallots
	case "contests":
		s.readContests(p)
		return hasContests
	case "correction":
		s.Correction = readCorrection(p)
		return hasCorrection
	default:
		p.fail("", "unknown member %s", strconv.QuoteToASCII(clip(string(name))))
		return 0
	}
}

func (s *Submission) readCountTypes(p *scanner) {
	if !p.open('[', ']', "/countTypes") {
		p.fail("/countTypes", "want at least one")
		return
	}
	for {
		s.CountTypes = append(s.CountTypes, p.token("/countTypes"))
		if len(s.CountTypes) > MaxCountTypes {
			p.fail("/countTypes", "want at most %d", MaxCountTypes)
		}
		if !p.more(']', "/countTypes") {
			return
		}
	}
}

// readCounts appends a list of counts to s.counts. Where is only called to
// name the field of an error.
func (s *Submission) readCounts(p *scanner, where func() string) {
	if p.err != nil {
		return
	}
	start := len(s.counts)
	// The usual spelling, without white space or surprises, in one tight loop.
	if p.next('[') {
		b, i := p.b, p.i
		for n, digits := Count(0), 0; i < len(b); i++ {
			c := b[i]
			if d := Count(c - '0'); d <= 9 {
				if digits == 8 || (digits > 0 && n == 0) {
					break // too large, or a leading zero: the scanner says which
				}
				n, digits = n*10+d, digits+1
				continue
			}
			if digits == 0 || (c != ',' && c != ']') {
				break
			}
			s.counts = append(s.counts, n)
			n, digits = 0, 0
			if c == ']' {
				p.i = i + 1
				s.limitCounts(p, start, where)
				return
			}
		}
		s.counts = s.counts[:start]
	} else {
		p.fail(where(), "want a list of counts at byte %d", p.i)
		return
	}
	s.readCountsSlowly(p, where)
	s.limitCounts(p, start, where)
}

// readCountsSlowly reads what follows the opening bracket with all the white
// space that JSON allows, or finds what is wrong.
func (s *Submission) readCountsSlowly(p *scanner, where func() string) {
	if p.next(']') {
		p.fail(where(), "want one count a count type")
		return
	}
	for i := 0; ; i++ {
		n := p.number("", uint64(MaxCount))
		if p.err != nil {
			p.err.Field = where() + "/" + strconv.Itoa(i)
			return
		}
		s.counts = append(s.counts, Count(n))
		if i >= MaxCountTypes {
			p.fail(where(), "want at most %d counts", MaxCountTypes)
		}
		if !p.more(']', where()) {
			return
		}
	}
}

func (s *Submission) limitCounts(p *scanner, start int, where func() string) {
	if len(s.counts)-start > MaxCountTypes {
		p.fail(where(), "want at most %d counts", MaxCountTypes)
	}
}

func (s *Submission) readContests(p *scanner) {
	if !p.open('[', ']', "/contests") {
		return
	}
	for {
		if len(s.Contests) == MaxContests {
			p.fail("/contests", "want at most %d", MaxContests)
		}
		s.readContest(p)
		if !p.more(']', "/contests") {
			return
		}
	}
}

const (
	hasContest = 1 << iota
	hasVotes
	hasUnder
	hasOver
)

func (s *Submission) readContest(p *scanner) {
	i := len(s.Contests)
	s.Contests = append(s.Contests, StatedContest{})
	c := &s.Contests[i]
	at := func(member string) string { return "/contests/" + strconv.Itoa(i) + member }
	has := 0
	if p.err == nil && p.open('{', '}', "/contests") {
		for {
			bit := 0
			switch string(p.name("/contests")) {
			case "contest":
				bit, c.Contest = hasContest, p.token("/contests")
			case "votes":
				bit = hasVotes
				s.readVotes(p, i)
			case "undervotes":
				bit = hasUnder
				c.Undervotes = s.list(p, func() string { return at("/undervotes") })
			case "overvotes":
				bit = hasOver
				c.Overvotes = s.list(p, func() string { return at("/overvotes") })
			default:
				p.fail(at(""), "unknown member; want contest, votes, undervotes, overvotes")
			}
			if has&bit != 0 {
				p.fail(at(""), "a member stands twice")
			}
			has |= bit
			if !p.more('}', "/contests") {
				break
			}
		}
	}
	if p.err == nil && has&(hasContest|hasVotes) != hasContest|hasVotes {
		p.fail(at(""), "contest or votes is missing")
	}
}

// list reads a list of counts and returns it. Earlier lists stay valid when
// s.counts moves to a larger array: nothing is written to them again.
func (s *Submission) list(p *scanner, where func() string) []Count {
	start := len(s.counts)
	s.readCounts(p, where)
	return s.counts[start:len(s.counts):len(s.counts)]
}

func (s *Submission) readVotes(p *scanner, contest int) {
	at := func() string { return "/contests/" + strconv.Itoa(contest) + "/votes" }
	start := len(s.selections)
	if p.err == nil && p.open('[', ']', "/contests") {
		for {
			s.readSelection(p, func() string { return at() + "/" + strconv.Itoa(len(s.selections)-start-1) })
			if len(s.selections)-start > MaxSelections {
				p.fail(at(), "want at most %d selections", MaxSelections)
			}
			if !p.more(']', "/contests") {
				break
			}
		}
	}
	if p.err == nil && len(s.selections) == start {
		p.fail(at(), "want at least one selection")
	}
	s.Contests[contest].Selections = s.selections[start:len(s.selections):len(s.selections)]
}

const (
	hasSelection = 1 << iota
	hasCounts
)

func (s *Submission) readSelection(p *scanner, at func() string) {
	s.selections = append(s.selections, StatedSelection{})
	i := len(s.selections) - 1
	has := 0
	if p.err == nil && p.open('{', '}', "/contests") {
		for {
			bit := 0
			switch string(p.name("/contests")) {
			case "selection":
				bit, s.selections[i].Selection = hasSelection, p.token("/contests")
			case "counts":
				bit = hasCounts
				s.selections[i].Counts = s.list(p, func() string { return at() + "/counts" })
			default:
				p.fail(at(), "unknown member; want selection, counts")
			}
			if has&bit != 0 {
				p.fail(at(), "a member stands twice")
			}
			has |= bit
			if !p.more('}', "/contests") {
				break
			}
		}
	}
	if p.err == nil && has != hasSelection|hasCounts {
		p.fail(at(), "selection or counts is missing")
	}
}

func readCorrection(p *scanner) *Correction {
	c := new(Correction)
	seenReason, seenText := false, false
	if p.open('{', '}', "/correction") {
		for {
			switch name := p.name("/correction"); string(name) {
			case "reason":
				if seenReason {
					p.fail("/correction/reason", "stands twice")
				}
				seenReason, c.Reason = true, CorrectionReason(p.token("/correction/reason"))
			case "text":
				if seenText {
					p.fail("/correction/text", "stands twice")
				}
				seenText, c.Text = true, p.text("/correction/text", MaxText)
			default:
				p.fail("/correction", "unknown member; want reason, text")
			}
			if !p.more('}', "/correction") {
				break
			}
		}
	}
	if p.err == nil && (!c.Reason.valid() || !seenText) {
		p.fail("/correction", "want a reason (transcription, equipment, duplicate, recount, court-order) and a public text")
	}
	return c
}
