// Package failover rehearses the move of the writer (infra/runbooks/writer-moves.md)
// with real processes: a second pair of aggregate and publish takes over while the
// first is cut off, and the first comes back later and does not know.
//
// Invariant: at no moment does the old writer have to be dead.
package failover
