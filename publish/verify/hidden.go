package verify

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"tallystream/publish/log/leaf"
	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// Hidden units (rules.suppression): their leaves are sealed, so nobody can count
// them again without the openings. What can be checked without: that exactly their
// leaves are sealed, that what is counted, superseded, released or lapsed fits the
// revisions that the leaves show, that a remainder was added up at the entries at which
// it must be and of the statements of which it must be, and that the authority signed
// its numbers once and for all. The numbers themselves are believed.

// takenState is a remainder's taking as the leaves ask for it.
type takenState struct {
	Seq        uint64
	Statements []suppress.Statement
	// Signed is the hash of the line that the authority signed; zero before it was
	// seen.
	Signed schemas.Digest
}

// freshState is a hidden unit's newest statement that counts.
type freshState struct {
	Statement suppress.Statement
	Fresh     bool // in no taking yet
}

// hidden is the count of hidden units. The tally's goroutine owns it.
type hidden struct {
	election *schemas.Election
	fresh    map[schemas.UnitIndex]*freshState
	taken    [][]takenState       // by remainder
	signed   [][]*suppress.Taking // by remainder: what the newest snapshot's files say
	shown    []*suppress.Taking   // by remainder: what counts in the rows now
	sealed   uint64               // leaves
	opened   bool                 // they were opened by an auditor: then numbers are recounted
}

func newHidden(e *schemas.Election) *hidden {
	if len(e.Remainders) == 0 {
		return nil
	}
	n := len(e.Remainders)
	h := &hidden{
		election: e, fresh: map[schemas.UnitIndex]*freshState{}, taken: make([][]takenState, n),
		signed: make([][]*suppress.Taking, n), shown: make([]*suppress.Taking, n),
	}
	for i := range e.Remainders {
		for _, u := range e.Remainders[i].Units {
			h.fresh[u] = new(freshState)
		}
	}
	return h
}

// hides reports whether the unit's numbers are in a remainder.
func (t *tally) hides(u schemas.UnitIndex) bool {
	return t.hidden != nil && t.hidden.fresh[u] != nil
}

// takeSealed counts a sealed leaf that is not opened.
func (t *tally) takeSealed(index int64, l *leaf.Sealed) {
	where := fmt.Sprintf("leaf %d", index)
	if !t.follows(where, place{l.Partition, l.Seq}) {
		return
	}
	t.tell(verdict{kind: l.Outcome, hold: l.Code})
	h := t.hidden
	if h == nil {
		t.report.find(CheckDecision, where, "it is sealed, and the definition hides nobody")
		return
	}
	h.sealed++
	if l.Unit == "" { // poison that names nobody
		t.holds[l.Partition] = append(t.holds[l.Partition], heldState{Seq: l.Seq, Unit: -1, Code: l.Code, State: schemas.HoldOpen})
		return
	}
	u, ok := t.election.Unit(l.Unit)
	if !ok || !t.hides(u) || t.election.PartitionOf(u) != l.Partition {
		t.report.find(CheckDecision, where, "it is sealed, and unit %s is none that the definition hides in partition %d", l.Unit, l.Partition)
		return
	}
	t.applySealed(where, u, l)
}

// applySealed does what a sealed leaf says, where the leaves before it allow that.
func (t *tally) applySealed(where string, u schemas.UnitIndex, l *leaf.Sealed) {
	unit := &t.units[u]
	wrong := func(what string) {
		t.report.find(CheckDecision, where, "unit %s revision %d is %s in the log, %s", l.Unit, l.Revision, l.Outcome, what)
	}
	switch l.Outcome {
	case schemas.EntryCounted:
		if l.Revision <= unit.Revision {
			wrong(fmt.Sprintf("and revision %d counts already", unit.Revision))
			return
		}
		t.countHidden(where, u, l)
	case schemas.EntrySuperseded:
		if l.Revision >= unit.Revision {
			wrong("and no later revision counts")
		}
	case schemas.EntryHeld:
		state := schemas.HoldOpen
		if l.Revision < unit.Revision {
			state = schemas.HoldSuperseded
		}
		unit.Holds = append(unit.Holds, len(t.holds[l.Partition]))
		t.holds[l.Partition] = append(t.holds[l.Partition], heldState{Seq: l.Seq, Unit: u, Revision: l.Revision, Code: l.Code, State: state})
	default:
		t.settleSealed(where, u, l, wrong)
	}
}

