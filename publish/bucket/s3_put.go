package bucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// PutNew puts each object at its key if nothing lies there. The same bytes at
// the key are fine; other bytes are an ErrDiffers, and stay. When it returns
// without error all objects are stored. With an error some may be, each of
// them whole.
func (b *S3) PutNew(ctx context.Context, objects ...Object) error {
	if err := b.put(ctx, objects, false); err != nil {
		return fmt.Errorf("putting %d objects: %w", len(objects), err)
	}
	return nil
}

// Replace puts each object at its key, over what lies there. A reader gets
// the old one or the new one. When it returns without error all objects are
// stored. With an error some may be, each of them whole.
func (b *S3) Replace(ctx context.Context, objects ...Object) error {
	if err := b.put(ctx, objects, true); err != nil {
		return fmt.Errorf("replacing %d objects: %w", len(objects), err)
	}
	return nil
}

func (b *S3) put(ctx context.Context, objects []Object, over bool) (err error) {
	if len(objects) == 0 {
		return nil
	}
	began := time.Now()
	batch, err := planned(objects, over)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	kept := make([]bool, len(batch))
	defer func() { b.metrics.put(countBatch(batch, kept), over, began, err) }()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s3Parallel)
	for i, o := range batch {
		group.Go(func() (err error) {
			if kept[i], err = b.putOne(ctx, o, over); err != nil {
				return fmt.Errorf("object %q: %w", o.Key, b.explain(err))
			}
			return nil
		})
	}
	return group.Wait()
}

// planned checks a batch before anything of it is sent, and leaves one object
// of each key: of those to replace the last one.
func planned(objects []Object, over bool) ([]*Object, error) {
	batch := make([]*Object, 0, len(objects))
	at := make(map[string]int, len(objects))
	for i := range objects {
		o := &objects[i]
		if !ValidKey(o.Key) {
			return nil, fmt.Errorf("object %q: %w", o.Key, ErrKey)
		}
		if len(o.Body) > MaxObject {
			return nil, fmt.Errorf("object %q: %d bytes are too many (most are %d)", o.Key, len(o.Body), MaxObject)
		}
		j, twice := at[o.Key]
		switch {
		case !twice:
			at[o.Key] = len(batch)
			batch = append(batch, o)
		case over:
			batch[j] = o
		case !bytes.Equal(batch[j].Body, o.Body):
			return nil, fmt.Errorf("object %q: twice in one batch: %w", o.Key, ErrDiffers)
		}
	}
	return batch, nil
}

// putOne stores one object, and reports whether its bytes were there before.
//
// To send it again is always safe: a put with a condition acts once at most,
// and what it finds at the key after a lost answer are its own bytes.
func (b *S3) putOne(ctx context.Context, o *Object, over bool) (kept bool, err error) {
	in := b.input(o)
	if !over {
		in.IfNoneMatch = aws.String("*")
	}
	body := in.Body.(*bytes.Reader)
	for try := 0; ; try++ {
		body.Reset(in.stored)
		_, err = b.calls.PutObject(ctx, &in.PutObjectInput)
		if isTaken(err) {
			err = b.compare(ctx, o)
			kept = err == nil
		}
		// Gone again between put and compare: nobody deletes objects, but what is
		// not there can be put.
		if again := isRace(err) || errors.Is(err, ErrNotFound); !again || try+1 == s3Tries {
			return kept, err
		}
		if err := pause(ctx, try); err != nil {
			return false, err
		}
	}
}

// compare says whether these bytes lie at the key: nil, ErrDiffers, or why
// that is not known.
func (b *S3) compare(ctx context.Context, o *Object) error {
	there, err := b.get(ctx, o.Key)
	if err == nil && !bytes.Equal(there, o.Body) {
		return ErrDiffers
	}
	return err
}

// putting is a put with the bytes that are stored.
type putting struct {
	s3.PutObjectInput
	stored []byte
}

// input describes the object to S3. S3 checks the digest of what arrives, and
// refuses anything else.
func (b *S3) input(o *Object) *putting {
	contentType, cacheControl := o.ContentType, o.CacheControl
	if contentType == "" {
		contentType = ContentTypeOf(o.Key)
	}
	if cacheControl == "" {
		cacheControl = CacheControlOf(o.Key)
	}
	stored, encoding := encode(o.Body, contentType)
	sum := sha256.Sum256(stored)
	p := &putting{stored: stored, PutObjectInput: s3.PutObjectInput{
		Bucket: &b.name, Key: &o.Key, Body: bytes.NewReader(stored), ContentLength: aws.Int64(int64(len(stored))),
		ContentType: &contentType, CacheControl: &cacheControl,
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		ChecksumSHA256:    aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	}}
	if encoding != "" {
		p.ContentEncoding = &encoding
	}
	return p
}
