// Package leaf is what the leaves of the public log say, byte by byte.
//
// Invariant: a leaf has one spelling. What Decode accepts, Append writes again
// to the same bytes; what Append writes, Decode reads. Two programs that agree
// on the bytes of a leaf agree on what it says.
//
// The formats stand in publish/log/README.md. Each begins with its kind and
// version, so that no leaf can pass for another, nor an old one for a new one.
package leaf
