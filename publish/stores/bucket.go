package stores

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"path"
	"strings"

	"tallystream/publish/bucket"
)

// Bucket is a bucket that can also be served over HTTP.
type Bucket interface {
	PutNew(ctx context.Context, objects ...bucket.Object) error
	Replace(ctx context.Context, objects ...bucket.Object) error
	Get(ctx context.Context, key string) ([]byte, error)
	// Handler serves the objects; live are origins of live channels.
	Handler(live ...string) http.Handler
}

// served is a bucket in S3 that is served from here: for rehearsals. In
// production a CDN stands before the bucket, and this is not used.
type served struct{ *bucket.S3 }

func (s served) Handler(...string) http.Handler { return http.HandlerFunc(s.serve) }

func (s served) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	key := strings.TrimPrefix(r.URL.Path, "/")
	if key == "" || strings.HasSuffix(key, "/") {
		key += "index.html"
	}
	body, err := s.Get(r.Context(), key)
	switch {
	case errors.Is(err, bucket.ErrNotFound), errors.Is(err, bucket.ErrKey):
		http.NotFound(w, r)
		return
	case err != nil:
		http.Error(w, "the bucket does not answer", http.StatusBadGateway)
		return
	}
	kind := mime.TypeByExtension(path.Ext(key))
	if kind == "" {
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", bucket.CacheShortly)
	_, _ = w.Write(body) // a reader that is gone asks again
}
