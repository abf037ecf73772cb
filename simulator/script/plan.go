package script

import (
	"time"

	"tallystream/schemas"
	"tallystream/simulator/elections"
)

// event is an Event in 12 bytes: a night of half a million stays small.
type event struct {
	at       uint32 // milliseconds after the polls close
	unit     schemas.UnitIndex
	revision uint16
	kind     Kind
	stage    uint8 // index into Script.stages; duplicateBit marks a repeat
}

const duplicateBit = 0x80

// plan is the list of one unit's events in sending order, being made.
type plan struct {
	s      *Script
	unit   schemas.UnitIndex
	d      elections.Draw
	events []event
	next   uint16 // revision
}

// write makes the events of unit u.
func (p *plan) write(u schemas.UnitIndex) {
	p.unit, p.events, p.next = u, p.events[:0], 1
	p.d = elections.DrawOf(p.s.seed, drawPlan, uint64(u))
	rates := &p.s.rates
	fault, at := Report, p.d.Below(len(p.s.stages))
	reorder := false
	switch x := p.d.Unit(); {
	case x < rates.Corrections:
		// Only with the last count types: an ordinary report with more of
		// them would be held, were it to overtake the correction.
		at = p.s.lastFresh()
		fault = p.s.possible(u, at, Misstated)
	case x < rates.Corrections+rates.Held:
		fault = p.s.possible(u, at, heldKinds[p.d.Below(len(heldKinds))])
	case x < rates.Corrections+rates.Held+rates.Reordered:
		reorder = true
	}
	for i := 0; i < len(p.s.stages); i++ {
		switch {
		case i != at:
			p.add(Report, i)
		case reorder:
			i = p.reorder(i)
		case fault == Misstated:
			p.add(Misstated, i)
			p.add(Correction, i)
		case fault != Report:
			p.held(fault, i)
		default:
			p.add(Report, i)
		}
	}
	p.refused(rates.Refused)
	p.duplicates(rates.Duplicates)
	p.time()
}

func (p *plan) add(k Kind, stage int) {
	p.events = append(p.events, event{unit: p.unit, revision: p.next, kind: k, stage: uint8(stage)})
	p.next++
}

// reorder sends the stage's revision after its successor's, which states the
// next stage, or the same again after the last. Whichever comes first, the
// successor counts.
func (p *plan) reorder(i int) int {
	next := min(i+1, len(p.s.stages)-1)
	p.add(Late, i)
	p.add(Report, next)
	n := len(p.events)
	p.events[n-2], p.events[n-1] = p.events[n-1], p.events[n-2]
	return next
}

// held sends a true report, then one that must be held. A later revision with
// counts no lower must follow: were the held one to arrive first, it would be
// plausible, and counted until then.
func (p *plan) held(k Kind, i int) {
	p.add(Report, i)
	if k == Conflict {
		p.next--
	}
	p.add(k, i)
	held := p.events[len(p.events)-1]
	last := i == len(p.s.stages)-1
	if last {
		p.add(Report, i)
	}
	if p.s.rates.Released > 0 && p.d.Chance(p.s.rates.Released) {
		p.release(held, last)
	}
}

// release lets the held event count: at once, so that the next report follows
// it. Too many ballots would hold that report too: their release comes after a
// report that is here already, or not at all.
func (p *plan) release(held event, followed bool) {
	late := held.kind == Overfull
	if late && !followed {
		return
	}
	held.kind = releaseOf[held.kind]
	at := len(p.events)
	if followed && !late {
		at--
	}
	p.insert(held, at)
}

// refused puts a submission that must be refused anywhere among the others.
// Its revision is one that the unit never uses.
func (p *plan) refused(rate float64) {
	if !p.d.Chance(rate) {
		return
	}
	stage := p.d.Below(len(p.s.stages))
	if k := p.s.possible(p.unit, stage, refusedKinds[p.d.Below(len(refusedKinds))]); k != Report {
		p.insert(event{unit: p.unit, revision: p.next, kind: k, stage: uint8(stage)}, p.d.Below(len(p.events)+1))
	}
}

// duplicates sends some of what is accepted again, at any time after it.
func (p *plan) duplicates(rate float64) {
	for i := len(p.events) - 1; i >= 0; i-- {
		if e := p.events[i]; e.kind.Outcome().Problem == "" && p.d.Chance(rate) {
			e.stage |= duplicateBit
			p.insert(e, i+1+p.d.Below(len(p.events)-i))
		}
	}
}

func (p *plan) insert(e event, at int) {
	p.events = append(p.events, event{})
	copy(p.events[at+1:], p.events[at:])
	p.events[at] = e
}

// time gives every event its moment: that of its stage by the arrival curves,
// and in any case after the unit's event before it.
func (p *plan) time() {
	arrivals := p.s.curves.draw(&p.d)
	before := time.Duration(0)
	for i := range p.events {
		e := &p.events[i]
		at := max(arrivals[p.s.stages[e.stage&^duplicateBit].phase], before+p.pause(e))
		e.at = uint32(at.Milliseconds())
		before = at
	}
}

// pause is the least time between an event and the unit's one before it.
func (p *plan) pause(e *event) time.Duration {
	longest := time.Minute
	switch {
	case e.stage&duplicateBit != 0:
	case e.kind == Correction:
		longest = time.Hour
	case e.kind.Outcome().Problem == "":
		longest = 10 * time.Minute
	}
	return time.Millisecond + time.Duration(p.d.Unit()*float64(longest))
}
