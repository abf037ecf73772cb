package ingest

import (
	"context"
	"fmt"
	"io"

	"tallystream/schemas"
)

// PassGate is gate.pass of a gate of its own, for tests of waiting alone.
func PassGate(l Limits, behind func() Lag) func(context.Context) bool {
	return newGate(l, behind).pass
}

// RunCommand runs one of this package's commands with its output in writers.
func RunCommand(ctx context.Context, command any, stdout, stderr io.Writer) error {
	switch c := command.(type) {
	case *SubmitCommand:
		return c.run(ctx, stdout, stderr)
	case *KeysNewCommand:
		return c.run(stdout)
	case *KeysShowCommand:
		return c.run(stdout)
	case *KeysRosterCommand:
		return c.run(stdout)
	}
	return fmt.Errorf("no command of this package: %T", command)
}

// BodyOfSheet makes the body of revision 1 from a CSV.
func BodyOfSheet(b []byte, e *schemas.Election, unit schemas.UnitID, zeros bool) ([]byte, error) {
	s, err := readSheet(b, e, unit, zeros)
	if err != nil {
		return nil, err
	}
	return e.AppendBody(nil, s.unit, 1, s.cells, s.types, nil), nil
}
