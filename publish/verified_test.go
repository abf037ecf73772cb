package publish_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/publish/verify"
	"tallystream/schemas"
)

// site is the bucket as everybody sees it.
type site struct{ *strictBucket }

func (s site) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := s.strictBucket.Get(ctx, key)
	if errors.Is(err, bucket.ErrNotFound) {
		err = log.ErrAbsent
	}
	return b, err
}

// checkVerified has `tallystream verify` look at a bucket as a process left it
// behind: whatever is found there is wrong. Before the first snapshot is found
// nothing is published yet; a snapshot whose leaf is public and which is not found
// yet is said to be unchecked.
func checkVerified(t testing.TB, store *strictBucket, e *election) *verify.Report {
	t.Helper()
	if _, err := store.Get(t.Context(), schemas.LatestKey); errors.Is(err, bucket.ErrNotFound) {
		return nil
	}
	r, _, err := verify.Run(t.Context(), verify.Options{Source: site{store}, Key: e.vkey, All: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Found > 0 {
		t.Errorf("what a process left behind does not verify:\n%s", printed(r))
	}
	return r
}

// mustVerify wants a bucket to be verified whole.
func mustVerify(t testing.TB, store *strictBucket, e *election) {
	t.Helper()
	if r := checkVerified(t, store, e); r == nil || r.Verdict != verify.Verified {
		t.Errorf("not verified:\n%s", printed(r))
	}
}

func printed(r *verify.Report) string {
	var b bytes.Buffer
	if r != nil {
		_ = r.Print(&b) // to memory
	}
	return b.String()
}
