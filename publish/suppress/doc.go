// Package suppress keeps the numbers of small units out of what is published,
// but for sums of several.
//
// Invariant: of a unit that belongs to a remainder (schemas.Remainder) nothing is
// published but that it sent something, and sums of rows in which it stands beside
// another unit of the same remainder. Each of its statements stands in one such
// sum at most, and no two sums share one; so no sum or difference of what is
// published, at any times, is about one unit alone.
//
// Nothing here knows a clock or a store.
package suppress
