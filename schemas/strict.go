package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"
)

// readJSON reads one JSON value into *v and refuses whatever could be read in
// two ways: invalid UTF-8, nulls, members that are unknown, missing, repeated
// or spelled otherwise, and anything after the value. encoding/json alone lets
// all of these through but unknown members. Members without omitempty are
// needed. It is for what is read rarely; submissions have a reader of their own.
func readJSON(b []byte, v any) error {
	if !utf8.Valid(b) {
		return errors.New("want UTF-8 (RFC 8259 section 8.1)")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the value")
	}
	w := memberWalk{b: b}
	return w.value(reflect.TypeOf(v).Elem())
}

// memberWalk walks over bytes that are known to be valid JSON for a type.
type memberWalk struct {
	b []byte
	i int
}

// value walks over one value of type t; a nil t is any type.
func (w *memberWalk) value(t reflect.Type) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch w.peek() {
	case '{':
		return w.object(t)
	case '[':
		w.i++
		var element reflect.Type
		if t != nil && t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8 { // not json.RawMessage
			element = t.Elem()
		}
		for w.peek() != ']' {
			if err := w.value(element); err != nil {
				return err
			}
			w.comma()
		}
		w.i++
		return nil
	case '"':
		w.text()
		return nil
	case 'n':
		return errors.New("null is no value here")
	}
	for w.i < len(w.b) && !strings.ContainsRune(",]} \n\t\r", rune(w.b[w.i])) {
		w.i++
	}
	return nil
}

func (w *memberWalk) object(t reflect.Type) error {
	m := membersOf(t)
	seen := make(map[string]struct{}, len(m.types))
	w.i++
	for w.peek() != '}' {
		name := string(w.text())
		if _, ok := seen[name]; ok {
			return fmt.Errorf("member %q stands twice", clip(name))
		}
		seen[name] = struct{}{}
		element, ok := m.types[name]
		switch {
		case strings.ContainsRune(name, '\\'):
			return fmt.Errorf("member %q: want a name without escapes", clip(name))
		case m.open:
			element = m.element
		case !ok:
			return fmt.Errorf("unknown member %q", clip(name))
		}
		w.peek() // the colon
		w.i++
		if err := w.value(element); err != nil {
			return fmt.Errorf("%s: %w", clip(name), err)
		}
		w.comma()
	}
	w.i++
	for _, name := range m.needed {
		if _, ok := seen[name]; !ok {
			return fmt.Errorf("member %q is missing", name)
		}
	}
	return nil
}

// peek skips white space and returns the next byte.
func (w *memberWalk) peek() byte {
	for w.i < len(w.b) {
		switch c := w.b[w.i]; c {
		case ' ', '\n', '\t', '\r':
			w.i++
		default:
			return c
		}
	}
	return '}' // never in valid JSON; ends every loop
}

func (w *memberWalk) comma() {
	if w.peek() == ',' {
		w.i++
	}
}

// text walks over a string and returns what stands between its quotes.
func (w *memberWalk) text() []byte {
	w.i++
	start := w.i
	for w.i < len(w.b) && w.b[w.i] != '"' {
		if w.b[w.i] == '\\' {
			w.i++
		}
		w.i++
	}
	s := w.b[start:min(w.i, len(w.b))]
	w.i++
	return s
}

// members says what an object of some type may hold.
type members struct {
	types   map[string]reflect.Type
	needed  []string
	open    bool         // any name: a map, or a type that is not known
	element reflect.Type // of an open one
}

var membersByType sync.Map // reflect.Type -> *members

func membersOf(t reflect.Type) *members {
	if t == nil {
		return &members{open: true}
	}
	if m, ok := membersByType.Load(t); ok {
		return m.(*members)
	}
	m := &members{types: map[string]reflect.Type{}}
	switch t.Kind() {
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous || name == "" || name == "-" {
				continue
			}
			m.types[name] = f.Type
			if !strings.Contains(options, "omit") {
				m.needed = append(m.needed, name)
			}
		}
	case reflect.Map:
		m.open, m.element = true, t.Elem()
	default:
		m.open = true
	}
	membersByType.Store(t, m)
	return m
}
