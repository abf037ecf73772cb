package latest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tallystream/infra/functions"
	"tallystream/infra/functions/functionstest"
	"tallystream/infra/functions/latest"
	"tallystream/publish/bucket"
	"tallystream/schemas"
	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
	"tallystream/service/register"
)

// The function as Lambda starts it, by its environment, on an emulator of AWS: its
// own bucket and the publisher's register.
func TestTheFunctionOnAWS(t *testing.T) {
	n := functionstest.Rehearse(t)
	endpoint := mototest.Endpoint(t)
	clients := mototest.Start(t)
	names, err := cloud.NamesOf("tallystream", n.Election, cloud.Site{Account: "123456789012", Region: clients.Region}, mototest.Names(t, n.Election).Bucket)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": clients.Region, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"TALLYSTREAM_KEY": n.Key, "TALLYSTREAM_ELECTION": string(n.Election), "TALLYSTREAM_AWS_BUCKET": names.Bucket,
	} {
		t.Setenv(name, v)
	}
	start := func() *latest.Handler {
		t.Helper()
		h, err := latest.New(t.Context(), functions.FromEnvironment(func(name string) string {
			return map[string]string{
				"TALLYSTREAM_KEY": n.Key, "TALLYSTREAM_ELECTION": string(n.Election), "TALLYSTREAM_AWS_BUCKET": names.Bucket,
			}[name]
		}), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	move := json.RawMessage(`{"move":true}`)
	if _, err := start().Handle(t.Context(), move); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("without a table or a bucket: %v", err)
	}
	if err := makeTable(t, clients, names.Control); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // its name is the deployment's, and the test may run again
		if _, err := clients.DynamoDB.DeleteTable(context.WithoutCancel(t.Context()), &dynamodb.DeleteTableInput{TableName: &names.Control}); err != nil {
			t.Error(err)
		}
	})
	if _, err := start().Handle(t.Context(), move); err == nil || !strings.Contains(err.Error(), names.Bucket) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("without a bucket: %v", err)
	}
	if _, err := clients.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &names.Bucket}); err != nil {
		t.Fatal(err)
	}
	store := bucket.NewS3(clients.S3, names.Bucket, nil)
	var objects []bucket.Object
	for key, body := range behind(t, 1) {
		objects = append(objects, bucket.Object{Key: key, Body: body, ContentType: bucket.ContentTypeOf(key), CacheControl: bucket.CacheControlOf(key)})
	}
	if err := store.Replace(t.Context(), objects...); err != nil {
		t.Fatal(err)
	}
	did, err := start().Handle(t.Context(), move)
	if err != nil || !did.Moved || did.To != n.Snapshots {
		t.Fatalf("%+v, %v", did, err)
	}
	if b, err := store.Get(t.Context(), schemas.LatestKey); err != nil || !bytes.Equal(b, behind(t, 1)[schemas.SnapshotKey(n.Snapshots)]) {
		t.Errorf("latest is %q, %v", b, err)
	}
	// The condition is S3's own.
	b := latest.NewS3Bucket(clients.S3, names.Bucket)
	if err := b.Replace(t.Context(), []byte("x"), `"0123456789abcdef0123456789abcdef"`); err != latest.ErrMoved {
		t.Errorf("put over another version: %v", err)
	}
	if err := b.Replace(t.Context(), []byte("x"), ""); err != latest.ErrMoved {
		t.Errorf("put over one where none was: %v", err)
	}
	// A mark in the register, where a publisher keeps it, fences.
	g, err := register.NewDynamoDB(clients.DynamoDB, names.Control, string(n.Election))
	if err != nil {
		t.Fatal(err)
	}
	note := behind(t, 1)[schemas.SnapshotKey(1)]
	if err := g.Swap(t.Context(), "publication", nil, mark(n.Open(t, note).Origin, 2, note)); err != nil {
		t.Fatal(err)
	}
	if did, err := start().Handle(t.Context(), move); err == nil {
		t.Errorf("a publisher that decided snapshot 1 is not heard: %+v", did)
	}
}

func makeTable(t *testing.T, c *cloud.Clients, name string) error {
	t.Helper()
	key := func(attribute string, typ types.KeyType) types.KeySchemaElement {
		return types.KeySchemaElement{AttributeName: &attribute, KeyType: typ}
	}
	of := func(attribute string) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &attribute, AttributeType: types.ScalarAttributeTypeS}
	}
	_, err := c.DynamoDB.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{key(cloud.PartitionKey, types.KeyTypeHash), key(cloud.SortKey, types.KeyTypeRange)},
		AttributeDefinitions: []types.AttributeDefinition{of(cloud.PartitionKey), of(cloud.SortKey)},
	})
	return err
}
