// Package lease chooses who works on what: each name has at most one holder,
// the dead lose theirs, and the living have about the same number each.
//
// A lease only chooses. What may be written is decided elsewhere, by
// compare-and-swap of the ledger's heads: a holder that was stopped between
// asking Held and writing may write while its successor works already.
//
// Invariant: a name changes hands only by a swap from the value that its new
// holder has read. A keeper believes that it holds a name only after such a
// swap of its own, and for a time that ends before any other may take the name
// for abandoned, as long as their clocks run at about the same rate.
package lease

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Lease is what is known of a name.
type Lease struct {
	// Owner is who holds the name, or "" if nobody does.
	Owner string
	// Counter makes the lease's value another one each time its owner writes
	// it. A keeper never writes one twice.
	Counter uint64
	// Behind is how far the work on the name lags, as its owner last said;
	// negative if it has not said so.
	Behind time.Duration
}

// version of the values in the register.
const version = 1

// value is a Lease in the register: one line of JSON, to be read by people.
//
//	{"lease":1,"owner":"host-17","counter":42,"behind_ms":120}
type value struct {
	Version  int    `json:"lease"`
	Owner    string `json:"owner"`
	Counter  uint64 `json:"counter"`
	BehindMS *int64 `json:"behind_ms,omitempty"`
}

// encode returns the value of l.
func (l Lease) encode() []byte {
	v := value{Version: version, Owner: l.Owner, Counter: l.Counter}
	if l.Behind >= 0 {
		ms := l.Behind.Milliseconds()
		v.BehindMS = &ms
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a struct of two strings and two numbers
	}
	return b
}

// maxBehind bounds what a value can say, so that adding to it cannot overflow.
const maxBehind = 1000 * time.Hour

// Parse reads a value from the register.
func Parse(b []byte) (Lease, error) {
	var v value
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return Lease{}, fmt.Errorf("reading lease: %w", err)
	}
	if d.InputOffset() != int64(len(b)) {
		return Lease{}, errors.New("reading lease: something follows the value")
	}
	if v.Version != version {
		return Lease{}, fmt.Errorf("reading lease: version %d, this program knows %d", v.Version, version)
	}
	l := Lease{Owner: v.Owner, Counter: v.Counter, Behind: -1}
	if v.BehindMS != nil {
		if *v.BehindMS < 0 || *v.BehindMS > maxBehind.Milliseconds() {
			return Lease{}, fmt.Errorf("reading lease: behind_ms is %d", *v.BehindMS)
		}
		l.Behind = time.Duration(*v.BehindMS) * time.Millisecond
	}
	return l, nil
}

// Names of a group of keepers in the register, behind the group's prefix.
const (
	leasePart  = "lease/"  // then the name that is leased
	workerPart = "worker/" // then the keeper's name: that it lives
)
