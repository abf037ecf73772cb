package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// The frames that are not deltas. Programs of ours write the members of every
// frame in the order that is shown beside FrameKind, with "p" and "t" first;
// a reader of server frames may count on that, a reader of client frames may
// not (browsers write them).
type (
	// Hello is the first frame of a connection: how far the fanout is.
	Hello struct {
		Epoch    Epoch          `json:"e"`
		Log      LogSize        `json:"n"`
		Snapshot SnapshotNumber `json:"s"`
		Paused   bool           `json:"x,omitempty"`
	}
	// Snap names the published bytes of a document.
	Snap struct {
		Epoch    Epoch      `json:"e"`
		Document DocumentID `json:"g"`
		Version  Version    `json:"v"`
		Hash     Digest     `json:"h"`
		Key      string     `json:"u"`
	}
	// Ping says that the connection lives, and how far the fanout is.
	Ping struct {
		Epoch    Epoch          `json:"e"`
		Log      LogSize        `json:"n"`
		Snapshot SnapshotNumber `json:"s"`
		Micros   int64          `json:"ts"`
		Paused   bool           `json:"x,omitempty"`
	}
	// Bye is the last frame of a connection that the server ends in good
	// order. The viewer waits that long before it comes back.
	Bye struct {
		Reason       string `json:"r"`
		Milliseconds int64  `json:"w"`
	}
	// Subscribe asks for documents. Versions, of Epoch, say what the viewer
	// already has.
	Subscribe struct {
		Documents []DocumentID
		Epoch     Epoch
		Versions  map[DocumentID]Version
	}
	// Unsubscribe ends the following of documents.
	Unsubscribe struct{ Documents []DocumentID }
)

// AllDocuments in a subscription stands for every document. A server grants
// it to media only.
const AllDocuments DocumentID = "*"

// ErrFrame is in every error about a frame that cannot be read.
var ErrFrame = errors.New("live frame")

func frameError(kind FrameKind, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrFrame, kind, fmt.Errorf(format, args...))
}

func appendFrameStart(dst []byte, kind FrameKind) []byte {
	dst = append(dst, `{"p":1,"t":"`...)
	dst = append(dst, kind...)
	return append(dst, '"')
}

func appendMember(dst []byte, name string, n uint64) []byte {
	dst = append(dst, name...)
	return strconv.AppendUint(dst, n, 10)
}

// AppendFrame appends the hello as a frame.
func (h *Hello) AppendFrame(dst []byte) []byte {
	dst = appendFrameStart(dst, FrameHello)
	dst = appendMember(dst, `,"e":`, uint64(h.Epoch))
	dst = appendMember(dst, `,"n":`, uint64(h.Log))
	dst = appendMember(dst, `,"s":`, uint64(h.Snapshot))
	return appendPaused(dst, h.Paused)
}

// appendPaused ends a frame.
func appendPaused(dst []byte, paused bool) []byte {
	if paused {
		dst = append(dst, `,"x":true`...)
	}
	return append(dst, '}')
}

// AppendFrame appends the snap as a frame.
func (s *Snap) AppendFrame(dst []byte) []byte {
	dst = appendFrameStart(dst, FrameSnap)
	dst = appendMember(dst, `,"e":`, uint64(s.Epoch))
	dst = append(dst, `,"g":"`...)
	dst = append(dst, s.Document...)
	dst = appendMember(dst, `","v":`, uint64(s.Version))
	dst = append(dst, `,"h":"`...)
	dst = append(dst, s.Hash.String()...)
	dst = append(dst, `","u":"`...)
	dst = append(dst, s.Key...)
	return append(dst, `"}`...)
}

// AppendFrame appends the ping as a frame.
func (p *Ping) AppendFrame(dst []byte) []byte {
	dst = appendFrameStart(dst, FramePing)
	dst = appendMember(dst, `,"e":`, uint64(p.Epoch))
	dst = appendMember(dst, `,"n":`, uint64(p.Log))
	dst = appendMember(dst, `,"s":`, uint64(p.Snapshot))
	dst = append(dst, `,"ts":`...)
	dst = strconv.AppendInt(dst, p.Micros, 10)
	return appendPaused(dst, p.Paused)
}

// AppendFrame appends the bye as a frame. The reason is a word of ours: it is
// not escaped.
func (b *Bye) AppendFrame(dst []byte) []byte {
	dst = appendFrameStart(dst, FrameBye)
	dst = append(dst, `,"r":"`...)
	dst = append(dst, b.Reason...)
	dst = append(dst, `","w":`...)
	dst = strconv.AppendInt(dst, b.Milliseconds, 10)
	return append(dst, '}')
}

// AppendFrame appends the subscription as a frame. Versions of documents that
// are not asked for are left out.
func (s *Subscribe) AppendFrame(dst []byte) []byte {
	dst = appendFrameStart(dst, FrameSubscribe)
	dst = appendDocuments(dst, s.Documents)
	dst = appendMember(dst, `,"e":`, uint64(s.Epoch))
	dst = append(dst, `,"v":{`...)
	first := true
	for _, g := range s.Documents {
		v, ok := s.Versions[g]
		if !ok {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, '"')
		dst = append(dst, g...)
		dst = appendMember(dst, `":`, uint64(v))
	}
	return append(dst, "}}"...)
}

