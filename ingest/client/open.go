package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// KeyUnknownError says that the service did not tell its receipt key.
type KeyUnknownError struct{ error }

// Unwrap returns the cause.
func (e *KeyUnknownError) Unwrap() error { return e.error }

// Open makes a client for a person at a terminal, who is told on stderr which key
// is believed, where none is given, and what is tried again.
func Open(ctx context.Context, url, receiptKey string, attempts int, stderr io.Writer) (*Client, error) {
	hc := &http.Client{Timeout: DefaultTimeout}
	if receiptKey == "" {
		var err error
		if receiptKey, err = FetchKey(ctx, hc, url); err != nil {
			return nil, &KeyUnknownError{err}
		}
		fmt.Fprintf(stderr, "Receipts are checked with the key that the service names: %s\n", receiptKey)
	}
	verifier, err := note.NewVerifier(receiptKey)
	if err != nil {
		return nil, fmt.Errorf("receipt key: %w", err)
	}
	return New(Config{
		URL: url, Verifier: verifier, HTTP: hc, Attempts: attempts,
		OnRetry: func(attempt int, wait time.Duration, err error) {
			fmt.Fprintf(stderr, "Attempt %d failed, the next is in %v: %v\n", attempt, wait.Round(100*time.Millisecond), err)
		},
	})
}
