package bucket

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
)

// handler serves a bucket's objects.
type handler struct {
	d     *Directory
	csp   []string
	loads singleflight.Group // so that a crowd reads a file once
}

// Handler serves the objects over HTTP: GET and HEAD, with entity tags,
// ranges, and gzip for text. A path that ends in a slash is that of its
// index.html; there are no listings.
//
// Pages may load scripts, styles and pictures only from where they came
// themselves, and connect besides to the given origins, such as
// "wss://live.example.org". Without any they may connect to all, which their
// live channels on another port need: a page cannot name a port of a host
// that it does not know.
func (d *Directory) Handler(live ...string) http.Handler {
	connect := strings.Join(live, " ")
	if len(live) == 0 {
		connect = "http: https: ws: wss:"
	}
	return &handler{d: d, csp: []string{"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
		"font-src 'self'; manifest-src 'self'; connect-src 'self' " + connect + "; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"}}
}

// Header values that all responses share.
var (
	noSniff        = []string{"nosniff"}
	noReferrer     = []string{"no-referrer"}
	anyOrigin      = []string{"*"}
	crossOrigin    = []string{"cross-origin"}
	exposeETag     = []string{"ETag"}
	acceptRanges   = []string{"bytes"}
	varyEncoding   = []string{"Accept-Encoding"}
	gzipEncoding   = []string{"gzip"}
	plainText      = []string{"text/plain; charset=utf-8"}
	cacheShortly   = []string{CacheShortly}
	allowedMethods = []string{"GET, HEAD"}
)

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header["X-Content-Type-Options"] = noSniff
	header["Referrer-Policy"] = noReferrer
	header["Content-Security-Policy"] = h.csp
	// Published results are anyone's to embed and to check.
	header["Access-Control-Allow-Origin"] = anyOrigin
	header["Access-Control-Expose-Headers"] = exposeETag
	header["Cross-Origin-Resource-Policy"] = crossOrigin
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header["Allow"] = allowedMethods
		h.refuse(w, http.StatusMethodNotAllowed, "refused")
		return
	}
	key, ok := keyOf(r.URL.Path)
	if !ok {
		h.refuse(w, http.StatusNotFound, "not-found")
		return
	}
	o, err := h.find(key)
	switch {
	case errors.Is(err, ErrNotFound):
		h.refuse(w, http.StatusNotFound, "not-found")
	case err != nil:
		h.refuse(w, http.StatusInternalServerError, "failed")
	case o.isLarge():
		h.serveFile(w, r, key, o)
	default:
		h.serve(w, r, o)
	}
}

// keyOf is the key that a path asks for.
func keyOf(path string) (string, bool) {
	key := strings.TrimPrefix(path, "/")
	if key == "" || key[len(key)-1] == '/' {
		key += "index.html"
	}
	return key, ValidKey(key)
}

func (h *handler) refuse(w http.ResponseWriter, status int, outcome string) {
	h.d.metrics.served.WithLabelValues(outcome).Inc()
	header := w.Header()
	header["Content-Type"] = plainText
	header["Cache-Control"] = cacheShortly
	w.WriteHeader(status)
	_, _ = w.Write([]byte(http.StatusText(status) + "\n"))
}

// find looks the object up in memory, then in its file. What may change is
// compared with its file each time: another process may have replaced it.
func (h *handler) find(key string) (*object, error) {
	o := h.d.cache.get(key)
	if o != nil && (o.once || h.isCurrent(key, o)) {
		h.d.metrics.cacheHits.Inc()
		return o, nil
	}
	h.d.metrics.cacheMisses.Inc()
	loaded, err, _ := h.loads.Do(key, func() (any, error) { return h.load(key) })
	if err != nil {
		return nil, err
	}
	return loaded.(*object), nil
}

func (h *handler) isCurrent(key string, o *object) bool {
	if !o.settled {
		return false
	}
	info, err := os.Stat(h.d.file(key))
	return err == nil && sameFile(info, o.info)
}

// sameFile says that nothing was renamed over a file: files of a bucket are
// never written to after they have their names.
func sameFile(a, b os.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

func (h *handler) load(key string) (*object, error) {
	f, info, err := h.open(key)
	if err != nil {
		return nil, err
	}
	o, err := readObject(f, info, key)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	h.d.cache.put(key, o)
	return o, nil
}

func (h *handler) open(key string) (*os.File, os.FileInfo, error) {
	f, err := os.Open(h.d.file(key))
	if isAbsent(err) {
		return nil, nil, ErrNotFound
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotFound
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// serve answers from memory.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, o *object) {
	header := w.Header()
	header["Content-Type"] = o.contentType
	header["Cache-Control"] = o.cacheControl
	v := o.plain
	if compresses(o.contentType[0]) {
		header["Vary"] = varyEncoding
		if r.Header["Range"] == nil && acceptsGzip(r.Header["Accept-Encoding"]) {
			if c := o.compressed(); c.body != nil {
				v = c
				header["Content-Encoding"] = gzipEncoding
			}
		}
	}
	header["Etag"] = v.etag
	if isConditional(r) {
		h.d.metrics.servedOK.Inc()
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(v.body))
		return
	}
	if tags := r.Header["If-None-Match"]; tags != nil && matches(tags, v.etag[0]) {
		h.d.metrics.servedSame.Inc()
		delete(header, "Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.d.metrics.servedOK.Inc()
	header["Accept-Ranges"] = acceptRanges
	header["Content-Length"] = v.length
	if r.Method == http.MethodHead {
		return
	}
	n, _ := w.Write(v.body) // an error is the client's leaving
	h.d.metrics.servedBytes.Add(float64(n))
}

// serveFile answers with a large object, which the kernel sends.
func (h *handler) serveFile(w http.ResponseWriter, r *http.Request, key string, o *object) {
	f, info, err := h.open(key)
	if err != nil {
		h.refuse(w, http.StatusNotFound, "not-found")
		return
	}
	defer f.Close()
	if !sameFile(info, o.info) {
		if o, err = readObject(f, info, key); err != nil {
			h.refuse(w, http.StatusInternalServerError, "failed")
			return
		}
	}
	h.d.metrics.servedOK.Inc()
	header := w.Header()
	header["Content-Type"] = o.contentType
	header["Cache-Control"] = o.cacheControl
	header["Etag"] = o.plain.etag
	http.ServeContent(w, r, "", time.Time{}, f)
}

// isConditional says that the request needs the rare rules of HTTP.
func isConditional(r *http.Request) bool {
	return r.Header["Range"] != nil || r.Header["If-Match"] != nil || r.Header["If-Range"] != nil
}

// matches reports whether the tag is among those of an If-None-Match.
func matches(headers []string, tag string) bool {
	for _, header := range headers {
		if header == tag {
			return true
		}
		for one := range strings.SplitSeq(header, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// acceptsGzip reads Accept-Encoding as far as gzip goes.
func acceptsGzip(headers []string) bool {
	for _, header := range headers {
		for one := range strings.SplitSeq(header, ",") {
			coding, quality, _ := strings.Cut(strings.TrimSpace(one), ";")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				return !isZero(quality)
			}
		}
	}
	return false
}

// isZero recognises "q=0" and its longer spellings.
func isZero(parameter string) bool {
	name, value, ok := strings.Cut(strings.TrimSpace(parameter), "=")
	return ok && strings.EqualFold(strings.TrimSpace(name), "q") && strings.Trim(strings.TrimSpace(value), "0.") == ""
}
