// Package faultsim runs whole election nights in one thread, with every fault
// that the design speaks of, and checks the promises after every step.
//
// The services' own code runs: the checks and receipts of ingest, the Kinesis
// producer and readers, the aggregation worker, the keepers of leases, the
// sequencer, the fanout's hub and the viewers' rule. What it runs on is
// simulated: stream, ledger, register, bucket, network and clocks.
//
// Invariant: everything that happens follows from the seed. Each actor is a
// coroutine that gives way at every call of a store, network or clock; one
// scheduler decides who goes on, and nothing asks the machine for time,
// randomness or order. So a seed that fails once fails every time, step for
// step.
package faultsim
