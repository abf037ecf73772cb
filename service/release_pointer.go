package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"tallystream/service/cloud"
)

// ReleaseOptions are the flags of the release check.
type ReleaseOptions struct {
	ReleasePointer string `help:"What names the release that should run, for /healthz?release=: s3://BUCKET/KEY, an http(s) URL, or a file. Empty: any may." placeholder:"WHERE" env:"TALLYSTREAM_RELEASE_POINTER"`
}

// maxPointer bounds what is read of a pointer: a name, a newline, and enough to
// see that it is something else.
const maxPointer = 4 * maxRelease

// S3Getter is what a pointer needs of S3. *s3.Client has it.
type S3Getter interface {
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

// OpenPointer makes the pointer at a place; openS3 is called for those in S3.
func OpenPointer(where string, openS3 func() (S3Getter, error)) (Pointer, error) {
	scheme, _, ok := strings.Cut(where, "://")
	if !ok {
		return filePointer(where), nil
	}
	u, err := url.Parse(where)
	if err != nil || u.Host == "" || u.Path == "" || u.Path == "/" {
		return nil, fmt.Errorf("--release-pointer %q: want s3://BUCKET/KEY, https://HOST/PATH or a file", where)
	}
	switch scheme {
	case "http", "https":
		return &webPointer{where: where, client: &http.Client{Timeout: releaseTimeout, CheckRedirect: noRedirect}}, nil
	case "s3":
		getter, err := openS3()
		if err != nil {
			return nil, fmt.Errorf("opening the release pointer %s: %w", where, err)
		}
		return &s3Pointer{getter: getter, bucket: u.Host, key: u.Path[1:]}, nil
	}
	return nil, fmt.Errorf("--release-pointer %q: want s3://, https://, http:// or a file, not %s://", where, scheme)
}

type filePointer string

func (p filePointer) String() string { return string(p) }

func (p filePointer) Read(context.Context) (_ []byte, err error) {
	f, err := os.Open(string(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoPointer
	}
	if err != nil {
		return nil, fmt.Errorf("reading the release pointer: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, maxPointer))
}

// webPointer is at a URL.
type webPointer struct {
	where  string
	client *http.Client
}

// A redirect may lead to a page of somebody else, so none is followed.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// String leaves out a password that may be in the URL.
func (p *webPointer) String() string {
	u, err := url.Parse(p.where)
	if err != nil {
		return "a URL"
	}
	return u.Redacted()
}

func (p *webPointer) Read(ctx context.Context) (_ []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.where, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the release pointer: %w", err)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reading the release pointer: %w", err)
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	switch res.StatusCode {
	case http.StatusOK:
		return io.ReadAll(io.LimitReader(res.Body, maxPointer))
	case http.StatusNotFound, http.StatusGone:
		return nil, ErrNoPointer
	}
	return nil, fmt.Errorf("reading the release pointer: HTTP %s", res.Status)
}

// s3Pointer is an object in S3.
type s3Pointer struct {
	getter      S3Getter
	bucket, key string
}

func (p *s3Pointer) String() string { return "s3://" + p.bucket + "/" + p.key }

func (p *s3Pointer) Read(ctx context.Context) (_ []byte, err error) {
	out, err := p.getter.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(p.bucket), Key: aws.String(p.key)})
	if missing := (*types.NoSuchKey)(nil); errors.As(err, &missing) {
		return nil, ErrNoPointer
	}
	if err != nil {
		return nil, fmt.Errorf("reading the release pointer: %w", cloud.Explain(err))
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	return io.ReadAll(io.LimitReader(out.Body, maxPointer))
}

// WatchRelease makes /healthz?release= answer by the pointer, if one is
// configured. It looks once before it returns, so that no balancer ever sees a
// process that does not know yet.
func (g *Group) WatchRelease(ctx context.Context, o ReleaseOptions, c cloud.Options, log *slog.Logger) error {
	if o.ReleasePointer == "" {
		return nil
	}
	own, ok := ThisRelease()
	if !ok {
		return errors.New("--release-pointer: this program was built without a release's name; build it with -ldflags \"-X tallystream/service.release=NAME\"")
	}
	p, err := OpenPointer(o.ReleasePointer, func() (S3Getter, error) {
		clients, err := cloud.Open(ctx, c, cloud.WithLog(log))
		if err != nil {
			return nil, err
		}
		return clients.S3, nil
	})
	if err != nil {
		return err
	}
	w := NewReleaseWatch(own, p, g.Status.Registry, log)
	w.Look(ctx)
	g.Status.Release(w.Check)
	g.Go(func() error { return w.Run(ctx) })
	return nil
}