// settleSealed ends the hold that a sealed release names.
func (t *tally) settleSealed(where string, u schemas.UnitIndex, l *leaf.Sealed, wrong func(string)) {
	unit := &t.units[u]
	for _, i := range unit.Holds {
		held := &t.holds[l.Partition][i]
		if held.Seq != l.Hold {
			continue
		}
		lapses := held.Revision < unit.Revision
		switch {
		case held.Revision != l.Revision || !releasable(held.Code):
			wrong(fmt.Sprintf("and entry %d is no hold of it that could be", l.Hold))
		case held.State == schemas.HoldReleased || held.State == schemas.HoldLapsed:
			wrong("and it was released before")
		case lapses != (l.Outcome == schemas.EntryLapsed):
			wrong(fmt.Sprintf("and what counts is revision %d", unit.Revision))
		case lapses:
			held.State = schemas.HoldLapsed
		default:
			held.State = schemas.HoldReleased
			t.countHidden(where, u, l)
		}
		return
	}
	wrong(fmt.Sprintf("and entry %d is no hold of it", l.Hold))
}

// countHidden makes a sealed statement what counts for its unit, without its
// numbers.
func (t *tally) countHidden(where string, u schemas.UnitIndex, l *leaf.Sealed) {
	t.units[u].Revision = l.Revision
	t.supersede(u)
	t.state(where, suppress.Statement{Unit: u, Revision: l.Revision, Seq: l.Seq, Commitment: l.Commitment})
}

// state takes in a hidden unit's statement. When every unit of its remainder has
// sent one since the last taking, the next is due, and its numbers are those that
// the authority signed.
func (t *tally) state(where string, st suppress.Statement) {
	h := t.hidden
	i := t.election.RemainderOf(st.Unit)
	*h.fresh[st.Unit] = freshState{st, true}
	due := takenState{Seq: st.Seq}
	for _, u := range t.election.Remainders[i].Units {
		if !h.fresh[u].Fresh {
			return
		}
		due.Statements = append(due.Statements, h.fresh[u].Statement)
	}
	for _, u := range t.election.Remainders[i].Units {
		h.fresh[u].Fresh = false
	}
	h.taken[i] = append(h.taken[i], due)
	if signed := t.signed(where, i, len(h.taken[i])-1); signed != nil {
		if h.opened {
			t.checkSum(&t.election.Remainders[i], signed)
		}
		t.show(i, signed)
	}
}

// signed finds what the authority signed of a remainder's taking k, and holds it
// against the leaves; nil where it did not, or not yet: compare knows.
func (t *tally) signed(where string, remainder, k int) *suppress.Taking {
	h, r := t.hidden, &t.election.Remainders[remainder]
	if k >= len(h.signed[remainder]) {
		return nil
	}
	due, signed := &h.taken[remainder][k], h.signed[remainder][k]
	if signed.Seq != due.Seq || !slices.Equal(signed.Statements, due.Statements) {
		t.report.find(CheckRemainder, string(r.ID), "taking %d is of other statements, or at another entry, than %s and those before it ask for", k+1, where)
	}
	line := schemas.DigestOf(suppress.Append(nil, t.election, signed))
	if due.Signed != line && !due.Signed.IsZero() {
		t.report.find(CheckRemainder, string(r.ID), "taking %d is another one than when it was verified before", k+1)
	}
	due.Signed = line
	return signed
}

