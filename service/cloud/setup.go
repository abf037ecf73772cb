package cloud

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// State of a resource after setup has looked at it.
type State string

// The states.
const (
	Created   State = "created"
	Completed State = "completed" // it was there, and what protects it was not all on
	Right     State = "is as it should be"
	Differs   State = "differs"
	Absent    State = "is missing"
)

// Finding is what setup found and did about one resource.
type Finding struct {
	Resource    string       `json:"resource"`
	Name        string       `json:"name"`
	State       State        `json:"state"`
	Differences []Difference `json:"differences,omitempty"` // that are still there
	Changes     []Difference `json:"changes,omitempty"`     // that setup made
	Notes       []string     `json:"notes,omitempty"`
}

// Difference between what should be and what is.
type Difference struct {
	Field string `json:"field"`
	Want  string `json:"want"`
	Have  string `json:"have"`
}

// Right reports whether the resource is ready for use.
func (f Finding) Right() bool { return f.State != Absent && len(f.Differences) == 0 }

// Setup creates what a Plan names, or checks it. It only ever adds: what it
// finds is completed (encryption, retention, recovery, protection from
// deletion), never reshaped and never weakened. So several may run at a time,
// and one that was killed is simply run again.
type Setup struct {
	Clients  *Clients
	Plan     Plan
	Check    bool                                       // look, and change nothing
	Progress func(string)                               // told what it waits for; may be nil; called by several goroutines
	Pause    func(context.Context, time.Duration) error // between two looks; nil waits
}

// pause between two looks at something that is not ready yet.
const pause = 2 * time.Second

// tries bounds how often the same setting is set before setup believes that it
// has no effect.
const tries = 5

// resource is one thing of the plan, as setup sees it.
type resource struct {
	kind, name string
	look       func(context.Context) (sight, error)
	create     func(context.Context) (note string, err error)
}

// sight is what there is of a resource.
type sight struct {
	found  bool
	status string // what it is busy with, or ""
	gaps   []gap
	notes  []string
}

// gap is a difference, with what closes it if setup may.
type gap struct {
	Difference
	close func(context.Context) error
}

// Run looks at all resources at once. The findings are in the plan's order;
// those of resources that could not be looked at are missing, and the errors
// say why.
func (s *Setup) Run(ctx context.Context) ([]Finding, error) {
	resources := []resource{s.stream()}
	for _, t := range s.Plan.Tables {
		resources = append(resources, s.table(t))
	}
	resources = append(resources, s.bucket(), s.key())
	findings := make([]Finding, len(resources))
	errs := make([]error, len(resources))
	var group sync.WaitGroup
	for i, r := range resources {
		group.Go(func() {
			if findings[i], errs[i] = s.settle(ctx, r); errs[i] != nil {
				errs[i] = fmt.Errorf("%s %s: %w", r.kind, r.name, Explain(errs[i]))
			}
		})
	}
	group.Wait()
	var looked []Finding
	for i, f := range findings {
		if errs[i] == nil {
			looked = append(looked, f)
		}
	}
	return looked, errors.Join(errs...)
}

// settle brings one resource to where it should be, or says what it is not.
func (s *Setup) settle(ctx context.Context, r resource) (Finding, error) {
	f := Finding{Resource: r.kind, Name: r.name, State: Right}
	seen, err := s.steady(ctx, r, false)
	if err != nil {
		return f, err
	}
	if !seen.found && s.Check {
		f.State = Absent
		return f, nil
	}
	if !seen.found {
		s.say("creating " + r.kind + " " + r.name)
		note, err := r.create(ctx)
		if err != nil {
			return f, fmt.Errorf("creating it: %w", err)
		}
		if note != "" {
			f.Notes = append(f.Notes, note)
		}
		f.State = Created
		if seen, err = s.steady(ctx, r, true); err != nil {
			return f, err
		}
	}
	if !s.Check {
		if seen, err = s.closeGaps(ctx, r, seen, &f); err != nil {
			return f, err
		}
	}
	f.Notes = append(f.Notes, seen.notes...)
	for _, g := range seen.gaps {
		f.Differences = append(f.Differences, g.Difference)
		f.State = Differs
	}
	return f, nil
}

