// Package cloud reaches the services of AWS that the cloud mode keeps its
// stream, ledger, bucket and key in: how their clients are made, what
// everything is called, how it is created, and what an error of theirs means.
//
// It lies beneath the adapters (ingest/stream, aggregate/ledger,
// publish/bucket) and knows nothing of them.
//
// Invariants: a name is made here and nowhere else. What setup creates is what
// Plan says, and setup never changes or deletes anything that holds data.
package cloud
