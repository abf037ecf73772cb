package leaf

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tallystream/publish/log"
)

// Kind is the first line of a leaf.
type Kind string

// The kinds of leaves.
const (
	KindDefinition Kind = "tallystream/leaf/definition/v1"
	KindSubmission Kind = "tallystream/leaf/submission/v1"
	KindSealed     Kind = "tallystream/leaf/sealed/v1"
	KindHold       Kind = "tallystream/leaf/hold/v1"
	KindRelease    Kind = "tallystream/leaf/release/v1"
	KindRoster     Kind = "tallystream/leaf/roster/v1"
	KindKey        Kind = "tallystream/leaf/key/v1"
	KindRoots      Kind = "tallystream/leaf/roots/v1"
	KindAmendment  Kind = "tallystream/leaf/amendment/v1"
	KindPause      Kind = "tallystream/leaf/pause/v1"
	KindResume     Kind = "tallystream/leaf/resume/v1"
	KindSnapshot   Kind = "tallystream/leaf/snapshot/v1"
)

// Kinds lists them all.
var Kinds = []Kind{
	KindDefinition, KindSubmission, KindSealed, KindHold, KindRelease, KindRoster, KindKey, KindRoots,
	KindAmendment, KindPause, KindResume, KindSnapshot,
}

// Leaf is one of the types of this package, as a pointer.
type Leaf interface {
	// Kind is the leaf's first line.
	Kind() Kind
	// fields writes what follows the first line; it may write what read
	// refuses, which Append finds.
	fields(w *writer)
	// read is the reverse.
	read(r *reader) error
}

// ErrKind: the first line is no kind of leaf that this version knows. A
// verifier that meets it must say so and stop: it cannot know what was meant.
var ErrKind = errors.New("unknown kind of leaf")

// empty makes a leaf of a kind, or nil.
func empty(k Kind) Leaf {
	switch k {
	case KindDefinition:
		return new(Definition)
	case KindSubmission:
		return new(Submission)
	case KindSealed:
		return new(Sealed)
	case KindHold:
		return new(Hold)
	case KindRelease:
		return new(Release)
	case KindRoster, KindKey, KindRoots, KindAmendment:
		return &Statement{kind: k}
	case KindPause, KindResume:
		return &Pause{Resumed: k == KindResume}
	case KindSnapshot:
		return new(Snapshot)
	}
	return nil
}

// Append appends the leaf's bytes. It refuses what Decode would.
func Append(dst []byte, l Leaf) ([]byte, error) {
	start := len(dst)
	w := write(dst, l)
	if w.broken != "" {
		return dst, fmt.Errorf("writing %s leaf: %s has a line end in it", name(l.Kind()), w.broken)
	}
	dst = w.b
	if _, err := decode(dst[start:]); err != nil {
		return dst[:start], fmt.Errorf("writing leaf: %w", err)
	}
	return dst, nil
}

func write(dst []byte, l Leaf) *writer {
	w := &writer{b: append(append(dst, l.Kind()...), '\n')}
	l.fields(w)
	return w
}

// Decode reads a leaf. Byte slices of the leaf alias b. Errors name the line
// and what was expected there; ErrKind says that the format is not known.
func Decode(b []byte) (Leaf, error) {
	l, err := decode(b)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(write(make([]byte, 0, len(b)), l).b, b) {
		return nil, fmt.Errorf("reading %s leaf: is not spelled as it is written", name(l.Kind()))
	}
	return l, nil
}

// decode takes more than one spelling of some fields.
func decode(b []byte) (Leaf, error) {
	if len(b) > log.MaxLeaf {
		return nil, fmt.Errorf("reading leaf: %d bytes, want at most %d", len(b), log.MaxLeaf)
	}
	kind, rest, ok := bytes.Cut(b, []byte{'\n'})
	if !ok {
		return nil, fmt.Errorf("reading leaf: %w: no first line", ErrKind)
	}
	l := empty(Kind(kind))
	if l == nil {
		return nil, fmt.Errorf("reading leaf: %w: %s", ErrKind, strconv.QuoteToASCII(clip(kind)))
	}
	r := &reader{b: rest, line: 1}
	if err := l.read(r); err != nil {
		return nil, fmt.Errorf("reading %s leaf: %w", name(l.Kind()), err)
	}
	if len(r.b) > 0 {
		return nil, fmt.Errorf("reading %s leaf: %d bytes after its end", name(l.Kind()), len(r.b))
	}
	return l, nil
}

// name is the kind as errors have it.
func name(k Kind) string {
	return strings.TrimSuffix(strings.TrimPrefix(string(k), "tallystream/leaf/"), "/v1")
}

func clip(b []byte) string {
	const most = 80
	if len(b) > most {
		return string(b[:most]) + "..."
	}
	return string(b)
}

// writer writes lines.
type writer struct {
	b      []byte
	broken string // a field whose value would make two lines
}

func (w *writer) text(field, value string) {
	if strings.IndexByte(value, '\n') >= 0 {
		w.broken = field
	}
	w.b = append(w.b, field...)
	w.b = append(w.b, ' ')
	w.b = append(w.b, value...)
	w.b = append(w.b, '\n')
}

func (w *writer) number(field string, n uint64) { w.text(field, strconv.FormatUint(n, 10)) }

// payload writes exact bytes behind an empty line; their length stands in a
// field before.
func (w *writer) payload(b []byte) {
	w.b = append(w.b, '\n')
	w.b = append(w.b, b...)
}

// reader reads lines; the first error stays.
type reader struct {
	b    []byte
	line int // that was read last
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("line %d: %s", r.line, fmt.Sprintf(format, args...))
	}
}

// text reads a line "field value".
func (r *reader) text(field string) string {
	if r.err != nil {
		return ""
	}
	r.line++
	line, rest, ok := bytes.Cut(r.b, []byte{'\n'})
	if !ok {
		r.fail("want %s", field)
		return ""
	}
	value, ok := bytes.CutPrefix(line, []byte(field+" "))
	if !ok {
		r.fail("want %s and its value", field)
		return ""
	}
	r.b = rest
	return string(value)
}

// has reports whether the next line is of that field.
func (r *reader) has(field string) bool {
	return r.err == nil && bytes.HasPrefix(r.b, []byte(field+" "))
}

// number reads a whole number from least to most.
func (r *reader) number(field string, least, most uint64) uint64 {
	s := r.text(field)
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n < least || n > most || (len(s) > 1 && s[0] == '0') {
		r.fail("%s: want a whole number from %d to %d", field, least, most)
		return 0
	}
	return n
}

// parsed reads a field through its type's parser.
func parsed[T any](r *reader, field string, parse func(string) (T, error)) T {
	s := r.text(field)
	var v T
	if r.err != nil {
		return v
	}
	v, err := parse(s)
	if err != nil {
		r.fail("%s: %v", field, err)
	}
	return v
}

// payload takes the n bytes behind an empty line, which must end the leaf.
func (r *reader) payload(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	r.line++
	if len(r.b) == 0 || r.b[0] != '\n' {
		r.fail("want an empty line and then %d bytes", n)
		return nil
	}
	b := r.b[1:]
	if uint64(len(b)) != n {
		r.fail("%d bytes follow, want the %d that are stated", len(b), n)
		return nil
	}
	r.b = nil
	return b
}