// AppendFrame appends the end of a subscription as a frame.
func (u *Unsubscribe) AppendFrame(dst []byte) []byte {
	dst = appendFrameStart(dst, FrameUnsubscribe)
	return append(appendDocuments(dst, u.Documents), '}')
}

func appendDocuments(dst []byte, documents []DocumentID) []byte {
	dst = append(dst, `,"g":[`...)
	for i, g := range documents {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, g...)
		dst = append(dst, '"')
	}
	return append(dst, ']')
}

const framePrefix = `{"p":1,"t":"`

// KindOfFrame is the kind of a frame that a program of ours wrote; it looks
// at the first members only.
func KindOfFrame(frame []byte) (FrameKind, error) {
	rest, ok := bytes.CutPrefix(frame, []byte(framePrefix))
	if end := bytes.IndexByte(rest, '"'); ok && end >= 0 {
		switch kind := FrameKind(rest[:end]); kind {
		case FrameHello, FrameSnap, FrameDelta, FramePing, FrameBye, FrameSubscribe, FrameUnsubscribe:
			return kind, nil
		}
	}
	return "", fmt.Errorf("%w: want one that starts with protocol %d and a known kind", ErrFrame, LiveProtocol)
}

// frameHead is embedded into what a frame's JSON is read into.
type frameHead struct {
	Protocol int       `json:"p"`
	Kind     FrameKind `json:"t"`
}

func (h *frameHead) head() *frameHead { return h }

// readFrame reads one JSON object, and nothing after it, into dst.
func readFrame(b []byte, kind FrameKind, dst interface{ head() *frameHead }) error {
	if err := readJSON(b, dst); err != nil {
		return frameError(kind, "%w", err)
	}
	if h := dst.head(); h.Protocol != LiveProtocol || h.Kind != kind {
		return frameError(kind, "p is %d and t %q", h.Protocol, clip(string(h.Kind)))
	}
	return nil
}

// ParseHello reads a hello frame.
func ParseHello(b []byte) (*Hello, error) {
	var f struct {
		frameHead
		Hello
	}
	if err := readFrame(b, FrameHello, &f); err != nil {
		return nil, err
	}
	return &f.Hello, nil
}

// ParseSnap reads a snap frame.
func ParseSnap(b []byte) (*Snap, error) {
	var f struct {
		frameHead
		Snap
	}
	if err := readFrame(b, FrameSnap, &f); err != nil {
		return nil, err
	}
	if _, err := ParseDocumentID(string(f.Document)); err != nil {
		return nil, frameError(FrameSnap, "%w", err)
	}
	if f.Key == "" || f.Hash.IsZero() {
		return nil, frameError(FrameSnap, "want a key and a hash")
	}
	return &f.Snap, nil
}

// ParsePing reads a ping frame.
func ParsePing(b []byte) (*Ping, error) {
	var f struct {
		frameHead
		Ping
	}
	if err := readFrame(b, FramePing, &f); err != nil {
		return nil, err
	}
	if f.Micros < 0 {
		return nil, frameError(FramePing, "ts is negative")
	}
	return &f.Ping, nil
}

// ParseBye reads a bye frame.
func ParseBye(b []byte) (*Bye, error) {
	var f struct {
		frameHead
		Bye
	}
	if err := readFrame(b, FrameBye, &f); err != nil {
		return nil, err
	}
	if f.Milliseconds < 0 {
		return nil, frameError(FrameBye, "w is negative")
	}
	return &f.Bye, nil
}

// ParseClientFrame reads a frame that a client sent: one of the two results
// is not nil.
func ParseClientFrame(b []byte) (*Subscribe, *Unsubscribe, error) {
	var kind struct {
		Kind FrameKind `json:"t"`
	}
	if err := json.Unmarshal(b, &kind); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	switch kind.Kind {
	case FrameSubscribe:
		var f struct {
			frameHead
			Documents []string           `json:"g"`
			Epoch     Epoch              `json:"e,omitempty"`
			Versions  map[string]Version `json:"v,omitempty"`
		}
		if err := readFrame(b, FrameSubscribe, &f); err != nil {
			return nil, nil, err
		}
		documents, err := parseDocuments(FrameSubscribe, f.Documents)
		if err != nil {
			return nil, nil, err
		}
		s := &Subscribe{Documents: documents, Epoch: f.Epoch, Versions: make(map[DocumentID]Version, len(f.Versions))}
		for _, g := range documents {
			if v, ok := f.Versions[string(g)]; ok {
				s.Versions[g] = v
			}
		}
		return s, nil, nil
	case FrameUnsubscribe:
		var f struct {
			frameHead
			Documents []string `json:"g"`
		}
		if err := readFrame(b, FrameUnsubscribe, &f); err != nil {
			return nil, nil, err
		}
		documents, err := parseDocuments(FrameUnsubscribe, f.Documents)
		if err != nil {
			return nil, nil, err
		}
		return nil, &Unsubscribe{Documents: documents}, nil
	}
	return nil, nil, fmt.Errorf("%w: t is %q, want %s or %s", ErrFrame, clip(string(kind.Kind)), FrameSubscribe, FrameUnsubscribe)
}

