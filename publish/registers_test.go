package publish_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"tallystream/publish"
	"tallystream/schemas"
	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
	"tallystream/service/register"
)

// registers opens each kind of register, again and again as another process.
var registers = map[string]func(t *testing.T) func() publish.Register{
	"SQLite": func(t *testing.T) func() publish.Register {
		path := filepath.Join(t.TempDir(), "control.db")
		return func() publish.Register {
			r, err := register.OpenSQLite(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Close() })
			return r
		}
	},
	"DynamoDB": func(t *testing.T) func() publish.Register {
		c := mototest.Start(t)
		table := mototest.Names(t, "test").Control
		_, err := c.DynamoDB.CreateTable(t.Context(), &dynamodb.CreateTableInput{
			TableName: &table, BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String(cloud.PartitionKey), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: aws.String(cloud.SortKey), AttributeType: types.ScalarAttributeTypeS},
			},
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String(cloud.PartitionKey), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String(cloud.SortKey), KeyType: types.KeyTypeRange},
			},
		})
		if exists := new(types.ResourceInUseException); err != nil && !errors.As(err, &exists) {
			t.Fatal(err)
		}
		return func() publish.Register {
			r, err := register.NewDynamoDB(c.DynamoDB, table, "test")
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
	},
}

// stepped is a sequencer that a test drives, by a clock that it moves.
type stepped struct {
	t   *testing.T
	s   *publish.Sequencer
	now time.Time
}

func stepThrough(t *testing.T, b *books, store *strictBucket, r publish.Register, from time.Time) *stepped {
	t.Helper()
	_, root := rootKey(t)
	x := &stepped{t: t, now: from}
	cfg := b.config(store.process(nil), newViewer(t, store), nil)
	cfg.Register, cfg.Roster, cfg.Threshold, cfg.Roots = r, rosterOf(t, "official.1"), 1, []string{root}
	cfg.Now = func() time.Time { return x.now }
	cfg.Sleep = func(_ context.Context, d time.Duration) error { x.now = x.now.Add(d); return nil }
	var err error
	if x.s, err = publish.New(cfg); err != nil {
		t.Fatal(err)
	}
	return x
}

// step is the sleep of somebody who waits: the publisher works meanwhile.
func (x *stepped) step(_ context.Context, d time.Duration) error {
	x.now = x.now.Add(d)
	return x.s.Step(x.t.Context())
}

func (x *stepped) steps(n int) {
	x.t.Helper()
	for range n {
		if err := x.step(x.t.Context(), time.Second); err != nil {
			x.t.Fatal(err)
		}
	}
}

// TestWhatIsAskedForGoesThroughEveryRegister: a pause, its end and a change of
// keys, from one process to another and over a start of the publisher.
func TestWhatIsAskedForGoesThroughEveryRegister(t *testing.T) {
	for name, kind := range registers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open := kind(t)
			e := openElection(t, smallElection())
			b, store := newBooks(t, e), newBucket(t)
			x := stepThrough(t, b, store, open(), time.Date(2026, 11, 3, 20, 0, 0, 0, time.UTC))
			b.count("oak.1", 1, oak1)
			x.steps(3)

			operators := open()
			ask := func(pause bool, reason string) *publish.PauseRequest {
				return &publish.PauseRequest{Register: operators, Origin: e.Definition.Origin, Pause: pause, Reason: reason, Text: "For <a> reason."}
			}
			said := func(q *publish.PauseRequest) {
				t.Helper()
				if err := q.Send(t.Context()); err != nil {
					t.Fatal(err)
				}
				note, err := q.Await(t.Context(), x.step)
				if err != nil || !strings.Contains(string(note), "\nreason "+q.Reason+"\n") {
					t.Fatalf("%v, %s", err, note)
				}
			}
			refused := func(q *publish.PauseRequest) {
				t.Helper()
				if err := q.Send(t.Context()); !errors.Is(err, publish.ErrPauseState) {
					t.Errorf("asked for what is so: %v", err)
				}
			}
			refused(ask(false, "nothing"))
			said(ask(true, "court-order"))
			refused(ask(true, "court-order"))
			b.count("oak.2", 1, oak2)
			x = stepThrough(t, b, store, open(), x.now)
			x.steps(2)
			refused(ask(true, "after-a-start"))
			said(ask(false, "lifted"))

			root, _ := rootKey(t)
			next := rosterOf(t, "official.2")
			q := &publish.ChangeRequest{Register: operators, Bucket: store.process(nil), Election: e.Election, Note: rosterChange(t, e, next, root), Roster: next}
			if err := q.Send(t.Context()); err != nil {
				t.Fatal(err)
			}
			keys := publish.Keys{Register: open(), Bucket: store.process(nil), Election: e.Election, Roster: rosterOf(t, "official.1")}
			knows := func(name string) bool {
				t.Helper()
				ring, err := keys.Keyring(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return ring.Lookup([]byte(name)) != nil
			}
			if knows("official.1") || knows("official.2") {
				t.Error("while a change waits, a key of one roster alone may sign")
			}
			if _, err := q.Await(t.Context(), x.step); err != nil {
				t.Fatal(err)
			}
			if knows("official.1") || !knows("official.2") {
				t.Error("behind the change the new roster is not in force")
			}
			x = stepThrough(t, b, store, open(), x.now)
			x.steps(2)
			if got := string(store.must(schemas.RosterKey)); got != string(next) {
				t.Errorf("the roster in force is\n%s", got)
			}
			checkChain(t, store, e)
		})
	}
}
