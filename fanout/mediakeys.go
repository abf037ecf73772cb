package fanout

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"tallystream/schemas"
)

// MediaKey is a key of media as a server knows it: not the secret, but its
// hash. Whoever brings the secret gets every version at once, and may follow
// all documents with one subscription.
type MediaKey struct {
	Name   string // for metrics and logs: an identifier of at most 64 characters
	Hash   [sha256.Size]byte
	Limits KeyLimits
}

// KeyLimits are what a key may use up. Zero is the default.
type KeyLimits struct {
	Connections int   // at a time; default: Limits.KeyConnections
	Documents   int   // that one connection may follow; default: any number, and all at once
	Bytes       int64 // of frames a second, uncompressed, on all its connections; beyond, deltas are united; default: any number
}

// Bounds of a file of media keys.
const (
	maxMediaKeys     = 256 // each has its metrics
	maxMediaKeysFile = 1 << 20
	maxKeyName       = 64
)

// mediaSecretStart lets scanners for leaked secrets know ours.
const mediaSecretStart = "tallystream-media-"

// ErrMediaKeys is returned for a file of media keys that cannot be read as one.
var ErrMediaKeys = errors.New("media keys")

// NewMediaKey draws a secret of 256 bits. It is shown once; the key holds its
// hash. A plain SHA-256 is enough: nobody guesses that many bits.
func NewMediaKey(name string, limits KeyLimits, random io.Reader) (secret string, key MediaKey, err error) {
	if !validKeyName(name) {
		return "", MediaKey{}, fmt.Errorf("%w: name %q: want small letters, digits, dots and dashes, at most %d", ErrMediaKeys, name, maxKeyName)
	}
	var b [32]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", MediaKey{}, fmt.Errorf("drawing a media key: %w", err)
	}
	secret = mediaSecretStart + base64.RawURLEncoding.EncodeToString(b[:])
	return secret, MediaKey{Name: name, Hash: sha256.Sum256([]byte(secret)), Limits: limits}, nil
}

func validKeyName(name string) bool { return len(name) <= maxKeyName && schemas.ValidIdentifier(name) }

// String is the key's line in a file of keys:
//
//	NAME HASH [connections=N] [documents=N] [bytes=N]
func (k MediaKey) String() string {
	line := k.Name + " " + hex.EncodeToString(k.Hash[:])
	for _, limit := range k.Limits.fields() {
		if limit.value != 0 {
			line += " " + limit.name + "=" + strconv.FormatInt(limit.value, 10)
		}
	}
	return line
}

type keyLimit struct {
	name  string
	value int64
}

func (l KeyLimits) fields() []keyLimit {
	return []keyLimit{{"connections", int64(l.Connections)}, {"documents", int64(l.Documents)}, {"bytes", l.Bytes}}
}

// ParseMediaKeys reads a file of keys, one a line as String writes it. Empty
// lines, and what follows a #, are left out. Errors name the line, and no hash.
func ParseMediaKeys(text []byte) ([]MediaKey, error) {
	if len(text) > maxMediaKeysFile {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrMediaKeys, maxMediaKeysFile)
	}
	var keys []MediaKey
	names, hashes := map[string]int{}, map[[sha256.Size]byte]int{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxMediaKeysFile)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		key, err := parseMediaKey(fields)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrMediaKeys, n, err)
		}
		if before, again := names[key.Name]; again {
			return nil, fmt.Errorf("%w: line %d: name %s stands in line %d already", ErrMediaKeys, n, key.Name, before)
		}
		if before, again := hashes[key.Hash]; again {
			return nil, fmt.Errorf("%w: line %d: the hash stands in line %d already", ErrMediaKeys, n, before)
		}
		names[key.Name], hashes[key.Hash] = n, n
		if keys = append(keys, key); len(keys) > maxMediaKeys {
			return nil, fmt.Errorf("%w: line %d: more than %d keys", ErrMediaKeys, n, maxMediaKeys)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMediaKeys, err)
	}
	return keys, nil
}

func parseMediaKey(fields []string) (k MediaKey, err error) {
	if len(fields) < 2 {
		return k, errors.New("want a name and the SHA-256 of its secret")
	}
	if k.Name = fields[0]; !validKeyName(k.Name) {
		return k, fmt.Errorf("name %q: want small letters, digits, dots and dashes, at most %d", k.Name, maxKeyName)
	}
	// What stands here could be a secret by mistake, so it is not repeated.
	hash, err := hex.DecodeString(fields[1])
	if err != nil || len(hash) != sha256.Size {
		return k, errors.New("want the SHA-256 of the secret as 64 hexadecimal digits, not the secret")
	}
	copy(k.Hash[:], hash)
	seen := map[string]bool{}
	for _, f := range fields[2:] {
		name, value, _ := strings.Cut(f, "=")
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n <= 0 || seen[name] {
			return k, fmt.Errorf("limit %s: want one positive whole number", name)
		}
		seen[name] = true
		switch name {
		case "connections":
			k.Limits.Connections = int(n)
		case "documents":
			k.Limits.Documents = int(n)
		case "bytes":
			k.Limits.Bytes = n
		default:
			return k, fmt.Errorf("limit %q: want connections, documents or bytes", name)
		}
	}
	return k, nil
}

// MediaKeysFile reads the keys of a file, for Config.MediaKeys.
func MediaKeysFile(path string) func() ([]MediaKey, error) {
	return func() ([]MediaKey, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("reading media keys: %w", err)
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxMediaKeysFile+1))
		if err != nil {
			return nil, fmt.Errorf("reading media keys: %w", err)
		}
		keys, err := ParseMediaKeys(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return keys, nil
	}
}

// MediaKeyCommand is `tallystream keys media`.
type MediaKeyCommand struct {
	Name        string `arg:"" help:"Name of the key, such as ap or county-radio: it shows in metrics and logs."`
	Connections int    `help:"Connections at a time; 0: as many as the server allows any key." default:"0"`
	Documents   int    `help:"Documents that one connection may follow; 0: any number, and all at once." default:"0"`
	Bytes       int64  `help:"Bytes of frames a second; beyond, deltas are united. 0: any number." default:"0"`
}

// Run prints the secret and its line.
func (c *MediaKeyCommand) Run() error { return c.run(os.Stdout) }

func (c *MediaKeyCommand) run(stdout io.Writer) error {
	limits := KeyLimits{Connections: c.Connections, Documents: c.Documents, Bytes: c.Bytes}
	for _, limit := range limits.fields() {
		if limit.value < 0 || limit.value > 1<<31-1 {
			return fmt.Errorf("--%s %d: want a number from 0 to %d", limit.name, limit.value, 1<<31-1)
		}
	}
	secret, key, err := NewMediaKey(c.Name, limits, rand.Reader)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "key, for %s only, shown once:\n%s\n\nline for the file of --media-keys:\n%s\n", key.Name, secret, key)
	return err
}
