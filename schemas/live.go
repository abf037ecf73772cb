package schemas

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// LiveProtocol is the number in every frame's "p".
const LiveProtocol = 1

// Frames of the live protocol are JSON objects, one a WebSocket text message
// or one Server-Sent Event. Server to client:
//
//	hello  {"p":1,"t":"hello","e":EPOCH,"n":LOGSIZE,"s":SNAPSHOT,"x":true}
//	snap   {"p":1,"t":"snap","e":EPOCH,"g":DOCUMENT,"v":VERSION,"h":SHA256,"u":KEY}
//	delta  {"p":1,"t":"delta","e":EPOCH,"g":DOCUMENT,"b":FROM,"v":TO,"n":LOGSIZE,"ts":MICROS,"h":SHA256,"l":[LINES]}
//	ping   {"p":1,"t":"ping","e":EPOCH,"n":LOGSIZE,"s":SNAPSHOT,"ts":MICROS,"x":true}
//	bye    {"p":1,"t":"bye","r":REASON,"w":MILLISECONDS}
//
// Client to server: {"p":1,"t":"sub","g":[DOCUMENTS],"e":EPOCH,"v":{DOCUMENT:VERSION}} and
// {"p":1,"t":"unsub","g":[DOCUMENTS]}.
//
// "x" stands only while publication is paused; why, the object PauseKey says.
// "u" is the bucket key of the document's bytes. A viewer that gets a snap
// fetches it unless it has that version; a version is only comparable within
// one epoch. Client rule for a delta of the viewer's epoch with version m in hand:
// v <= m: drop; b <= m < v: put the lines in, check that SHA-256 of the
// document is h; b > m: fetch the snapshot and go on.
type (
	// FrameKind is a frame's "t".
	FrameKind string
	// Delta is a change of one document: whole new lines, so that two deltas
	// in a row make one by union (the first's From, the last's To and Hash).
	Delta struct {
		Epoch    Epoch
		Document DocumentID
		From, To Version
		Log      LogSize
		Micros   int64    // the publisher's time, microseconds since 1970
		Hash     Digest   // of the document at To
		Lines    [][]byte // sorted, without newlines
	}
	// Announcement tells the fanout which bytes are published: one document
	// of a new snapshot. It is not sent to viewers in this form.
	Announcement struct {
		Document DocumentID `json:"g"`
		Version  Version    `json:"v"`
		Hash     Digest     `json:"h"`
	}
	// Published is what the publisher says on the bus after each snapshot:
	// the documents that changed since the last one.
	Published struct {
		Epoch     Epoch          `json:"e"`
		Log       LogSize        `json:"n"`
		Snapshot  SnapshotNumber `json:"s"`
		Micros    int64          `json:"ts"`
		Paused    bool           `json:"x,omitempty"` // a pause is in force (PauseKey)
		Documents []Announcement `json:"d,omitempty"`
	}
)

// The kinds of frames.
const (
	FrameHello       FrameKind = "hello"
	FrameSnap        FrameKind = "snap"
	FrameDelta       FrameKind = "delta"
	FramePing        FrameKind = "ping"
	FrameBye         FrameKind = "bye"
	FrameSubscribe   FrameKind = "sub"
	FrameUnsubscribe FrameKind = "unsub"
)

// AppendFrame appends the delta as a frame.
func (d *Delta) AppendFrame(dst []byte) []byte {
	dst = append(dst, `{"p":1,"t":"delta","e":`...)
	dst = strconv.AppendUint(dst, uint64(d.Epoch), 10)
	dst = append(dst, `,"g":"`...)
	dst = append(dst, d.Document...)
	dst = append(dst, `","b":`...)
	dst = strconv.AppendUint(dst, uint64(d.From), 10)
	dst = append(dst, `,"v":`...)
	dst = strconv.AppendUint(dst, uint64(d.To), 10)
	dst = append(dst, `,"n":`...)
	dst = strconv.AppendUint(dst, uint64(d.Log), 10)
	dst = append(dst, `,"ts":`...)
	dst = strconv.AppendInt(dst, d.Micros, 10)
	dst = append(dst, `,"h":"`...)
	dst = append(dst, d.Hash.String()...)
	dst = append(dst, `","l":[`...)
	for i, l := range d.Lines {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, l...)
	}
	return append(dst, "]}"...)
}

// deltaFrame mirrors the members of a delta frame.
type deltaFrame struct {
	Protocol int               `json:"p"`
	Kind     FrameKind         `json:"t"`
	Epoch    Epoch             `json:"e"`
	Document DocumentID        `json:"g"`
	From     Version           `json:"b"`
	To       Version           `json:"v"`
	Log      LogSize           `json:"n"`
	Micros   int64             `json:"ts"`
	Hash     Digest            `json:"h"`
	Lines    []json.RawMessage `json:"l"`
}

// ParseDelta reads a delta frame. Lines alias nothing of b.
func ParseDelta(b []byte) (*Delta, error) {
	var f deltaFrame
	if err := readJSON(b, &f); err != nil {
		return nil, fmt.Errorf("reading delta frame: %w", err)
	}
	if f.Protocol != LiveProtocol || f.Kind != FrameDelta {
		return nil, fmt.Errorf("reading delta frame: p %d t %q, want 1 and delta", f.Protocol, f.Kind)
	}
	if _, err := ParseDocumentID(string(f.Document)); err != nil {
		return nil, fmt.Errorf("reading delta frame: %w", err)
	}
	if f.Micros < 0 {
		return nil, fmt.Errorf("reading delta frame: ts is negative")
	}
	if f.From >= f.To {
		return nil, fmt.Errorf("reading delta frame: b %d is not below v %d", f.From, f.To)
	}
	d := &Delta{Epoch: f.Epoch, Document: f.Document, From: f.From, To: f.To, Log: f.Log, Micros: f.Micros, Hash: f.Hash}
	for _, l := range f.Lines {
		if _, err := LineKey(l); err != nil {
			return nil, fmt.Errorf("reading delta frame: %w", err)
		}
		d.Lines = append(d.Lines, l)
	}
	return d, nil
}
