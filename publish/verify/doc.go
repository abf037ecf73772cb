// Package verify tells from public files alone whether an election's results
// are what its log says: `tallystream verify`.
//
// Invariant: nothing that is read is trusted but the key, the policy and the
// state that the reader brings. What counts and what every document says is
// decided again from the leaves; no verdict, sum or document of the publisher
// flows into what it is held against. What could not be checked is never
// reported as checked.
package verify
