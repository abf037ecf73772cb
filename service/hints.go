package service

import "tallystream/schemas"

// Hints wake the processes of a deployment up: a hint says only that there may
// be something new, and losing one costs a safety poll's delay, nothing else.
type Hints interface {
	Hint(topic string) error
	// OnHint calls fn, never twice at a time, for each hint of the topic.
	OnHint(topic string, fn func()) error
	Close() error
}

// BusAddress says where a bus is, and whom it is believed to be.
type BusAddress struct {
	URL string
	// Authorities (PEM, or the name of a file of it) may sign the bus's certificate;
	// empty: whom the system trusts.
	Authorities string
}

// Connect reaches the bus of an election. It does not wait for the bus
// to be there. main.go binds it to fanout/bus.
type Connect func(at BusAddress, election schemas.ElectionID) (Hints, error)

// Topics of hints.
const (
	StreamTopic = "stream" // records were appended
	LedgerTopic = "ledger" // a micro-batch was committed
)
