package viewers

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
)

// inflater decompresses messages, one at a time, for all viewers of a process:
// without a context between messages they can share it.
type inflater struct {
	in  bytes.Reader
	end bytes.Reader
	z   io.ReadCloser
}

// deflateTail ends a message: what RFC 7692 section 7.2.2 says was cut off, and
// an empty last block so that the reader comes to an end.
var deflateTail = []byte{0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff}

// inflate returns the message that b is compressed from, in memory of its own.
func (i *inflater) inflate(b []byte) ([]byte, error) {
	i.in.Reset(b)
	i.end.Reset(deflateTail)
	from := io.MultiReader(&i.in, &i.end)
	if i.z == nil {
		i.z = flate.NewReader(from)
	} else if err := i.z.(flate.Resetter).Reset(from, nil); err != nil {
		return nil, fmt.Errorf("inflating: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(i.z, maxMessage+1))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, wireError("inflating: %w", err)
	}
	if err != nil {
		return nil, wireError("compressed message is cut short")
	}
	if len(out) > maxMessage {
		return nil, wireError("message above %d bytes", maxMessage)
	}
	return out, nil
}
