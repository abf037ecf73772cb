package cdf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// typeMember names the class of every object.
const typeMember = "@type"

// Error says what is wrong with a file, and where.
type Error struct {
	Path   string // such as $.GpUnit[3].Name
	Reason string
}

// Error implements error.
func (e *Error) Error() string { return e.Path + ": " + e.Reason }

// scanner reads JSON that is known to be valid, and knows at which path it is.
// A general decoder would need one type for all classes, keep no path, and let
// repeated members through.
type scanner struct {
	b    []byte
	i    int
	path []step
}

// step is a member, or an element of a list.
type step struct {
	name  string
	index int
}

// newScanner checks that b is one JSON value in UTF-8.
func newScanner(b []byte) (*scanner, error) {
	if !utf8.Valid(b) {
		return nil, &Error{"$", "want UTF-8 (RFC 8259 section 8.1)"}
	}
	if !json.Valid(b) {
		var any json.RawMessage
		err := json.Unmarshal(b, &any)
		reason := "is no JSON"
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			reason = fmt.Sprintf("is no JSON: line %d: %v", 1+bytes.Count(b[:min(int(syntax.Offset), len(b))], []byte{'\n'}), err)
		}
		return nil, &Error{"$", reason}
	}
	return &scanner{b: b}, nil
}

// at is the path of where the scanner is.
func (s *scanner) at() string {
	var b strings.Builder
	b.WriteByte('$')
	for _, p := range s.path {
		if p.name == "" {
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(p.index))
			b.WriteByte(']')
			continue
		}
		b.WriteByte('.')
		b.WriteString(p.name)
	}
	return b.String()
}

func (s *scanner) fail(format string, args ...any) error {
	return &Error{s.at(), fmt.Sprintf(format, args...)}
}

// space skips white space and returns the next byte.
func (s *scanner) space() byte {
	for {
		switch c := s.b[s.i]; c {
		case ' ', '\n', '\t', '\r':
			s.i++
		default:
			return c
		}
	}
}

// kind names the next value for an error.
func (s *scanner) kind() string {
	switch c := s.space(); {
	case c == '{':
		return "an object"
	case c == '[':
		return "a list"
	case c == '"':
		return "a string"
	case c == 'n':
		return "null"
	case c == 't', c == 'f':
		return "a boolean"
	}
	return "a number"
}

// object reads an object of one of the given classes and returns which. read
// reads the members that it knows and says whether it did; others of the class
// are skipped, and members that the class does not have are refused.
func (s *scanner) object(read func(name string) (bool, error), classes ...string) (string, error) {
	if s.space() != '{' {
		return "", s.fail("is %s, want an object of class %s", s.kind(), join(classes))
	}
	s.i++
	var room [24]string
	seen, class := room[:0], ""
	for s.space() != '}' {
		name, err := s.text()
		if err != nil {
			return "", err
		}
		if slices.Contains(seen, name) {
			return "", s.fail("member %s stands twice", shown(name))
		}
		if len(seen) == cap(seen) {
			return "", s.fail("has more members than any class")
		}
		seen = append(seen, name)
		s.space() // the colon
		s.i++
		s.path = append(s.path, step{name: name})
		switch known, err := s.member(name, &class, read); {
		case err != nil:
			return "", err
		case !known:
			s.skip()
		}
		s.path = s.path[:len(s.path)-1]
		s.comma()
	}
	s.i++
	return class, s.check(class, seen, classes)
}

// member reads one member's value.
func (s *scanner) member(name string, class *string, read func(string) (bool, error)) (bool, error) {
	if s.space() == 'n' {
		return true, s.fail("is null, want a value or no such member")
	}
	if name != typeMember {
		return read(name)
	}
	text, err := s.string()
	var ok bool
	if *class, ok = strings.CutPrefix(text, classPrefix); err == nil && !ok {
		return true, s.fail("is %s, want %s and a class", shown(text), classPrefix)
	}
	return true, err
}

