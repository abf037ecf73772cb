// Package openelections turns precinct results in the CSV of OpenElections
// (https://openelections.net) into an election definition and its truth.
//
// Invariant: no vote of the input is lost and none is added. Every row ends in
// exactly one cell of one unit, whatever its contest or candidate is called
// there, and every decision that the data did not force is a Warning.
package openelections
