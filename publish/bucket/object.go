package bucket

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// object is an object in memory, ready to be served. Its header values are
// shared by all responses: never write to them.
type object struct {
	once         bool        // its bytes never change
	info         os.FileInfo // of the file that body was read from
	settled      bool        // a later file at the key will differ in info
	contentType  []string
	cacheControl []string
	plain        variant
	compressed   func() variant // without body where gzip is of no use
}

// variant is one form of an object's bytes.
type variant struct {
	body   []byte
	etag   []string
	length []string
}

// settling is longer than the tick of a file system's clock. A file younger
// than that may be replaced by one with the same size, time and even number,
// if its own number is used again.
const settling = 50 * time.Millisecond

// leastCompressed: below it gzip saves no packet.
const leastCompressed = 1024

// readObject reads the object at a valid key from its file. A large one comes
// without its body.
func readObject(f *os.File, info os.FileInfo, key string) (*object, error) {
	contentType := ContentTypeOf(key)
	o := &object{
		once:         WrittenOnce(key),
		info:         info,
		settled:      time.Since(info.ModTime()) > settling,
		contentType:  []string{contentType},
		cacheControl: []string{CacheControlOf(key)},
		compressed:   func() variant { return variant{} },
	}
	if info.Size() > cachedObject {
		tag := strconv.FormatInt(info.Size(), 36) + "-" + strconv.FormatInt(info.ModTime().UnixNano(), 36)
		o.plain.etag = []string{`"` + tag + `"`}
		return o, nil
	}
	body := make([]byte, info.Size())
	if _, err := io.ReadFull(f, body); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	tag := hex.EncodeToString(sum[:16])
	o.plain = newVariant(body, tag)
	if compresses(contentType) && len(body) >= leastCompressed {
		o.compressed = sync.OnceValue(func() variant { return compress(body, tag+"-gzip") })
	}
	return o, nil
}

func newVariant(body []byte, tag string) variant {
	return variant{body: body, etag: []string{`"` + tag + `"`}, length: []string{strconv.Itoa(len(body))}}
}

// compress has no errors to report: it writes to memory.
func compress(body []byte, tag string) variant {
	var b bytes.Buffer
	b.Grow(len(body) / 3)
	w := gzip.NewWriter(&b)
	_, err := w.Write(body)
	if err != nil || w.Close() != nil || b.Len() >= len(body) {
		return variant{}
	}
	return newVariant(bytes.Clone(b.Bytes()), tag)
}

// isLarge says that the object must be served from its file.
func (o *object) isLarge() bool { return o.info.Size() > cachedObject }

// cost is what the object takes in memory, both variants and the rest.
func (o *object) cost() int { return 2*len(o.plain.body) + 1024 }
