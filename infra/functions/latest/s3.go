package latest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/sync/errgroup"

	"tallystream/publish/bucket"
	"tallystream/schemas"
	"tallystream/service/cloud"
)

// S3Calls are the calls of S3 that an S3Bucket makes. *s3.Client has them.
type S3Calls interface {
	bucket.S3Calls
	HeadObject(context.Context, *s3.HeadObjectInput, ...func(*s3.Options)) (*s3.HeadObjectOutput, error)
	ListObjectsV2(context.Context, *s3.ListObjectsV2Input, ...func(*s3.Options)) (*s3.ListObjectsV2Output, error)
}

// atOnce is how many objects are looked at side by side.
const atOnce = 48

// S3Bucket is a Bucket in S3.
type S3Bucket struct {
	calls S3Calls
	name  string
	get   *bucket.S3 // unpacks what is stored compressed
}

// NewS3Bucket returns the bucket of that name.
func NewS3Bucket(calls S3Calls, name string) *S3Bucket {
	return &S3Bucket{calls, name, bucket.NewS3(calls, name, nil)}
}

// Get returns an object.
func (b *S3Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	out, err := b.get.Get(ctx, key)
	if errors.Is(err, bucket.ErrNotFound) {
		return nil, fmt.Errorf("getting %s: %w", key, ErrMissing)
	}
	return out, err
}

// Latest returns `latest`. It is never stored compressed: notes are short.
func (b *S3Bucket) Latest(ctx context.Context) (_ []byte, _ Version, err error) {
	out, err := b.calls.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: aws.String(schemas.LatestKey)})
	if gone := (*types.NoSuchKey)(nil); errors.As(err, &gone) {
		return nil, "", ErrMissing
	}
	if err != nil {
		return nil, "", b.explain(err)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	if out.ContentEncoding != nil {
		return nil, "", fmt.Errorf("%s is stored as %s: no publisher does that", schemas.LatestKey, *out.ContentEncoding)
	}
	var note bytes.Buffer
	_, err = note.ReadFrom(http.MaxBytesReader(nil, out.Body, maxNote))
	return note.Bytes(), Version(aws.ToString(out.ETag)), err
}

// maxNote is far above a snapshot's note.
const maxNote = 64 << 10

// Replace puts `latest`, if it is still what was read.
func (b *S3Bucket) Replace(ctx context.Context, note []byte, read Version) error {
	in := &s3.PutObjectInput{
		Bucket: &b.name, Key: aws.String(schemas.LatestKey), Body: bytes.NewReader(note),
		ContentType: aws.String(bucket.ContentTypeOf(schemas.LatestKey)), CacheControl: aws.String(bucket.CacheControlOf(schemas.LatestKey)),
	}
	if read == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = aws.String(string(read))
	}
	_, err := b.calls.PutObject(ctx, in)
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && (answer.HTTPStatusCode() == http.StatusPreconditionFailed || answer.HTTPStatusCode() == http.StatusConflict) {
		return ErrMoved
	}
	return b.explain(err)
}

// Missing looks at many keys side by side.
func (b *S3Bucket) Missing(ctx context.Context, keys []string) (string, error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, key := range keys {
		g.Go(func() error {
			_, err := b.calls.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key})
			if gone := (*types.NotFound)(nil); errors.As(err, &gone) {
				return lacking(key)
			}
			return b.explain(err)
		})
	}
	err := g.Wait()
	var key lacking
	if errors.As(err, &key) {
		return string(key), nil
	}
	return "", err
}

// lacking ends a look at many keys by the first that is missing.
type lacking string

func (l lacking) Error() string { return string(l) + " is missing" }

// Snapshots lists the numbers behind one.
func (b *S3Bucket) Snapshots(ctx context.Context, behind schemas.SnapshotNumber) (out []schemas.SnapshotNumber, err error) {
	const prefix = "snapshots/"
	pages := s3.NewListObjectsV2Paginator(b.calls, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: aws.String(prefix), StartAfter: aws.String(schemas.SnapshotKey(behind))})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, b.explain(err)
		}
		for _, o := range page.Contents {
			n, err := strconv.ParseUint(strings.TrimPrefix(aws.ToString(o.Key), prefix), 10, 63)
			if err == nil && schemas.SnapshotKey(schemas.SnapshotNumber(n)) == *o.Key {
				out = append(out, schemas.SnapshotNumber(n))
			}
		}
	}
	return out, nil
}

func (b *S3Bucket) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bucket %s: %w", b.name, cloud.Explain(err))
}
