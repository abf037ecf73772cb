package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"tallystream/service/cloud"
)

// S3Calls are the calls of S3 that S3States make. *s3.Client has them.
type S3Calls interface {
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
}

// maxState bounds what is read of a state: 0.7 KB a unit and 20 bytes a
// submission, for four times the largest election.
const maxState = 1 << 30

// S3States keep the state as one object of a bucket that nobody else writes:
// who writes it decides what was verified.
type S3States struct {
	Calls       S3Calls
	Bucket, Key string
}

// Load reads the state.
func (s *S3States) Load(ctx context.Context) (_ []byte, _ Version, err error) {
	out, err := s.Calls.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.Bucket, Key: &s.Key})
	if missing := (*types.NoSuchKey)(nil); errors.As(err, &missing) {
		return nil, "", ErrNone
	}
	if err != nil {
		return nil, "", s.explain(err)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	b, err := io.ReadAll(io.LimitReader(out.Body, maxState+1))
	if err == nil && len(b) > maxState {
		err = fmt.Errorf("s3://%s/%s: more than %d bytes", s.Bucket, s.Key, maxState)
	}
	return b, Version(aws.ToString(out.ETag)), err
}

// Save replaces the state on the condition that nobody else has.
func (s *S3States) Save(ctx context.Context, state []byte, replaces Version) error {
	in := &s3.PutObjectInput{Bucket: &s.Bucket, Key: &s.Key, Body: bytes.NewReader(state), ContentType: aws.String("application/octet-stream")}
	if replaces == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = aws.String(string(replaces))
	}
	_, err := s.Calls.PutObject(ctx, in)
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && (answer.HTTPStatusCode() == http.StatusPreconditionFailed || answer.HTTPStatusCode() == http.StatusConflict) {
		return ErrMoved
	}
	if err != nil {
		return s.explain(err)
	}
	return nil
}

func (s *S3States) explain(err error) error {
	return fmt.Errorf("s3://%s/%s: %w", s.Bucket, s.Key, cloud.Explain(err))
}
