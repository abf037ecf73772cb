package bucket_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"tallystream/publish/bucket"
)

// site is a bucket with a few objects, and its handler.
func site(t testing.TB) (*bucket.Directory, http.Handler) {
	t.Helper()
	d := open(t, t.TempDir())
	put(t, d, "index.html", page)
	put(t, d, "contest/president/index.html", "<p>president")
	put(t, d, "latest", note)
	put(t, d, "documents/ab/abcd.ndjson", document)
	put(t, d, "app.js", "export {}")
	put(t, d, "csv/all.csv", strings.Repeat("county,unit,contest,selection,count_type,votes\n", 40_000))
	return d, d.Handler()
}

var (
	page     = "<!doctype html>" + strings.Repeat("<p>results", 300)
	document = strings.Repeat(`{"c":"president","u":"leon","v":[1,2,3]}`+"\n", 100)
)

const note = "example.org/snapshot/v1\nnumber 12\n"

func put(t testing.TB, d *bucket.Directory, key, body string) {
	t.Helper()
	if err := d.Replace(t.Context(), bucket.Object{Key: key, Body: []byte(body)}); err != nil {
		t.Fatal(err)
	}
}

func ask(h http.Handler, method, path string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, "http://example.org/", nil)
	r.URL.Path = path
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestObjectsAreServedWithTheirHeaders(t *testing.T) {
	_, h := site(t)
	for _, test := range []struct{ path, body, contentType, cacheControl string }{
		{"/", page, "text/html; charset=utf-8", bucket.CacheShortly},
		{"/index.html", page, "text/html; charset=utf-8", bucket.CacheShortly},
		{"/contest/president/", "<p>president", "text/html; charset=utf-8", bucket.CacheShortly},
		{"/latest", note, "text/plain; charset=utf-8", bucket.CacheShortly},
		{"/documents/ab/abcd.ndjson", document, "application/x-ndjson", bucket.CacheForever},
		{"/app.js", "export {}", "text/javascript; charset=utf-8", bucket.CacheShortly},
	} {
		for range 2 { // from its file, from memory
			r := ask(h, "GET", test.path)
			if got := bodyOf(t, r); r.StatusCode != http.StatusOK || got != test.body {
				t.Errorf("%s: %s, %.40q", test.path, r.Status, got)
			}
			for name, want := range map[string]string{
				"Content-Type":                test.contentType,
				"Cache-Control":               test.cacheControl,
				"Content-Length":              fmt.Sprint(len(test.body)),
				"X-Content-Type-Options":      "nosniff",
				"Access-Control-Allow-Origin": "*",
				"Content-Encoding":            "",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %s is %q, want %q", test.path, name, got, want)
				}
			}
			if csp := r.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: Content-Security-Policy is %q", test.path, csp)
			}
			if etag := r.Header.Get("ETag"); len(etag) < 10 || strings.HasPrefix(etag, "W/") {
				t.Errorf("%s: ETag is %q, want a strong one", test.path, etag)
			}
		}
	}
}

func TestWhatIsNoObjectIsNotFound(t *testing.T) {
	d, h := site(t)
	put(t, d, "page.html", "x")
	for _, path := range []string{
		"/nothing", "/documents", "/documents/", "/documents/ab", "/contest/president", "/page.html/", "/page.html/x",
		"/../etc/passwd", "/documents/../latest", "//latest", "/.staging/", "/.staging", "/.", "/..", "/./latest", "/latest\x00", "/a\\b", "",
	} {
		want := http.StatusNotFound
		if path == "" {
			want = http.StatusOK
		}
		if r := ask(h, "GET", path); r.StatusCode != want {
			t.Errorf("%q: %s, want %d", path, r.Status, want)
		}
	}
}

func TestOnlyReadingMethodsAreAllowed(t *testing.T) {
	_, h := site(t)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "BREW"} {
		r := ask(h, method, "/latest")
		if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %s, Allow %q", method, r.Status, r.Header.Get("Allow"))
		}
	}
	r := ask(h, "HEAD", "/latest")
	if got := bodyOf(t, r); r.StatusCode != http.StatusOK || got != "" || r.Header.Get("Content-Length") != fmt.Sprint(len(note)) {
		t.Errorf("HEAD: %s, %q, Content-Length %q", r.Status, got, r.Header.Get("Content-Length"))
	}
}

func TestTextIsCompressedForThoseWhoAccept(t *testing.T) {
	d, h := site(t)
	put(t, d, "picture.png", page)
	for _, test := range []struct {
		path, accept string
		want         bool
	}{
		{"/index.html", "gzip, deflate, br, zstd", true},
		{"/index.html", "br;q=1.0, GZIP;q=0.5", true},
		{"/index.html", "gzip; q=0.5", true},
		{"/documents/ab/abcd.ndjson", "gzip", true},
		{"/index.html", "", false},
		{"/index.html", "gzip;q=0", false},
		{"/index.html", "gzip; q=0.000", false},
		{"/index.html", "br, identity, xgzip", false},
		{"/latest", "gzip", false},      // too small
		{"/picture.png", "gzip", false}, // no text
	} {
		r := ask(h, "GET", test.path, "Accept-Encoding", test.accept)
		body := bodyOf(t, r)
		if got := r.Header.Get("Content-Encoding") == "gzip"; got != test.want {
			t.Errorf("%s for %q: compressed %v, want %v", test.path, test.accept, got, test.want)
			continue
		}
		if !test.want {
			continue
		}
		z, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		want := bodyOf(t, ask(h, "GET", test.path))
		if err != nil || string(plain) != want || r.Header.Get("Content-Length") != fmt.Sprint(len(body)) || r.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s for %q: wrong bytes, length or Vary (%v)", test.path, test.accept, err)
		}
		if r.Header.Get("ETag") == ask(h, "GET", test.path).Header.Get("ETag") {
			t.Errorf("%s: both forms have one strong entity tag", test.path)
		}
	}
}

