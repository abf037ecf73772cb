// Package receipts turns a receipt, which is a promise, into a proof that the
// submission is in the public log.
//
// Invariant: what Check accepts is proven by the log's key, and the witnesses
// that a policy asks for; of the server that made the bundle nothing is
// trusted. A bundle stays true for good: the log only grows.
package receipts
