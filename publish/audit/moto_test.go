package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"tallystream/publish/audit"
	"tallystream/schemas"
	"tallystream/service"
	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
	"tallystream/simulator"
)

// command runs the command and returns what it prints.
func command(t *testing.T, c audit.Command) (*audit.Report, error) {
	t.Helper()
	stdout := os.Stdout
	path := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout, c.JSON = f, true
	ran := c.Run(t.Context(), slog.New(slog.DiscardHandler))
	os.Stdout = stdout
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 {
		return nil, ran
	}
	r := new(audit.Report)
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(r); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return r, ran
}

func TestTheCommandAuditsANight(t *testing.T) {
	n := aNight(t, "county")
	r, err := command(t, audit.Command{Options: service.Options{Data: n.data.Dir, Stores: service.Embedded}, Bucket: n.bucket, Final: true})
	if err != nil || r.Entries == 0 || r.Snapshot == 0 || r.Found != 0 {
		t.Fatalf("%v, %+v", err, r)
	}
}

// TestANightOnAWSIsAudited plays a night on moto, audits it, changes one tally
// in the table, and audits it again.
func TestANightOnAWSIsAudited(t *testing.T) {
	endpoint := mototest.Endpoint(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	prefix := fmt.Sprintf("audit%x", rand.Uint32()) // all tests of a process share the emulator, also one that runs again
	n := night{data: service.Data{Dir: t.TempDir()}, bucket: t.TempDir()}
	o := mototest.At(endpoint)
	o.Prefix = prefix
	rehearse(t, n, func(c *simulator.RehearseCommand) { c.Options, c.Shards = o, 2 })
	c := audit.Command{Options: service.Options{Data: n.data.Dir, Stores: service.AWS, Cloud: o}, Final: true}
	r, err := command(t, c)
	if err != nil || r.Entries == 0 || r.Snapshot == 0 || r.Found != 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	raiseTally(t, n, o)
	r, err = command(t, c)
	if !errors.Is(err, audit.ErrDiffers) || r.Found != 1 || r.Told[0].Kind != audit.KindTally || *r.Told[0].Ledger != *r.Told[0].Recomputed+1 ||
		*r.Told[0].Published != *r.Told[0].Recomputed {
		t.Errorf("%v, %+v", err, r)
	}
}

// raiseTally adds a vote to the first county's tally, behind everybody's back.
func raiseTally(t *testing.T, n night, o cloud.Options) {
	t.Helper()
	opened, err := n.data.Open()
	if err != nil {
		t.Fatal(err)
	}
	clients := mototest.Start(t)
	names, err := clients.Names(context.Background(), o, opened.Election.Definition.Election)
	if err != nil {
		t.Fatal(err)
	}
	county := &opened.Election.Counties[0]
	key := map[string]types.AttributeValue{
		cloud.PartitionKey: &types.AttributeValueMemberS{Value: "t/0"}, cloud.SortKey: &types.AttributeValueMemberS{Value: string(county.ID)},
	}
	out, err := clients.DynamoDB.GetItem(t.Context(), &sdk.GetItemInput{TableName: &names.Ledger, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	row := make([]int64, county.Cells)
	if err := schemas.ReadRow(out.Item["t"].(*types.AttributeValueMemberB).Value, row); err != nil {
		t.Fatal(err)
	}
	row[county.Sections[1].Offset+1]++
	out.Item["t"] = &types.AttributeValueMemberB{Value: schemas.AppendRow(nil, row)}
	if _, err := clients.DynamoDB.PutItem(t.Context(), &sdk.PutItemInput{TableName: aws.String(names.Ledger), Item: out.Item}); err != nil {
		t.Fatal(err)
	}
}