func TestUnchangedObjectsAreNotSentAgain(t *testing.T) {
	_, h := site(t)
	for _, path := range []string{"/", "/documents/ab/abcd.ndjson", "/csv/all.csv"} {
		for _, accept := range []string{"gzip", "identity"} {
			etag := ask(h, "GET", path, "Accept-Encoding", accept).Header.Get("ETag")
			for _, tags := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
				r := ask(h, "GET", path, "Accept-Encoding", accept, "If-None-Match", tags)
				if got := bodyOf(t, r); r.StatusCode != http.StatusNotModified || got != "" || r.Header.Get("ETag") != etag {
					t.Errorf("%s, If-None-Match %s: %s, %d bytes, ETag %s", path, tags, r.Status, len(got), r.Header.Get("ETag"))
				}
			}
			if r := ask(h, "GET", path, "If-None-Match", `"other"`); r.StatusCode != http.StatusOK {
				t.Errorf("%s, another tag: %s", path, r.Status)
			}
		}
	}
}

func TestRangesAreServed(t *testing.T) {
	_, h := site(t)
	for _, path := range []string{"/index.html", "/csv/all.csv"} { // from memory, from the file
		whole := bodyOf(t, ask(h, "GET", path))
		etag := ask(h, "GET", path).Header.Get("ETag")
		r := ask(h, "GET", path, "Range", "bytes=10-19", "Accept-Encoding", "gzip", "If-Range", etag)
		if got := bodyOf(t, r); r.StatusCode != http.StatusPartialContent || got != whole[10:20] {
			t.Errorf("%s: %s, %q, want %q", path, r.Status, got, whole[10:20])
		}
		if r := ask(h, "GET", path, "Range", "bytes=10-19", "If-Range", `"old"`); r.StatusCode != http.StatusOK {
			t.Errorf("%s: range of an older object: %s, want all of the new one", path, r.Status)
		}
		if r := ask(h, "GET", path, "Range", "bytes=99999999-"); r.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("%s: range beyond the end: %s", path, r.Status)
		}
	}
}

// The handler and the publisher may be two processes: what is replaced is
// seen at once either way.
func TestReplacedObjectIsServedAtOnce(t *testing.T) {
	path := t.TempDir()
	publisher := open(t, path)
	handlers := []http.Handler{publisher.Handler(), open(t, path).Handler()}
	for n := range 40 {
		want := fmt.Sprintf("snapshot %06d", n) // all of one length
		put(t, publisher, "latest", want)
		for i, h := range handlers {
			for range 2 {
				if got := bodyOf(t, ask(h, "GET", "/latest")); got != want {
					t.Fatalf("handler %d: %q, want %q", i, got, want)
				}
			}
		}
	}
}

func TestServingWhileReplacingIsWhole(t *testing.T) {
	d := open(t, t.TempDir())
	h := d.Handler()
	versions := map[string]bool{}
	for n := range 20 {
		versions[strings.Repeat(fmt.Sprintf("%04d ", n), 2000)] = true
	}
	put(t, d, "index.html", strings.Repeat("0000 ", 2000))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r := ask(h, "GET", "/")
				b, err := io.ReadAll(r.Body)
				if err != nil || !versions[string(b)] {
					t.Errorf("%s: %d bytes that were never published, %v", r.Status, len(b), err)
					return
				}
			}
		})
	}
	for version := range versions {
		put(t, d, "index.html", version)
	}
	close(stop)
	readers.Wait()
}

func TestCacheIsBounded(t *testing.T) {
	d := open(t, t.TempDir())
	h := d.Handler()
	body := bytes.Repeat([]byte("x"), 1<<20)
	for n := range 60 {
		key := fmt.Sprintf("documents/aa/%d.ndjson", n)
		if err := d.PutNew(t.Context(), bucket.Object{Key: key, Body: body}); err != nil {
			t.Fatal(err)
		}
		if r := ask(h, "GET", "/"+key); r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", key, r.Status)
		}
	}
	if got, limit := d.CachedBytes(), 72<<20; got > limit {
		t.Errorf("cache holds %d bytes, want at most %d", got, limit)
	}
}

func TestPagesMayConnectOnlyWhereTheyShould(t *testing.T) {
	d, _ := site(t)
	csp := func(h http.Handler) string { return ask(h, "GET", "/").Header.Get("Content-Security-Policy") }
	if got := csp(d.Handler("wss://live.example.org")); !strings.Contains(got, "connect-src 'self' wss://live.example.org;") {
		t.Errorf("with an origin: %s", got)
	}
	if got := csp(d.Handler()); !strings.Contains(got, "connect-src 'self' http: https: ws: wss:;") {
		t.Errorf("without an origin: %s", got)
	}
}