// show puts a taking into the county's row in the place of the one before.
func (t *tally) show(remainder int, signed *suppress.Taking) {
	h, r := t.hidden, &t.election.Remainders[remainder]
	row := t.rows[r.County]
	for c, n := range signed.Row {
		row[c] += n
		if last := h.shown[remainder]; last != nil {
			row[c] -= last.Row[c]
		}
	}
	if last := h.shown[remainder]; last != nil && slices.Contains(signed.Fell, true) {
		t.recordSum(r, last, signed)
	}
	h.shown[remainder] = signed
	t.dirty[r.County] = true
}

// recordSum records that a remainder was added up to less than before.
func (t *tally) recordSum(r *schemas.Remainder, before, after *suppress.Taking) {
	e := t.election
	place, types := &e.Counties[r.County], len(e.Definition.CountTypes)
	var changes []schemas.Fall
	for i := range place.Sections {
		s := &place.Sections[i]
		known := len(changes)
		for k := 1; k < s.Size(types); k++ { // who votes on it never changes
			if was, is := before.Row[int(s.Offset)+k], after.Row[int(s.Offset)+k]; is < was {
				changes = append(changes, schemas.Fall{Contest: e.ContestID(s.Contest), Selection: t.selection(s, (k-1)/types),
					CountType: e.Definition.CountTypes[(k-1)%types], Before: schemas.Count(was), After: schemas.Count(is)})
			}
		}
		if len(changes) > known {
			t.moved[r.County][i]++
		}
	}
	m := schemas.Movement{
		Unit: r.ID, County: place.ID, Revision: schemas.Revision(after.Number), Replaces: schemas.Revision(before.Number),
		Kind: schemas.MovementRemainder, Signers: []string{}, Partition: place.Partition, Seq: after.Seq, Changes: changes,
	}
	lines := t.moves[place.Partition]
	at := len(lines)
	for at > 0 && seqOf(lines[at-1]) > m.Seq { // where a state had counted on before it was signed
		at--
	}
	t.moves[place.Partition] = slices.Insert(lines, at, m.AppendLine(nil))
}

// seqOf is the entry of a movement's line.
func seqOf(line []byte) uint64 {
	m, err := schemas.ParseMovement(line)
	if err != nil {
		return 0 // a state that was edited: the list will differ
	}
	return m.Seq
}

// openRemainders reads what the newest snapshot signs of hidden units: all
// takings of the night, in one file a county.
func (v *verification) openRemainders(ctx context.Context) error {
	h := v.tally.hidden
	if h == nil || v.latest == nil {
		return nil
	}
	entries, err := v.manifest(ctx, v.latest)
	if err != nil {
		return err
	}
	for i := range entries {
		e := &entries[i]
		id, ok := strings.CutPrefix(e.Name, suppress.Folder)
		if !ok {
			continue
		}
		c, ok := v.election.County(schemas.CountyID(id))
		if !ok {
			continue // compare says so
		}
		b, err := v.object(ctx, CheckRemainder, v.latest, e, schemas.ContentKey("remainders", e.Hash, ".ndjson"))
		if err != nil {
			return err
		}
		takings, err := suppress.Parse(v.election, c, b)
		if err != nil {
			v.report.find(CheckRemainder, e.Name, "%v", err)
			continue
		}
		for _, t := range takings {
			h.signed[t.Remainder] = append(h.signed[t.Remainder], t)
		}
	}
	return nil
}

// remainderFile is what the file of a county's remainders must say as of now; nil
// where none is due, and false where something is due that nobody signed.
func (t *tally) remainderFile(c schemas.CountyIndex) (body []byte, ok bool) {
	first, of := t.election.RemaindersOf(c)
	var takings []*suppress.Taking
	for i := first; i < first+len(of); i++ {
		n := len(t.hidden.taken[i])
		if n > len(t.hidden.signed[i]) {
			return nil, false
		}
		takings = append(takings, t.hidden.signed[i][:n]...)
	}
	slices.SortFunc(takings, func(a, b *suppress.Taking) int { return int(int64(a.Seq) - int64(b.Seq)) })
	for _, taking := range takings {
		body = suppress.Append(body, t.election, taking)
	}
	return body, true
}

