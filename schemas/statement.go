package schemas

import "strconv"

// Statement is a submission held against the election: the unit's row of
// counts, dense, in the layout of its ballot style. A value is reusable.
type Statement struct {
	Unit       UnitIndex
	Revision   Revision
	Correction bool
	// OtherDefinition: the body names another edition of the definition, though
	// it fits this one.
	OtherDefinition bool
	// Cells follow Units[Unit].Style: count types that were not stated are 0,
	// contests that were not stated are 0 from their report cell on.
	Cells []Count
}

// Resolve holds a decoded submission against the election and fills st.
// Errors are *FieldError; st is then undefined. What is wrong but could be a
// mistake of counting, not of the format, is left to Implausible.
func (e *Election) Resolve(s *Submission, st *Statement) error {
	if string(s.Election) != string(e.Definition.Election) {
		return coded(ProblemElection, "/election", "want %q", e.Definition.Election)
	}
	if st.OtherDefinition = string(s.Definition) != e.hashText; !st.OtherDefinition {
		return e.resolve(s, st)
	}
	_, err := ParseDigest(string(s.Definition))
	if err == nil {
		err = e.resolve(s, st)
	}
	if err != nil {
		return coded(ProblemDefinition, "/definition", "want the hash of the ballot definition in force, %s", e.hashText)
	}
	return nil
}

// resolve spreads a body over the unit's row, whatever definition it names.

func (e *Election) resolve(s *Submission, st *Statement) error {
	u, ok := e.units[UnitID(s.Unit)]
	if !ok {
		return coded(ProblemUnknownUnit, "/unit", "%s is no unit of this election", strconv.QuoteToASCII(clip(string(s.Unit))))
	}
	var types [MaxCountTypes]int
	n, err := e.resolveTypes(s, &types)
	if err != nil {
		return err
	}
	style := e.Units[u].Style
	st.Unit, st.Revision, st.Correction = u, s.Revision, s.Correction != nil
	if cap(st.Cells) < style.Cells {
		st.Cells = make([]Count, style.Cells)
	}
	st.Cells = st.Cells[:style.Cells]
	clear(st.Cells)
	r := resolver{e: e, st: st, types: types[:n]}
	if err := r.ballots(s); err != nil {
		return err
	}
	return r.contests(s, style)
}

func coded(code ProblemCode, field, format string, args ...any) *FieldError {
	err := fieldError(field, format, args...)
	err.Code = code
	return err
}

// resolveTypes maps the stated count types to the election's, in order.
func (e *Election) resolveTypes(s *Submission, types *[MaxCountTypes]int) (int, error) {
	for i, t := range s.CountTypes {
		k, ok := e.types[CountType(t)]
		if !ok || (i > 0 && k <= types[i-1]) {
			return 0, fieldError("/countTypes/"+strconv.Itoa(i), "want count types of the definition in its order: %q", e.Definition.CountTypes)
		}
		types[i] = k
	}
	return len(s.CountTypes), nil
}

// resolver spreads stated counts over a row.
type resolver struct {
	e     *Election
	st    *Statement
	types []int // the election's index of each stated count type
}

func (r *resolver) spread(at int, counts []Count) bool {
	if len(counts) != len(r.types) {
		return false
	}
	for i, n := range counts {
		r.st.Cells[at+r.types[i]] = n
	}
	return true
}

func (r *resolver) ballots(s *Submission) error {
	r.st.Cells[0] = 1
	if !r.e.Definition.Rules.Ballots {
		if s.Ballots != nil {
			return fieldError("/ballots", "this election does not count ballots; leave the member out")
		}
		return nil
	}
	if !r.spread(1, s.Ballots) {
		return fieldError("/ballots", "want one count for each of the %d count types stated", len(r.types))
	}
	return nil
}

func (r *resolver) contests(s *Submission, style *Layout) error {
	next := 1 // section 0 is ballots
	for i := range s.Contests {
		c := &s.Contests[i]
		for next < len(style.Sections) && string(r.e.ContestID(style.Sections[next].Contest)) != string(c.Contest) {
			next++
		}
		if next == len(style.Sections) {
			return r.strayContest(s, i)
		}
		if err := r.contest(c, i, &style.Sections[next]); err != nil {
			return err
		}
		next++
	}
	return nil
}

// strayContest says why contest i of the submission found no place.
func (r *resolver) strayContest(s *Submission, i int) error {
	field := "/contests/" + strconv.Itoa(i) + "/contest"
	c, ok := r.e.contests[ContestID(s.Contests[i].Contest)]
	if ok {
		_, ok = r.e.Units[r.st.Unit].Style.Find(c)
	}
	if !ok {
		return coded(ProblemContest, field, "%s is not on the ballot of this unit", strconv.QuoteToASCII(clip(string(s.Contests[i].Contest))))
	}
	return fieldError(field, "stands twice or out of order; want contests sorted by identifier")
}

