package bucket

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

const (
	encodingGzip = "gzip"
	// encodingLevel: README.md says what others cost.
	encodingLevel = gzip.BestSpeed
	// encodedSize is from where on compressing saves packets.
	encodedSize = 1 << 10
)

// encode returns the bytes to store, and their content encoding, "" for none.
// Only NDJSON is stored compressed: README.md says why. The same bytes need
// not always give the same stored ones, so what is compared is what was
// published.
func encode(body []byte, contentType string) (stored []byte, encoding string) {
	if contentType != "application/x-ndjson" || len(body) < encodedSize {
		return body, ""
	}
	var b bytes.Buffer
	b.Grow(len(body) / 4)
	w, err := gzip.NewWriterLevel(&b, encodingLevel)
	if err == nil {
		_, err = w.Write(body)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil || b.Len() > len(body)*9/10 { // writing to memory does not fail
		return body, ""
	}
	return b.Bytes(), encodingGzip
}

// decode is the inverse.
func decode(stored []byte, encoding string) ([]byte, error) {
	switch encoding {
	case "":
		return stored, nil
	case encodingGzip:
	default:
		return nil, fmt.Errorf("unknown content encoding %q", encoding)
	}
	r, err := gzip.NewReader(bytes.NewReader(stored))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(r, MaxObject+1))
	if err != nil {
		return nil, err
	}
	if len(body) > MaxObject {
		return nil, errors.New("too large when unpacked")
	}
	return body, r.Close()
}