// compareRemainders holds the files that a snapshot names against the takings that
// are due at its log. named are their entries by name.
func (v *verification) compareRemainders(ctx context.Context, s *schemas.Snapshot, named map[string]*schemas.ManifestEntry) error {
	if v.tally.hidden == nil {
		return nil
	}
	for c := range v.election.Counties {
		name := suppress.Folder + string(v.election.Counties[c].ID)
		e := named[name]
		delete(named, name)
		want, ok := v.tally.remainderFile(schemas.CountyIndex(c))
		switch {
		case !ok:
			v.report.find(CheckRemainder, name, "snapshot %d of %d leaves: a remainder was complete by then, and the authority signs no numbers of it", s.Number, s.Log)
		case e == nil && len(want) > 0:
			v.report.find(CheckManifest, name, "snapshot %d does not name it", s.Number)
		case e != nil:
			if err := v.compareRemainder(ctx, s, e, want); err != nil {
				return err
			}
		}
	}
	for name := range named {
		v.report.find(CheckManifest, name, "snapshot %d names it, and no rule says what it is", s.Number)
	}
	return nil
}

func (v *verification) compareRemainder(ctx context.Context, s *schemas.Snapshot, e *schemas.ManifestEntry, want []byte) error {
	published, err := v.object(ctx, CheckRemainder, s, e, schemas.ContentKey("remainders", e.Hash, ".ndjson"))
	if err != nil || published == nil {
		return err
	}
	v.report.Files++
	v.report.Bytes += e.Bytes
	if e.Version > s.Log {
		v.report.find(CheckManifest, e.Name, "snapshot %d of %d leaves names it as of %d", s.Number, s.Log, e.Version)
	}
	if !bytes.Equal(published, want) {
		v.report.find(CheckRemainder, e.Name, "snapshot %d: it is not what the log asks for and later snapshots sign: %s", s.Number, fileDifference(published, want))
	}
	return nil
}

// save puts what is known of hidden units into a state.
func (h *hidden) save(st *State) {
	if h == nil {
		return
	}
	st.Sealed, st.Taken, st.Fresh = h.sealed, h.taken, map[schemas.UnitIndex]freshState{}
	for u, f := range h.fresh {
		st.Fresh[u] = *f
	}
}

// fits reports whether a state knows the hidden units.
func (h *hidden) fits(st *State) bool {
	if h == nil {
		return len(st.Taken) == 0 && len(st.Fresh) == 0
	}
	if len(st.Taken) != len(h.taken) || len(st.Fresh) != len(h.fresh) {
		return false
	}
	for u := range st.Fresh {
		if h.fresh[u] == nil {
			return false
		}
	}
	return true
}

// restoreHidden goes on where a state ends. What was signed before must still be,
// and what was not may be now.
func (t *tally) restoreHidden(st *State) {
	h := t.hidden
	if h == nil {
		return
	}
	h.sealed = st.Sealed
	for u, f := range st.Fresh {
		*h.fresh[u] = f
	}
	for i := range h.taken {
		h.taken[i] = slices.Clone(st.Taken[i])
		for k := range h.taken[i] {
			before := !h.taken[i][k].Signed.IsZero()
			signed := t.signed("the saved state", i, k)
			switch {
			case signed == nil && before:
				t.report.find(CheckRemainder, string(t.election.Remainders[i].ID), "taking %d was signed when it was verified before, and is gone", k+1)
			case signed != nil && before:
				t.reshow(i, signed)
			case signed != nil:
				t.show(i, signed)
			}
		}
	}
}

// reshow is show for a taking whose falls the state has counted.
func (t *tally) reshow(remainder int, signed *suppress.Taking) {
	c := t.election.Remainders[remainder].County
	p := t.election.Counties[c].Partition
	moved, moves := slices.Clone(t.moved[c]), slices.Clone(t.moves[p])
	t.show(remainder, signed)
	t.moved[c], t.moves[p] = moved, moves
}
