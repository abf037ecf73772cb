// Package service is how a process of ours lives: its log, its health,
// readiness and metrics pages, its data directory, and its way to start
// together and drain on a signal.
//
// It lies beneath the data's way, beside schemas: every directory's command
// needs it, and it knows nothing of any of them.
//
// Invariant: /readyz answers 200 only while every part says it can do its
// work, and a process that was told to stop finishes what it has accepted.
package service
