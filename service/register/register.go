// Package register keeps small values that change by compare-and-swap only:
// leases, and the head of publication.
//
// Invariant: of all that try to change a name from one value at most one
// succeeds, and what it wrote survives a power cut. Nobody learns ErrConflict
// whose own write took place.
package register

import (
	"context"
	"errors"
	"fmt"
)

// Register is what leases and publication use. Values have at least one byte:
// nil and empty both mean that there is no value.
type Register interface {
	// Load returns the value of name as of now, nil if it has none.
	Load(ctx context.Context, name string) ([]byte, error)
	// List returns every name that begins with prefix, with its value. Each
	// value was the current one at some time during the call; together they
	// need not be of one moment.
	List(ctx context.Context, prefix string) (map[string][]byte, error)
	// Swap changes the value of name from before to after. before nil: it must
	// have no value. after nil: it has none from then on. ErrConflict if its
	// value is not before. After any other error it may have changed or may yet
	// change: load it and compare.
	Swap(ctx context.Context, name string, before, after []byte) error
}

// What a caller decides on.
var (
	// ErrConflict: the value is not the one given as before. Nothing was
	// written.
	ErrConflict = errors.New("value is not the one that was read")
	// ErrClosed: the register was closed.
	ErrClosed = errors.New("register is closed")
	// ErrInvalid: a name, prefix or value that no register takes.
	ErrInvalid = errors.New("not valid in a register")
)

// Limits of a register, so that each of its adapters can keep them.
const (
	// MaxName is the longest name, in bytes. A sort key of DynamoDB has at most
	// 1,024.
	MaxName = 512
	// MaxValue is the longest value, in bytes. An item of DynamoDB has at most
	// 400 KB, and each write costs one unit a KB.
	MaxValue = 64 << 10
)

// checkName returns ErrInvalid for a name that is not printable ASCII without
// spaces, 1 to MaxName bytes.
func checkName(name string) error {
	if name == "" {
		return fmt.Errorf("empty name: %w", ErrInvalid)
	}
	return checkPrefix(name)
}

func checkPrefix(prefix string) error {
	if len(prefix) > MaxName {
		return fmt.Errorf("name of %d bytes (most are %d): %w", len(prefix), MaxName, ErrInvalid)
	}
	for i := range len(prefix) {
		if prefix[i] <= ' ' || prefix[i] > '~' {
			return fmt.Errorf("name %q (want printable ASCII without spaces): %w", prefix, ErrInvalid)
		}
	}
	return nil
}

func checkSwap(name string, before, after []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	switch {
	case len(before) > MaxValue || len(after) > MaxValue:
		return fmt.Errorf("value of %d bytes (most are %d): %w", max(len(before), len(after)), MaxValue, ErrInvalid)
	case len(before) == 0 && len(after) == 0:
		return fmt.Errorf("a swap from no value to none: %w", ErrInvalid)
	}
	return nil
}
