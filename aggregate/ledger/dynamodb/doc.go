// Package dynamodb is the ledger of the cloud: one DynamoDB table.
//
// Invariant: a partition's entries with their exact bytes, what its units have,
// its counties' tallies and its head change in one transaction, on condition
// that the head is still the one that the writer read. Partitions change apart
// from each other; README.md says what a View promises then.
package dynamodb

import (
	"context"
	"log/slog"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"tallystream/aggregate/ledger"
)

// API is the part of DynamoDB that is used here.
type API interface {
	GetItem(context.Context, *sdk.GetItemInput, ...func(*sdk.Options)) (*sdk.GetItemOutput, error)
	PutItem(context.Context, *sdk.PutItemInput, ...func(*sdk.Options)) (*sdk.PutItemOutput, error)
	BatchGetItem(context.Context, *sdk.BatchGetItemInput, ...func(*sdk.Options)) (*sdk.BatchGetItemOutput, error)
	Query(context.Context, *sdk.QueryInput, ...func(*sdk.Options)) (*sdk.QueryOutput, error)
	TransactWriteItems(context.Context, *sdk.TransactWriteItemsInput, ...func(*sdk.Options)) (*sdk.TransactWriteItemsOutput, error)
}

var _ API = (*sdk.Client)(nil)

// Limits of TransactWriteItems and BatchGetItem (DynamoDB developer guide,
// "Service, account, and table quotas").
const (
	maxItems = 100     // of one transaction, and keys of one BatchGetItem
	maxBytes = 4 << 20 // of one transaction
)

// room of a batch: each entry may bring its own unit row and its own county,
// and the head is one item more.
var room = ledger.Room{Entries: (maxItems - 1) / 3, Bytes: 3 << 20}

// Time limits and repetitions. A transaction that is repeated with its token
// within ten minutes happens once; all tries of one end long before.
const (
	tokenLife   = 10 * time.Minute
	commitFor   = 20 * time.Second // all tries of one transaction
	firstPause  = 25 * time.Millisecond
	longPause   = time.Second
	readsAtOnce = 16 // queries and batch reads under way
	writesAhead = 16 // transactions under way
)

// A token must outlive all tries of its transaction.
const _ = uint64(tokenLife - 2*commitFor)

// Config of a ledger. Client, Table and Election must be set.
type Config struct {
	Client  API
	Table   string
	Metrics *Metrics     // nil: not exported
	Logger  *slog.Logger // nil: discarded
	// Sleep waits between tries; nil: for real.
	Sleep func(ctx context.Context, d time.Duration) error
	Now   func() time.Time // nil: time.Now
}
