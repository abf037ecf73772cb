package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// wishName is the name in the register under which operators say that
// publication shall pause, or go on.
const wishName = "publication-pause"

// wish is what an operator asks of whoever publishes:
//
//	<origin>/pause-request/v1
//	state paused              or running
//	after <SHA-256>           of the newest pause's or resumption's note; zeros before any
//	reason <identifier>
//	text <a sentence for the public, one line>
//
// It holds for the state that it names with "after" and no other: a wish that
// waited while publication paused by itself does not undo that.
type wish struct {
	pause        bool
	after        schemas.Digest
	reason, text string
}

const wishKind = "/pause-request/v1"

func (w *wish) encode(origin string) []byte {
	state := "running"
	if w.pause {
		state = "paused"
	}
	return fmt.Appendf(nil, "%s%s\nstate %s\nafter %s\nreason %s\ntext %s\n", origin, wishKind, state, w.after, w.reason, w.text)
}

var errWish = errors.New("want a request to pause or resume this election's publication")

func parseWish(b []byte, origin string) (*wish, error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) != 6 {
		return nil, errWish
	}
	w := &wish{pause: lines[1] == "state paused"}
	var err error
	if w.after, err = schemas.ParseDigest(strings.TrimPrefix(lines[2], "after ")); err != nil {
		return nil, errWish
	}
	w.reason, w.text = strings.TrimPrefix(lines[3], "reason "), strings.TrimPrefix(lines[4], "text ")
	if !bytes.Equal(w.encode(origin), b) {
		return nil, errWish
	}
	return w, nil
}

// check is nil if the wish can be said in public.
func (w *wish) check() error {
	switch {
	case !schemas.ValidIdentifier(w.reason):
		return fmt.Errorf("reason %q: want an identifier, such as correction-under-way", w.reason)
	case w.text == "" || len(w.text) > leaf.MaxPauseText:
		return fmt.Errorf("text of %d bytes: want a sentence of 1 to %d", len(w.text), leaf.MaxPauseText)
	case strings.ContainsAny(w.text, "\r\n"):
		return errors.New("text: want one line")
	}
	return nil
}

// ofPause is the digest that a wish names: of the note of the newest statement.
func ofPause(note []byte) (d schemas.Digest) {
	if len(note) > 0 {
		d = schemas.DigestOf(note)
	}
	return d
}

// paused reports whether a pause stands in the log.
func (s *Sequencer) paused() bool { return s.pause != nil && !s.pause.Resumed }

// resting reports whether no number may move: a pause is in the log, or on its
// way there.
func (s *Sequencer) resting() bool { return s.paused() || s.wish != nil && s.wish.pause }

// rests reports whether the newest snapshot, which is of this process, says all
// that the last cut did. Then a statement can follow it in the log.
func (s *Sequencer) rests() bool {
	return !s.first && s.head.epoch == s.epoch && s.cut.entries == s.head.entries
}

// restingAt is when the next snapshot is due while no number may move: at once
// where it says what none has said, or somebody waits for it; otherwise as a
// sign of life.
func (s *Sequencer) restingAt() time.Time {
	if s.restated || len(s.waiting) > 0 || !s.rests() {
		return time.Time{}
	}
	return s.head.begun.Add(s.cfg.HeartbeatEvery)
}

// wishPatience bounds how long the loop waits for that answer.
const wishPatience = 2 * time.Second

// hear asks the register, as often as the ledger is asked without a hint,
// whether an operator wants a pause or its end. Nobody publishes less because
// it does not answer.
func (s *Sequencer) hear(ctx context.Context, now time.Time) {
	if s.wish != nil || s.writing != nil || now.Before(s.nextWish) {
		return
	}
	s.nextWish = now.Add(s.cfg.PollEvery)
	asking, cancel := context.WithTimeout(ctx, wishPatience)
	defer cancel()
	b, err := s.cfg.Register.Load(asking, wishName)
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "asking for a pause failed, trying again", "err", err)
		return
	}
	if b == nil {
		return
	}
	w, err := parseWish(b, s.cfg.Election.Definition.Origin)
	if err == nil {
		err = w.check()
	}
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "a request to pause or resume cannot be read", "err", err)
		return
	}
	if w.pause == s.paused() || w.after != ofPause(s.mark.pause) {
		return // it was done, or is of a state that has passed
	}
	s.cfg.Logger.WarnContext(ctx, "an operator asks for a change of publication", "pause", w.pause, "reason", w.reason)
	s.wish = w
}

// declaration is a statement of a pause before it is signed. Its leaf comes
// behind everything that was published so far.
type declaration struct {
	pause *leaf.Pause
	stage stage
}

// declare fixes what is said.
func (s *Sequencer) declare(w *wish) *declaration {
	d := &declaration{pause: &leaf.Pause{
		Resumed: !w.pause, Origin: s.cfg.Election.Definition.Origin, Time: s.cfg.Now().UTC().Format(schemas.SnapshotTimeLayout),
		Reason: w.reason, Text: w.text,
	}}
	// No cut waits: the snapshot before took them, and none was made since.
	d.stage = stage{before: s.queue.before}
	s.fold.log++
	return d
}

