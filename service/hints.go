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

// Connect reaches the bus of an election at a URL. It does not wait for the bus
// to be there. main.go binds it to fanout/bus.
type Connect func(url string, election schemas.ElectionID) (Hints, error)

// Topics of hints.
const (
	StreamTopic = "stream" // records were appended
	LedgerTopic = "ledger" // a micro-batch was committed
)
