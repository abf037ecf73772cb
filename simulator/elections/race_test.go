//go:build race

package elections_test

// underRace: the race detector slows a single goroutine tenfold and finds
// nothing there, so long runs of one are cut.
const underRace = true
