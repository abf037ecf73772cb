// Package mototest runs moto, an emulator of AWS, for tests and rehearsals.
//
// Invariant: a request is done before the next begins, so that moto's state,
// which nothing guards, is never seen half changed; and the emulator dies with
// the process that started it.
package mototest
