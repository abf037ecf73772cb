package cdf

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
)

// flushAt is how many bytes wait before they are written.
const flushAt = 64 << 10

// writer streams JSON. Every object begins with its class, so each further
// member has a comma before it. The first error stays and silences the rest.
type writer struct {
	w    io.Writer
	b    []byte // never empty once begun: its end tells whether a comma is due
	err  error
	text bytes.Buffer // scratch of quote
}

// open begins an object of a class.
func (w *writer) open(class string) {
	w.b = append(w.b, `{"@type":"`...)
	w.b = append(w.b, classPrefix...)
	w.b = append(w.b, class...)
	w.b = append(w.b, '"')
}

// next begins an object in a list, as every large part of a report does: what
// waits never grows far beyond flushAt.
func (w *writer) next(class string) {
	w.comma()
	w.open(class)
}

// comma stands before all but the first element of a list.
func (w *writer) comma() {
	if len(w.b) >= flushAt {
		w.flush(1)
	}
	if w.b[len(w.b)-1] != '[' {
		w.b = append(w.b, ',')
	}
}

func (w *writer) end() { w.b = append(w.b, '}') }

// flush writes all but the last keep bytes.
func (w *writer) flush(keep int) {
	n := len(w.b) - keep
	if w.err == nil && n > 0 {
		_, w.err = w.w.Write(w.b[:n])
	}
	w.b = append(w.b[:0], w.b[n:]...)
}

func (w *writer) name(name string) {
	w.b = append(w.b, ',', '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
}

func (w *writer) list(name string) {
	w.name(name)
	w.b = append(w.b, '[')
}

func (w *writer) endList() { w.b = append(w.b, ']') }

func (w *writer) string(name, value string) {
	w.name(name)
	w.quote(value)
}

// id writes a member whose value is a reference or an identifier: a prefix and
// characters that need no escapes.
func (w *writer) id(name string, parts ...string) {
	w.name(name)
	w.ref(parts...)
}

func (w *writer) ref(parts ...string) {
	w.b = append(w.b, '"')
	for _, p := range parts {
		w.b = append(w.b, p...)
	}
	w.b = append(w.b, '"')
}

func (w *writer) int(name string, value int64) {
	w.name(name)
	w.b = strconv.AppendInt(w.b, value, 10)
}

func (w *writer) bool(name string, value bool) {
	w.name(name)
	w.b = strconv.AppendBool(w.b, value)
}

// internationalized writes an InternationalizedText of one language.
func (w *writer) internationalized(name, text string) {
	w.name(name)
	w.open("InternationalizedText")
	w.list("Text")
	w.next("LanguageString")
	w.string("Language", language)
	w.string("Content", text)
	w.end()
	w.endList()
	w.end()
}

// external writes an ExternalIdentifier of ours, in a list.
func (w *writer) external(kind, value string) {
	w.next("ExternalIdentifier")
	w.string("Type", "other")
	w.string("OtherType", kind)
	w.string("Value", value)
	w.end()
}

// quote appends a JSON string.
func (w *writer) quote(s string) {
	if plain(s) {
		w.ref(s)
		return
	}
	w.text.Reset()
	e := json.NewEncoder(&w.text)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil && w.err == nil {
		w.err = err
	}
	w.b = append(w.b, bytes.TrimSuffix(w.text.Bytes(), []byte{'\n'})...)
}

func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// language of our texts; definitions do not state one.
const language = "en"