// writePause signs the statement and brings it to the log, in a stage of its
// own that holds it byte for byte: whoever finishes it signs nothing.
func (s *Sequencer) writePause(ctx, running context.Context, x *declaration) written {
	note, err := schemas.AppendNote(nil, x.pause.AppendText(nil), s.cfg.signers()...)
	if err != nil {
		return written{err: fmt.Errorf("signing the statement of a pause: %w", err)}
	}
	x.pause.Note = note
	d := &decision{stage: x.stage, edge: s.shelf.edge, pause: note}
	if d.stage.statement, err = leaf.Append(nil, x.pause); err != nil {
		return written{err: fmt.Errorf("making the leaf of a pause: %w", err)}
	}
	d.stage.tree = d.edge.Tree()
	d.stage.to = d.tree()
	err = s.settle(ctx, d, s.mark.note, func(what string, write func() error) error { return s.insist(ctx, running, what, write) })
	return written{err: err, pause: x.pause}
}

// restate takes over a statement that stands in the log. The next snapshot,
// which is due at once, tells everybody.
func (s *Sequencer) restate(p *leaf.Pause) {
	s.pause, s.restated = p, true
	s.sayPaused()
	s.cfg.Logger.Warn("publication's state changed", "paused", s.paused(), "reason", p.Reason)
}

func (s *Sequencer) sayPaused() {
	paused := 0.0
	if s.paused() {
		paused = 1
	}
	s.cfg.Metrics.paused.Set(paused)
}

// openPause reads the newest statement of a pause from the mark, which a
// start puts in force again.
func (s *Sequencer) openPause() (err error) {
	if s.pause, err = decodePause(s.mark.pause); err != nil {
		return fmt.Errorf("%w: the register's pause: %w", ErrForeign, err)
	}
	s.sayPaused()
	return nil
}

// unmoved is nil if the documents that were made again are those of the
// snapshot before, while a pause stands.
func (s *Sequencer) unmoved() error {
	for i := range s.renderer.edition.documents {
		if was := s.shelf.stored[i]; was != s.renderer.edition.documents[i].hash {
			return fmt.Errorf("%w: document %s was published as %s", ErrMoved, s.catalogue.documents[i].id, was)
		}
	}
	return nil
}

// Reasons of pauses that nobody asked for.
const (
	ReasonBooksDiffer = "books-differ"
	ReasonLedgerBack  = "ledger-went-back"
	ReasonKeys        = "revoked-key"
)

// publicReason is what the public is told of an error that ends publication;
// "" of one that is no reason to say anything: another sequencer publishes, or
// nothing here can be trusted.
func publicReason(err error) (reason, text string) {
	_, imbalance := errors.AsType[*ImbalanceError](err)
	_, powers := errors.AsType[*PowersError](err)
	_, replay := errors.AsType[*ReplayError](err)
	switch {
	case powers:
		return ReasonKeys, "A submission was signed by a key that had been revoked. The numbers shown stay as they were before it."
	case imbalance || replay:
		return ReasonBooksDiffer, "Two independent counts of the same submissions differ. The numbers shown are those of the last time that they agreed."
	case errors.Is(err, ErrLedgerBehind):
		return ReasonLedgerBack, "The store of what was counted is behind what was published. The numbers shown stay as they were."
	}
	return "", ""
}

// heldBack reports whether an error is a reason for the pause that stands
// already: heartbeats go on, and nothing is read until it is mended.
func (s *Sequencer) heldBack(err error) bool {
	reason, _ := publicReason(err)
	return reason != "" && s.paused() && !s.first
}

// lastWords bounds the time that a sequencer which must stop takes to say so.
const lastWords = 30 * time.Second

// pauseFor states a pause for what ends this sequencer, as far as the stores
// allow: what both books agreed on last, why it stays so, and pages that say it.
// Whoever publishes next goes on resting until an operator resumes.
func (s *Sequencer) pauseFor(ctx context.Context, cause error) {
	w := &wish{pause: true}
	if w.reason, w.text = publicReason(cause); w.reason == "" || s.paused() || s.broken || len(s.mark.note) == 0 || s.shelf.edge.Tree().N == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	s.wish = w
	if err := s.say(ctx, w); err != nil {
		s.cfg.Logger.ErrorContext(ctx, "the pause could not be published", "reason", w.reason, "err", err)
	}
}

// say brings out what the last cut holds, the pause, and a snapshot that shows
// it.
func (s *Sequencer) say(ctx context.Context, w *wish) error {
	snapshot := func() error {
		if s.first {
			return nil // nothing was rendered that a snapshot could show
		}
		return s.closed(s.write(ctx, ctx, s.plan(s.cfg.Now())))
	}
	if !s.first && !s.rests() {
		if err := snapshot(); err != nil {
			return err
		}
	}
	if err := s.closed(s.writePause(ctx, ctx, s.declare(w))); err != nil {
		return err
	}
	return snapshot()
}
