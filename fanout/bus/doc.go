// Package bus carries deltas, announcements and wake-ups between the parts of
// a deployment, over NATS: a server inside the process, or one at a URL.
//
// Invariant: everything on the bus is a hint. Whatever it loses costs time,
// never a number: the bucket, the stream and the ledger hold the truth. So
// there is no JetStream here, and nothing waits for an answer.
package bus

import (
	"errors"
	"fmt"
	"strings"

	"tallystream/schemas"
)

// MaxPayload is the largest message: a delta of a contest with every county of
// the country is below 1 MB.
const MaxPayload = 8 << 20

// ErrClosed is returned after Close.
var ErrClosed = errors.New("bus is closed")

// subjects of one election. Document identifiers stand in messages only: they
// hold slashes and dots, and a wildcard must not be one.
type subjects struct{ prefix string }

// subjectsOf is one-to-one: no identifier holds a tilde.
func subjectsOf(e schemas.ElectionID) (subjects, error) {
	if _, err := schemas.ParseElectionID(string(e)); err != nil {
		return subjects{}, fmt.Errorf("naming subjects: %w", err)
	}
	return subjects{"tallystream." + strings.ReplaceAll(string(e), ".", "~")}, nil
}

// delta and published share a prefix, so that one subscription sees both in
// the order in which they were sent.
func (s subjects) delta() string     { return s.prefix + ".live.delta" }
func (s subjects) published() string { return s.prefix + ".live.published" }
func (s subjects) live() string      { return s.prefix + ".live.*" }

func (s subjects) hint(topic string) (string, error) {
	if !schemas.ValidIdentifier(topic) || strings.Contains(topic, ".") {
		return "", fmt.Errorf("hint topic %q: want an identifier without dots", topic)
	}
	return s.prefix + ".hint." + topic, nil
}
