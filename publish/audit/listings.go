package audit

import (
	"bytes"
	"fmt"

	"tallystream/schemas"
)

// listing compares one of the two public lists with the count, line by line:
// each entry has its line, in order, and the line says of it what the count does.
func (p *publication) listing(name string, b []byte, want [][]byte, read func([]byte) error) {
	fault := func(format string, args ...any) {
		p.differ(Difference{Kind: KindListing, Where: name, What: fmt.Sprintf(format, args...)})
	}
	p.tell(func(r *Report) { r.Documents++ })
	got := bytes.SplitAfter(b, []byte{'\n'})
	if n := len(got); len(got[n-1]) == 0 {
		got = got[:n-1]
	}
	for i, line := range got {
		if err := read(bytes.TrimSuffix(line, []byte{'\n'})); err != nil {
			fault("line %d: %v", i+1, err)
			continue
		}
		p.tell(func(r *Report) { r.Compared++ })
		switch {
		case i >= len(want):
			fault("line %d is too many: %s", i+1, clip(line))
		case !bytes.Equal(line, want[i]):
			fault("line %d is %s, by the count it is %s", i+1, clip(line), clip(want[i]))
		}
	}
	for i := len(got); i < len(want); i++ {
		fault("line %d is missing: %s", i+1, clip(want[i]))
	}
}

func clip(b []byte) string {
	const most = 400
	b = bytes.TrimSuffix(b, []byte{'\n'})
	if len(b) > most {
		return string(b[:most]) + "..."
	}
	return string(b)
}

// corrections are the lines that the list of movements must have.
func (c *count) corrections() (out [][]byte) {
	for p := range c.moves {
		for i := range c.moves[p] {
			out = append(out, c.moves[p][i].AppendLine(nil))
		}
	}
	return out
}

// holdLines are the lines that the list of holds must have.
func (c *count) holdLines() (out [][]byte) {
	for p := range c.holds {
		for _, h := range c.holds[p] {
			x := schemas.HeldEntry{
				Code: h.code, Why: h.code.Explanation(), Digest: h.digest, Partition: h.partition, Seq: h.seq, State: h.state, Finding: h.finding, Twin: h.twin,
			}
			if h.unit >= 0 {
				u := &c.forms.units[h.unit]
				x.Unit, x.County, x.Revision = u.id, c.counties[u.county].id, h.revision
			}
			out = append(out, x.AppendLine(nil))
		}
	}
	return out
}

func readMovement(b []byte) error { _, err := schemas.ParseMovement(b); return err }

func readHold(b []byte) error { _, err := schemas.ParseHeldEntry(b); return err }
