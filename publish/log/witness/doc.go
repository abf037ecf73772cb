// Package witness cosigns the checkpoints of logs after checking that each
// continues what it saw before (https://c2sp.org/tlog-witness).
//
// Invariant: of one log a witness never cosigns two checkpoints that do not
// follow from each other, whatever it is sent, however often it dies. What it
// will hold against the next checkpoint is durable before it signs.
package witness
