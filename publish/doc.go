// Package publish turns the ledgers into what the public sees: documents,
// signed snapshots, deltas, CSV files and pages.
//
// Invariant: nothing is published that two books do not agree on. The
// publisher counts every submission again from its exact bytes and compares
// its counties with the ledgers' tallies at the same cut; on any difference it
// stops, and the last snapshot stays up. Published bytes never change:
// snapshot numbers are dense, each names its predecessor by hash, and a
// sequencer that finds other bytes where its own should go stops for good.
package publish
