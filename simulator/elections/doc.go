// Package elections makes an election to rehearse with, how it ends (its
// truth), and the keys that sign for its counties.
//
// Invariant: a truth never changes. The same seed gives the same definition,
// bit for bit, and every unit's final row can be had at any time, in any
// order, from any goroutine; each row adds up.
package elections
