package wire

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/flate"
)

// deflateLevel: see the README for what the others cost and save.
const deflateLevel = 3

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, deflateLevel)
	if err != nil {
		panic(err) // only for a level that is none
	}
	return w
}}

// Deflate compresses the payload of a message, RFC 7692 section 7.2.1, without
// a context from the messages before it: the result is the same for everybody.
func Deflate(text []byte) ([]byte, error) {
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("deflating a frame: %w", err)
	}
	if err := w.Flush(); err != nil {
		return nil, fmt.Errorf("deflating a frame: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff}), nil
}