// check holds an object's members against its class.
func (s *scanner) check(class string, seen, classes []string) error {
	if !slices.Contains(classes, class) {
		if class == "" {
			return s.fail("member %q is missing, want class %s", typeMember, join(classes))
		}
		return s.fail("is of class %s, want %s", shown(class), join(classes))
	}
	members := memberTable()[class]
	for _, name := range seen {
		if _, ok := members[name]; !ok {
			return s.fail("member %s: class %s of NIST SP 1500-100 v2 has no such", shown(name), class)
		}
	}
	for _, name := range strings.Fields(classMembers[class]) {
		if bare, required := strings.CutSuffix(name, "*"); required && !slices.Contains(seen, bare) {
			return s.fail("member %s is missing, which class %s needs", bare, class)
		}
	}
	return nil
}

// each reads the elements of a list.
func (s *scanner) each(read func() error) error {
	if s.space() != '[' {
		return s.fail("is %s, want a list", s.kind())
	}
	s.i++
	s.path = append(s.path, step{})
	for s.space() != ']' {
		if err := read(); err != nil {
			return err
		}
		s.path[len(s.path)-1].index++
		s.comma()
	}
	s.path = s.path[:len(s.path)-1]
	s.i++
	return nil
}

func (s *scanner) comma() {
	if s.space() == ',' {
		s.i++
	}
}

func (s *scanner) string() (string, error) {
	if s.space() != '"' {
		return "", s.fail("is %s, want a string", s.kind())
	}
	return s.text()
}

// text reads the string that begins here.
func (s *scanner) text() (string, error) {
	from, escaped := s.i, false
	for s.i++; s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			escaped = true
			s.i++
		}
	}
	s.i++
	if !escaped {
		return string(s.b[from+1 : s.i-1]), nil
	}
	var out string
	if err := json.Unmarshal(s.b[from:s.i], &out); err != nil {
		return "", s.fail("is no string: %v", err)
	}
	if strings.Count(out, replacement) > written(s.b[from:s.i]) {
		return "", s.fail("has an escape that is no character: half of a surrogate pair")
	}
	return out, nil
}

// replacement is what encoding/json makes of an escape that is no character.
const replacement = string(utf8.RuneError)

// written counts where a string itself says U+FFFD.
func written(raw []byte) int {
	return bytes.Count(raw, []byte(replacement)) + bytes.Count(bytes.ToLower(raw), []byte(`\ufffd`))
}

// strings reads a list of strings: references.
func (s *scanner) strings() (out []string, err error) {
	err = s.each(func() error {
		text, err := s.string()
		out = append(out, text)
		return err
	})
	return out, err
}

// number reads a whole number from 0 to most.
func (s *scanner) number(most int) (int, error) {
	c := s.space()
	if c != '-' && (c < '0' || c > '9') {
		return 0, s.fail("is %s, want a whole number", s.kind())
	}
	from := s.i
	s.skip()
	n, err := strconv.Atoi(string(s.b[from:s.i]))
	if err != nil || n < 0 || n > most {
		return 0, s.fail("is %s, want a whole number from 0 to %d", shown(string(s.b[from:s.i])), most)
	}
	return n, nil
}

func (s *scanner) boolean() (bool, error) {
	c := s.space()
	if c != 't' && c != 'f' {
		return false, s.fail("is %s, want true or false", s.kind())
	}
	s.skip()
	return c == 't', nil
}

// skip passes over one value.
func (s *scanner) skip() {
	depth := 0
	for {
		switch s.space() {
		case '{', '[':
			depth++
			s.i++
		case '}', ']':
			depth--
			s.i++
		case ',', ':':
			s.i++
			continue
		case '"':
			for s.i++; s.b[s.i] != '"'; s.i++ {
				if s.b[s.i] == '\\' {
					s.i++
				}
			}
			s.i++
		default:
			for s.i < len(s.b) && !strings.ContainsRune(",]} \n\t\r", rune(s.b[s.i])) {
				s.i++
			}
		}
		if depth == 0 {
			return
		}
	}
}

// shown quotes what a file says, shortened, for an error.
func shown(s string) string {
	const most = 96
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.QuoteToASCII(s)
}
