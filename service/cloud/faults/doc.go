// Package faults is a network that fails on purpose: a transport beneath the
// AWS SDK that throttles, loses, delays, repeats and refuses requests as the
// services and the way to them do.
//
// Invariants: the n-th request of an operation meets the same fault for the
// same seed, whatever the other operations do meanwhile. Each fault is counted
// by operation and kind. A fault never makes an answer up that the service
// could not have given in the state it is in.
package faults

import "net/http"

// Kind of fault.
type Kind string

// The kinds. "Before" and "after" say whether the service acted.
const (
	None Kind = ""

	// Throttle answers with the service's own error for too high a rate; the service does not act.
	Throttle Kind = "throttle"
	// Conflict answers a transaction of DynamoDB with a TransactionConflict of
	// one of its items, other writes there with TransactionConflictException,
	// and a conditional put of S3 with 409: another one is under way.
	Conflict Kind = "conflict"
	// InProgress answers a transaction of DynamoDB as if one with its token
	// were still running.
	InProgress Kind = "in-progress"
	// Expired answers a GetRecords of Kinesis that its iterator is too old.
	Expired Kind = "expired"
	// Partial forwards some records of a PutRecords and answers that the others
	// failed. The request is changed after it was signed, so only an endpoint
	// that does not check signatures takes it, such as an emulator.
	Partial Kind = "partial"
	// PartialAfter forwards all records and answers that some failed: they are
	// stored, and will be again.
	PartialAfter Kind = "partial-after"
	// Before breaks the connection before the service acted.
	Before Kind = "before"
	// After breaks it after the service acted: the answer is lost.
	After Kind = "after"
	// Cut breaks it in the middle of the answer's body.
	Cut Kind = "cut"
	// Slow delays the answer; the service has acted.
	Slow Kind = "slow"
	// Duplicate sends the request twice and returns the first answer.
	Duplicate Kind = "duplicate"
	// Late breaks the connection, and lets the request arrive after the
	// operation's next one: the repetition overtakes it.
	Late Kind = "late"
	// Internal answers 500 without acting.
	Internal Kind = "internal"
	// InternalAfter answers 500 although the service acted.
	InternalAfter Kind = "internal-after"
	// Unavailable answers 503 without acting.
	Unavailable Kind = "unavailable"
)

// Kinds are all of them, in the order of the tables.
var Kinds = []Kind{
	Throttle, Conflict, InProgress, Expired, Partial, PartialAfter, Before, After, Cut, Slow, Duplicate, Late, Internal, InternalAfter, Unavailable,
}

// transactional are the operations of DynamoDB that may meet a transaction.
var transactional = map[string]bool{
	"PutItem": true, "UpdateItem": true, "DeleteItem": true, "TransactWriteItems": true, "TransactGetItems": true,
}

// conditional says that a request of S3 may lose against another.
func conditional(o Operation, r *http.Request) bool {
	return o.Service == "S3" && o.Name == "PutObject" && (r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Match") != "")
}

// fits says whether a kind can happen to a request of an operation.
func (k Kind) fits(o Operation, r *http.Request) bool {
	switch k {
	case Conflict:
		return conditional(o, r) || o.Service == "DynamoDB" && transactional[o.Name]
	case InProgress:
		return o.Service == "DynamoDB" && o.Name == "TransactWriteItems"
	case Expired:
		return o.Service == "Kinesis" && o.Name == "GetRecords"
	case Partial, PartialAfter:
		return o.Service == "Kinesis" && o.Name == "PutRecords"
	default:
		return true
	}
}
