package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
//	note <bytes>
//	stage <bytes, or the SHA-256 of an object of the bucket>
//	pause <bytes>                    only after a first pause
//	powers 17 4711                   only after a first statement of root keys: indexes of their leaves
//
//	<the signed note of the newest snapshot, then the newest pause's or
//	resumption's, then the stage, or nothing>
//
// Whoever changes it decides the next snapshot. Before that change nobody
// reads what a sequencer wrote; after it, anybody can finish the publication,
// and everybody does so with the same bytes.
type mark struct {
	epoch schemas.Epoch
	owner string
	note  []byte
	stage []byte // encoded; or nil, and it lies in the bucket
	// stageObject is its digest there: of a stage that is too large for the
	// register, as after a long outage of the bucket.
	stageObject schemas.Digest
	// pause is the signed note of the newest pause, or resumption, in the log.
	pause []byte
	// powers are the leaves that say who may sign, but for the first: from them
	// the authority is made again without reading the whole log.
	powers []int64
}

const (
	markKind = "/publication/v1"
	// maxStage is the largest stage in the mark: a register's value has at most
	// 64 KiB.
	maxStage = 48 << 10
)

func (m *mark) encode(origin string) []byte {
	stage := strconv.Itoa(len(m.stage))
	if m.stage == nil && !m.stageObject.IsZero() {
		stage = m.stageObject.String()
	}
	b := fmt.Appendf(nil, "%s%s\nepoch %d\nowner %s\nnote %d\nstage %s\n", origin, markKind, m.epoch, m.owner, len(m.note), stage)
	if len(m.pause) > 0 {
		b = fmt.Appendf(b, "pause %d\n", len(m.pause))
	}
	if len(m.powers) > 0 {
		b = append(b, "powers"...)
		for _, index := range m.powers {
			b = strconv.AppendInt(append(b, ' '), index, 10)
		}
		b = append(b, '\n')
	}
	b = append(b, '\n')
	return append(append(append(b, m.note...), m.pause...), m.stage...)
}

var errMark = errors.New("want the publication mark of this election")

func parseMark(b []byte, origin string) (*mark, error) {
	head, rest, ok := bytes.Cut(b, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) < 5 || lines[0] != origin+markKind {
		return nil, errMark
	}
	m := new(mark)
	if _, err := fmt.Sscanf(lines[1], "epoch %d", &m.epoch); err != nil {
		return nil, errMark
	}
	m.owner, _ = strings.CutPrefix(lines[2], "owner ")
	var size int
	if _, err := fmt.Sscanf(lines[3], "note %d", &size); err != nil || size < 0 || size > len(rest) {
		return nil, errMark
	}
	m.note, rest = rest[:size:size], rest[size:]
	for _, line := range lines[5:] {
		name, value, _ := strings.Cut(line, " ")
		switch name {
		case "pause":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > len(rest) {
				return nil, errMark
			}
			m.pause, rest = rest[:n:n], rest[n:]
		case "powers":
			for _, s := range strings.Fields(value) {
				index, err := strconv.ParseInt(s, 10, 64)
				if err != nil {
					return nil, errMark
				}
				m.powers = append(m.powers, index)
			}
		default:
			return nil, errMark
		}
	}
	stage, _ := strings.CutPrefix(lines[4], "stage ")
	if d, err := schemas.ParseDigest(stage); err == nil {
		m.stageObject = d
	} else {
		m.stage = rest
	}
	if !bytes.Equal(m.encode(origin), b) {
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
		next := *last
		next.epoch, next.owner = last.epoch+1, s.cfg.Nonce()
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

// decide makes note the next snapshot, with the leaves of its stage. From then
// on it is one, whatever becomes of this process. ErrFenced if another
// sequencer has taken an epoch since. What a large stage is in must be durable.
func (s *Sequencer) decide(ctx context.Context, note, stage []byte, d *decision) error {
	origin := s.cfg.Election.Definition.Origin
	next := s.mark
	next.note, next.stage, next.stageObject = note, stage, schemas.Digest{}
	if d.pause != nil {
		next.pause = d.pause
	}
	if d.power > 0 {
		next.powers = append(slices.Clip(next.powers), d.power)
	}
	if len(stage) > maxStage {
		next.stage, next.stageObject = nil, schemas.DigestOf(stage)
	}
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

// inForce is ErrFenced if another sequencer has taken an epoch since ours. What
// may be replaced is written after asking: a process that slept meanwhile must
// not put an old name over a new one. Between asking and writing it still
// could, for the moment until the next snapshot; nothing that is written once
// depends on it.
func (s *Sequencer) inForce(ctx context.Context) error {
	now, err := s.cfg.Register.Load(ctx, markName)
	if err != nil {
		return fmt.Errorf("reading the publication mark: %w", err)
	}
	if !bytes.Equal(now, s.mark.encode(s.cfg.Election.Definition.Origin)) {
		return fmt.Errorf("%w: an epoch was taken after ours, %d", ErrFenced, s.epoch)
	}
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
