package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"tallystream/schemas"
	"tallystream/service/register"
)

// Register holds the publication's mark: a value that changes by compare and
// swap only (register.ErrConflict).
type Register interface {
	Load(ctx context.Context, name string) ([]byte, error)
	Swap(ctx context.Context, name string, before, after []byte) error
}

// markName is the name of the mark in the register.
const markName = "publication"

// mark says who may publish, and what was decided last:
//
//	<origin>/publication/v1
//	epoch 7
//	owner <random, so that two that take an epoch at once differ>
//
//	<the signed note of the newest snapshot, or nothing>
//
// Whoever changes it decides the next snapshot. Before that change nobody
// reads what a sequencer wrote; after it, anybody can finish the publication,
// and everybody does so with the same bytes.
type mark struct {
	epoch schemas.Epoch
	owner string
	note  []byte
}

const markKind = "/publication/v1"

func (m *mark) encode(origin string) []byte {
	b := fmt.Appendf(nil, "%s%s\nepoch %d\nowner %s\n\n", origin, markKind, m.epoch, m.owner)
	return append(b, m.note...)
}

var errMark = errors.New("want the publication mark of this election")

func parseMark(b []byte, origin string) (*mark, error) {
	head, note, ok := bytes.Cut(b, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) != 3 || lines[0] != origin+markKind {
		return nil, errMark
	}
	m := &mark{note: note}
	if _, err := fmt.Sscanf(lines[1], "epoch %d", &m.epoch); err != nil {
		return nil, errMark
	}
	if m.owner, ok = strings.CutPrefix(lines[2], "owner "); !ok || !bytes.Equal(m.encode(origin), b) {
		return nil, errMark
	}
	return m, nil
}

// take makes this sequencer the one that may publish: it raises the epoch, and
// whoever had the one before cannot decide anything any more.
func (s *Sequencer) take(ctx context.Context) error {
	origin := s.cfg.Election.Definition.Origin
	for {
		before, err := s.cfg.Register.Load(ctx, markName)
		if err != nil {
			return fmt.Errorf("reading the publication mark: %w", err)
		}
		last := new(mark)
		if before != nil {
			if last, err = parseMark(before, origin); err != nil {
				return fmt.Errorf("%w: the register holds %.80q: %w", ErrForeign, before, err)
			}
		}
		next := mark{epoch: last.epoch + 1, owner: s.cfg.Nonce(), note: last.note}
		moved, err := s.swap(ctx, before, next.encode(origin))
		if err != nil {
			return fmt.Errorf("taking epoch %d: %w", next.epoch, err)
		}
		if moved {
			s.mark, s.epoch = next, next.epoch
			return nil
		}
		// Another took it; we are later, so we take the one after.
	}
}

// decide makes note the next snapshot. From then on it is one, whatever becomes
// of this process. ErrFenced if another sequencer has taken an epoch since.
func (s *Sequencer) decide(ctx context.Context, note []byte) error {
	origin := s.cfg.Election.Definition.Origin
	next := mark{epoch: s.mark.epoch, owner: s.mark.owner, note: note}
	moved, err := s.swap(ctx, s.mark.encode(origin), next.encode(origin))
	if err != nil {
		return err
	}
	if !moved {
		return fmt.Errorf("%w: an epoch was taken after ours, %d", ErrFenced, s.epoch)
	}
	s.mark = next
	return nil
}

// swap changes the mark and reports whether it is after now. A try whose
// outcome was not known may have done it: only we write what after says.
func (s *Sequencer) swap(ctx context.Context, before, after []byte) (moved bool, err error) {
	err = s.cfg.Register.Swap(ctx, markName, before, after)
	if !errors.Is(err, register.ErrConflict) {
		return err == nil, err
	}
	now, err := s.cfg.Register.Load(ctx, markName)
	return err == nil && bytes.Equal(now, after), err
}
