package kinesis_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/ingest/stream/kinesis"
	"tallystream/ingest/stream/kinesis/kinesistest"
	"tallystream/service/cloud/mototest"
)

func TestAStreamThatCannotBeUsedIsRefused(t *testing.T) {
	for name, x := range map[string]struct {
		options kinesistest.Options
		stream  string
		want    string
	}{
		"missing":   {stream: "other", want: "there is no stream"},
		"creating":  {options: kinesistest.Options{Status: types.StreamStatusCreating}, want: "try again"},
		"deleting":  {options: kinesistest.Options{Status: types.StreamStatusDeleting}, want: "DELETING"},
		"on demand": {options: kinesistest.Options{Mode: types.StreamModeOnDemand}, want: "ignores hash keys"},
	} {
		if x.stream == "" {
			x.stream = "submissions"
		}
		_, err := kinesis.Check(t.Context(), kinesistest.New(x.options), x.stream, kinesis.Expect{})
		if !errors.Is(err, kinesis.ErrUnusable) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want ErrUnusable that says %q", name, err, x.want)
		}
	}
}

func TestAStreamThatIsTooSmallIsWarnedOf(t *testing.T) {
	service := kinesistest.New(kinesistest.Options{Shards: 2})
	good, err := kinesis.Check(t.Context(), service, "submissions", kinesis.Expect{Partitions: 2, Records: 200, Bytes: 1e6, Retention: 24 * time.Hour, Encrypted: true})
	if err != nil || len(good.Warnings) != 0 || good.Shards != 2 || good.Retention != 24*time.Hour {
		t.Errorf("%+v, %v", good, err)
	}
	bad, err := kinesis.Check(t.Context(), service, "submissions", kinesis.Expect{Partitions: 1, Records: 5000, Bytes: 25e6, Retention: 72 * time.Hour})
	if err != nil || len(bad.Warnings) != 3 {
		t.Errorf("%q, %v, want warnings of shards twice and of retention", bad.Warnings, err)
	}
}

func TestShardsForARate(t *testing.T) {
	for _, x := range []struct {
		records, bytes float64
		want           int
	}{
		{0, 0, 1}, {700, 0, 1}, {701, 0, 2}, {100, 100 * 5300, 1}, {4000, 4000 * 5300, 29},
	} {
		if got := kinesis.ShardsFor(x.records, x.bytes); got != x.want {
			t.Errorf("ShardsFor(%v, %v) = %d, want %d", x.records, x.bytes, got, x.want)
		}
	}
}

func TestChecksOnMoto(t *testing.T) {
	client := mototest.Start(t).Kinesis
	d, err := kinesis.Check(t.Context(), client, motoStream(t, client, 2), kinesis.Expect{Partitions: 2})
	if err != nil || d.Shards != 2 || len(d.Warnings) != 1 { // moto's streams begin unencrypted
		t.Errorf("%+v, %v", d, err)
	}
	name := mototest.Names(t, "test").Stream
	if _, err := client.CreateStream(t.Context(), &sdk.CreateStreamInput{StreamName: &name, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}}); err != nil {
		t.Fatal(err)
	}
	if _, err := kinesis.Check(t.Context(), client, name, kinesis.Expect{}); !errors.Is(err, kinesis.ErrUnusable) {
		t.Errorf("an on-demand stream: %v, want ErrUnusable", err)
	}
	if _, err := kinesis.Check(t.Context(), client, "no-such-stream", kinesis.Expect{}); !errors.Is(err, kinesis.ErrUnusable) {
		t.Errorf("a missing stream: %v, want ErrUnusable", err)
	}
}
