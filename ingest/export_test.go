package ingest

import "context"

// PassGate is gate.pass of a gate of its own, for tests of waiting alone.
func PassGate(l Limits, behind func() uint64) func(context.Context) bool {
	return newGate(l, behind).pass
}
