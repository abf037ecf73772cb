// Package cdf writes results as NIST SP 1500-100 version 2 (Election Results
// Reporting Common Data Format, JSON), and reads such a file from before the
// election as an election definition.
//
// Invariant: nothing is invented and nothing is counted twice. Every number of
// a file is one cell of the tallies, or a sum of cells over places that the
// file names as such; every reference leads to an object of the same file; the
// same facts give the same bytes. A definition that is written and read again
// is equal.
package cdf
