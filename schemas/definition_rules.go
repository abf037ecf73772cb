package schemas

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of a definition, far above any known election.
const (
	MaxCountTypes = 16
	MaxPartitions = 4096
	MaxAllowed    = 100
)

func (d *Definition) validateHead() error {
	if _, err := ParseElectionID(string(d.Election)); err != nil {
		return err
	}
	if _, err := time.Parse(time.DateOnly, d.Date); err != nil {
		return fmt.Errorf("date %q: want YYYY-MM-DD", d.Date)
	}
	if d.Origin == "" || strings.ContainsFunc(d.Origin, func(r rune) bool { return r <= ' ' || r == '+' || r > '~' }) {
		return fmt.Errorf("origin %q: want a URL without scheme, in visible ASCII without '+'", d.Origin)
	}
	if d.Partitions < 1 || d.Partitions > MaxPartitions {
		return fmt.Errorf("partitions %d: want 1 to %d", d.Partitions, MaxPartitions)
	}
	if d.Signatures != 1 && d.Signatures != 2 {
		return fmt.Errorf("signatures %d: want 1 or 2", d.Signatures)
	}
	if len(d.CountTypes) == 0 || len(d.CountTypes) > MaxCountTypes {
		return fmt.Errorf("countTypes: want 1 to %d", MaxCountTypes)
	}
	for i, t := range d.CountTypes {
		if _, err := ParseCountType(string(t)); err != nil {
			return err
		}
		if slices.Contains(d.CountTypes[:i], t) {
			return fmt.Errorf("countTypes: %s twice", t)
		}
	}
	return cmp.Or(d.Rules.Outliers.validate(), d.Rules.Suppression.validate())
}

// validate returns the first figure that a rule cannot have.
func (r *OutlierRules) validate() error {
	if r == nil {
		return nil
	}
	for _, figure := range r.figures() {
		if figure.is < figure.least || figure.is > int(MaxCount) {
			return fmt.Errorf("rules: outliers: %s is %d, want %d to %d", figure.name, figure.is, figure.least, MaxCount)
		}
	}
	return nil
}

type ruleFigure struct {
	name      string
	is, least int
}

func (r *OutlierRules) figures() (out []ruleFigure) {
	if h := r.History; h != nil {
		out = append(out, ruleFigure{"history percent", h.Percent, 101}, ruleFigure{"history least", h.Least, 0})
	}
	if n := r.Neighbours; n != nil {
		out = append(out, ruleFigure{"neighbours percent", n.Percent, 101}, ruleFigure{"neighbours least", n.Least, 0}, ruleFigure{"neighbours units", n.Units, 1})
	}
	if t := r.Twins; t != nil {
		out = append(out, ruleFigure{"twins least", t.Least, 1})
	}
	return out
}

// unique records identifiers of one kind and refuses bad and repeated ones.
type unique[T ~string] struct {
	kind string
	seen map[T]struct{}
}

func newUnique[T ~string](kind string, n int) unique[T] {
	return unique[T]{kind, make(map[T]struct{}, n)}
}

func (u unique[T]) add(id T) error {
	if _, err := parseIdentifier[T](u.kind, string(id)); err != nil {
		return err
	}
	if u.has(id) {
		return fmt.Errorf("%s %s: twice", u.kind, id)
	}
	u.seen[id] = struct{}{}
	return nil
}

func (u unique[T]) has(id T) bool { _, ok := u.seen[id]; return ok }

func (d *Definition) validatePlaces() error {
	// States, counties and the election head lines of documents, where an
	// identifier must mean one thing.
	places := newUnique[CountyID]("state or county", len(d.Counties))
	if err := places.add(CountyID(d.Election)); err != nil {
		return err
	}
	states := newUnique[CountyID]("state", len(d.States))
	for _, s := range d.States {
		if err := places.add(s.ID); err != nil {
			return err
		}
		if err := states.add(s.ID); err != nil {
			return err
		}
	}
	for _, c := range d.Counties {
		if err := places.add(c.ID); err != nil {
			return err
		}
		if !states.has(c.State) {
			return fmt.Errorf("county %s: state %q is not defined", c.ID, c.State)
		}
	}
	if len(d.Counties) == 0 {
		return fmt.Errorf("counties: want at least one")
	}
	return nil
}

