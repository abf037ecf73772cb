package publish

import (
	"errors"
	"fmt"

	"tallystream/schemas"
)

// Errors that end a sequencer. All of them leave the last snapshot up. Errors
// of the bucket and of the ledger that may pass are retried instead.
var (
	// ErrFenced: another sequencer took over, or wrote other bytes where ours
	// belong. Only one may go on, and it is not this one.
	ErrFenced = errors.New("another sequencer publishes to this bucket")
	// ErrForeign: the bucket holds another election, or a chain of snapshots
	// that is broken or that our key did not sign.
	ErrForeign = errors.New("the bucket is not this election's")
	// ErrLedgerBehind: the ledger holds less than was published from it.
	ErrLedgerBehind = errors.New("the ledger holds fewer entries than the last snapshot")
	// ErrMoved: publication is paused, and the numbers that were published do not
	// come out again.
	ErrMoved = errors.New("a number would move while publication is paused")
	// ErrStopped: the sequencer does not run any more.
	ErrStopped = errors.New("the sequencer has stopped")
)

// ImbalanceError: the double entry does not hold. The fold of the ledger's
// submissions and the ledger's own tally of a county differ.
type ImbalanceError struct {
	County  schemas.CountyID
	Contest schemas.ContestID // the first that differs
	Log     schemas.LogSize
}

func (e *ImbalanceError) Error() string {
	return fmt.Sprintf("double entry: the ledger's tally of county %s differs from the fold of its submissions in contest %s at log size %d",
		e.County, e.Contest, e.Log)
}

// ReplayError: an entry of the ledger and the submission it points to do not
// belong together.
type ReplayError struct {
	Partition schemas.Partition
	Seq       uint64
	Reason    string
	Err       error // may be nil
}

func (e *ReplayError) Error() string {
	s := fmt.Sprintf("counting again entry %d of partition %d: %s", e.Seq, e.Partition, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ReplayError) Unwrap() error { return e.Err }

// fatal reports whether trying again could not help, or must not happen.
func fatal(err error) bool {
	for _, stop := range []error{ErrFenced, ErrForeign, ErrLedgerBehind, ErrMoved} {
		if errors.Is(err, stop) {
			return true
		}
	}
	if _, ok := errors.AsType[*ImbalanceError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*PowersError](err); ok {
		return true
	}
	_, ok := errors.AsType[*ReplayError](err)
	return ok
}
