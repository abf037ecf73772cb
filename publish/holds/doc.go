// Package holds is the supervisors' side of what is held: they read in public
// what everybody reads, and let a hold count by signing a release, two of them,
// on one machine or on two.
//
// Invariant: nobody signs or sends what they were not shown. What is shown
// comes from a signed snapshot, and the numbers from the public log with their
// proof.
package holds