func (r *resolver) contest(c *StatedContest, i int, section *Section) error {
	def := &r.e.Definition.Contests[section.Contest]
	at := func(member string) string { return "/contests/" + strconv.Itoa(i) + member }
	if len(c.Selections) != len(def.Selections) {
		return coded(ProblemContest, at("/votes"), "want the %d selections of the definition", len(def.Selections))
	}
	cell, types := int(section.Offset), r.e.Types()
	r.st.Cells[cell] = 1
	cell++
	for k := range c.Selections {
		if string(c.Selections[k].Selection) != string(def.Selections[k].ID) {
			return coded(ProblemContest, at("/votes/"+strconv.Itoa(k)+"/selection"), "want %q: selections in the order of the definition", def.Selections[k].ID)
		}
		if !r.spread(cell, c.Selections[k].Counts) {
			return fieldError(at("/votes/"+strconv.Itoa(k)+"/counts"), "want one count for each of the %d count types stated", len(r.types))
		}
		cell += types
	}
	if !section.Residuals {
		if c.Undervotes != nil || c.Overvotes != nil {
			return fieldError(at("/undervotes"), "this contest does not state undervotes and overvotes")
		}
	} else if !r.spread(cell, c.Undervotes) || !r.spread(cell+types, c.Overvotes) {
		return fieldError(at("/undervotes"), "want undervotes and overvotes, one count each for each of the %d count types stated", len(r.types))
	}
	return r.votesFit(section, def, at)
}

// votesFit refuses votes that the ballots cannot hold. Fewer votes than
// expected may be a slip and are held later; more are impossible.
func (r *resolver) votesFit(section *Section, def *Contest, at func(string) string) error {
	if def.Residuals == ResidualsNone || !r.e.Definition.Rules.Ballots {
		return nil
	}
	votes, room := uint64(0), uint64(0)
	types := r.e.Types()
	first := int(section.Offset) + 1
	for t := range types {
		v := uint64(0)
		for k := range int(section.Selections) {
			v += uint64(r.st.Cells[first+k*types+t])
		}
		b := uint64(r.st.Cells[1+t]) * uint64(def.VotesAllowed)
		if v > b && def.Residuals == ResidualsByType {
			return coded(ProblemVotesExceed, at("/votes"), "more %s votes than ballots x %d", r.e.Definition.CountTypes[t], def.VotesAllowed)
		}
		votes, room = votes+v, room+b
	}
	if votes > room {
		return coded(ProblemVotesExceed, at("/votes"), "more votes than ballots x %d", def.VotesAllowed)
	}
	return nil
}

// Implausible holds a statement against the identities that the election
// knows and returns the first that is broken, or "".
func (e *Election) Implausible(st *Statement) HoldCode {
	if st.OtherDefinition {
		return HoldDefinition
	}
	if !e.Definition.Rules.Ballots {
		return ""
	}
	types := e.Types()
	u := &e.Units[st.Unit]
	ballots := st.Cells[1 : 1+types]
	if e.Definition.Rules.Registered && u.Registered > 0 {
		total := uint64(0)
		for _, n := range ballots {
			total += uint64(n)
		}
		if total > uint64(u.Registered) {
			return HoldRegistered
		}
	}
	for i := 1; i < len(u.Style.Sections); i++ {
		s := &u.Style.Sections[i]
		if s.Residuals && st.Cells[s.Offset] == 1 && !e.addsUp(s, st.Cells, ballots) {
			return HoldIdentity
		}
	}
	return ""
}

// addsUp checks votes + undervotes + overvotes = ballots x votes allowed.
func (e *Election) addsUp(s *Section, cells, ballots []Count) bool {
	def := &e.Definition.Contests[s.Contest]
	types := len(ballots)
	first, rows := int(s.Offset)+1, int(s.Selections)+2
	gap := int64(0)
	for t, b := range ballots {
		sum := int64(0)
		for k := range rows {
			sum += int64(cells[first+k*types+t])
		}
		sum -= int64(b) * int64(def.VotesAllowed)
		if sum != 0 && def.Residuals == ResidualsByType {
			return false
		}
		gap += sum
	}
	return gap == 0
}

// Lowered compares a unit's new row with its latest counted one: HoldMissing
// if a contest that was stated no longer is, HoldLowered if any count fell,
// "" otherwise. Undervotes and overvotes may fall: adjudicating an overvote
// moves a vote to a selection.
func (e *Election) Lowered(unit UnitIndex, before, after []Count) HoldCode {
	types := e.Types()
	style := e.Units[unit].Style
	lowered := false
	for i := range style.Sections {
		s := &style.Sections[i]
		at := int(s.Offset)
		if after[at] < before[at] {
			return HoldMissing
		}
		for k := at + 1; k <= at+int(s.Selections)*types; k++ {
			lowered = lowered || after[k] < before[k]
		}
	}
	if lowered {
		return HoldLowered
	}
	return ""
}

// Fold replaces a unit's row by another in its county's row. A nil before is a
// unit that did not count yet; a nil after takes it out.
func (e *Election) Fold(row []int64, unit UnitIndex, before, after []Count) {
	p := e.Units[unit].Placement
	types := e.Types()
	for i := range p.Style.Sections {
		s := &p.Style.Sections[i]
		size := s.Size(types)
		to := row[p.Offsets[i]:][:size]
		if after != nil {
			for k, n := range after[s.Offset:][:size] {
				to[k] += int64(n)
			}
		}
		if before != nil {
			for k, n := range before[s.Offset:][:size] {
				to[k] -= int64(n)
			}
		}
	}
}