// closeGaps closes one gap after the other, and looks again after each: a
// resource that is changing takes no other change.
func (s *Setup) closeGaps(ctx context.Context, r resource, seen sight, f *Finding) (sight, error) {
	tried := map[string]int{}
	for {
		g, ok := closable(seen, tried)
		if !ok {
			return seen, nil
		}
		s.say(fmt.Sprintf("%s %s: setting %s", r.kind, r.name, g.Field))
		tried[g.Field]++
		err := g.close(ctx)
		switch KindOf(err) {
		case Busy, Throttled, Quota: // somebody else is changing it, perhaps to the same
			if err := s.wait(ctx); err != nil {
				return seen, err
			}
		case UnknownCall:
			tried[g.Field] = tries
			f.Notes = append(f.Notes, "this endpoint does not know "+callOf(err))
		}
		var looked error
		if seen, looked = s.steady(ctx, r, true); looked != nil {
			return seen, errors.Join(err, looked)
		}
		switch open := seen.open(g.Field); {
		case !open: // an error then means that somebody was faster, or that the answer to our first try was lost
			f.Changes = append(f.Changes, g.Difference)
			if f.State == Right {
				f.State = Completed
			}
		case err != nil && !passing[KindOf(err)]:
			return seen, fmt.Errorf("setting %s: %w", g.Field, err)
		}
	}
}

// passing are the problems with a change after which it is tried again.
var passing = map[Kind]bool{Busy: true, Throttled: true, Quota: true, UnknownCall: true, Fault: true, Unreachable: true, Slow: true}

// open reports whether the field still differs.
func (s sight) open(field string) bool {
	for _, g := range s.gaps {
		if g.Field == field {
			return true
		}
	}
	return false
}

func closable(seen sight, tried map[string]int) (gap, bool) {
	for _, g := range seen.gaps {
		if g.close != nil && tried[g.Field] < tries {
			return g, true
		}
	}
	return gap{}, false
}

// steady looks until the resource is not busy, and is there if it must be.
func (s *Setup) steady(ctx context.Context, r resource, must bool) (sight, error) {
	for {
		seen, err := r.look(ctx)
		switch kind := KindOf(err); {
		case err != nil && kind != Throttled && kind != Quota:
			return seen, err
		case err != nil:
			s.say(fmt.Sprintf("%s %s: %v", r.kind, r.name, kind))
		case !seen.found && must:
			s.say(fmt.Sprintf("%s %s: not to be seen yet", r.kind, r.name))
		case seen.status != "":
			s.say(fmt.Sprintf("%s %s: %s", r.kind, r.name, seen.status))
		default:
			return seen, nil
		}
		if err := s.wait(ctx); err != nil {
			return seen, fmt.Errorf("waiting for it: %w", err)
		}
	}
}

func (s *Setup) say(text string) {
	if s.Progress != nil {
		s.Progress(text)
	}
}

func (s *Setup) wait(ctx context.Context) error {
	if s.Pause != nil {
		return s.Pause(ctx, pause)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// differ adds a gap if want is not have.
func (s *sight) differ(field string, want, have any, close func(context.Context) error) {
	if w, h := fmt.Sprint(want), fmt.Sprint(have); w != h {
		s.gaps = append(s.gaps, gap{Difference{field, w, h}, close})
	}
}

// unknown turns an error of a call that the endpoint does not know into a note.
func (s *sight) unknown(err error) (noted bool) {
	if KindOf(err) != UnknownCall {
		return false
	}
	s.notes = append(s.notes, "this endpoint does not know "+callOf(err))
	return true
}
