// Package script writes the night of an election: which submissions arrive
// when, in how many revisions, and what goes wrong on the way.
//
// Invariant: whichever way the events of different units interleave, and
// whichever of them a stream repeats or reorders, the last counted revision of
// every unit states exactly the truth. What the script sends for a unit is a
// function of (truth, keys, seed, event), so that no body is stored: an event
// is 12 bytes.
package script
