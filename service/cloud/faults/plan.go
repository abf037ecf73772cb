package faults

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Plan says which requests meet which faults.
type Plan struct {
	Seed    uint64
	Chances []Chance
	Exact   []Placement
}

// Chance is the probability with which each request of the matching operations
// meets a fault. A request meets one at most: the sum counts.
type Chance struct {
	Operation   string // pattern on Service.Name, as of path.Match, such as "DynamoDB.*", or a bare name
	Kind        Kind
	Probability float64
}

// Placement is a fault at exactly the Nth request, from 1, of an operation.
type Placement struct {
	Operation string // as in Chance; a pattern places it at the Nth of each
	Nth       uint64
	Kind      Kind
}

// Parse reads a plan: parts separated by semicolons, each an operation with
// chances, "PutRecords:partial=0.1,after=0.05", or with a place,
// "TransactWriteItems#3=after". An operation is a name, "Service.Name", or a
// pattern such as "S3.*" or "*".
func Parse(seed uint64, s string) (Plan, error) {
	p := Plan{Seed: seed}
	for _, part := range strings.Split(s, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if err := p.parse(part); err != nil {
			return Plan{}, fmt.Errorf("fault plan %q: %w", part, err)
		}
	}
	return p, p.Validate()
}

func (p *Plan) parse(part string) error {
	if operation, rest, ok := strings.Cut(part, "#"); ok {
		nth, kind, ok := strings.Cut(rest, "=")
		n, err := strconv.ParseUint(strings.TrimSpace(nth), 10, 64)
		if !ok || err != nil {
			return fmt.Errorf("want OPERATION#NUMBER=KIND")
		}
		p.Exact = append(p.Exact, Placement{strings.TrimSpace(operation), n, Kind(strings.TrimSpace(kind))})
		return nil
	}
	operation, rest, ok := strings.Cut(part, ":")
	if !ok {
		return fmt.Errorf("want OPERATION:KIND=PROBABILITY,... or OPERATION#NUMBER=KIND")
	}
	for _, chance := range strings.Split(rest, ",") {
		kind, value, _ := strings.Cut(chance, "=")
		probability, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			return fmt.Errorf("%q: want KIND=PROBABILITY", chance)
		}
		p.Chances = append(p.Chances, Chance{strings.TrimSpace(operation), Kind(strings.TrimSpace(kind)), probability})
	}
	return nil
}

// Validate returns the first broken rule.
func (p Plan) Validate() error {
	check := func(operation string, kind Kind) error {
		if !slices.Contains(Kinds, kind) {
			return fmt.Errorf("fault plan: %q is no kind of fault; want one of %v", kind, Kinds)
		}
		if _, err := path.Match(operation, ""); err != nil || operation == "" {
			return fmt.Errorf("fault plan: %q is no operation or pattern", operation)
		}
		return nil
	}
	for _, c := range p.Chances {
		if err := check(c.Operation, c.Kind); err != nil {
			return err
		}
		if !(c.Probability >= 0 && c.Probability <= 1) {
			return fmt.Errorf("fault plan: %s %s: probability %v is not from 0 to 1", c.Operation, c.Kind, c.Probability)
		}
	}
	for _, e := range p.Exact {
		if err := check(e.Operation, e.Kind); err != nil {
			return err
		}
		if e.Nth == 0 {
			return fmt.Errorf("fault plan: %s %s: requests are counted from 1", e.Operation, e.Kind)
		}
	}
	return nil
}

// at is the fault that r, the nth request of o, meets, and the randomness with
// which its details are decided.
func (p Plan) at(o Operation, nth uint64, r *http.Request) (Kind, *rand.Rand) {
	name := fnv.New64a()
	_, _ = name.Write([]byte(o.String())) // never fails
	random := rand.New(rand.NewPCG(p.Seed, name.Sum64()^nth*0x9e3779b97f4a7c15))
	for _, e := range p.Exact {
		if e.Nth == nth && matches(e.Operation, o) && e.Kind.fits(o, r) {
			return e.Kind, random
		}
	}
	draw := random.Float64()
	for _, c := range p.Chances {
		if !matches(c.Operation, o) || !c.Kind.fits(o, r) {
			continue
		}
		if draw < c.Probability {
			return c.Kind, random
		}
		draw -= c.Probability
	}
	return None, random
}

func matches(pattern string, o Operation) bool {
	if pattern == o.Name {
		return true
	}
	ok, err := path.Match(pattern, o.String())
	return err == nil && ok
}
