//go:build race

package audit_test

// underRace: SQLite in Go is ten times as slow then, and a state takes minutes.
const underRace = true
