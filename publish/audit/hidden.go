package audit

import (
	"errors"

	"tallystream/schemas"
)

// hidden are the units whose numbers the public sees in sums only
// (rules.suppression), and their counties. Nobody is held because of them: it would
// tell of their numbers.
type hidden struct {
	units, counties map[int]bool
}

func newHidden(e *schemas.Election) hidden {
	h := hidden{map[int]bool{}, map[int]bool{}}
	for i := range e.Remainders {
		h.counties[int(e.Remainders[i].County)] = true
		for _, u := range e.Remainders[i].Units {
			h.units[int(u)] = true
		}
	}
	return h
}

// errHidden: what is published is no longer a sum of what the ledger has.
var errHidden = errors.New("rules.suppression hides units of this election, so what is published is not the ledger's numbers line by line: " +
	"audit with --ledger-only, and hold what is published against the ledger with \"tallystream openings\" and \"tallystream verify --unseal\"")
