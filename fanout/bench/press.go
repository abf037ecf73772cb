package main

import (
	"fmt"
	"time"

	"tallystream/schemas"
)

// document is what everybody follows.
const document schemas.DocumentID = "contest/president"

// press makes deltas of a stated size of one document that is nothing but the
// changed line, so that hashes are right at no cost.
type press struct {
	size    int
	version schemas.Version
	hash    schemas.Digest
}

func newPress(size int) *press {
	p := &press{size: size}
	p.next(time.Now())
	return p
}

// next is the delta to the next version: size bytes of JSON, if that is enough
// for its members.
func (p *press) next(now time.Time) []byte {
	d := schemas.Delta{Epoch: 1, Document: document, From: p.version, To: p.version + 1, Log: p.version + 1, Micros: now.UnixMicro()}
	line := fmt.Appendf(nil, `{"contest":"president","unit":"franklin","reporting":%d,"units":2500,"votes":{"adams":[%d]`, p.version%2500, p.version)
	d.Lines = [][]byte{line}
	for i := 0; len(d.AppendFrame(nil))+2 < p.size; i++ {
		missing := p.size - len(d.AppendFrame(nil)) - 2
		choice := fmt.Sprintf(`,"c%d":[%d]`, i, uint64(p.version)*7919%1000)
		if len(choice) > missing {
			break
		}
		line = append(line, choice...)
		d.Lines[0] = line
	}
	line = append(line, "}}"...)
	d.Lines[0] = line
	p.version++
	p.hash = schemas.DigestOf(append(line, '\n'))
	d.Hash = p.hash
	return d.AppendFrame(nil)
}

// published announces the newest version.
func (p *press) published() schemas.Published {
	return schemas.Published{
		Epoch: 1, Log: schemas.LogSize(p.version), Snapshot: 1, Micros: time.Now().UnixMicro(),
		Documents: []schemas.Announcement{{Document: document, Version: p.version, Hash: p.hash}},
	}
}

// welcome is what a viewer gets first: hello, and a snap of the version. Hubs
// that are not the fanout send it as it does.
func (p *press) welcome() [][]byte {
	hello := schemas.Hello{Epoch: 1, Log: schemas.LogSize(p.version), Snapshot: 1}
	snap := schemas.Snap{Epoch: 1, Document: document, Version: p.version, Hash: p.hash, Key: "documents/x"}
	return [][]byte{hello.AppendFrame(nil), snap.AppendFrame(nil)}
}
