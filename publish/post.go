package publish

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"tallystream/publish/log/witness"
	"tallystream/publish/suppress"
	"tallystream/service"
)

// post is the publisher's post in a process: it is manned while this process
// holds the lease, or always where there are no leases.
type post struct {
	command   *Command
	opened    *service.Opened
	stores    *Stores
	link      Link
	witnesses []*witness.Client
	keys      publisherKeys
	secret    *suppress.Secret // nil where nobody is hidden
	metrics   *Metrics
	log       *slog.Logger
	wake      chan struct{}

	mu        sync.Mutex
	sequencer *Sequencer // who publishes here; nil: another process does. Guarded by mu
}

const (
	// closeTimeout bounds the last snapshot, with all its files.
	closeTimeout = 5 * time.Minute
	// tendEvery is how often the lease is renewed or looked at.
	tendEvery = time.Second
	// postName is the one name of the publishers' group of leases.
	postName = "publisher"
	// releaseTimeout bounds the handing over of the lease.
	releaseTimeout = 10 * time.Second
)

// hint tells that the ledger grew.
func (p *post) hint() {
	select {
	case p.wake <- struct{}{}:
	default: // a hint waits already
	}
}

// Ready is nil while this process publishes well, or stands by.
func (p *post) Ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.sequencer != nil:
		return p.sequencer.Ready()
	case p.stores.Leases == nil:
		return errNoSnapshot
	}
	return nil
}

// run mans the post until ctx ends; then one last snapshot has everything in
// it.
func (p *post) run(ctx context.Context) error {
	if p.stores.Leases == nil {
		return p.man(ctx, ctx)
	}
	for ctx.Err() == nil {
		held, err := p.stores.Leases.Tick(ctx, []string{postName})
		if err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "looking for the publisher's lease failed, trying again", "err", err)
		}
		if len(held) == 1 {
			if err := p.hold(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(tendEvery):
		}
	}
	return nil
}

// hold publishes for as long as the lease is held, and hands it over in the
// end.
func (p *post) hold(ctx context.Context) error {
	held, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	// Renewed also while the last snapshot is written, after ctx has ended.
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		p.renew(renewing, lost)
	}()
	p.log.InfoContext(ctx, "this process publishes now")
	err := p.man(ctx, held)
	fenced := errors.Is(err, ErrFenced) || errors.Is(context.Cause(held), errLeaseLost)
	stop()
	<-renewed
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if e := p.stores.Leases.Release(release, postName); e != nil {
		p.log.WarnContext(ctx, "the publisher's lease was not released, another takes it when it expires", "err", e)
	}
	if fenced {
		p.log.WarnContext(ctx, "another process publishes now", "err", err)
		return nil
	}
	return err
}

var errLeaseLost = errors.New("the publisher's lease is held by another process")

// renew keeps the lease until ctx ends or it is lost.
func (p *post) renew(ctx context.Context, lost context.CancelCauseFunc) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		held, err := p.stores.Leases.Tick(ctx, []string{postName})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			// The lease may still be ours; if not, the mark stops us.
			p.log.WarnContext(ctx, "renewing the publisher's lease failed, trying again", "err", err)
			continue
		}
		if len(held) == 0 {
			lost(errLeaseLost)
			return
		}
	}
}

// man runs a sequencer until held ends. When ctx itself has ended then, it
// outlives that by one last snapshot.
func (p *post) man(ctx, held context.Context) error {
	s, err := p.newSequencer()
	if err != nil {
		return err
	}
	p.set(s)
	defer p.set(nil)
	running, stop := context.WithCancel(context.WithoutCancel(held))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(running) }()
	select {
	case err := <-ended:
		return err
	case <-held.Done():
	}
	if ctx.Err() != nil {
		last, cancel := context.WithTimeout(running, closeTimeout)
		err = s.Finish(last)
		cancel()
	}
	stop()
	return errors.Join(err, <-ended)
}

func (p *post) set(s *Sequencer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sequencer = s
}

func (p *post) newSequencer() (*Sequencer, error) {
	c := p.command
	return New(Config{
		Election: p.opened.Election, Definition: p.opened.Definition, Roster: p.opened.Roster,
		Ledger: p.stores.Ledger, Register: p.stores.Register, Bucket: p.stores.Bucket, Announcer: p.link,
		Signer: p.stores.Signer, VerifierKey: p.stores.Verifier, Wake: p.wake,
		ExportEvery: c.ExportEvery, ExportRate: c.ExportRate, HeartbeatEvery: c.Heartbeat, LiveURL: c.LiveURL,
		Threshold: p.keys.threshold, Roots: p.keys.roots, NextSigner: p.keys.next, Lag: p.stores.Lag,
		Witnesses: p.witnesses, ReceiptKey: c.ReceiptKey, Secret: p.secret, Test: c.Test, UnitReports: c.UnitReports,
		Metrics: p.metrics, Logger: p.log,
	})
}