func parseDocuments(kind FrameKind, names []string) ([]DocumentID, error) {
	if len(names) == 0 {
		return nil, frameError(kind, "g names no document")
	}
	out := make([]DocumentID, len(names))
	for i, name := range names {
		if name == string(AllDocuments) {
			out[i] = AllDocuments
			continue
		}
		g, err := ParseDocumentID(name)
		if err != nil {
			return nil, frameError(kind, "%w", err)
		}
		out[i] = g
	}
	return out, nil
}

// DeltaHeader is a delta frame without its lines.
type DeltaHeader struct {
	Epoch    Epoch
	Document DocumentID
	From, To Version
	Log      LogSize
	Micros   int64
	Hash     Digest
}

// Header is the delta without its lines.
func (d *Delta) Header() DeltaHeader {
	return DeltaHeader{Epoch: d.Epoch, Document: d.Document, From: d.From, To: d.To, Log: d.Log, Micros: d.Micros, Hash: d.Hash}
}

// ReadDeltaHeader reads the head of a delta frame as AppendFrame writes it,
// and returns the bytes of its lines, still joined by commas: SplitLines
// takes them apart. It costs the same for a frame of one line and of a
// thousand. The lines alias frame.
func ReadDeltaHeader(frame []byte) (h DeltaHeader, lines []byte, err error) {
	r := frameReader{rest: frame}
	r.expect(`{"p":1,"t":"delta","e":`)
	h.Epoch = Epoch(r.number())
	r.expect(`,"g":"`)
	document := r.until('"')
	r.expect(`","b":`)
	h.From = Version(r.number())
	r.expect(`,"v":`)
	h.To = Version(r.number())
	r.expect(`,"n":`)
	h.Log = LogSize(r.number())
	r.expect(`,"ts":`)
	micros := r.number()
	r.expect(`,"h":"`)
	hash := r.until('"')
	r.expect(`","l":[`)
	lines, closed := bytes.CutSuffix(r.rest, []byte("]}"))
	if r.failed || !closed || micros > math.MaxInt64 {
		return DeltaHeader{}, nil, frameError(FrameDelta, "want the members p t e g b v n ts h l in this order")
	}
	h.Micros = int64(micros)
	if h.Document, err = ParseDocumentID(string(document)); err != nil {
		return DeltaHeader{}, nil, frameError(FrameDelta, "%w", err)
	}
	if h.Hash, err = ParseDigest(string(hash)); err != nil {
		return DeltaHeader{}, nil, frameError(FrameDelta, "%w", err)
	}
	if h.From >= h.To {
		return DeltaHeader{}, nil, frameError(FrameDelta, "b %d is not below v %d", h.From, h.To)
	}
	return h, lines, nil
}

// frameReader walks over bytes of a known form. After the first surprise it
// stays failed.
type frameReader struct {
	rest   []byte
	failed bool
}

func (r *frameReader) expect(s string) {
	if len(r.rest) < len(s) || string(r.rest[:len(s)]) != s {
		r.failed = true
		return
	}
	r.rest = r.rest[len(s):]
}

// until returns what stands before the next c, which stays.
func (r *frameReader) until(c byte) []byte {
	i := bytes.IndexByte(r.rest, c)
	if i < 0 {
		r.failed = true
		return nil
	}
	s := r.rest[:i]
	r.rest = r.rest[i:]
	return s
}

func (r *frameReader) number() uint64 {
	i := 0
	for i < len(r.rest) && r.rest[i] >= '0' && r.rest[i] <= '9' {
		i++
	}
	n, err := parseDecimal(r.rest[:i], math.MaxUint64)
	if err != nil {
		r.failed = true
		return 0
	}
	r.rest = r.rest[i:]
	return n
}

// SplitLines appends the document lines of a delta frame, which stand joined
// by commas, to dst. They alias joined and are in strictly rising order of
// their keys. A line holds no other `,{"contest":"` than the one before the
// next line: within a line only identifiers stand in quotes, and no object
// follows a comma.
func SplitLines(dst [][]byte, joined []byte) ([][]byte, error) {
	if len(joined) == 0 {
		return dst, nil
	}
	var before []byte
	for {
		end := bytes.Index(joined, []byte(`,`+lineStart))
		line := joined
		if end >= 0 {
			line = joined[:end]
		}
		key, err := LineKey(line)
		if err != nil {
			return dst, err
		}
		if line[len(line)-1] != '}' {
			return dst, fmt.Errorf("document line: does not end in a brace")
		}
		if bytes.Compare(before, key) >= 0 {
			return dst, fmt.Errorf("document lines: not in rising order")
		}
		dst = append(dst, line)
		if end < 0 {
			return dst, nil
		}
		before, joined = key, joined[end+1:]
	}
}
