package schemas

import (
	"bytes"
	"errors"
	"fmt"
)

// PeekSnapshot reads a snapshot note without checking its signature: for those
// who only want to know where to look next, and check what they find by other
// means.
func PeekSnapshot(b []byte) (*Snapshot, error) {
	end := bytes.Index(b, []byte("\n\n"))
	if end < 0 {
		return nil, fmt.Errorf("reading snapshot: %w", errors.New("no signature"))
	}
	s, err := parseSnapshot(string(b[:end+1]))
	if err != nil {
		return nil, fmt.Errorf("reading snapshot: %w", err)
	}
	return s, nil
}
