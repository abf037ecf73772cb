// Package servicetest is what tests of whole processes need: addresses that stay
// free until they are listened on, and a night that goes no further than the test
// says.
//
// Invariant: nothing here depends on how fast the machine is.
package servicetest
