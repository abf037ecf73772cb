// Package functionstest is what tests of the functions verify: a rehearsed night,
// as it was published at each of its snapshots.
package functionstest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/alecthomas/kong"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
	"tallystream/schemas"
	"tallystream/service"
	"tallystream/simulator"
)

// Night is a county's, rehearsed with the real pipeline.
type Night struct {
	Key       string // verifier key of the publisher
	Election  schemas.ElectionID
	Snapshots schemas.SnapshotNumber // how many there are

	final  Site
	signer note.Signer
	origin string
}

// Site is what is published at one moment.
type Site map[string][]byte

// Get is that of a source.
func (s Site) Get(_ context.Context, key string) ([]byte, error) {
	if b, ok := s[key]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("getting %s: %w", key, log.ErrAbsent)
}

// Rehearse plays the night, once for all tests of a package.
var Rehearse = func() func(*testing.T) *Night {
	var once sync.Once
	var night *Night
	var failed error
	return func(t *testing.T) *Night {
		t.Helper()
		once.Do(func() { night, failed = rehearse(t) })
		if failed != nil {
			t.Fatalf("rehearsing: %v", failed)
		}
		return night
	}
}()

func rehearse(t *testing.T) (*Night, error) {
	public, private := filepath.Join(t.TempDir(), "public"), filepath.Join(t.TempDir(), "data")
	var program struct {
		Rehearse simulator.RehearseCommand `cmd:""`
	}
	parser, err := kong.New(&program)
	if err != nil {
		return nil, err
	}
	run, err := parser.Parse([]string{"rehearse", "--generate=county", "--viewers=1", "--speed=max", "--exit", "--out", public, "--data", private})
	if err != nil {
		return nil, err
	}
	run.BindTo(t.Context(), (*context.Context)(nil))
	if err := run.Run(slog.New(slog.NewTextHandler(io.Discard, nil))); err != nil {
		return nil, err
	}
	n := &Night{final: Site{}}
	if err := n.read(public); err != nil {
		return nil, err
	}
	if n.signer, n.Key, err = (service.Data{Dir: private}).Signer("publish"); err != nil {
		return nil, err
	}
	return n, n.open()
}

// read takes the published directory into memory.
func (n *Night) read(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		key, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		n.final[filepath.ToSlash(key)], err = os.ReadFile(path)
		return err
	})
}

func (n *Night) open() error {
	e, err := schemas.OpenElection(n.final[schemas.DefinitionKey])
	if err != nil {
		return err
	}
	n.Election, n.origin = e.Definition.Election, e.Definition.Origin
	for n.final[schemas.SnapshotKey(n.Snapshots+1)] != nil {
		n.Snapshots++
	}
	if n.Snapshots < 2 {
		return fmt.Errorf("%d snapshots were published, want two at least", n.Snapshots)
	}
	return nil
}

// At is what was published when a snapshot was the newest: `latest` and the
// checkpoint are those of then; what was written once may be there before its time.
func (n *Night) At(t *testing.T, number schemas.SnapshotNumber) Site {
	t.Helper()
	site := maps.Clone(n.final)
	note := site[schemas.SnapshotKey(number)]
	site[schemas.LatestKey] = note
	s := n.Open(t, note)
	final, err := log.PeekCheckpoint(site[log.CheckpointKey])
	if err != nil {
		t.Fatal(err)
	}
	size := int64(s.Log) + 1
	root, err := log.NewReader(site, final.Tree).Root(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	then := log.Checkpoint{Origin: n.origin, Tree: tlog.Tree{N: size, Hash: root}}
	if site[log.CheckpointKey], err = then.Sign(n.signer); err != nil {
		t.Fatal(err)
	}
	for later := number + 1; later <= n.Snapshots; later++ {
		delete(site, schemas.SnapshotKey(later))
	}
	return site
}

// Open reads a snapshot's note.
func (n *Night) Open(t *testing.T, b []byte) *schemas.Snapshot {
	t.Helper()
	v, err := note.NewVerifier(n.Key)
	if err != nil {
		t.Fatal(err)
	}
	s, err := schemas.OpenSnapshot(b, v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Sign makes a note of a snapshot with the publisher's key: what a publisher
// could write that went another way.
func (n *Night) Sign(t *testing.T, s *schemas.Snapshot) []byte {
	t.Helper()
	b, err := schemas.AppendNote(nil, s.AppendText(nil), n.signer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
