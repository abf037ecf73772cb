package bucket

import (
	"path"
	"strings"
)

// MaxKey is the longest key, in bytes.
const MaxKey = 512

// maxSegment is what file systems allow between two slashes.
const maxSegment = 255

// ValidKey reports whether key can name an object: segments of letters,
// digits and "._-~+=@,", separated by single slashes, none of them beginning
// with a dot. So no key leaves the bucket, meets a temporary file, or has a
// second spelling.
func ValidKey(key string) bool {
	if len(key) > MaxKey {
		return false
	}
	start := 0
	for i := 0; i <= len(key); i++ {
		if i == len(key) || key[i] == '/' {
			if i == start || i-start > maxSegment || key[start] == '.' {
				return false
			}
			start = i + 1
			continue
		}
		if !validByte(key[i]) {
			return false
		}
	}
	return true
}

func validByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("._-~+=@,", c) >= 0
}

// What HTTP says of an object's age. The bucket is the truth and the live
// channels only hint, so what changes may be kept for a second.
const (
	CacheForever = "public, max-age=31536000, immutable"
	CacheShortly = "public, max-age=1"
)

// onceKinds are the first segments of keys whose objects never change.
var onceKinds = []string{"documents/", "manifests/", "snapshots/", "csv/", "cdf/", "tile/"}

// WrittenOnce reports whether the form of key promises that its object never
// changes: it is of such a kind, or it is named by its content.
func WrittenOnce(key string) bool {
	for _, kind := range onceKinds {
		if strings.HasPrefix(key, kind) {
			return true
		}
	}
	return namedByContent(key)
}

// namedByContent recognises schemas.ContentKey: kind/ab/abcd….extension.
func namedByContent(key string) bool {
	dir, name := path.Split(key)
	name, _, _ = strings.Cut(name, ".")
	if len(name) != 64 || !strings.HasSuffix(dir, "/"+name[:2]+"/") {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// CacheControlOf is the Cache-Control of the object at key.
func CacheControlOf(key string) string {
	if WrittenOnce(key) {
		return CacheForever
	}
	return CacheShortly
}

var contentTypes = map[string]string{
	".html":   "text/html; charset=utf-8",
	".css":    "text/css; charset=utf-8",
	".js":     "text/javascript; charset=utf-8",
	".mjs":    "text/javascript; charset=utf-8",
	".json":   "application/json",
	".ndjson": "application/x-ndjson",
	".csv":    "text/csv; charset=utf-8",
	".xml":    "application/xml",
	".txt":    "text/plain; charset=utf-8",
	".md":     "text/plain; charset=utf-8",
	".svg":    "image/svg+xml",
	".png":    "image/png",
	".ico":    "image/x-icon",
	".webp":   "image/webp",
	".woff2":  "font/woff2",
	".wasm":   "application/wasm",
	".gz":     "application/gzip",
	".zip":    "application/zip",
	".pdf":    "application/pdf",
}

// ContentTypeOf is the media type of the object at key, by its extension.
// Without one it is plain text: notes have none. Neither have tiles of the
// public log, which are bytes (https://c2sp.org/tlog-tiles).
func ContentTypeOf(key string) string {
	if strings.HasPrefix(key, "tile/") {
		return "application/octet-stream"
	}
	extension := path.Ext(key)
	if extension == "" {
		return "text/plain; charset=utf-8"
	}
	if t, ok := contentTypes[extension]; ok {
		return t
	}
	return "application/octet-stream"
}

// compresses reports whether gzip is worth its time on objects of the type.
func compresses(contentType string) bool {
	return strings.HasPrefix(contentType, "text/") || strings.HasPrefix(contentType, "application/json") ||
		contentType == "application/x-ndjson" || contentType == "application/xml" || contentType == "image/svg+xml"
}
