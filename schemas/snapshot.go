package schemas

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

const snapshotKind = "/snapshot/v1"

// Snapshot is a signed statement of everything published at one cut of the
// ledgers. As a C2SP signed note its text is one "name value" line each, in
// this order:
//
//	<origin>/snapshot/v1
//	number 12
//	log 40225
//	root <SHA-256: root hash of the tree of the log's first 40225 leaves>
//	manifest <SHA-256 of the manifest's bytes>
//	previous <SHA-256 of the previous snapshot's note, or 64 zeros>
//	accepted 40200
//	held 13
//	time 2026-11-03T21:04:05.123Z
//
// accepted counts submissions that count or did (a later revision took over)
// and releases; held counts submissions that were held, whether or not one of
// those releases let them count: holds.ndjson says what became of each. The
// snapshot itself is the leaf of the log behind those it commits to.
type Snapshot struct {
	Origin   string
	Number   SnapshotNumber
	Log      LogSize
	Root     Digest
	Manifest Digest
	Previous Digest
	Accepted uint64
	Held     uint64
	Time     string // RFC 3339, UTC, milliseconds
}

// Entries is how many entries of the ledgers the snapshot shows: fewer than
// leaves, since the definition and every snapshot is one, too.
func (s *Snapshot) Entries() uint64 { return s.Accepted + s.Held }

// SnapshotTimeLayout is the layout of Snapshot.Time for package time.
const SnapshotTimeLayout = "2006-01-02T15:04:05.000Z"

// AppendText appends the text that is signed.
func (s *Snapshot) AppendText(dst []byte) []byte {
	dst = append(dst, s.Origin...)
	dst = append(dst, snapshotKind...)
	return fmt.Appendf(dst, "\nnumber %d\nlog %d\nroot %s\nmanifest %s\nprevious %s\naccepted %d\nheld %d\ntime %s\n",
		s.Number, s.Log, s.Root, s.Manifest, s.Previous, s.Accepted, s.Held, s.Time)
}

// OpenSnapshot checks the signature of a snapshot note and reads it.
func OpenSnapshot(b []byte, verifier note.Verifier) (*Snapshot, error) {
	n, err := note.Open(b, note.VerifierList(verifier))
	if err != nil {
		return nil, fmt.Errorf("opening snapshot: %w", err)
	}
	s, err := parseSnapshot(n.Text)
	if err != nil {
		return nil, fmt.Errorf("opening snapshot: %w", err)
	}
	return s, nil
}

func parseSnapshot(text string) (*Snapshot, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	names := []string{"number", "log", "root", "manifest", "previous", "accepted", "held", "time"}
	if len(lines) != 1+len(names) {
		return nil, fmt.Errorf("%d lines, want %d", len(lines), 1+len(names))
	}
	s := new(Snapshot)
	var ok bool
	if s.Origin, ok = strings.CutSuffix(lines[0], snapshotKind); !ok {
		return nil, fmt.Errorf("first line %q, want one that ends in %s", lines[0], snapshotKind)
	}
	value := map[string]string{}
	for i, name := range names {
		if value[name], ok = strings.CutPrefix(lines[1+i], name+" "); !ok {
			return nil, fmt.Errorf("line %d: want %s", 2+i, name)
		}
	}
	var err error
	number := func(name string) uint64 {
		n, e := parseDecimal(value[name], math.MaxUint64)
		if e != nil && err == nil {
			err = fmt.Errorf("%s: %w", name, e)
		}
		return n
	}
	digest := func(name string) Digest {
		d, e := ParseDigest(value[name])
		if e != nil && err == nil {
			err = fmt.Errorf("%s: %w", name, e)
		}
		return d
	}
	s.Number, s.Log = SnapshotNumber(number("number")), LogSize(number("log"))
	s.Root, s.Manifest, s.Previous = digest("root"), digest("manifest"), digest("previous")
	s.Accepted, s.Held, s.Time = number("accepted"), number("held"), value["time"]
	if t, e := time.Parse(SnapshotTimeLayout, s.Time); err == nil && (e != nil || t.Format(SnapshotTimeLayout) != s.Time) {
		err = fmt.Errorf("time: want %s", SnapshotTimeLayout)
	}
	if err == nil && string(s.AppendText(nil)) != text {
		err = fmt.Errorf("is not spelled as it is written")
	}
	return s, err
}

// ManifestEntry is one line of a manifest (NDJSON, sorted by name): a
// published object that the snapshot names. A document's version is the log
// size at which its bytes last changed, that of a CSV or unit file the one as of
// which it was last written; other files have none.
type ManifestEntry struct {
	// Name is a DocumentID or a path such as "csv/leon.csv".
	Name    string  `json:"name"`
	Version Version `json:"version,omitempty"`
	Key     string  `json:"key"` // in the bucket
	Hash    Digest  `json:"sha256"`
	Bytes   int64   `json:"bytes"`
}

// ParseManifest reads a manifest.
func ParseManifest(b []byte) ([]ManifestEntry, error) {
	var out []ManifestEntry
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		var m ManifestEntry
		if err := readJSON(lines.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("reading manifest line %d: %w", len(out)+1, err)
		}
		if m.Name == "" || m.Key == "" || m.Bytes < 0 {
			return nil, fmt.Errorf("reading manifest line %d: want a name, a key and a size", len(out)+1)
		}
		out = append(out, m)
	}
	return out, lines.Err()
}

// Keys of the bucket. Everything but LatestKey and pages is written once.
const (
	// LatestKey holds the newest snapshot's note.
	LatestKey = "latest"
	// PauseKey holds the signed note of the newest pause or resumption; there is
	// none before the first.
	PauseKey = "pause"
	// DefinitionKey and RosterKey hold the election as it was opened.
	DefinitionKey = "definition.json"
	RosterKey     = "roster.json"
)

// SnapshotKey is where snapshot n lies.
func SnapshotKey(n SnapshotNumber) string { return fmt.Sprintf("snapshots/%09d", n) }

// ContentKey is where content of the given hash lies; extension with its dot.
func ContentKey(kind string, d Digest, extension string) string {
	s := d.String()
	return kind + "/" + s[:2] + "/" + s + extension
}
