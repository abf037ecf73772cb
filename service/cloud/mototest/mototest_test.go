package mototest_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"tallystream/service/cloud/mototest"
)

func TestItAnswers(t *testing.T) {
	c := mototest.Start(t)
	n := mototest.Names(t, "test")
	if _, err := c.Kinesis.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String(n.Stream), ShardCount: aws.Int32(2)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Account(t.Context()); err != nil {
		t.Fatal(err)
	}
}
