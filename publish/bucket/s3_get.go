package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Get returns the bytes of the object at key, or ErrNotFound.
func (b *S3) Get(ctx context.Context, key string) ([]byte, error) {
	body, err := b.get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("getting object %q: %w", key, b.explain(err))
	}
	return body, nil
}

// errBody says that the answer's body broke off or was not what was stored.
type errBody struct{ error }

func (e errBody) Unwrap() error { return e.error }

func (b *S3) get(ctx context.Context, key string) ([]byte, error) {
	if !ValidKey(key) {
		return nil, ErrKey
	}
	for try := 0; ; try++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		body, err := b.getOnce(ctx, key)
		// The SDK repeats the request, but no longer once the body has begun.
		if broken := (errBody{}); !errors.As(err, &broken) || try+1 == s3Tries {
			return body, err
		}
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
	}
}

func (b *S3) getOnce(ctx context.Context, key string) ([]byte, error) {
	out, err := b.calls.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if isMissingKey(err) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	stored, err := read(out)
	if err != nil {
		return nil, err
	}
	body, err := decode(stored, aws.ToString(out.ContentEncoding))
	if err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	return body, nil
}

// read reads the answer's body. The SDK checks it against the digest that the
// object was stored with.
func read(out *s3.GetObjectOutput) ([]byte, error) {
	defer out.Body.Close() // it was read, or its error is known
	if n := aws.ToInt64(out.ContentLength); n > MaxObject {
		return nil, fmt.Errorf("%d bytes are too many (most are %d)", n, MaxObject)
	}
	stored := make([]byte, 0, max(aws.ToInt64(out.ContentLength), 512))
	for {
		if len(stored) == cap(stored) {
			stored = append(stored, 0)[:len(stored)]
		}
		n, err := out.Body.Read(stored[len(stored):cap(stored)])
		stored = stored[:len(stored)+n]
		switch {
		case errors.Is(err, io.EOF) && out.ContentLength != nil && int64(len(stored)) != *out.ContentLength:
			return nil, errBody{io.ErrUnexpectedEOF}
		case err == io.EOF:
			return stored, nil
		case err != nil:
			return nil, errBody{fmt.Errorf("reading: %w", err)}
		case len(stored) > MaxObject:
			return nil, fmt.Errorf("more than %d bytes", MaxObject)
		}
	}
}
