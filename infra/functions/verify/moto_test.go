package verify_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tallystream/infra/functions"
	"tallystream/infra/functions/functionstest"
	"tallystream/infra/functions/verify"
	"tallystream/publish/log"
	"tallystream/service/cloud/mototest"
)

// The function as Lambda starts it, by its environment: a website, and a bucket
// for its state on an emulator of AWS.
func TestTheFunctionOnAWS(t *testing.T) {
	n := functionstest.Rehearse(t)
	endpoint := mototest.Endpoint(t)
	clients := mototest.Start(t)
	bucket := mototest.Names(t, n.Election).Bucket
	site := n.At(t, 2)
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := site.Get(r.Context(), strings.TrimPrefix(r.URL.Path, "/"))
		if errors.Is(err, log.ErrAbsent) {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	}))
	defer pages.Close()
	for name, v := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": clients.Region, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
	} {
		t.Setenv(name, v)
	}
	set := map[string]string{
		"TALLYSTREAM_KEY": n.Key, "TALLYSTREAM_ELECTION": string(n.Election), "TALLYSTREAM_URL": pages.URL, "TALLYSTREAM_STATE_BUCKET": bucket,
	}
	start := func() *verify.Handler { // a new process each time
		t.Helper()
		h, err := verify.New(t.Context(), functions.FromEnvironment(func(name string) string { return set[name] }), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		h.Now, h.Sleep = time.Now, functions.Sleep
		return h
	}
	event := recorded(t, "s3-put.json")
	if _, err := start().Handle(t.Context(), event); err == nil || !strings.Contains(err.Error(), bucket) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("without a bucket for the state: %v", err)
	}
	if _, err := clients.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	if r, err := start().Handle(t.Context(), event); err != nil || r.Before || r.Snapshot != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := start().Handle(t.Context(), event); err != nil || !r.Before {
		t.Errorf("the same event, another process: %+v, %v", r, err)
	}
	states := &verify.S3States{Calls: clients.S3, Bucket: bucket, Key: string(n.Election) + ".state"}
	if err := states.Save(t.Context(), []byte("x"), ""); !errors.Is(err, verify.ErrMoved) {
		t.Errorf("a state over one that was not read: %v", err)
	}
	if err := states.Save(t.Context(), []byte("x"), `"0123456789abcdef0123456789abcdef"`); !errors.Is(err, verify.ErrMoved) {
		t.Errorf("a state over another version: %v", err)
	}
}
