// Package functions has what the Lambda functions below it share: how they are
// configured. Each is a package with a handler that knows nothing of Lambda but
// the form of its events, and a main package `bootstrap` that connects it.
package functions

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Environment is how a function is configured. It collects what is wrong, so
// that all of it is told at once.
type Environment struct {
	getenv func(string) string
	wrong  []string
}

// FromEnvironment reads variables with getenv.
func FromEnvironment(getenv func(string) string) *Environment { return &Environment{getenv: getenv} }

// Need is a variable that must be set.
func (e *Environment) Need(name string) string {
	v := e.getenv(name)
	if v == "" {
		e.Wrong(name, "is not set")
	}
	return v
}

// Wrong notes a fault of a variable.
func (e *Environment) Wrong(name, format string, args ...any) {
	e.wrong = append(e.wrong, name+" "+fmt.Sprintf(format, args...))
}

// Err is everything that was noted, or nil.
func (e *Environment) Err() error {
	if len(e.wrong) == 0 {
		return nil
	}
	return fmt.Errorf("the function's environment (infra/tofu, functions.tf): %s", strings.Join(e.wrong, "; "))
}

// Sleep waits, or ends with ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
