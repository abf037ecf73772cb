package verify

import (
	"context"
	"fmt"
	"sync"

	"tallystream/publish/log"
	"tallystream/publish/log/authority"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// leaves reads every leaf that is new: decoding and signatures on all cores,
// the count in order.
func (v *verification) leaves(ctx context.Context) error {
	// The readers that wait may have been given an older roster; take says which
	// of their answers have to be found again.
	pool := sync.Pool{New: func() any { return &reader{election: v.election, openings: v.o.Unseal} }}
	work := func(b log.Bundle) (readings, error) {
		r := pool.Get().(*reader)
		defer pool.Put(r)
		r.ring = v.ring.Load()
		return r.read(b), nil
	}
	resumed := v.frontier.Size
	v.report.Resumed = resumed
	for batch, err := range log.Map(ctx, v.log, resumed, work) {
		if err != nil {
			return v.untrue(fmt.Sprintf("behind leaf %d", v.frontier.Size-1), err)
		}
		for i := range batch.readings {
			if err := v.take(ctx, batch.first+int64(i), &batch.readings[i]); err != nil {
				return err
			}
		}
		v.progress(false)
		if v.pauses() {
			return errPaused
		}
	}
	if root := v.frontier.root(); v.frontier.Size != v.tree.N || root != v.tree.Hash {
		v.report.find(CheckTree, "the leaves", "hashed again they have the root %s, the checkpoint says %s", schemas.Digest(root), schemas.Digest(v.tree.Hash))
		return errStopped
	}
	return nil
}

// pauses says that the run ends here, and another goes on. A state holds at
// least one snapshot, and a run at least one leaf more than the one before it.
func (v *verification) pauses() bool {
	return v.o.Pause != nil && len(v.notes) > 0 && v.frontier.Size < v.tree.N && v.o.Pause()
}

func (v *verification) progress(comparing bool) {
	if v.o.Progress != nil {
		v.o.Progress(Progress{v.frontier.Size, v.tree.N, v.report.Resumed, comparing, v.o.Now().Sub(v.begun)})
	}
}

// take counts one leaf.
func (v *verification) take(ctx context.Context, index int64, x *reading) error {
	if x.err != nil {
		v.report.find(CheckLeaf, fmt.Sprintf("leaf %d", index), "%v", x.err)
		return errStopped // nobody knows what it changes
	}
	v.moves(index, x.leaf)
	var err error
	switch l := x.leaf.(type) {
	case *leaf.Submission, *leaf.Hold, *leaf.Release:
		v.reauthorize(x, l)
		v.tally.take(index, x)
	case *leaf.Sealed:
		v.takeSealed(index, x, l)
	case *leaf.Snapshot:
		err = v.snapshot(ctx, index, l)
	case *leaf.Statement:
		err = v.empower(ctx, index, l)
	case *leaf.Pause:
		v.rest(index, l)
	case *leaf.Definition:
		if index != 0 {
			v.report.find(CheckAuthority, fmt.Sprintf("leaf %d", index), "%v", authority.ErrGenesis)
		}
	default:
		v.report.leave("leaf %d is of kind %s, whose effect this version does not know", index, l.Kind())
		return errStopped
	}
	v.frontier.push(x.hash)
	return err
}

// reauthorize holds the signatures against the roster in force at the leaf's
// own index, where the reader had another.
func (v *verification) reauthorize(x *reading, l leaf.Leaf) {
	ring := v.ring.Load()
	if !x.addressed || x.ring == ring {
		return
	}
	if x.release != nil {
		x.ring, x.unsigned = ring, ring.AuthorizeRelease(v.election, x.release, x.unit)
		return
	}
	var envelope schemas.Envelope
	record := []byte(nil)
	switch l := l.(type) {
	case *leaf.Submission:
		record = l.Record
	case *leaf.Hold:
		record = l.Record
	}
	if envelope.Parse(record) == nil { // as it did before
		x.ring, x.unsigned = ring, authorize(v.election, ring, x, &envelope)
	}
}

// empower takes in a statement of the root keys.
func (v *verification) empower(ctx context.Context, index int64, l *leaf.Statement) error {
	where := fmt.Sprintf("leaf %d", index)
	if err := v.auth.Apply(index, l); err != nil {
		v.report.find(CheckAuthority, where, "%v", err)
		return nil // it takes no effect
	}
	raw, err := leaf.Append(nil, l)
	if err != nil {
		return err
	}
	v.powered = append(v.powered, indexed{index, raw})
	p := v.auth.At(index + 1)
	switch l.Kind() {
	case leaf.KindAmendment:
		v.report.leave("leaf %d amends the definition, which this version does not follow", index)
		return errStopped
	case leaf.KindRoster, leaf.KindKey:
		return v.openRoster(ctx, p)
	}
	return nil
}
