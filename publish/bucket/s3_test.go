package bucket_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"tallystream/publish/bucket"
	"tallystream/publish/bucket/buckettest"
	"tallystream/service/cloud"
	"tallystream/service/cloud/faults"
	"tallystream/service/cloud/mototest"
)

// newBucket makes a bucket that no other test has.
func newBucket(t *testing.T, c *cloud.Clients) string {
	t.Helper()
	name := mototest.Names(t, "test").Bucket
	_, err := c.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	var exists *types.BucketAlreadyOwnedByYou // a slow answer, and the SDK asked again
	if err != nil && !errors.As(err, &exists) {
		t.Fatal(err)
	}
	return name
}

func TestS3IsABucket(t *testing.T) {
	t.Parallel()
	c := mototest.Start(t)
	buckettest.Run(t, func(t *testing.T) buckettest.Opener {
		name := newBucket(t, c)
		return func(t *testing.T) buckettest.Bucket { return bucket.NewS3(c.S3, name, nil) }
	})
}

// ndjson is what compresses well, as documents do.
func ndjson(lines int) []byte {
	var b bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&b, `{"contest":"president","unit":"county-%04d","votes":[%d,%d,%d]}`+"\n", i, i*7, i*13, i%5)
	}
	return b.Bytes()
}

// TestWhatS3SaysOfAnObject: type, age, encoding and digest are those that
// readers at the edge need.
func TestWhatS3SaysOfAnObject(t *testing.T) {
	t.Parallel()
	c := mototest.Start(t)
	name := newBucket(t, c)
	b := bucket.NewS3(c.S3, name, nil)
	for _, test := range []struct {
		object                        bucket.Object
		wantType, wantCache, wantCode string
	}{
		{bucket.Object{Key: "documents/ab/abcd.ndjson", Body: ndjson(300)}, "application/x-ndjson", bucket.CacheForever, "gzip"},
		{bucket.Object{Key: "documents/ab/small.ndjson", Body: ndjson(3)}, "application/x-ndjson", bucket.CacheForever, ""},
		{bucket.Object{Key: "csv/all.csv", Body: ndjson(300)}, "text/csv; charset=utf-8", bucket.CacheForever, ""},
		{bucket.Object{Key: "snapshots/000000001", Body: []byte("note\n")}, "text/plain; charset=utf-8", bucket.CacheForever, ""},
		{bucket.Object{Key: "index.html", Body: []byte("<html>")}, "text/html; charset=utf-8", bucket.CacheShortly, ""},
		{bucket.Object{Key: "config.json", Body: []byte("{}"), ContentType: "application/schema+json", CacheControl: "no-store"}, "application/schema+json", "no-store", ""},
	} {
		if err := b.Replace(t.Context(), test.object); err != nil {
			t.Fatal(err)
		}
		out, err := c.S3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &name, Key: &test.object.Key, ChecksumMode: "ENABLED"})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(stored)
		if aws.ToString(out.ContentType) != test.wantType || aws.ToString(out.CacheControl) != test.wantCache ||
			aws.ToString(out.ContentEncoding) != test.wantCode || aws.ToString(out.ChecksumSHA256) != base64.StdEncoding.EncodeToString(sum[:]) {
			t.Errorf("%s: type %q, cache %q, encoding %q, digest %q", test.object.Key, aws.ToString(out.ContentType), aws.ToString(out.CacheControl),
				aws.ToString(out.ContentEncoding), aws.ToString(out.ChecksumSHA256))
		}
		if test.wantCode == "gzip" {
			r, err := gzip.NewReader(bytes.NewReader(stored))
			if err != nil {
				t.Fatal(err)
			}
			if plain, err := io.ReadAll(r); err != nil || !bytes.Equal(plain, test.object.Body) || len(stored) > len(plain)/2 {
				t.Errorf("%s: %d bytes stored, %d unpacked, %v", test.object.Key, len(stored), len(plain), err)
			}
		}
		if got, err := b.Get(t.Context(), test.object.Key); err != nil || !bytes.Equal(got, test.object.Body) {
			t.Errorf("%s: read %d bytes, %v", test.object.Key, len(got), err)
		}
	}
}

// TestPackedOtherwiseIsTheSame: another version's gzip may give other bytes
// for the same document.
func TestPackedOtherwiseIsTheSame(t *testing.T) {
	t.Parallel()
	c := mototest.Start(t)
	name := newBucket(t, c)
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(ndjson(300)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	key := "documents/ab/abcd.ndjson"
	_, err = c.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: &key, Body: bytes.NewReader(packed.Bytes()), ContentEncoding: aws.String("gzip")})
	if err != nil {
		t.Fatal(err)
	}
	b := bucket.NewS3(c.S3, name, nil)
	if err := b.PutNew(t.Context(), bucket.Object{Key: key, Body: ndjson(300)}); err != nil {
		t.Errorf("the same lines: %v", err)
	}
	if err := b.PutNew(t.Context(), bucket.Object{Key: key, Body: ndjson(301)}); !errors.Is(err, bucket.ErrDiffers) {
		t.Errorf("other lines: %v, want ErrDiffers", err)
	}
}

