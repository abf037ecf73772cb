// Package notify turns alarms, failures of other functions and editorial news
// into messages to people: the Lambda function `notify`.
//
// Invariant: an event that is not understood is sent as it is, never dropped; an
// invocation ends without error only if every target took every message. Where
// to, and by which token, is a secret that is in no log line and no error.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"tallystream/schemas"
)

// Kind of a message, by which targets choose.
type Kind string

// The kinds.
const (
	Alarm   Kind = "alarm"   // of CloudWatch, and what else comes through its topic
	Failure Kind = "failure" // of the function verify, with what it found
	Editors Kind = "news"    // editorial: of results, told only when they are verified
)

// Message is what a target is sent, as JSON. Chat systems show `text`.
type Message struct {
	ID       string             `json:"id"` // the same each time that an event comes
	Kind     Kind               `json:"kind"`
	Election schemas.ElectionID `json:"election"`
	Text     string             `json:"text"`
}

// maxText bounds what is passed on of an event that is not ours.
const maxText = 4 << 10

// Target is somebody who is told.
type Target struct {
	Name  string `json:"name"`            // for logs
	URL   string `json:"url"`             // https; messages are posted there
	Token string `json:"token,omitempty"` // sent as a bearer token
	Kinds []Kind `json:"kinds"`           // that are sent there
}

// Sender posts a message to a target. Its errors name neither URL nor token.
type Sender func(context.Context, *Target, *Message) error

// Handler sends. It serves one invocation at a time, as Lambda calls it.
type Handler struct {
	Election schemas.ElectionID
	Site     string // of the pages, for editors
	Targets  func(context.Context) ([]Target, error)
	Send     Sender
	Log      *slog.Logger

	told told
}

// Result says how many were sent.
type Result struct {
	Messages int `json:"messages"`
	Sent     int `json:"sent"`
	Before   int `json:"before,omitempty"` // sent by an earlier invocation of this process
}

// Handle takes an event of SNS, the record of another function's invocation, or
// a person's {"text": ...}.
func (h *Handler) Handle(ctx context.Context, event json.RawMessage) (*Result, error) {
	messages, err := h.messagesOf(event)
	if err != nil {
		return nil, err
	}
	r := &Result{Messages: len(messages)}
	if len(messages) == 0 {
		return r, nil
	}
	targets, err := h.Targets(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading who is told: %w", err)
	}
	var failed []error
	for i := range messages {
		failed = append(failed, h.deliver(ctx, targets, &messages[i], r))
	}
	return r, errors.Join(failed...)
}

// deliver sends a message to all who want it. One that fails keeps nobody else
// from being told; Lambda repeats the event, and who has the message is passed by.
func (h *Handler) deliver(ctx context.Context, targets []Target, m *Message, r *Result) error {
	var failed []error
	wanted := 0
	for i := range targets {
		t := &targets[i]
		if !slices.Contains(t.Kinds, m.Kind) {
			continue
		}
		wanted++
		if h.told.has(m.ID, t.Name) {
			r.Before++
			continue
		}
		if err := h.Send(ctx, t, m); err != nil {
			failed = append(failed, fmt.Errorf("telling %s: %w", t.Name, err))
			continue
		}
		h.told.add(m.ID, t.Name)
		r.Sent++
	}
	if wanted == 0 && m.Kind != Editors {
		failed = append(failed, fmt.Errorf("nobody is told of messages of the kind %s: add a target to the secret", m.Kind))
	}
	h.Log.InfoContext(ctx, "message", "id", m.ID, "kind", m.Kind, "text", m.Text, "targets", wanted, "failed", len(failed))
	return errors.Join(failed...)
}

// told remembers what was sent, for as long as the process lives. What it forgets
// is sent again with the same identifier.
type told struct {
	mu    sync.Mutex // guards all below
	known map[[2]string]bool
	order [][2]string
}

const mostTold = 4096

func (t *told) has(id, target string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[[2]string{id, target}]
}

func (t *told) add(id, target string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[[2]string]bool{}
	}
	if len(t.order) == mostTold {
		delete(t.known, t.order[0])
		t.order = t.order[1:]
	}
	key := [2]string{id, target}
	t.known[key] = true
	t.order = append(t.order, key)
}
