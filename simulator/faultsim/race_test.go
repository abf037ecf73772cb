//go:build race

package faultsim

// raceEnabled: nights cost ten times as much.
const raceEnabled = true