func (d *Definition) validateContests() error {
	contests := newUnique[ContestID]("contest", len(d.Contests))
	for i := range d.Contests {
		c := &d.Contests[i]
		if err := contests.add(c.ID); err != nil {
			return err
		}
		if err := c.validate(); err != nil {
			return fmt.Errorf("contest %s: %w", c.ID, err)
		}
		if c.Residuals != ResidualsNone && !d.Rules.Ballots {
			return fmt.Errorf("contest %s: residuals %q need rules.ballots", c.ID, c.Residuals)
		}
	}
	return nil
}

func (c *Contest) validate() error {
	if c.ID == BallotsCast {
		return fmt.Errorf("the identifier is reserved")
	}
	switch c.Kind {
	case CandidateContest, BallotMeasureContest, RetentionContest, PartyContest:
	default:
		return fmt.Errorf("kind %q: want candidate, ballot-measure, retention or party", c.Kind)
	}
	switch c.Residuals {
	case ResidualsNone, ResidualsTotal, ResidualsByType:
	default:
		return fmt.Errorf("residuals %q: want none, total or count-type", c.Residuals)
	}
	if c.VotesAllowed < 1 || c.VotesAllowed > MaxAllowed {
		return fmt.Errorf("votesAllowed %d: want 1 to %d", c.VotesAllowed, MaxAllowed)
	}
	if len(c.Selections) == 0 {
		return fmt.Errorf("selections: want at least one")
	}
	selections := newUnique[SelectionID]("selection", len(c.Selections))
	for _, s := range c.Selections {
		if s.ID == Overvotes || s.ID == Undervotes {
			return fmt.Errorf("selection %s: the identifier is reserved", s.ID)
		}
		if err := selections.add(s.ID); err != nil {
			return err
		}
	}
	return nil
}

func (d *Definition) validateStyles() error {
	contests := make(map[ContestID]struct{}, len(d.Contests))
	for i := range d.Contests {
		contests[d.Contests[i].ID] = struct{}{}
	}
	styles := newUnique[StyleID]("style", len(d.Styles))
	for _, s := range d.Styles {
		if err := styles.add(s.ID); err != nil {
			return err
		}
		for i, c := range s.Contests {
			if _, ok := contests[c]; !ok {
				return fmt.Errorf("style %s: contest %q is not defined", s.ID, c)
			}
			if i > 0 && s.Contests[i-1] >= c {
				return fmt.Errorf("style %s: contest %s is not sorted after %s", s.ID, c, s.Contests[i-1])
			}
		}
	}
	return nil
}

func (d *Definition) validateUnits() error {
	counties := make(map[CountyID]struct{}, len(d.Counties))
	for _, c := range d.Counties {
		counties[c.ID] = struct{}{}
	}
	styles := make(map[StyleID]struct{}, len(d.Styles))
	for _, s := range d.Styles {
		styles[s.ID] = struct{}{}
	}
	units := newUnique[UnitID]("unit", len(d.Units))
	for i := range d.Units {
		u := &d.Units[i]
		if err := units.add(u.ID); err != nil {
			return err
		}
		if _, ok := counties[u.County]; !ok {
			return fmt.Errorf("unit %s: county %q is not defined", u.ID, u.County)
		}
		if _, ok := styles[u.Style]; !ok {
			return fmt.Errorf("unit %s: style %q is not defined", u.ID, u.Style)
		}
		if u.Kind != PrecinctUnit && u.Kind != AdministrativeUnit {
			return fmt.Errorf("unit %s: kind %q: want precinct or administrative", u.ID, u.Kind)
		}
		if u.Registered < 0 || u.Registered > int(MaxCount) {
			return fmt.Errorf("unit %s: registered %d: want 0 to %d", u.ID, u.Registered, MaxCount)
		}
		if u.History < 0 || u.History > int(MaxCount) {
			return fmt.Errorf("unit %s: history %d: want 0 to %d", u.ID, u.History, MaxCount)
		}
	}
	return nil
}
