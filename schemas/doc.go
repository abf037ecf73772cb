// Package schemas holds the domain types and the wire formats that every other
// directory speaks: the election definition, submissions and their envelopes,
// receipts, ledger entries, document lines, live frames and snapshots.
//
// Invariant: what a reader here accepts is complete and well-formed, and says
// one thing only. Nothing here touches a clock, a store or a network.
package schemas
