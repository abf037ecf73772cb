package bucket

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/prometheus/client_golang/prometheus"

	"tallystream/service/cloud"
)

const (
	// s3Parallel is how many objects of a batch are on their way at a time.
	s3Parallel = 32
	// s3Tries is how often an object is tried beyond what the SDK repeats by
	// itself: after a conflict of two conditional puts, and when an answer's
	// body breaks off.
	s3Tries = 6
	// Pauses between them are drawn evenly from zero to a limit that doubles.
	s3FirstPause, s3LongestPause = 50 * time.Millisecond, time.Second
	// MaxObject is the largest object, as published. S3 takes 5 GB at once; all
	// objects lie in memory here.
	MaxObject = 512 << 20
)

// S3Calls are the calls of S3 that a bucket makes. *s3.Client has them.
type S3Calls interface {
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

var _ S3Calls = (*s3.Client)(nil)

// S3 is a bucket in S3. It is safe for concurrent use, by any number of
// processes.
type S3 struct {
	calls   S3Calls
	name    string
	metrics *Metrics
}

// NewS3 returns the bucket of that name. metrics may be nil.
func NewS3(calls S3Calls, name string, metrics *Metrics) *S3 {
	if metrics == nil {
		metrics = NewMetrics(prometheus.NewRegistry())
	}
	return &S3{calls: calls, name: name, metrics: metrics}
}

// explain says what an error of S3 means, and adds what only this bucket
// knows.
func (b *S3) explain(err error) error {
	switch cloud.KindOf(err) {
	case cloud.Missing:
		return fmt.Errorf("bucket %s: %w", b.name, cloud.Explain(err))
	case cloud.Denied:
		// Without the right to list, S3 says "denied" of a key that is not there.
		return fmt.Errorf("bucket %s (needed: s3:PutObject, s3:GetObject, s3:ListBucket): %w", b.name, cloud.Explain(err))
	}
	return cloud.Explain(err)
}

// isMissingKey reports whether there is no object. A missing bucket is
// something else.
func isMissingKey(err error) bool {
	var missing *types.NoSuchKey
	return errors.As(err, &missing)
}

// isTaken reports whether a conditional put found an object at its key.
func isTaken(err error) bool { return hasStatus(err, http.StatusPreconditionFailed) }

// isRace reports whether a conditional put met another one under way. S3
// stored neither or the other; the put must be sent again.
func isRace(err error) bool {
	var api smithy.APIError
	return hasStatus(err, http.StatusConflict) && errors.As(err, &api) && api.ErrorCode() == "ConditionalRequestConflict"
}

func hasStatus(err error, status int) bool {
	var response *smithyhttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() == status
}

// pause rests after a try, or returns the error of ctx.
func pause(ctx context.Context, try int) error {
	timer := time.NewTimer(rand.N(min(s3FirstPause<<try, s3LongestPause)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