// meddler changes what comes and goes.
type meddler struct {
	next     http.RoundTripper
	request  func(*http.Request) *http.Response // nil: pass
	response func(*http.Response)
}

func (m *meddler) RoundTrip(r *http.Request) (*http.Response, error) {
	if m.request != nil {
		if answer := m.request(r); answer != nil {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return answer, nil
		}
	}
	out, err := m.next.RoundTrip(r)
	if err == nil && m.response != nil {
		m.response(out)
	}
	return out, err
}

// throughMeddler returns a bucket behind a meddler, and the same bucket behind
// none.
func throughMeddler(t *testing.T, m *meddler) (bad, good *bucket.S3) {
	t.Helper()
	c := mototest.Start(t)
	name := newBucket(t, c)
	meddled := mototest.Start(t, cloud.WithHTTP(func(next http.RoundTripper) http.RoundTripper {
		out := *m
		out.next = next
		return &out
	}))
	return bucket.NewS3(meddled.S3, name, nil), bucket.NewS3(c.S3, name, nil)
}

// TestBytesThatChangedOnTheWayAreNeverReturned: the first answer is spoilt, the
// next is not; and if all are, there is an error.
func TestBytesThatChangedOnTheWayAreNeverReturned(t *testing.T) {
	t.Parallel()
	for _, spoilt := range []int32{1, 1000} {
		var answers atomic.Int32
		bad, good := throughMeddler(t, &meddler{response: func(r *http.Response) {
			if r.Request.Method != http.MethodGet || answers.Add(1) > spoilt {
				return
			}
			body, err := io.ReadAll(r.Body)
			if err == nil && len(body) > 0 {
				body[len(body)/2] ^= 1
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}})
		for _, key := range []string{"csv/a.csv", "documents/ab/a.ndjson"} {
			answers.Store(0)
			if err := good.PutNew(t.Context(), bucket.Object{Key: key, Body: ndjson(300)}); err != nil {
				t.Fatal(err)
			}
			got, err := bad.Get(t.Context(), key)
			if spoilt == 1 && (err != nil || !bytes.Equal(got, ndjson(300))) {
				t.Errorf("%s: %d bytes, %v", key, len(got), err)
			}
			if spoilt > 1 && err == nil {
				t.Errorf("%s: spoilt bytes were returned", key)
			}
		}
	}
}

// race409 is S3's answer to a conditional put that meets another one under
// way. moto never gives it.
const race409 = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>ConditionalRequestConflict</Code>` +
	`<Message>The conditional request cannot succeed due to a conflicting operation against this resource.</Message></Error>`

func TestAPutThatMeetsAnotherIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, refusals := range []int32{1, 3, 1000} {
		var puts atomic.Int32
		bad, good := throughMeddler(t, &meddler{request: func(r *http.Request) *http.Response {
			if r.Method != http.MethodPut || puts.Add(1) > refusals {
				return nil
			}
			if r.Header.Get("If-None-Match") != "*" {
				t.Error("a put without a condition")
			}
			return &http.Response{
				StatusCode: http.StatusConflict, Status: "409 Conflict", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
				Header: http.Header{"Content-Type": {"application/xml"}}, Body: io.NopCloser(strings.NewReader(race409)), ContentLength: int64(len(race409)),
			}
		}})
		err := bad.PutNew(t.Context(), bucket.Object{Key: "snapshots/1", Body: []byte("one")})
		if (err == nil) != (refusals < 1000) {
			t.Errorf("%d refusals: %v", refusals, err)
		}
		if errors.Is(err, bucket.ErrDiffers) {
			t.Errorf("%v: nothing lies there", err)
		}
		if refusals < 1000 {
			if got, err := good.Get(t.Context(), "snapshots/1"); err != nil || string(got) != "one" {
				t.Errorf("%q, %v", got, err)
			}
		}
	}
}

// s3Kinds are the faults that S3 and the way to it can have.
var s3Kinds = []faults.Kind{
	faults.Throttle, faults.Before, faults.After, faults.Cut, faults.Slow, faults.Duplicate, faults.Late,
	faults.Internal, faults.InternalAfter, faults.Unavailable,
}

func throughFaults(t *testing.T, seed uint64, plan string) (bad, good *bucket.S3, network *faults.Network) {
	t.Helper()
	p, err := faults.Parse(seed, plan)
	if err != nil {
		t.Fatal(err)
	}
	if network, err = faults.New(p, faults.WithDelay(0)); err != nil {
		t.Fatal(err)
	}
	c := mototest.Start(t)
	name := newBucket(t, c)
	return bucket.NewS3(mototest.Start(t, cloud.WithHTTP(network.Over)).S3, name, nil), bucket.NewS3(c.S3, name, nil), network
}

// TestAnObjectSurvivesEachFault: whatever happens to the first request, what
// was put is there, and what is there comes back.
func TestAnObjectSurvivesEachFault(t *testing.T) {
	t.Parallel()
	for _, kind := range s3Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			bad, good, network := throughFaults(t, 1, "PutObject#1="+string(kind)+";GetObject#1="+string(kind))
			if err := bad.PutNew(t.Context(), bucket.Object{Key: "snapshots/1", Body: []byte("one")}); err != nil {
				t.Errorf("PutNew: %v", err)
			}
			if got, err := good.Get(t.Context(), "snapshots/1"); err != nil || string(got) != "one" {
				t.Errorf("after PutNew: %q, %v", got, err)
			}
			if err := bad.PutNew(t.Context(), bucket.Object{Key: "snapshots/1", Body: []byte("two")}); !errors.Is(err, bucket.ErrDiffers) {
				t.Errorf("PutNew of other bytes: %v, want ErrDiffers", err)
			}
			if got, err := bad.Get(t.Context(), "snapshots/1"); err != nil || string(got) != "one" {
				t.Errorf("Get: %q, %v", got, err)
			}
			if n := network.Counts().Total(kind); n != 2 {
				t.Errorf("%d faults happened, want 2", n)
			}
		})
	}
}

// TestOtherBytesAreFoundUnderEachFault: the put that finds a rival's object
// says so, whatever happens to its first request.
func TestOtherBytesAreFoundUnderEachFault(t *testing.T) {
	t.Parallel()
	for _, kind := range s3Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			bad, good, _ := throughFaults(t, 1, "PutObject#1="+string(kind))
			if err := good.PutNew(t.Context(), bucket.Object{Key: "snapshots/1", Body: []byte("theirs")}); err != nil {
				t.Fatal(err)
			}
			if err := bad.PutNew(t.Context(), bucket.Object{Key: "snapshots/1", Body: []byte("ours")}); !errors.Is(err, bucket.ErrDiffers) {
				t.Errorf("PutNew: %v, want ErrDiffers", err)
			}
			if got, err := good.Get(t.Context(), "snapshots/1"); err != nil || string(got) != "theirs" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestNoObjectIsWrongOrLostUnderFaults: batches over a network with all faults
// at once. A batch that succeeded is there; nothing is ever there with other
// bytes; a failed batch succeeds when it is put again.
func TestNoObjectIsWrongOrLostUnderFaults(t *testing.T) {
	t.Parallel()
	const seed = 11
	bad, good, network := throughFaults(t, seed, "S3.*:throttle=0.02,before=0.02,after=0.04,cut=0.03,slow=0.02,duplicate=0.03,late=0.03,internal=0.02,internal-after=0.03,unavailable=0.02")
	random := rand.New(rand.NewPCG(seed, 0))
	failed := 0
	for batch := range 3 {
		var objects []bucket.Object
		for i := range 24 {
			body := ndjson(1 + random.IntN(60))
			objects = append(objects, bucket.Object{Key: fmt.Sprintf("documents/%d/%d.ndjson", batch, i), Body: body})
		}
		for tries := 0; ; tries++ {
			err := bad.PutNew(t.Context(), objects...)
			if err == nil {
				break
			}
			failed++
			if errors.Is(err, bucket.ErrDiffers) || tries == 5 {
				t.Fatalf("batch %d: %v", batch, err)
			}
		}
		for i, o := range objects {
			if got, err := good.Get(t.Context(), o.Key); err != nil || !bytes.Equal(got, o.Body) {
				t.Fatalf("%s: %d bytes, want %d, %v", o.Key, len(got), len(o.Body), err)
			}
			if i%6 > 0 {
				continue // the SDK's pauses make these slow
			}
			if got, err := bad.Get(t.Context(), o.Key); err == nil && !bytes.Equal(got, o.Body) {
				t.Fatalf("%s: wrong bytes", o.Key)
			}
		}
	}
	t.Logf("seed %d: %d batches failed and were put again\n%s", seed, failed, network.Counts())
}

func TestABucketThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	c := mototest.Start(t)
	b := bucket.NewS3(c.S3, "nowhere-1234", nil)
	for what, err := range map[string]error{
		"PutNew": b.PutNew(t.Context(), bucket.Object{Key: "a", Body: []byte("x")}),
		"Get":    func() error { _, err := b.Get(t.Context(), "a"); return err }(),
	} {
		if cloud.KindOf(err) != cloud.Missing || !strings.Contains(err.Error(), "nowhere-1234") || errors.Is(err, bucket.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
