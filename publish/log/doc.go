// Package log is the public log: an append-only Merkle tree whose leaves say
// everything that happened to an election's submissions, kept as plain files
// that anyone can fetch and check.
//
// Invariant: what this package accepts is proven or refused. A tile, an entry
// or a proof that does not lead to the root it is held against is never
// handed on, and the same leaves give the same bytes, in whatever batches they
// came.
//
// It knows nothing of what a leaf means (see leaf and authority below it), of
// clocks or of stores. Formats are those of C2SP: tlog-tiles, tlog-checkpoint,
// tlog-cosignature, tlog-proof, tlog-policy and signed-note.
package log
